"""The progress of a fit, by steps and by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Timed(Protocol):
    """The state of a fit that counts its steps and seconds."""

    iteration: int
    seconds: float


def check_limits(iterations: int | None, minutes: float | None) -> None:
    """Raise ValueError if nothing ends the fit."""
    if iterations is None and minutes is None:
        raise ValueError("iterations, minutes: expected at least one of them")


def progress_of(
    state: Timed, iterations: int | None, minutes: float | None, costs: Sequence[tuple[float, float]]
) -> float:
    """The part of the steps that is done, from 0 to 1, of a fit that ends by steps or by time, whichever is first.

    Args:
        costs: (progress, cost): the cost of a step from that progress on, in any unit.

    >>> from types import SimpleNamespace
    >>> from lumigrad.fit.photos.progress import progress_of
    >>> half = SimpleNamespace(iteration=0, seconds=30.0)
    >>> progress_of(half, None, 1.0, [(0.0, 1.0), (0.5, 3.0)])  # late steps cost more
    0.6666666666666666
    """
    by_steps = 0.0 if iterations is None else state.iteration / iterations
    by_time = 0.0 if minutes is None else _steps_of_time(state.seconds / (60 * minutes), costs)
    return min(1.0, max(by_steps, by_time))


def _steps_of_time(time: float, costs: Sequence[tuple[float, float]]) -> float:
    """The part of the steps that fits into a part of the time."""
    begins = [begin for begin, _ in costs]
    lengths = [end - begin for begin, end in zip(begins, [*begins[1:], 1.0], strict=True)]
    left = time * sum(length * cost for length, (_, cost) in zip(lengths, costs, strict=True))
    for begin, length, (_, cost) in zip(begins, lengths, costs, strict=True):
        if left < length * cost:
            return begin + left / cost
        left -= length * cost
    return 1.0


def stage_at(begins: Sequence[float], progress: float) -> tuple[int, float]:
    """Number of the stage at a progress in [0, 1), and the part of it that is done.

    Args:
        begins: at which progress each stage begins; rising from 0.

    >>> from lumigrad.fit.photos.progress import stage_at
    >>> stage_at([0.0, 0.5], 0.75)
    (1, 0.5)
    """
    number = max(number for number, begin in enumerate(begins) if progress >= begin)
    end = begins[number + 1] if number + 1 < len(begins) else 1.0
    return number, (progress - begins[number]) / (end - begins[number])


class Staged:
    """A schedule with `stages`, each of which begins at a progress.

    >>> from types import SimpleNamespace
    >>> from lumigrad.fit.photos.progress import Staged
    >>> schedule = Staged()
    >>> schedule.stages = (SimpleNamespace(begin=0.0), SimpleNamespace(begin=0.5))
    >>> schedule.stage(0.75), schedule.within(0.75)
    (1, 0.5)
    """

    stages: Sequence[Any]

    def stage(self, progress: float) -> int:
        """Number of the stage at a progress in [0, 1)."""
        return stage_at(self._begins, progress)[0]

    def within(self, progress: float) -> float:
        """The part of its stage that is done, from 0 to 1."""
        return stage_at(self._begins, progress)[1]

    @property
    def _begins(self) -> list[float]:
        return [stage.begin for stage in self.stages]
