"""The fitting loop: random rays of all photographs, from few voxels to many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import from_plain
from lumigrad.fit.fields.descent import adam, add_smoothness
from lumigrad.fit.fields.rays import PixelRays
from lumigrad.fit.fields.voxels import HIDDEN, Voxels
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.measure import measure
from lumigrad.fit.photos.progress import check_limits, progress_of
from lumigrad.types import Occupancy

# Steps between two looks at what is occupied, and before the first: density has to grow until it says anything.
_LOOK_EVERY, _LOOK_FROM = 30, 60
# Steps in which rates rise to their full size, at the start and after every refinement.
_WARM_UP = 20
# Progress from which backgrounds are random: before, where something is matters more than that something is there.
_OPAQUE_FROM = 0.12
# Part of the rates that is left at the end.
_DECAY = 0.2
# Rates of densities, of constant colours, and of the harmonics of higher degrees.
_DENSITY, _COLOR, _REST = 0.2, 0.06, 0.006
# Differences of densities smaller than this are smoothed like squares.
_BEND = 0.5


@dataclass(frozen=True)
class Schedule:
    """Length and settings of a fit. At least one of `iterations` and `minutes` is given.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most. The schedule is run through in this time if it does not suffice for all steps.
        levels: (progress, voxels, degree): from that progress on, the innermost grid has so many voxels a side and
            spherical harmonics up to that degree; neither may fall.
        rays: of random pixels, in each step.
        smoothness: weight of the total variation of densities, relative to the squared error.
        opaque: something is behind every pixel, as in photographs of rooms and landscapes, but not in renders of single
            objects. Then the background is random in each step, so that nothing dark is mistaken for transparent.
        seed: of everything that is random.
    """

    iterations: int | None = None
    minutes: float | None = None
    levels: tuple[tuple[float, int, int], ...] = ((0.0, 32, 0), (0.2, 64, 0), (0.5, 96, 0), (0.75, 128, 0))
    rays: int = 4096
    smoothness: float = 1e-4
    opaque: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)

    def progress(self, state: FieldState) -> float:
        """The part of the steps that is done, from 0 to 1.

        >>> import torch
        >>> from lumigrad.fit.fields import FieldState, Schedule
        >>> state = FieldState.start([torch.zeros(2, 2, 2, 4)])
        >>> state.iteration = 300
        >>> Schedule(iterations=1000).progress(state)
        0.3
        """
        # A step takes as long as rays have voxels to pass and these have values.
        costs = [(begin, voxels * (degree + 1.0)) for begin, voxels, degree in self.levels]
        return progress_of(state, self.iterations, self.minutes, costs)

    def level(self, progress: float) -> tuple[int, int]:
        """Voxels a side of the innermost grid, and degree."""
        return next((voxels, degree) for begin, voxels, degree in reversed(self.levels) if progress >= begin)


@dataclass
class FieldState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely.

    Attributes:
        grids: [D, H, W, 1 + C] each, the innermost first.
        first, second: Adam's moments of each.
        occupied: `Occupancy.words` of each.
        random: state of the generator.
        age: steps that the moments have collected, since the last refinement.
        iteration, seconds, losses, curve: what happened so far.
    """

    grids: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    occupied: list[Tensor]
    random: Tensor
    age: int = 0
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, grids: list[Tensor], seed: int = 0) -> FieldState:
        """State before the first step."""
        device = grids[0].device
        state = cls([], [], [], [], torch.Generator(device).manual_seed(seed).get_state())
        state.replace(grids, [None] * len(grids))
        return state

    @property
    def device(self) -> torch.device:
        return self.grids[0].device

    def replace(self, grids: list[Tensor], occupied: list[Occupancy] | list[None]) -> None:
        """Go on with other grids, and new moments."""
        self.grids, self.age = grids, 0
        self.first, self.second = ([torch.zeros_like(grid) for grid in grids] for _ in range(2))
        self.occupied = [found.words for found in occupied if found is not None]

    def occupancy(self) -> list[Occupancy] | list[None]:
        """Where there is something, for each grid; None before anybody has looked."""
        if not self.occupied:
            return [None] * len(self.grids)
        return [
            Occupancy(words, (grid.shape[0], grid.shape[1], grid.shape[2]))
            for words, grid in zip(self.occupied, self.grids, strict=True)
        ]

    def to(self, device: torch.device) -> FieldState:
        """The same on another device."""
        lists = ("grids", "first", "second", "occupied")
        return FieldState(**{**vars(self), **{name: [one.to(device) for one in getattr(self, name)] for name in lists}})

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Any) -> FieldState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, not finite, or do not fit together.
        """
        state = from_plain(cls, values)
        shapes = [grid.shape for grid in state.grids]
        if not shapes or any(len(shape) != 4 or not shape.numel() for shape in shapes):
            raise ValueError("state.grids: expected grids [D, H, W, C]")
        for name in ("first", "second"):
            if [moment.shape for moment in getattr(state, name)] != shapes:
                raise ValueError(f"state.{name}: expected one like each grid")
        bricks = [tuple(-(-side // 4) for side in shape[:3]) for shape in shapes]
        if state.occupied and [tuple(words.shape) for words in state.occupied] != bricks:
            raise ValueError("state.occupied: expected words of each grid's bricks")
        return state


@torch.no_grad()
def evaluate(model: Voxels, state: FieldState, photos: list[Photo]) -> dict[str, float]:
    """Mean PSNR (decibels, of covered pixels) and SSIM over photographs.

    >>> import torch
    >>> from lumigrad.fit.fields import FieldState, Voxels, evaluate
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model = Voxels(photos, boxes=2)
    >>> sorted(evaluate(model, FieldState.start(model.start(voxels=16, degree=0)), photos))
    ['psnr_db', 'ssim']
    """
    occupied = state.occupancy()
    return measure(lambda camera: model.draw(state.grids, occupied, camera).color, photos)


def _step(
    state: FieldState, pixels: PixelRays, model: Voxels, schedule: Schedule, progress: float, generator: torch.Generator
) -> float:
    opaque = schedule.opaque and progress >= _OPAQUE_FROM
    rays, colors = pixels.draw(schedule.rays, generator)
    leaves = [grid.detach().requires_grad_() for grid in state.grids]
    background = torch.rand(colors.shape, generator=generator, device=generator.device) if opaque else None
    seen = model.see(leaves, state.occupancy(), *rays, background)
    loss = (seen.color - colors).square().mean()
    loss.backward()
    state.age += 1
    for grid, leaf, first, second in zip(state.grids, leaves, state.first, state.second, strict=True):
        if leaf.grad is None:
            continue
        if schedule.smoothness:
            # Per face: a field of any resolution is as smooth for the same price.
            weight = schedule.smoothness / grid.shape[0] ** 2
            add_smoothness(leaf.grad[..., :1], grid[..., :1], weight, _BEND)
        rates = grid.new_full(grid.shape[-1:], _REST)
        rates[0], rates[1:4] = _DENSITY, _COLOR
        rates *= _DECAY**progress * min(1.0, state.age / _WARM_UP)
        adam(grid, leaf.grad, first, second, rates, state.age, HIDDEN)
    return float(loss.detach())


def _prepare(state: FieldState, model: Voxels, schedule: Schedule, progress: float) -> None:
    """Refine the grids where the schedule says so, and look at what is occupied when it is time."""
    voxels, degree = schedule.level(progress)
    wanted = (voxels, 1 + 3 * (degree + 1) ** 2)
    early = state.iteration < _LOOK_FROM
    if (state.grids[0].shape[0], state.grids[0].shape[3]) != wanted:
        grids = model.refine(state.grids, voxels, degree)
        state.replace(grids, model.occupied(grids, everything=early))
    elif state.iteration % _LOOK_EVERY == 0:
        state.occupied = [found.words for found in model.occupied(state.grids, everything=early)]


def fit_field(
    photos: list[Photo],
    state: FieldState,
    model: Voxels,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 250,
    on_step: Callable[[FieldState], bool] | None = None,
) -> FieldState:
    """Fit a field to photographs by gradient descent.

    Args:
        photos: to fit, on the device of the state's grids, as are those held out.
        state: where to begin, `FieldState.start(model.start(...))` or what an earlier call returned; changed in place.
            Model and schedule are the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through; on a CUDA device, only with torch's deterministic algorithms.

    >>> import torch
    >>> from lumigrad.fit.fields import FieldState, Schedule, Voxels, fit_field
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model, schedule = Voxels(photos, boxes=2), Schedule(iterations=40, levels=((0.0, 16, 0),))
    >>> state = fit_field(photos, FieldState.start(model.start(voxels=16, degree=0)), model, schedule)
    >>> state.iteration, state.losses[-1] < state.losses[0]
    (40, True)
    """
    generator = torch.Generator(state.device)
    generator.set_state(state.random)
    pixels = PixelRays(photos)
    while (progress := schedule.progress(state)) < 1:
        clock = time.perf_counter()
        _prepare(state, model, schedule, progress)
        state.losses.append(_step(state, pixels, model, schedule, progress, generator))
        state.iteration += 1
        state.random = generator.get_state()
        state.seconds += time.perf_counter() - clock
        if held_out and state.iteration % evaluate_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds, "voxels": len(state.grids[0])}
            state.curve.append({**place, **evaluate(model, state, held_out)})
        if on_step is not None and not on_step(state):
            break
    return state
