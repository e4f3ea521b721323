"""The model: nested grids of densities and spherical harmonics around the point that the cameras look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields.descent import adam, add_smoothness
from lumigrad.fit.fields.model import Seen, Surroundings, as_picture, surroundings
from lumigrad.fit.fields.nest import see
from lumigrad.fit.fields.proposals import RayNoise
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.photos import Photo
from lumigrad.ops.field import occupancy
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Occupancy, Rays
from lumigrad.types.grids import voxel_centers

# The constant spherical harmonic.
_CONSTANT = 0.28209479177387814
# The scene's extent in the unit of length: it makes extinctions before activation equally large in any scene.
_UNITS = 100.0
# The start of rays, relative to the extent.
_NEAR = 0.25
# Half the side of the innermost box, relative to the extent.
_HALF = 0.5
# Extinction before "softplus": initially, where no photograph sees a voxel, and the limit elsewhere.
_START, HIDDEN, _LIMIT = -8.0, -20.0, -12.0
# The absorption from which a voxel counts as occupied.
_FAINT = 0.003
# Sides of the outer grids, relative to the innermost.
_COARSE = 0.8
# Rays marched at a time when images are drawn.
_CHUNK = 1 << 14
# Steps between two updates of the occupancy, and before the first: density must grow until it is meaningful.
_LOOK_EVERY, _LOOK_FROM = 30, 60
# Steps of the warm-up of learning rates, at the start and after each refinement.
_WARM_UP = 20
# Progress from which backgrounds are random: until then, where matter is matters more than whether there is any.
_OPAQUE_FROM = 0.12
# Final fraction of the learning rates.
_DECAY = 0.2
# Learning rates of densities, of constant colours, and of the harmonics of higher degrees.
_DENSITY, _COLOR, _REST = 0.2, 0.06, 0.006
# Differences of densities smaller than this are smoothed like squares.
_BEND = 0.5


class Voxels:
    """Nested boxes of voxels. The innermost has sides of the scene's extent (the distance of its cameras from
    what they look at), every further one of twice that.

    A voxel has an extinction, before the activation "softplus", and spherical harmonics of three colours. Voxels that
    too few photographs see stay empty, because they are undetermined.

    Args:
        photos: those that are fitted, or the surroundings of those that were; then, the field is for looking only.
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

    def __init__(self, photos: list[Photo] | Surroundings, boxes: int = 3, background: float = 0.0) -> None:
        if boxes < 1:
            raise ValueError(f"boxes: expected at least 1, got {boxes}")
        self.centre, self.extent = photos if isinstance(photos, Surroundings) else surroundings(photos)
        self.background, self.options = background, (boxes,)
        self.halves = [_HALF * _UNITS * 2**k for k in range(boxes)]
        self._cameras = [] if isinstance(photos, Surroundings) else [photo.camera for photo in photos]
        self._views = max(1, len(self._cameras) // 10)

    def begin(self, schedule: Schedule) -> FieldState:
        """The state before the first step."""
        return FieldState.start(self.start(*schedule.level(0.0)), schedule.seed)

    def check(self, state: FieldState) -> None:
        """Raise ValueError if a state is of another model."""
        shapes = [tuple(grid.shape) for grid in state.parameters]
        if len(shapes) != len(self.halves) or any(len(shape) != 4 or 0 in shape for shape in shapes):
            raise ValueError(f"state.parameters: expected {len(self.halves)} grids [D, H, W, C]")
        bricks = [tuple(-(-side // 4) for side in shape[:3]) for shape in shapes]
        if state.occupied and [tuple(words.shape) for words in state.occupied] != bricks:
            raise ValueError("state.occupied: expected words of each grid's bricks")

    def prepare(self, state: FieldState, schedule: Schedule, progress: float) -> None:
        """Refine the grids and update the occupancy, when the schedule says so."""
        voxels, degree = schedule.level(progress)
        wanted = (voxels, 1 + 3 * (degree + 1) ** 2)
        early = state.iteration < _LOOK_FROM
        if (state.parameters[0].shape[0], state.parameters[0].shape[3]) != wanted:
            grids = self.refine(state.parameters, voxels, degree)
            state.replace(grids, self.occupied(grids, everything=early))
        elif state.iteration % _LOOK_EVERY == 0:
            state.occupied = [found.words for found in self.occupied(state.parameters, everything=early)]

    def step(
        self,
        state: FieldState,
        rays: Rays,
        colors: Tensor,
        schedule: Schedule,
        progress: float,
        generator: torch.Generator,
        group: Group = ALONE,
    ) -> float:
        """A step of Adam on the squared error, with smoother densities."""
        opaque = schedule.opaque and progress >= _OPAQUE_FROM
        leaves = [grid.detach().requires_grad_() for grid in state.parameters]
        part = group.share(len(colors), "rays")
        background = RayNoise(generator, len(colors), part).uniform(3) if opaque else None
        seen = self.see(leaves, state.occupancy(), rays.origins[part], rays.directions[part], background)
        loss = (seen.color - colors[part]).square().mean() * ((part.stop - part.start) / len(colors))
        loss.backward()
        (error,) = group.sum_gradients(leaves, [loss.detach()])
        state.age += 1
        for grid, leaf, first, second in zip(state.parameters, leaves, state.first, state.second, strict=True):
            if leaf.grad is None:
                continue
            if schedule.smoothness:
                # Divided by the number of faces: fields of all resolutions are equally smooth for the same penalty.
                weight = schedule.smoothness / grid.shape[0] ** 2
                add_smoothness(leaf.grad[..., :1], grid[..., :1], weight, _BEND)
            rates = grid.new_full(grid.shape[-1:], _REST)
            rates[0], rates[1:4] = _DENSITY, _COLOR
            rates *= _DECAY**progress * min(1.0, state.age / _WARM_UP)
            adam(grid, leaf.grad, first, second, rates, state.age, HIDDEN)
        return float(error)

    def picture(self, state: FieldState, camera: Camera) -> Seen:
        """Images of a camera [1]; see `FieldModel.picture`."""
        return self.draw(state.parameters, state.occupancy(), camera)

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
        """Voxels that absorb enough to be sampled or, with `everything`, that photographs see."""
        found = []
        for grid, half in zip(grids, self.halves, strict=True):
            density = grid[..., 0].contiguous()
            seen = density[density != HIDDEN]
            extinction = -math.log1p(-_FAINT) * max(grid.shape[:3]) / (2 * half)
            threshold = math.log(math.expm1(extinction))
            # A field that is thin everywhere is still sampled where it is not the thinnest.
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
        """The results of rays [R, 3] in the world, over the model's background or another [R, 3]; depth in world
        units."""
        scale = _UNITS / self.extent
        degree = math.isqrt((grids[0].shape[-1] - 1) // 3) - 1
        out = see(grids, self.halves, (origins - self.centre) * scale, directions, _NEAR * _UNITS, degree, occupied)
        behind = self.background if background is None else background
        return Seen(out.color + (1 - out.alpha)[:, None] * behind, out.alpha, out.depth / scale)

    @torch.no_grad()
    def draw(self, grids: Sequence[Tensor], occupied: Sequence[Occupancy | None], camera: Camera) -> Seen:
        """Images of a camera [1]; see `FieldModel.picture`."""
        rays = camera.rays()
        return as_picture([self.see(grids, occupied, *part) for part in rays.chunks(_CHUNK)], rays, camera)

    def _sides(self, voxels: int) -> list[int]:
        return [voxels, *[max(2, int(_COARSE * voxels))] * (len(self.halves) - 1)]

    def _hide(self, grid: Tensor, half: float) -> Tensor:
        """Mark voxels that too few photographs see."""
        side = len(grid)
        reach = half * self.extent / _UNITS
        box = torch.stack((self.centre - reach, self.centre + reach))
        points = voxel_centers(box, grid.shape[:3]).reshape(-1, 3)
        views = torch.zeros(len(points), device=grid.device)
        for camera in self._cameras:
            height, width = camera.size
            place = camera.pixels(points)[0]
            inside = (place > 0).all(-1) & (place < place.new_tensor([width, height])).all(-1)
            views += inside & (camera.depth(points)[0] > _NEAR * self.extent)
        grid[..., 0].clamp_(min=_LIMIT).masked_fill_((views < self._views).view(side, side, side), HIDDEN)
        return grid
