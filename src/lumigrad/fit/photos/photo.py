"""Photographs to fit, undistorted, at several resolutions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from lumigrad.io.photos import PosedPhotos, reduced
from lumigrad.scene.cameras.camera import PerspectiveCamera


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Attributes:
        image: [1, H, W, 3].
        covered: which of its pixels count, [1, H, W, 1] (0 or 1).
        camera: [1].
        alpha: how much of each pixel the object covers, [1, H, W, 1]; None where the photograph has no alpha channel.
    """

    image: Tensor
    covered: Tensor
    camera: PerspectiveCamera
    alpha: Tensor | None = None

    def to(self, device: torch.device) -> Photo:
        """The same on another device."""
        alpha = None if self.alpha is None else self.alpha.to(device)
        return Photo(self.image.to(device), self.covered.to(device), self.camera.to(device), alpha)

    def reduced(self, factor: int) -> Photo:
        """Averaged down by an integer factor; rows and columns that do not fill a block are dropped."""
        if factor == 1:
            return self

        def pooled(values: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool2d(values.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)

        covered = (pooled(self.covered) > 0.999).to(self.covered)
        alpha = None if self.alpha is None else pooled(self.alpha)
        return Photo(pooled(self.image), covered, reduced(self.camera, factor), alpha)


def load_photos(data: PosedPhotos, indices: list[int], background: float = 0.0, reduce: int = 1) -> list[Photo]:
    """Read and undistort photographs; transparent ones are composited over a grey `background`.

    Raises:
        FileNotFoundError, ValueError: see `PosedPhotos.load`; or fewer than 8 rows or columns of a photograph are left.

    >>> import json
    >>> import math
    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.fit.photos import load_photos
    >>> from lumigrad.io import load_dataset, save_image
    >>> save_image(torch.rand(16, 24, 3), "photo.png")
    >>> pose = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]
    >>> frame = {"file_path": "photo.png", "transform_matrix": pose}
    >>> document = {"w": 24, "h": 16, "camera_angle_x": math.pi / 2, "frames": [frame]}
    >>> _ = Path("transforms.json").write_text(json.dumps(document))
    >>> photos = load_photos(load_dataset("."), [0], reduce=2)
    >>> photos[0].image.shape, photos[0].covered.mean().item()
    (torch.Size([1, 8, 12, 3]), 1.0)
    """
    photos = []
    for index in indices:
        image, covered, camera = data.load_undistorted(index)
        alpha = image[None, ..., 3:] if image.shape[-1] == 4 else None
        if alpha is not None:
            image = image[..., :3] * image[..., 3:] + background * (1 - image[..., 3:])
        height, width = camera.size[0] // reduce, camera.size[1] // reduce
        if min(height, width) < 8:
            raise ValueError(f"{data.paths[index]}: {width} x {height} pixels are less than 8 rows or columns")
        tensors = {name: getattr(camera, name)[None].float() for name in ("world_to_camera", "fx", "fy", "cx", "cy")}
        one = PerspectiveCamera(**tensors, size=camera.size)
        photos.append(Photo(image[None], covered[None, ..., None].float(), one, alpha).reduced(reduce))
    return photos


def digest(photos: list[Photo]) -> str:
    """A digest of photographs, their masks and cameras, which identifies them.

    >>> import torch
    >>> from lumigrad.fit.photos import Photo, digest
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(8, 8))
    >>> photo = Photo(torch.rand(1, 8, 8, 3), torch.ones(1, 8, 8, 1), camera)
    >>> digest([photo]) == digest([photo]), digest([photo]) == digest([photo, photo])
    (True, False)
    """
    found = hashlib.sha256()
    for name in digests(photos, []).values():
        found.update(name.encode())
    return found.hexdigest()


def digests(photos: list[Photo], held_out: list[Photo]) -> dict[str, str]:
    """Digests of the inputs of a fit to photographs, so that a state is resumed only with the same inputs.

    Returns:
        photographs: of the images and poses to fit.
        intrinsics: of their focal lengths, principal points and sizes.
        masks: of which of their pixels count, and what the object covers of them.
        held_out: of all of this of the photographs held out.

    >>> from dataclasses import replace
    >>> import torch
    >>> from lumigrad.fit.photos import Photo, digests
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(8, 8))
    >>> photo = Photo(torch.rand(1, 8, 8, 3), torch.ones(1, 8, 8, 1), camera)
    >>> one, other = digests([photo], []), digests([replace(photo, covered=0 * photo.covered)], [])
    >>> [name for name in one if one[name] != other[name]]
    ['masks']
    """
    return {
        "photographs": _digest([value for photo in photos for value in (photo.image, photo.camera.world_to_camera)]),
        "intrinsics": _digest([value for photo in photos for value in _intrinsics(photo)]),
        "masks": _digest([value for photo in photos for value in (photo.covered > 0, photo.alpha)]),
        "held_out": digest(held_out) if held_out else "",
    }


def _intrinsics(photo: Photo) -> tuple[Tensor, ...]:
    camera = photo.camera
    return (torch.tensor(camera.size), camera.fx, camera.fy, camera.cx, camera.cy)


def _digest(values: list[Tensor | None]) -> str:
    found = hashlib.sha256()
    for value in values:
        found.update(b"none" if value is None else value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
