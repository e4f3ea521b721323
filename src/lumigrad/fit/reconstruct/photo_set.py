"""Photographs as one batch: images, the object's coverage, and cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.photos import Photo
from lumigrad.io.photos import reduced
from lumigrad.scene.cameras.camera import PerspectiveCamera


@dataclass(frozen=True)
class PhotoSet:
    """Photographs of one size. Smaller ones are padded at the right and at the bottom by pixels that do not count.

    Attributes:
        images: [N, H, W, 3] as they are encoded, over black where photographs have an alpha channel; half precision.
        alpha: how much of each pixel the object covers, [N, H, W, 1]; None where photographs have no alpha channel.
        counts: which pixels count, bool [N, H, W, 1].
        camera: [N].
    """

    images: Tensor
    alpha: Tensor | None
    counts: Tensor
    camera: PerspectiveCamera

    @classmethod
    def of(cls, photos: list[Photo]) -> PhotoSet:
        """The photographs of a list, which all have an alpha channel or none.

        Raises:
            ValueError: no photographs, or only some have an alpha channel.

        >>> import torch
        >>> from lumigrad.fit.photos import Photo
        >>> from lumigrad.fit.reconstruct import PhotoSet
        >>> from lumigrad.scene import PerspectiveCamera
        >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(8, 10))
        >>> photo = Photo(torch.rand(1, 8, 10, 3), torch.ones(1, 8, 10, 1), camera)
        >>> photos = PhotoSet.of([photo, photo])
        >>> len(photos), photos.size, photos.alpha
        (2, (8, 10), None)
        """
        if not photos:
            raise ValueError("photos: expected at least one, got none")
        without = sum(photo.alpha is None for photo in photos)
        if without not in (0, len(photos)):
            raise ValueError(f"photos: expected all of them with an alpha channel, or none; {without} have none")
        height, width = (max(photo.camera.size[axis] for photo in photos) for axis in (0, 1))

        def padded(values: Tensor) -> Tensor:
            missing = (0, 0, 0, width - values.shape[2], 0, height - values.shape[1])
            return torch.nn.functional.pad(values, missing)

        alpha = None if without else torch.cat([padded(photo.alpha).half() for photo in photos])  # type: ignore[arg-type]
        names = ("world_to_camera", "fx", "fy", "cx", "cy")
        stacked: dict[str, Any] = {name: torch.cat([getattr(photo.camera, name) for photo in photos]) for name in names}
        return cls(
            torch.cat([padded(photo.image).half() for photo in photos]),
            alpha,
            torch.cat([padded(photo.covered) > 0 for photo in photos]),
            PerspectiveCamera(**stacked, size=(height, width)),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.camera.size

    def reduced(self, factor: int) -> PhotoSet:
        """Averaged down by an integer factor; rows and columns that do not fill a block are dropped."""
        if factor == 1:
            return self

        def pooled(values: Tensor) -> Tensor:
            # One at a time: float32 copies of all would take twice the memory of the photographs.
            rows = [torch.nn.functional.avg_pool2d(v.float().permute(2, 0, 1), factor).permute(1, 2, 0) for v in values]
            return torch.stack([row.half() for row in rows])

        alpha = None if self.alpha is None else pooled(self.alpha)
        return PhotoSet(pooled(self.images), alpha, pooled(self.counts) > 0.999, reduced(self.camera, factor))

    def with_camera(self, camera: PerspectiveCamera) -> PhotoSet:
        """The same photographs, taken by other cameras."""
        return replace(self, camera=camera)

    def to(self, device: torch.device) -> PhotoSet:
        """The same on another device."""
        alpha = None if self.alpha is None else self.alpha.to(device)
        return PhotoSet(self.images.to(device), alpha, self.counts.to(device), self.camera.to(device))
