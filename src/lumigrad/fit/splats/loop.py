"""The fitting loop: from points to primitives that reproduce photographs, from coarse to fine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import from_plain
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.metrics import ssim
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.measure import likenesses, mean_of, measure
from lumigrad.fit.photos.progress import check_limits, progress_of
from lumigrad.fit.splats.divided import Drawing, divided_gradients
from lumigrad.fit.splats.divided_rows import DividedRows
from lumigrad.fit.splats.models import DivisibleModel, Model
from lumigrad.fit.splats.rows import Rows
from lumigrad.fit.splats.strategies import Seen, Strategy


@dataclass(frozen=True)
class Schedule:
    """Length and settings of a fit. At least one of `iterations` and `minutes` is given.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most. The schedule is run through in this time if it does not suffice for all steps.
        levels: (progress, factor): from that progress on, photographs are averaged down by the factor.
        structure: weight of 1 - SSIM in the loss; the rest is the weight of the mean absolute error.
        background: grey behind everything.
        seed: of everything that is random.
        batch: photographs of each step, whose gradients are averaged.
    """

    iterations: int | None = None
    minutes: float | None = None
    levels: tuple[tuple[float, int], ...] = ((0.0, 4), (0.3, 2), (0.6, 1))
    structure: float = 0.2
    background: float = 0.0
    seed: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)
        if self.batch < 1:
            raise ValueError(f"batch: expected at least 1, got {self.batch}")

    def progress(self, state: SplatState) -> float:
        """The part of the steps that is done, from 0 to 1.

        >>> import torch
        >>> from lumigrad.fit.splats import Schedule, SplatState
        >>> state = SplatState.start({"means": torch.zeros(1, 3)})
        >>> state.iteration, state.seconds = 300, 6.0
        >>> Schedule(iterations=1000).progress(state)
        0.3
        >>> round(Schedule(minutes=0.5).progress(state), 6)  # a fifth of the time is worth more: its steps are cheap
        0.4
        """
        # A step at half the size costs half as much.
        costs = [(begin, 1 / factor) for begin, factor in self.levels]
        return progress_of(state, self.iterations, self.minutes, costs)

    def factor(self, progress: float) -> int:
        """The factor by which photographs are averaged down."""
        return next(factor for begin, factor in reversed(self.levels) if progress >= begin)


@dataclass
class SplatState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely."""

    rows: Rows
    random: Tensor
    order: list[int] = field(default_factory=list)
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, parameters: dict[str, Tensor], seed: int = 0) -> SplatState:
        """State before the first step."""
        rows = Rows(parameters)
        return cls(rows, torch.Generator(rows.device).manual_seed(seed).get_state())

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "rows": self.rows.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SplatState:
        return from_plain(cls, {**values, "rows": Rows.from_dict(values.get("rows"))})


def loss_of(image: Tensor, photo: Photo, structure: float) -> Tensor:
    """Mean absolute error and structural dissimilarity where the photograph counts.

    >>> import torch
    >>> from lumigrad.fit.splats import Photo, loss_of
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(24, 32))
    >>> photo = Photo(torch.full((1, 24, 32, 3), 0.5), torch.ones(1, 24, 32, 1), camera)
    >>> round(loss_of(photo.image, photo, structure=0.2).item(), 4)
    0.0
    >>> round(loss_of(photo.image + 0.1, photo, structure=0.0).item(), 4)  # the mean absolute error alone
    0.1
    """
    shown, target = image * photo.covered, photo.image * photo.covered
    error = (shown - target).abs().mean()
    return (1 - structure) * error + structure * (1 - ssim(shown, target).mean())


@torch.no_grad()
def evaluate(
    model: Model,
    parameters: dict[str, Tensor],
    photos: list[Photo],
    background: float,
    progress: float = 1.0,
    group: Group = ALONE,
) -> dict[str, float]:
    """Mean PSNR (decibels, of covered pixels) and SSIM over photographs, which are divided among a group's processes.

    >>> import torch
    >>> from lumigrad.fit.splats import Photo, Spheres, evaluate
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(24, 32))
    >>> photo = Photo(torch.full((1, 24, 32, 3), 0.5), torch.ones(1, 24, 32, 1), camera)
    >>> model = Spheres(3.0)
    >>> parameters = model.start(PointCloud(torch.rand(50, 3) - 0.5, torch.full((50, 3), 0.5)))
    >>> sorted(evaluate(model, parameters, [photo], background=0.5))
    ['psnr_db', 'ssim']
    """
    return measure(lambda camera: model.draw(parameters, camera, background, progress), photos, group)


def _step(
    state: SplatState, photos: list[Photo], model: Model, strategy: Strategy, schedule: Schedule, progress: float,
    generator: torch.Generator, group: Group,
) -> float:  # fmt: skip
    rows = state.rows
    if isinstance(rows, DividedRows):
        assert isinstance(model, DivisibleModel)
        found = divided_gradients(rows, photos, model, schedule.structure, schedule.background, progress)
        grads, pulls, losses = found.grads, found.pulls, group.sum([found.losses])[0]
    else:
        grads, pulls, losses = _shared_gradients(rows, photos, model, strategy.looks, schedule, progress, group)
    leaves = {name: value.detach().requires_grad_() for name, value in rows.parameters.items()}
    penalty = strategy.penalty(leaves)
    if penalty is not None:  # the mean over all primitives
        grads = _sums(grads, _gradients(penalty * (rows.count / len(rows)), leaves))
    # Positions must converge, so their rate falls to a hundredth; other rates fall to a fifth.
    rates = {name: rate * (0.01 if name == "means" else 0.2) ** progress for name, rate in model.rates.items()}
    rows.adam(grads, rates, state.iteration + 1)
    seen = [Seen(photo.camera, pull) for photo, pull in zip(photos, pulls)] if strategy.looks else []
    strategy.after_step(rows, seen, model, state.iteration + 1, progress, generator)
    return float(sum(losses.tolist()) / len(photos))


def _shared_gradients(
    rows: Rows, photos: list[Photo], model: Model, looks: bool, schedule: Schedule, progress: float, group: Group
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The gradients of the mean loss of photographs, which are divided among processes that all have all primitives.

    Returns:
        Gradients by parameter; with `looks`, the lengths [B, V] of those of each photograph's loss with respect to
        positions; and the losses [B].
    """
    leaves = {name: value.detach().requires_grad_() for name, value in rows.parameters.items()}
    grads: dict[str, Tensor] = {}
    losses = leaves["means"].new_zeros(len(photos))
    pulls = leaves["means"].new_zeros(len(photos) if looks else 0, len(leaves["means"]))
    for number in range(len(photos))[group.share(len(photos), "batch")]:
        image = model.draw(leaves, photos[number].camera, schedule.background, progress)
        loss = loss_of(image, photos[number], schedule.structure)
        found = _gradients(loss / len(photos), leaves)
        if looks:
            pulls[number] = len(photos) * found["means"].norm(dim=-1)
        losses[number] = loss.detach()
        grads = _sums(grads, found)
    grads = {name: grads[name] if name in grads else torch.zeros_like(leaf) for name, leaf in leaves.items()}
    *summed, pulls, losses = group.sum([*grads.values(), pulls, losses])
    return dict(zip(grads, summed, strict=True)), pulls, losses


def measured(
    rows: Rows, model: Model, photos: list[Photo], background: float, progress: float, group: Group
) -> dict[str, float]:
    """`evaluate`, of primitives that processes may divide."""
    if not isinstance(rows, DividedRows):
        return evaluate(model, rows.parameters, photos, background, progress, group)
    assert isinstance(model, DivisibleModel)
    draw = Drawing(rows, model, background, progress)
    with torch.no_grad():
        found = likenesses(draw, photos, group)
    draw.finish()
    return mean_of(found, group)


def _gradients(loss: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients that exist. A model with parameters of its own finds their gradients where `backward` leaves
    them."""
    for leaf in leaves.values():
        leaf.grad = None
    loss.backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def _sums(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**one, **{name: one[name] + value if name in one else value for name, value in other.items()}}


def _drawn(order: list[int], count: int, batch: int, generator: torch.Generator) -> tuple[list[int], list[int]]:
    """The photographs of a step, and the remaining ones of this round; each comes once per round."""
    picks: list[int] = []
    left = list(order)
    while len(picks) < batch:
        if not left:
            left = torch.randperm(count, generator=generator, device=generator.device).tolist()
        picks.append(left.pop())
    return picks, left


def fit_splats(
    photos: list[Photo],
    state: SplatState,
    model: Model,
    strategy: Strategy,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 250,
    on_step: Callable[[SplatState], bool] | None = None,
    group: Group = ALONE,
) -> SplatState:
    """Fit primitives to photographs by gradient descent.

    Args:
        photos: to fit, on the device of the state's rows, as are those held out.
        state: where to begin, `SplatState.start(model.start(points))` or what an earlier call returned; changed in
            place. Model, strategy and schedule are the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.
        group: processes among which the photographs of a step are divided; all begin with the same state.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through; on a CUDA device, only with torch's deterministic algorithms.

    >>> import torch
    >>> from lumigrad.fit.splats import MCMC, Photo, Schedule, Spheres, SplatState, fit_splats
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=45.0, size=(24, 32))
    >>> photo = Photo(torch.full((1, 24, 32, 3), 0.5), torch.ones(1, 24, 32, 1), camera)
    >>> model, schedule = Spheres(3.0), Schedule(iterations=10, levels=((0.0, 1),))
    >>> _ = torch.manual_seed(0)
    >>> points = PointCloud(torch.rand(50, 3) - 0.5, colors=torch.full((50, 3), 0.2))
    >>> state = fit_splats([photo], SplatState.start(model.start(points)), model, MCMC(100), schedule)
    >>> state.iteration, state.losses[-1] < state.losses[0]
    (10, True)
    """
    generator = torch.Generator(state.rows.device)
    generator.set_state(state.random)
    reduced: dict[int, list[Photo]] = {}
    while (progress := schedule.progress(state)) < 1:
        clock = time.perf_counter()
        factor = schedule.factor(progress)
        if factor not in reduced:
            reduced = {factor: [photo.reduced(factor) for photo in photos]}
        picks, left = _drawn(state.order, len(photos), schedule.batch, generator)
        chosen = [reduced[factor][pick] for pick in picks]
        state.losses.append(_step(state, chosen, model, strategy, schedule, progress, generator, group))
        state.order, state.iteration = left, state.iteration + 1
        state.random = generator.get_state()
        state.seconds = group.first(state.seconds + time.perf_counter() - clock)
        if held_out and state.iteration % evaluate_every == 0:
            numbers = measured(state.rows, model, held_out, schedule.background, progress, group)
            place = {"iteration": state.iteration, "seconds": state.seconds, "primitives": len(state.rows)}
            state.curve.append({**place, **numbers})
        if on_step is not None and not on_step(state):
            break
    return state
