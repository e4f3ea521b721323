"""The fitting loop of grids of signed distances: from coarse to fine, to what images and masks show."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.fit.implicit import curvature_loss, eikonal_loss, grid_gradients
from lumigrad.fit.mesh.views import Views, pick
from lumigrad.fit.sdf.border import closed
from lumigrad.fit.sdf.hull import SWEEPS, check_views, visual_hull
from lumigrad.fit.sdf.stages import SDFSchedule, SDFStage, default_sdf_stages
from lumigrad.fit.sdf.state import SDFState
from lumigrad.ops.implicit import redistance
from lumigrad.render.implicit import render_implicit
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.types.grids import Box, check_resolution, voxel_centers


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
    check_views(views)
    if start is not None and not isinstance(start, SignedDistanceGrid):
        raise TypeError(f"start: expected a SignedDistanceGrid or None, got {type(start).__name__}")
    stages = default_sdf_stages(views.camera.size[0]) if stages is None else stages
    if not stages:
        raise ValueError("stages: expected at least one, got none")
    for stage in stages:
        if not isinstance(stage, SDFStage):
            raise TypeError(f"stages: expected SDFStage, got {type(stage).__name__}")
        if stage.iterations < 1:
            raise ValueError(f"stages: expected at least one iteration of each, got {stage.iterations}")
    if start is None:
        start = visual_hull(views, stages[0].resolution, box)
        _check_inside(start, "views: expected masks that have", stages[0].resolution)
    else:
        start = _resampled(start, check_resolution(stages[0].resolution))
    target = SDFTarget(views, start, lights, shading, colors)
    after_step = None if on_step is None else lambda state: on_step(state.iteration, state.losses[-1])
    return target.grid(descend(target, SDFState(), SDFSchedule(stages, seed=seed), after_step))


@dataclass(frozen=True)
class SDFTarget:
    """The target of a grid's fit, and its start.

    Attributes:
        views, lights, shading, colors: as for `fit_sdf`.
        start: the grid to begin with; its box and its material are those of the result.
    """

    views: Views
    start: SignedDistanceGrid
    lights: Sequence[Light] | Lighting | None = None
    shading: str = "phong"
    colors: bool = False

    def grid(self, state: SDFState) -> SignedDistanceGrid:
        """The grid of a state, without gradients."""
        if state.values is None:
            return self.start
        colors = None if state.colors is None else state.colors.detach().clone()
        return replace(self.start, values=state.values.detach().clone(), colors=colors)


def descend(
    target: SDFTarget,
    state: SDFState,
    schedule: SDFSchedule,
    on_step: Callable[[SDFState], bool] | None = None,
    measure: Callable[[SDFState], dict[str, float]] | None = None,
    measure_every: int = 100,
) -> SDFState:
    """Take the steps that are left.

    Args:
        state: where to begin, `SDFState()` or what an earlier call returned; changed in place.
        on_step: called after every step; returning False stops the fit.
        measure: what `state.curve` gets every `measure_every` steps; this time does not count.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one that
        runs through.

    Raises:
        ValueError: the shape is too small for the voxels of a stage.
    """
    clock, leg = time.perf_counter(), None
    while (progress := schedule.progress(state)) < 1:
        number, within = schedule.stage(progress), schedule.within(progress)
        if leg is None or number != leg.number:
            leg = _Leg(number, schedule.stages[number], state, target)
        if within >= 0.5 and not state.settled:
            leg.settle(state)
        picks = pick(len(target.views), leg.stage.batch, state.iteration - state.begun, schedule.seed + number)
        state.losses.append(leg.step(state, within, picks))
        state.iteration += 1
        state.seconds += time.perf_counter() - clock
        if measure is not None and state.iteration % measure_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, **measure(state)})
        if on_step is not None and not on_step(state):
            break
        clock = time.perf_counter()
    return state


class _Leg:
    """The data that all steps of a stage need: views of its size, and optimisers of the values and colours in the
    state."""

    def __init__(self, number: int, stage: SDFStage, state: SDFState, target: SDFTarget) -> None:
        self.number, self.stage, self.target = number, stage, target
        fresh = number != state.stage
        if fresh:
            _begin(number, stage, state, target)
        assert state.values is not None
        self.views = target.views.resized(stage.size)
        self.voxel = float(target.grid(state).voxel_size.amin())
        self.unit = torch.stack((torch.zeros(3), torch.tensor([*reversed(state.values.shape)]))).to(state.values)
        self.optimizers = state.make_optimizers(stage, self.voxel, target.colors, fresh)

    def step(self, state: SDFState, within: float, picks: Tensor) -> float:
        """One gradient step at a part `within` of the stage; returns the mean absolute error."""
        assert state.values is not None
        stage = self.stage
        for optimizer, rate in zip(self.optimizers, (stage.rate * self.voxel, stage.color_rate), strict=False):
            optimizer.param_groups[0]["lr"] = rate * 0.2**within
            optimizer.zero_grad(set_to_none=True)
        grid = replace(self.target.start, values=state.values, colors=state.colors)
        error, mask_error = self._errors(grid, picks)
        loss = error + stage.mask * mask_error
        if stage.eikonal:
            loss = loss + stage.eikonal * eikonal_loss(grid_gradients(state.values, grid.corners))
        if stage.curvature:
            loss = loss + stage.curvature * curvature_loss(state.values / self.voxel, self.unit)
        loss.backward()
        with torch.no_grad():
            assert state.values.grad is not None
            state.values.grad = _blurred(state.values.grad, stage.smoothing)
            for optimizer in self.optimizers:
                optimizer.step()
            state.values.copy_(closed(state.values, grid.corners))
            if state.colors is not None:
                state.colors.clamp_(0, 1)
        state.optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        return float(error.detach())

    @torch.no_grad()
    def settle(self, state: SDFState) -> None:
        """Make the values distances."""
        assert state.values is not None
        corners = self.target.start.corners
        state.values.copy_(closed(redistance(state.values, corners, SWEEPS), corners))
        state.settled = 1

    def _errors(self, grid: SignedDistanceGrid, picks: Tensor) -> tuple[Tensor, Tensor]:
        """Mean absolute errors of colour and of coverage."""
        views, given = self.views, self.target
        shot = render_implicit(grid, views.camera[picks], given.shading, given.lights, tone_mapping=None)
        target = views.images[picks].to(shot.color)
        color, mask = shot.color - target[..., :3], shot.mask - target[..., 3:]
        if views.counts is not None:
            color, mask = color * views.counts[picks], mask * views.counts[picks]
        return color.abs().mean(), mask.abs().mean()


@torch.no_grad()
def _begin(number: int, stage: SDFStage, state: SDFState, target: SDFTarget) -> None:
    """The grid of a stage."""
    size = check_resolution(stage.resolution)
    grid = target.grid(state)
    if state.values is not None or tuple(grid.values.shape) != size:
        grid = _resampled(grid, size)
    _check_inside(grid, "stages: expected to keep", stage.resolution)
    if target.colors and grid.colors is None:
        grid = replace(grid, colors=grid.values.new_full((*grid.values.shape, 3), 0.5))
    state.stage, state.begun, state.settled = number, state.iteration, 0
    state.values = grid.values.clone()
    state.colors = None if grid.colors is None else grid.colors.clone()


def _check_inside(grid: SignedDistanceGrid, what: str, resolution: int) -> None:
    if not bool((grid.values <= 0).any()):
        raise ValueError(f"{what} a voxel inside, got none of {resolution} along a side")


def _resampled(grid: SignedDistanceGrid, size: tuple[int, int, int]) -> SignedDistanceGrid:
    """The grid with another number of voxels, and distances."""
    points = voxel_centers(grid.corners, size)
    values = redistance(grid.distance(points), grid.corners, SWEEPS)
    colors = grid.color(points.reshape(-1, 3))
    colors = None if colors is None else colors.view(*size, 3)
    return replace(grid, values=closed(values, grid.corners), colors=colors)


def _blurred(values: Tensor, passes: int) -> Tensor:
    """Passes of (1/4, 1/2, 1/4) along each axis; zero beyond the border."""
    kernel = values.new_tensor([0.25, 0.5, 0.25])
    for _ in range(passes):
        for axis in range(3):
            shape, padding = [1] * 3, [0] * 3
            shape[axis], padding[axis] = 3, 1
            values = torch.nn.functional.conv3d(values[None, None], kernel.view(1, 1, *shape), padding=padding)[0, 0]
    return values
