"""Reference images of a mesh, and the cameras that they are taken with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lumigrad.ops.surface import edge_topology
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.validation import integer


def fibonacci_cameras(
    count: int, size: tuple[int, int], fov_y: float = 35.0, radius: float = 1.0, turn: float = 0.0
) -> PerspectiveCamera:
    """Cameras [count] spread evenly around the origin, each framing a ball of `radius`.

    Args:
        count: number of cameras, at least 1.
        size: (height, width) in pixels.
        fov_y: vertical field of view in degrees.
        radius: of the ball at the origin that every camera sees entirely (in images at least as wide as high).
        turn: degrees added to all azimuths.

    >>> from lumigrad.fit import fibonacci_cameras
    >>> cameras = fibonacci_cameras(12, size=(64, 64))
    >>> cameras.shape, cameras.position.norm(dim=1).std().item() < 1e-5
    (torch.Size([12]), True)
    """
    integer("count", count, 1)
    index = torch.arange(count, dtype=torch.float64)
    elevation = torch.rad2deg(torch.asin(1 - (2 * index + 1) / count))
    azimuth = (index * (180 * (3 - math.sqrt(5))) + turn) % 360
    distance = 1.02 * radius / math.sin(math.radians(fov_y / 2))
    near, far = max(distance - 1.5 * radius, 0.05 * distance), distance + 1.5 * radius
    return PerspectiveCamera.orbit(azimuth.float(), elevation.float(), distance, fov_y, size, near=near, far=far)


@dataclass(frozen=True)
class Views:
    """Reference images: premultiplied colour and coverage [N, H, W, 4] with their cameras [N].

    `fit_sdf` compares those pixels only that count, [N, H, W, 1], by default all.
    """

    camera: PerspectiveCamera
    images: Tensor
    counts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def resized(self, size: int) -> Views:
        """The same views, averaged down to `size` rows, which must divide the height."""
        height, width = self.camera.size
        if height % size:
            raise ValueError(f"size: expected a divisor of {height}, got {size}")
        step = height // size
        if step == 1:
            return self

        def pooled(images: Tensor) -> Tensor:
            rows = [torch.nn.functional.avg_pool2d(image.float().permute(2, 0, 1), step) for image in images]
            return torch.stack([row.permute(1, 2, 0).to(images) for row in rows])

        # A pixel counts if all pixels that it averages do.
        counts = None if self.counts is None else pooled(self.counts.float()) > 0.999
        return Views(self.camera.resized((height // step, width // step)), pooled(self.images), counts)


@torch.no_grad()
def render_views(mesh: Mesh, camera: PerspectiveCamera, lighting: Lighting, batch: int = 4) -> Views:
    """Reference images of a mesh, stored in half precision (an eighth of the error of 8 bits).

    >>> from lumigrad.fit import fibonacci_cameras, render_views
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(2), fibonacci_cameras(3, size=(32, 32)), Lighting())
    >>> views.images.shape, views.images.dtype
    (torch.Size([3, 32, 32, 4]), torch.float16)
    """
    topology = edge_topology(mesh.faces)
    parts = []
    for first in range(0, camera.shape[0], batch):
        shot = render_mesh(mesh, camera[first : first + batch], lighting, topology)
        parts.append(torch.cat([shot.color, shot.mask], dim=-1).half())
    return Views(camera, torch.cat(parts))


def pick(count: int, batch: int, step: int, seed: int) -> Tensor:
    """The views of one step, from concatenated random permutations; depends only on the seed and the step number."""
    batch = min(batch, count)
    picks = []
    for position in range(step * batch, (step + 1) * batch):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + position // count)
        picks.append(int(torch.randperm(count, generator=generator)[position % count]))
    return torch.tensor(picks)
