"""The base of whole fits: a state in a folder, from which an interrupted fit resumes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic

from lumigrad.fit.checkpoints import AnyState, Checkpoints, run_with_checkpoints
from lumigrad.fit.preview import Preview


class Job(ABC, Generic[AnyState]):
    """A whole fit: it begins or resumes, runs until its end or until a signal, and writes its results.

    A subclass defines what is fitted and how, in five methods: `begin`, `read`, `fit`, `progress` and `write_results`.
    States are objects with a method `to_dict`, which returns tensors and plain values only. Fits to photographs derive
    from `lumigrad.fit.photos.job.PhotoJob`.

    Attributes:
        settings: plain values that determine the fit, kept beside its state, which can be resumed with the same
            settings only.
        inputs: those of the settings that are digests of the input, each with the words for a different input, such as
            {"mesh": "another mesh"}.

    >>> from dataclasses import dataclass
    >>> from pathlib import Path
    >>> from lumigrad.fit import Job
    >>> @dataclass
    ... class Root:
    ...     guess: float = 1.0
    ...     steps: int = 0
    ...     def to_dict(self):
    ...         return dict(vars(self))
    >>> class SquareRoot(Job[Root]):
    ...     def __init__(self, number, steps):
    ...         self.number, self.steps, self.settings = number, steps, {"number": number}
    ...     def begin(self):
    ...         return Root()
    ...     def read(self, values):
    ...         return Root(**values)
    ...     def fit(self, state, go_on):
    ...         while state.steps < self.steps:
    ...             state.guess = 0.5 * (state.guess + self.number / state.guess)
    ...             state.steps += 1
    ...             if not go_on(state):
    ...                 break
    ...         return state
    ...     def progress(self, state):
    ...         return state.steps / self.steps
    ...     def write_results(self, state, folder):
    ...         return {"root": state.guess}
    >>> job = SquareRoot(2.0, steps=2)
    >>> job.run(job.begin(), Path()).guess  # and in the file state.pt
    1.4166666666666665
    >>> job = SquareRoot(2.0, steps=4)
    >>> state = job.run(job.resume(Path()), Path())
    >>> state.steps, job.complete(state), job.write_results(state, Path())
    (4, True, {'root': 1.4142135623746899})
    """

    settings: dict[str, Any]
    inputs: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def begin(self) -> AnyState:
        """The state before the first step."""

    @abstractmethod
    def read(self, values: dict[str, Any]) -> AnyState:
        """The state from the values of `to_dict`; raises any error if they do not fit the job."""

    @abstractmethod
    def fit(self, state: AnyState, go_on: Callable[[AnyState], bool]) -> AnyState:
        """Go on from a state to the end; returns the state.

        Args:
            go_on: to be called with the state after every step; where it returns False, the fit stops.
        """

    @abstractmethod
    def progress(self, state: AnyState) -> float:
        """The part of the fit that is done, from 0 to 1."""

    @abstractmethod
    def write_results(self, state: AnyState, folder: Path) -> dict[str, Any]:
        """Write metrics.json and whatever else comes out of the fit; returns the metrics."""

    def resume(self, folder: Path) -> AnyState:
        """The state kept in a folder.

        Raises:
            CheckpointError: there is none, or it is of another fit.
        """
        return self.checkpoints(folder).restore(self.read)

    def run(self, state: AnyState, folder: Path, on_step: Callable[[AnyState], None] | None = None) -> AnyState:
        """Fit until the end or until SIGINT or SIGTERM, keeping the state in an existing folder.

        Args:
            on_step: called with the state after every step.

        Raises:
            CheckpointError: the state cannot be written; the one that was written last is still there.
        """
        return run_with_checkpoints(lambda go_on: self.fit(state, go_on), self.checkpoints(folder), on_step)

    def preview(self, state: AnyState) -> Preview:
        """A preview of a state while the fit runs.

        Raises:
            NotImplementedError: the job has no pictures.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pictures to show while it runs")

    def complete(self, state: AnyState) -> bool:
        """Whether the fit is complete."""
        return self.progress(state) >= 1

    def checkpoints(self, folder: Path) -> Checkpoints:
        """The checkpoints that hold the state."""
        return Checkpoints(folder, self.settings, self.inputs)
