"""The stages and progress of a fit of materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lumigrad.fit.materials.drawing import Tracing
from lumigrad.fit.materials.regularise import Weights
from lumigrad.fit.photos.progress import Staged, Timed, check_limits, progress_of

LIGHTS = ("fast", "traced")


class Stage(NamedTuple):
    """A part of the fit.

    Attributes:
        begin: progress at which it begins.
        coarse: the surface is the same everywhere, so that what varies is first looked for in the light.
        traced: the light is traced, not looked up in a prefiltered map.
        rate: step of all parameters, as a factor.
    """

    begin: float
    coarse: bool = False
    traced: bool = False
    rate: float = 1.0


def stages_of(light: str) -> tuple[Stage, ...]:
    """The stages of a light model, "fast" or "traced"; the latter begins where the former ends.

    >>> from lumigrad.fit.materials.schedule import stages_of
    >>> [stage.begin for stage in stages_of("traced")]
    [0.0, 0.1, 0.6]
    """
    if light not in LIGHTS:
        raise ValueError(f"light: expected one of {', '.join(LIGHTS)}, got {light!r}")
    if light == "fast":
        return Stage(0.0, coarse=True), Stage(0.15)
    return Stage(0.0, coarse=True), Stage(0.1), Stage(0.6, traced=True, rate=0.5)


@dataclass(frozen=True)
class Schedule(Staged):
    """Length and settings of a fit. At least one of `iterations` and `minutes` is given.

    Attributes:
        stages: see `stages_of`.
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most.
        batch: photographs of each step.
        tracing: of the stages that trace light.
        albedo: mean linear base colour that is expected.
        exposure: fit a gain of each channel to each photograph.
        weights: see `Weights`.
        seed: of the order of photographs and of rays.
    """

    stages: tuple[Stage, ...]
    iterations: int | None = None
    minutes: float | None = None
    batch: int = 4
    tracing: Tracing = Tracing()  # noqa: RUF009
    albedo: float = 0.3
    exposure: bool = False
    weights: Weights = Weights()  # noqa: RUF009
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)

    def progress(self, state: Timed) -> float:
        """The part of the steps that is done, from 0 to 1."""
        costs = [(stage.begin, 4.0 if stage.traced else 1.0) for stage in self.stages]
        return progress_of(state, self.iterations, self.minutes, costs)

    @property
    def final_tracing(self) -> Tracing | None:
        """How light is traced at the end; None if it is not."""
        return self.tracing if self.stages[-1].traced else None
