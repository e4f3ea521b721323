"""Grids of signed distances from images, from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.fit.implicit import curvature_loss, eikonal_loss, grid_gradients
from lumigrad.fit.mesh.views import Views, pick
from lumigrad.fit.optim import AdamUniform
from lumigrad.ops.implicit import redistance
from lumigrad.render.implicit import render_implicit
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_box, check_resolution, voxel_centers, voxel_size

SWEEPS = 4  # enough for distances near the surface


@dataclass(frozen=True)
class SDFStage:
    """A part of the fit with settings of its own.

    Attributes:
        iterations: gradient steps.
        resolution: voxels along each side of the grid.
        size: rows of the images compared.
        batch: views per step.
        rate: step of the values at first, in voxels; falls to a fifth over the stage.
        smoothing: passes of a small blur over the gradient of the values, which let it reach voxels beside the surface.
        eikonal: weight of `eikonal_loss`.
        curvature: weight of `curvature_loss`, with voxels of size 1.
        mask: weight of the coverage beside that of the colours.
        color_rate: step of the colours, where these are fitted.
    """

    iterations: int
    resolution: int
    size: int
    batch: int = 4
    rate: float = 0.3
    smoothing: int = 4
    eikonal: float = 0.01
    curvature: float = 1e-3
    mask: float = 1.0
    color_rate: float = 0.02


def default_sdf_stages(size: int = 128, resolution: int = 96, effort: float = 1.0) -> list[SDFStage]:
    """Three stages that suit closed shapes.

    Args:
        size: rows of the images; the first stage uses half of them where that divides.
        resolution: voxels along a side in the last stage; half and two thirds of them before.
        effort: scales the number of iterations.

    >>> from lumigrad.fit import default_sdf_stages
    >>> [(stage.iterations, stage.resolution, stage.size) for stage in default_sdf_stages(size=64, resolution=48)]
    [(60, 24, 32), (60, 32, 64), (80, 48, 64)]
    """
    counts = [max(1, round(n * effort)) for n in (60, 60, 80)]
    small = size if size % 2 else size // 2
    return [
        SDFStage(counts[0], max(resolution // 2, 2), small, rate=0.3),
        SDFStage(counts[1], max(2 * resolution // 3, 2), size, rate=0.2),
        SDFStage(counts[2], max(resolution, 2), size, rate=0.15),
    ]


@torch.no_grad()
def visual_hull(views: Views, resolution: int | tuple[int, int, int], box: Box) -> SignedDistanceGrid:
    """The largest shape in a box that no mask rules out, as distances.

    A voxel is inside if its centre is in the picture of one view at least and covered in all views that have it there.

    Args:
        views: images [N, H, W, 4] whose last channel is the coverage, with their cameras.
        resolution: voxels along each side, or (D, H, W).
        box: the two corners [2, 3].

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    Source: Laurentini 1994, "The Visual Hull Concept for Silhouette-Based Image Understanding".

    >>> from lumigrad.fit import fibonacci_cameras, render_views, visual_hull
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(3, radius=0.5), fibonacci_cameras(12, size=(32, 32)), Lighting())
    >>> hull = visual_hull(views, 24, [[-1, -1, -1], [1, 1, 1]])
    >>> 0.48 < hull.mesh().positions.norm(dim=-1).mean() < 0.6
    tensor(True)
    """
    _check_views(views)
    corners = check_box(box, views.images.float())
    values = hull_values(views, check_resolution(resolution), corners)
    return SignedDistanceGrid(_closed(redistance(values, corners, SWEEPS), corners), corners)


@torch.no_grad()
def hull_values(views: Views, sides: tuple[int, int, int], corners: Tensor, min_views: int = 1) -> Tensor:
    """Half minus the least coverage that any mask gives each voxel's centre, [D, H, W]; below 0 inside of the hull.

    Voxels in the pictures of fewer than `min_views` are outside.
    """
    masks = views.images[..., 3].float()
    points = voxel_centers(corners, sides).reshape(-1, 3)
    covered = torch.ones_like(points[:, 0])
    seen = torch.zeros_like(covered)
    for n, mask in enumerate(masks):
        camera = views.camera[n]
        at = 2 * camera.pixels(points) / points.new_tensor([*reversed(camera.size)]) - 1
        there = (camera.depth(points) > 0) & (at.abs() <= 1).all(-1)
        found = torch.nn.functional.grid_sample(
            mask[None, None], at[None, None].nan_to_num(0), padding_mode="border", align_corners=False
        )
        covered = torch.where(there, torch.minimum(covered, found[0, 0, 0]), covered)
        seen += there
    return torch.where(seen >= min_views, 0.5 - covered, 0.5).reshape(sides)


def fit_sdf(
    views: Views,
    lights: Sequence[Light] | Lighting | None = None,
    box: Box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
    stages: Sequence[SDFStage] | None = None,
    start: SignedDistanceGrid | None = None,
    *,
    shading: str = "phong",
    colors: bool = False,
    seed: int = 0,
    on_step: Callable[[int, float], bool] | None = None,
) -> SignedDistanceGrid:
    """Recover a closed surface from images and their masks.

    Each step renders some of the views by :func:`lumigrad.render.render_implicit`, with the gradient of silhouettes,
    and moves the values of the grid against the blurred gradient of the mean absolute error. Values become distances
    again where a stage begins, and in its middle.

    Args:
        views: premultiplied colours and coverage [N, H, W, 4], with their cameras.
        lights: of the images, as for `render_implicit`.
        box: what the surface lies in; that of the start, where one is given. Its border is kept outside, so that the
            surface is closed.
        stages: the stages in order, `default_sdf_stages` for these images by default.
        start: where to begin, and its material; by default the visual hull, of the default material. Colours of a start
            are those of the result, unless they are fitted.
        shading: as for `render_implicit`.
        colors: whether to fit colours of voxels too, which multiply those of the material.
        seed: of the order of views.
        on_step: called after every step with its number and its error; returning False stops the fit.

    Returns:
        The grid of the last stage. ``grid.mesh()`` makes triangles of it.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges; masks whose hull is empty; and a shape
            that is too small for the voxels of a stage.

    >>> from lumigrad.fit import SDFStage, fibonacci_cameras, fit_sdf, render_views
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(3, radius=0.6), fibonacci_cameras(6, size=(32, 32)), Lighting())
    >>> grid = fit_sdf(views, Lighting(), stages=[SDFStage(iterations=10, resolution=16, size=32)])
    >>> 0.57 < grid.mesh().positions.norm(dim=-1).mean() < 0.63
    tensor(True)
    """
    _check_views(views)
    if start is not None and not isinstance(start, SignedDistanceGrid):
        raise TypeError(f"start: expected a SignedDistanceGrid or None, got {type(start).__name__}")
    stages = default_sdf_stages(views.camera.size[0]) if stages is None else stages
    if not stages:
        raise ValueError("stages: expected at least one, got none")
    for stage in stages:
        if not isinstance(stage, SDFStage):
            raise TypeError(f"stages: expected SDFStage, got {type(stage).__name__}")
    grid, step = start, 0
    for number, stage in enumerate(stages):
        grid = visual_hull(views, stage.resolution, box) if grid is None else _resampled(grid, stage.resolution)
        if not bool((grid.values <= 0).any()):
            what = "views: expected masks that have" if step == 0 and start is None else "stages: expected to keep"
            raise ValueError(f"{what} a voxel inside, got none of {stage.resolution} along a side")
        if colors and grid.colors is None:
            grid = replace(grid, colors=grid.values.new_full((*grid.values.shape, 3), 0.5))
        leg = _Leg(stage, grid, views.resized(stage.size), lights, shading, colors)
        for local in range(stage.iterations):
            error = leg.step(local / stage.iterations, pick(len(views), stage.batch, local, seed + number))
            step += 1
            if on_step is not None and not on_step(step, error):
                return leg.grid()
            if local + 1 == stage.iterations // 2:
                leg.redistance()
        grid = leg.grid()
    assert grid is not None
    return grid


@torch.no_grad()
def largest_piece(grid: SignedDistanceGrid) -> SignedDistanceGrid:
    """The piece of a shape with the deepest voxel, without the cavities in it: one closed surface.

    Voxels belong together that are next to each other, along diagonals too where they are inside. All others change
    sides: their values become those of half a voxel, and then the whole is made distances again. A grid of one piece is
    returned as it is.

    >>> import torch
    >>> from lumigrad.fit import largest_piece
    >>> from lumigrad.scene import SignedDistanceGrid
    >>> def two_balls(x):
    ...     return torch.minimum(x.norm(dim=-1) - 0.5, (x - 0.8).norm(dim=-1) - 0.1)
    >>> grid = largest_piece(SignedDistanceGrid.from_function(two_balls, 32, [[-1, -1, -1], [1, 1, 1]]))
    >>> round(grid.mesh().positions.amax().item(), 1)
    0.5
    """
    if not isinstance(grid, SignedDistanceGrid):
        raise TypeError(f"grid: expected a SignedDistanceGrid, got {type(grid).__name__}")
    values = grid.values
    inside = values <= 0
    if not bool(inside.any()):
        return grid
    piece = _flooded(torch.zeros_like(inside).view(-1).index_fill(0, values.argmin(), True).view_as(inside), inside, 26)
    without = _flooded(_border(values) & ~piece, ~piece, 6)
    loose, hollow = inside & without, ~inside & ~without
    if not bool((loose | hollow).any()):
        return grid
    half = 0.5 * float(grid.voxel_size.amin())
    values = torch.where(loose, half, torch.where(hollow, -half, values))
    return replace(grid, values=redistance(values, grid.corners, SWEEPS))


class _Leg:
    """What a stage needs throughout: the values and colours that are fitted, and their optimisers."""

    def __init__(
        self, stage: SDFStage, start: SignedDistanceGrid, views: Views, lights: Sequence[Light] | Lighting | None,
        shading: str, colors: bool,
    ) -> None:  # fmt: skip
        self.stage, self.start, self.views, self.lights, self.shading = stage, start, views, lights, shading
        self.values = start.values.clone().requires_grad_()
        self.colors = None if start.colors is None else start.colors.clone().requires_grad_(colors)
        self.voxel = float(start.voxel_size.amin())
        self.unit = torch.stack((torch.zeros(3), torch.tensor([*reversed(start.values.shape)]))).to(start.values)
        # Moments decay fast, because the surface soon moves on to other voxels.
        self.optimizers: list[torch.optim.Optimizer] = [AdamUniform([self.values], self.voxel, (0.9, 0.99))]
        if colors:
            assert self.colors is not None
            self.optimizers.append(torch.optim.Adam([self.colors], stage.color_rate, (0.9, 0.99)))

    def grid(self) -> SignedDistanceGrid:
        """As it is now, without gradients."""
        colors = None if self.colors is None else self.colors.detach().clone()
        return replace(self.start, values=self.values.detach().clone(), colors=colors)

    def step(self, progress: float, picks: Tensor) -> float:
        """One gradient step at `progress` in [0, 1) of the stage; returns the mean absolute error."""
        stage = self.stage
        for optimizer, rate in zip(self.optimizers, (stage.rate * self.voxel, stage.color_rate), strict=False):
            optimizer.param_groups[0]["lr"] = rate * 0.2**progress
            optimizer.zero_grad(set_to_none=True)
        grid = replace(self.start, values=self.values, colors=self.colors)
        shot = render_implicit(grid, self.views.camera[picks], self.shading, self.lights, tone_mapping=None)
        target = self.views.images[picks].to(shot.color)
        error = (shot.color - target[..., :3]).abs().mean()
        loss = error + stage.mask * (shot.mask - target[..., 3:]).abs().mean()
        if stage.eikonal:
            loss = loss + stage.eikonal * eikonal_loss(grid_gradients(self.values, grid.corners))
        if stage.curvature:
            loss = loss + stage.curvature * curvature_loss(self.values / self.voxel, self.unit)
        loss.backward()
        with torch.no_grad():
            assert self.values.grad is not None
            self.values.grad = _blurred(self.values.grad, stage.smoothing)
            for optimizer in self.optimizers:
                optimizer.step()
            self.values.copy_(_closed(self.values, grid.corners))
            if self.colors is not None:
                self.colors.clamp_(0, 1)
        return float(error.detach())

    @torch.no_grad()
    def redistance(self) -> None:
        """Make the values distances."""
        self.values.copy_(_closed(redistance(self.values, self.start.corners, SWEEPS), self.start.corners))


def _check_views(views: Views) -> None:
    if not isinstance(views, Views):
        raise TypeError(f"views: expected Views, got {type(views).__name__}")
    check.shape("views.images", views.images, ("N", "H", "W", 4))


def _closed(values: Tensor, corners: Tensor) -> Tensor:
    """The values, with the border at least half a voxel outside."""
    half = 0.5 * float(voxel_size(corners, values).amin())
    values = values.nan_to_num(nan=half)
    return torch.where(_border(values), values.clamp(min=half), values)


def _border(values: Tensor) -> Tensor:
    """Which voxels lie on the border of their grid."""
    border = torch.ones_like(values, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    return border


def _resampled(grid: SignedDistanceGrid, resolution: int) -> SignedDistanceGrid:
    """The grid with another number of voxels, and distances."""
    size = check_resolution(resolution)
    points = voxel_centers(grid.corners, size)
    values = redistance(grid.distance(points), grid.corners, SWEEPS)
    colors = grid.color(points.reshape(-1, 3))
    colors = None if colors is None else colors.view(*size, 3)
    return replace(grid, values=_closed(values, grid.corners), colors=colors)


def _blurred(values: Tensor, passes: int) -> Tensor:
    """Passes of (1/4, 1/2, 1/4) along each axis; zero beyond the border."""
    kernel = values.new_tensor([0.25, 0.5, 0.25])
    for _ in range(passes):
        for axis in range(3):
            shape, padding = [1] * 3, [0] * 3
            shape[axis], padding[axis] = 3, 1
            values = torch.nn.functional.conv3d(values[None, None], kernel.view(1, 1, *shape), padding=padding)[0, 0]
    return values


def _flooded(seed: Tensor, within: Tensor, neighbours: int) -> Tensor:
    """What can be reached from a seed within a mask [D, H, W], over 6 or 26 neighbours."""
    while True:
        reached = seed[None].float()
        if neighbours == 26:
            reached = torch.nn.functional.max_pool3d(reached, 3, 1, 1)
        else:
            pools = ((3, 1, 1), (1, 3, 1), (1, 1, 3))
            reached = torch.stack(
                [torch.nn.functional.max_pool3d(reached, pool, 1, [side // 2 for side in pool]) for pool in pools]
            ).amax(0)
        grown = (reached[0] > 0) & within
        if torch.equal(grown, seed):
            return grown
        seed = grown
