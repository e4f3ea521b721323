"""The model: nested grids of densities and spherical harmonics around what the cameras look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.fit.fields.nest import Seen, see
from lumigrad.fit.photos import Photo, focus
from lumigrad.ops.field import occupancy
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Occupancy

# The constant spherical harmonic.
_CONSTANT = 0.28209479177387814
# Lengths in which the scene's extent is 100: extinctions before activation are of the same size in any scene.
_UNITS = 100.0
# Where rays begin, relative to the extent.
_NEAR = 0.25
# Half the side of the innermost box, relative to the extent.
_HALF = 0.5
# Extinction before "softplus": at the start, where no photograph sees a voxel, and the limit elsewhere.
_START, HIDDEN, _LIMIT = -8.0, -20.0, -12.0
# What a voxel must absorb to count as occupied.
_FAINT = 0.003
# Sides of the outer grids, relative to the innermost.
_COARSE = 0.8
# Rays that are marched together when images are drawn.
_CHUNK = 1 << 14


class Voxels:
    """Nested boxes of voxels. The innermost has sides of the scene's extent (the distance of its cameras from
    what they look at), every further one of twice that.

    A voxel has an extinction, before the activation "softplus", and spherical harmonics of three colours. Voxels that
    too few photographs see stay empty, because nothing says what is there.

    Args:
        photos: those that are fitted.
        boxes: number of grids.
        background: grey behind the outermost box.

    Raises:
        ValueError: no box, or all cameras are in the place that they look at.

    >>> import torch
    >>> from lumigrad.fit.fields import Voxels
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> model = Voxels([Photo(image, covered, around[n : n + 1]) for n in range(3)], boxes=2)
    >>> grids = model.start(voxels=16, degree=0)
    >>> [tuple(grid.shape) for grid in grids]
    [(16, 16, 16, 4), (12, 12, 12, 4)]
    >>> model.draw(grids, [None, None], around[:1]).color.shape
    torch.Size([1, 16, 16, 3])
    """

    def __init__(self, photos: list[Photo], boxes: int = 3, background: float = 0.0) -> None:
        if boxes < 1:
            raise ValueError(f"boxes: expected at least 1, got {boxes}")
        self.centre, self.extent = focus(photos)
        # A single camera, or several in one place, look at no point in particular.
        if not self.extent > 1e-6 * float(self.centre.norm()):
            raise ValueError("photos: expected cameras at different places, which look at the same things")
        self.background = background
        self.halves = [_HALF * _UNITS * 2**k for k in range(boxes)]
        self._cameras = [photo.camera for photo in photos]
        self._views = max(1, len(photos) // 10)

    def start(self, voxels: int, degree: int) -> list[Tensor]:
        """Thin grey fog."""
        grids = []
        for k, side in enumerate(self._sides(voxels)):
            grid = torch.zeros(side, side, side, 1 + 3 * (degree + 1) ** 2, device=self.centre.device)
            grid[..., 0], grid[..., 1:4] = _START, 0.5 / _CONSTANT
            grids.append(self._hide(grid, self.halves[k]))
        return grids

    def refine(self, grids: list[Tensor], voxels: int, degree: int) -> list[Tensor]:
        """The same field with another number of voxels and another degree, which is not lower."""
        fine = []
        for grid, side, half in zip(grids, self._sides(voxels), self.halves, strict=True):
            planes = grid.permute(3, 0, 1, 2)[None]
            planes = torch.nn.functional.interpolate(planes, size=(side,) * 3, mode="trilinear", align_corners=False)
            more = 1 + 3 * (degree + 1) ** 2 - grid.shape[-1]
            values = torch.nn.functional.pad(planes[0].permute(1, 2, 3, 0), (0, more)).contiguous()
            fine.append(self._hide(values, half))
        return fine

    def occupied(self, grids: Sequence[Tensor], everything: bool = False) -> list[Occupancy]:
        """Where voxels absorb enough to be looked at, or, with `everything`, where photographs see voxels."""
        found = []
        for grid, half in zip(grids, self.halves, strict=True):
            density = grid[..., 0].contiguous()
            seen = density[density != HIDDEN]
            extinction = -math.log1p(-_FAINT) * max(grid.shape[:3]) / (2 * half)
            threshold = math.log(math.expm1(extinction))
            # A field that is thin everywhere is still looked at where it is not the thinnest.
            if len(seen):
                threshold = min(threshold, float(seen.mean()) - 1e-3)
            found.append(occupancy(density, 0.5 * (HIDDEN + _LIMIT) if everything else threshold))
        return found

    def see(
        self,
        grids: Sequence[Tensor],
        occupied: Sequence[Occupancy | None],
        origins: Tensor,
        directions: Tensor,
        background: Tensor | None = None,
    ) -> Seen:
        """What rays [R, 3] in the world see, over the model's background or another [R, 3]; depth in world units."""
        scale = _UNITS / self.extent
        degree = math.isqrt((grids[0].shape[-1] - 1) // 3) - 1
        out = see(grids, self.halves, (origins - self.centre) * scale, directions, _NEAR * _UNITS, degree, occupied)
        behind = self.background if background is None else background
        return Seen(out.color + (1 - out.alpha)[:, None] * behind, out.alpha, out.depth / scale)

    @torch.no_grad()
    def draw(self, grids: Sequence[Tensor], occupied: Sequence[Occupancy | None], camera: Camera) -> Seen:
        """Images of a camera [1]: color [1, H, W, 3], alpha and expected depth along the viewing direction [1, H, W].

        Where less than half of a pixel is covered, its depth is 0.
        """
        rays = camera.rays()
        parts = [self.see(grids, occupied, *part) for part in rays.chunks(_CHUNK)]
        shape = (1, *camera.size)
        color, alpha, depth = (torch.cat(values).reshape(*shape, *values[0].shape[1:]) for values in zip(*parts))
        cosine = -(rays.directions * camera.world_to_camera[:, None, None, 2, :3]).sum(-1)
        return Seen(color, alpha, torch.where(alpha > 0.5, depth * cosine / alpha.clamp_min(0.5), 0))

    def _sides(self, voxels: int) -> list[int]:
        return [voxels, *[max(2, int(_COARSE * voxels))] * (len(self.halves) - 1)]

    def _hide(self, grid: Tensor, half: float) -> Tensor:
        """Mark voxels that too few photographs see."""
        side = len(grid)
        steps = ((torch.arange(side, device=grid.device) + 0.5) / side - 0.5) * (2 * half * self.extent / _UNITS)
        z, y, x = torch.meshgrid(steps, steps, steps, indexing="ij")
        points = torch.stack((x, y, z), -1).reshape(-1, 3) + self.centre
        views = torch.zeros(len(points), device=grid.device)
        for camera in self._cameras:
            height, width = camera.size
            place = camera.pixels(points)[0]
            inside = (place > 0).all(-1) & (place < place.new_tensor([width, height])).all(-1)
            views += inside & (camera.depth(points)[0] > _NEAR * self.extent)
        grid[..., 0].clamp_(min=_LIMIT).masked_fill_((views < self._views).view(side, side, side), HIDDEN)
        return grid
