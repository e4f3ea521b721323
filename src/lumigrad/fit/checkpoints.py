"""The state of a fit on disk, so that an interrupted fit can be resumed."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch

from lumigrad.fit._atomic_file import replacing
from lumigrad.fit.distributed import ALONE, Group, LostProcessError
from lumigrad.fit.interruption import Interruption

STATE_VERSION = 1


class CheckpointError(ValueError):
    """There is no state to resume from, it is damaged or belongs to another fit, or it cannot be written."""


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _why_not_written(error: BaseException) -> str:
    """The reason in words. For a full disk, torch may raise its own RuntimeError, caused by the system's error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return "the disk is full"
        cause = cause.__cause__ or cause.__context__
    return _first_line(error)


class State(Protocol):
    """The state of a fit: tensors and plain values only, so that it can be loaded safely."""

    def to_dict(self) -> dict[str, Any]: ...


AnyState = TypeVar("AnyState", bound=State)
# For a state divided among processes: the whole state in the first process, None in the others.
Whole: TypeAlias = Callable[[AnyState], AbstractContextManager[AnyState | None]]


class Checkpoints:
    """The file `state.pt` in a folder.

    Args:
        folder: an existing folder.
        settings: plain values that determine the fit. A state saved with other settings cannot be resumed.
        inputs: those settings that are digests of the input, each with the words for a different input, such as
            {"mesh": "another mesh"}.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        self.path = folder / "state.pt"
        self.settings, self.inputs = dict(settings), dict(inputs)

    def save(self, state: State) -> None:
        """Replace the saved state: whenever the process is killed, one complete state is left.

        Raises:
            CheckpointError: the disk is full, or the folder cannot be written to; the saved state is as it was.
        """
        try:
            with replacing(self.path) as file:
                torch.save({"version": STATE_VERSION, "settings": self.settings, "state": state.to_dict()}, file)
        except (OSError, RuntimeError) as error:
            kept = "; the state that was saved before is kept" if self.path.is_file() else ""
            raise CheckpointError(f"cannot write {self.path}: {_why_not_written(error)}{kept}") from error

    def load(self, in_file: bool = False) -> dict[str, Any]:
        """The saved state, as `to_dict` returned it, on the CPU.

        Args:
            in_file: leave tensors in the file, from which the system reads them as they are used.

        Raises:
            CheckpointError: there is no state, it is damaged, or it was made from another input or with other settings.
        """
        if not self.path.is_file():
            raise CheckpointError(f"no state to resume from in {self.path.parent}")
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=in_file)
            version, settings, state = saved["version"], dict(saved["settings"]), dict(saved["state"])
        except Exception as error:  # a damaged file can fail in any layer of the reader
            raise CheckpointError(f"cannot read {self.path}: {_first_line(error)}") from error
        if version != STATE_VERSION:
            raise CheckpointError(f"{self.path} is from another version of lumigrad")
        self._compare(settings)
        return state

    def restore(self, build: Callable[[dict[str, Any]], AnyState], in_file: bool = False) -> AnyState:
        """The saved state, made by `build` from what `load` returns.

        Args:
            in_file: as for `load`.

        Raises:
            CheckpointError: as `load`; or `build` raises an error.
        """
        values = self.load(in_file)
        try:
            return build(values)
        except Exception as error:  # whatever is wrong with the values, the file must be replaced
            raise CheckpointError(f"{self.path} is damaged: {_first_line(error)}") from error

    def _compare(self, saved: dict[str, Any]) -> None:
        different = [name for name in self.settings if saved.get(name) != self.settings[name]]
        unknown = [name for name in self.inputs if name in self.settings and name not in saved]
        if unknown:
            raise CheckpointError(f"{self.path} is from another version of lumigrad: it has no {unknown[0]}")
        others = [other for name, other in self.inputs.items() if name in different]
        if others:
            raise CheckpointError(f"{self.path} belongs to {', '.join(others)}")
        if different:
            # Stages follow from the other options, so they are only mentioned if nothing else differs.
            told = [name for name in different if name != "stages"] or different
            changes = ", ".join(f"{name} was {saved.get(name)}, now {self.settings[name]}" for name in told)
            raise CheckpointError(f"{self.path} was made with other options: {changes}")


def run_with_checkpoints(
    loop: Callable[[Callable[[AnyState], bool]], AnyState],
    checkpoints: Checkpoints,
    on_step: Callable[[AnyState], None] | None = None,
    interval: float = 30.0,
    group: Group = ALONE,
    whole: Whole[AnyState] | None = None,
) -> AnyState:
    """Run a fitting loop until it ends or SIGINT or SIGTERM asks it to stop, and save its state.

    Args:
        loop: runs the fit. Its argument is to be called with the state after every step and returns False to stop.
        checkpoints: where the state is saved, at the end and every `interval` seconds.
        on_step: called with the state after every step, for example to show progress.
        group: processes that run the loop together: all stop after the same step, and the first one saves the state.
        whole: where each process has a part of the state: brings the parts to the first one, called by all.

    Raises:
        LostProcessError: a process of the group is lost; one of those left has saved the state after the last step,
            unless a part of it is lost.

    >>> from pathlib import Path
    >>> from lumigrad.fit import Checkpoints, FitState, Stage, fibonacci_cameras, fit, render_views
    >>> from lumigrad.fit import run_with_checkpoints
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(1, radius=0.8), fibonacci_cameras(2, size=(32, 32)), Lighting())
    >>> state = FitState.start(icosphere(1))
    >>> checkpoints = Checkpoints(Path(), settings={"radius": 0.8}, inputs={})
    >>> stages = [Stage(iterations=2, size=32, batch=2)]
    >>> state = run_with_checkpoints(lambda go_on: fit(views, state, stages, Lighting(), on_step=go_on), checkpoints)
    >>> FitState.from_dict(checkpoints.load()).iteration  # of the file state.pt
    2
    """
    saving = _Saving(checkpoints, group, whole, interval)
    with Interruption() as interruption:

        def after_step(state: AnyState) -> bool:
            if on_step is not None:
                on_step(state)
            saving.after_step(state)
            return not group.any(interruption.requested)

        try:
            state = loop(after_step)
            saving.save(state)
        except LostProcessError as error:
            saving.after_loss(error)
            raise
    return state


class _Saving(Generic[AnyState]):
    """When a state is saved, and by which process."""

    def __init__(self, checkpoints: Checkpoints, group: Group, whole: Whole[AnyState] | None, interval: float) -> None:
        self._checkpoints, self._group, self._whole, self._interval = checkpoints, group, whole, interval
        self._last: AnyState | None = None
        self._time, self._kept = time.monotonic(), None

    def after_step(self, state: AnyState) -> None:
        self._last = state
        due = self._group.is_first and time.monotonic() - self._time > self._interval
        if due if self._whole is None else self._group.any(due):
            self.save(state)

    def save(self, state: AnyState) -> None:
        if self._whole is not None:
            with self._whole(state) as complete:
                if complete is not None:
                    self._checkpoints.save(complete)
        elif self._group.is_first:
            self._checkpoints.save(state)
        self._time, self._kept = time.monotonic(), getattr(state, "iteration", None)

    def after_loss(self, error: LostProcessError) -> None:
        """Save what can be saved after a process was lost."""
        error.lost_with_it = self._whole is not None
        if error.lost_with_it:
            error.saved, error.kept = self._group.saves(), self._kept
        elif self._last is not None and self._group.saves():
            self._checkpoints.save(self._last)
            error.saved = True
