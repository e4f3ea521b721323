"""Random pixels of all photographs, as rays."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.fit.photos import Photo
from lumigrad.types import Rays


class PixelRays:
    """The pixels of photographs that count, each as a ray and its target colour.

    >>> import torch
    >>> from lumigrad.fit.fields.rays import PixelRays
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(24, 32))
    >>> photo = Photo(torch.full((1, 24, 32, 3), 0.5), torch.ones(1, 24, 32, 1), camera)
    >>> rays, colors = PixelRays([photo]).draw(100, torch.Generator().manual_seed(0))
    >>> rays.origins.shape, colors[0].tolist()
    (torch.Size([100, 3]), [0.5, 0.5, 0.5])
    """

    def __init__(self, photos: list[Photo]) -> None:
        device = photos[0].image.device
        self.colors = torch.cat([photo.image[0].reshape(-1, 3) for photo in photos])
        covered = torch.cat([photo.covered.reshape(-1) for photo in photos])
        self.counted = torch.nonzero(covered > 0.5)[:, 0]
        if not len(self.counted):
            raise ValueError("photos: expected pixels that count, got none")
        sizes = torch.tensor([photo.camera.size for photo in photos], device=device)
        self.widths = sizes[:, 1].contiguous()
        self.ends = sizes.prod(1).cumsum(0)

        def all_of(name: str) -> Tensor:
            return torch.cat([getattr(photo.camera, name) for photo in photos])

        matrices, fx, fy, cx, cy = (all_of(name) for name in ("world_to_camera", "fx", "fy", "cx", "cy"))
        self.cameras = replace(photos[0].camera, world_to_camera=matrices, fx=fx, fy=fy, cx=cx, cy=cy)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Rays, Tensor]:
        """Rays [count, 3] and colours [count, 3] of random pixels; one may come more than once."""
        chosen = torch.randint(len(self.counted), (count,), generator=generator, device=generator.device)
        pixel = self.counted[chosen]
        photo = torch.bucketize(pixel, self.ends, right=True)
        within = pixel - torch.where(photo > 0, self.ends[photo - 1], 0)
        x, y = within % self.widths[photo], within // self.widths[photo]
        centres = torch.stack((x, y), -1).to(self.colors) + 0.5
        origins, directions = self.cameras[photo].rays(centres[:, None])
        return Rays(origins[:, 0], directions[:, 0]), self.colors[pixel]
