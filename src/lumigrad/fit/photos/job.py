"""The base of whole fits to posed photographs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from lumigrad.fit.checkpoints import AnyState, Whole, run_with_checkpoints
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.job import Job
from lumigrad.fit.photos.photo import Photo, digests, load_photos
from lumigrad.io.photos import PosedPhotos


class PhotoOptions(Protocol):
    """The options of a fit, as far as photographs need them."""

    @property
    def reduce(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...


class SplitPhotos(NamedTuple):
    """Photographs to fit, those held out, and the settings of a fit to them."""

    fitted: list[Photo]
    held_out: list[Photo]
    settings: dict[str, Any]


def load_split(data: PosedPhotos, options: PhotoOptions, device: torch.device) -> SplitPhotos:
    """Read the photographs of a data set, and make the settings of a fit to them, which have their digests.

    Args:
        device: where the fit is to run, which is one of its settings; photographs stay on the CPU.

    Raises:
        FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; or masks leave no pixel of the
            photographs to fit, or of those held out.
    """
    train, kept = data.split()
    fitted, held_out = (load_photos(data, part, reduce=options.reduce) for part in (train, kept))
    for photos, what in ((fitted, "photographs to fit"), (held_out, "photographs held out")):
        if not any(_shows_something(photo) for photo in photos):
            raise ValueError(f"{data.folder}: none of the {len(photos)} {what} has a pixel that its mask lets count")
    settings = {**options.to_dict(), "device": device.type, **digests(fitted, held_out)}
    return SplitPhotos(fitted, held_out, settings)


def _shows_something(photo: Photo) -> bool:
    counts = photo.covered > 0
    return bool((counts if photo.alpha is None else counts & (photo.alpha > 0)).any())


class Ending(Protocol):
    """A schedule that knows its end."""

    def progress(self, state: Any) -> float: ...


class PhotoJob(Job[AnyState]):
    """A whole fit to posed photographs, measured on held-out ones.

    Attributes:
        schedule: how long to fit.
        settings: see `Job`; those from `load_split` identify the photographs that are fitted.
    """

    schedule: Ending
    inputs: ClassVar[Mapping[str, str]] = {
        "photographs": "other photographs",
        "intrinsics": "other focal lengths, principal points or sizes of photographs",
        "masks": "other masks",
        "held_out": "other photographs held out",
    }

    @abstractmethod
    def fit(self, state: AnyState, go_on: Callable[[AnyState], bool], evaluate_every: int = 250) -> AnyState:
        """Go on from a state to the end; returns the state.

        Args:
            go_on: to be called with the state after every step; where it returns False, the fit stops.
            evaluate_every: steps between two measurements on the photographs held out.
        """

    def run(
        self,
        state: AnyState,
        folder: Path,
        on_step: Callable[[AnyState], None] | None = None,
        evaluate_every: int | None = None,
    ) -> AnyState:
        """Fit until the end or until SIGINT or SIGTERM, keeping the state in an existing folder.

        Args:
            on_step: called with the state after every step.
            evaluate_every: steps between two measurements on the photographs held out; by default as `fit` has it.

        Raises:
            CheckpointError: the state cannot be written; the one that was written last is still there.
        """
        return self._run(self.fit, state, folder, on_step, evaluate_every)

    def _run(
        self,
        fit: Callable[..., AnyState],
        state: AnyState,
        folder: Path,
        on_step: Callable[[AnyState], None] | None,
        evaluate_every: int | None,
        group: Group = ALONE,
        whole: Whole[AnyState] | None = None,
    ) -> AnyState:
        """`run` with a form of `fit`."""
        if evaluate_every is not None:
            fit = partial(fit, evaluate_every=evaluate_every)
        return run_with_checkpoints(
            lambda go_on: fit(state, go_on), self.checkpoints(folder), on_step, group=group, whole=whole
        )

    @abstractmethod
    def write_results(self, state: AnyState, folder: Path, frames: int = 60) -> dict[str, Any]:
        """Write metrics.json, pictures and what was fitted; returns the metrics.

        Args:
            frames: of the animation.
        """

    def progress(self, state: AnyState) -> float:
        """The part of the schedule that is done, from 0 to 1."""
        return self.schedule.progress(state)


class DividedJob(PhotoJob[AnyState]):
    """A fit to photographs that several processes can do together, see `lumigrad.fit.distributed`.

    ::

        group = join()
        state = job.begin_together(group)
        state = job.run(state, folder, group=group)
        if job.complete(state):
            numbers = job.write_results_together(state, folder, group=group)
    """

    @abstractmethod
    def fit(
        self, state: AnyState, go_on: Callable[[AnyState], bool], evaluate_every: int = 250, group: Group = ALONE
    ) -> AnyState:
        """Go on from a state to the end; returns the state.

        Args:
            go_on: to be called with the state after every step; where it returns False, the fit stops.
            evaluate_every: steps between two measurements on the photographs held out.
            group: the processes that fit; all begin with the same state. Where one is lost in the middle of a step, the
                state of the others is that before the step.
        """

    def begin_together(self, group: Group, folder: Path | None = None) -> AnyState:
        """The state that all processes of a group begin with, made or read by the first one.

        Args:
            folder: with the state to resume from; None for the state before the first step.

        Raises:
            CheckpointError: there is no such state, or it is of another fit.
            ValueError: this process has other photographs or options than the first one.
        """
        own: list[AnyState] = []

        def make() -> dict[str, Any]:
            own.append(self.begin() if folder is None else self.resume(folder))
            return {"settings": self.settings, "state": own[0].to_dict()}

        told = group.copied(make)
        if own:
            return own[0]
        self.check_settings(told["settings"], group)
        return self.read(told["state"])

    def check_settings(self, settings: Mapping[str, Any], group: Group) -> None:
        """Check that the first process has the same settings as this one.

        Raises:
            ValueError: this process has other photographs or options.
        """
        others = [name for name, value in self.settings.items() if settings.get(name) != value]
        if others:
            raise ValueError(f"{', '.join(others)}: process {group.rank} has others than the first one")

    def write_results_together(
        self, state: AnyState, folder: Path, frames: int = 60, group: Group = ALONE
    ) -> dict[str, Any]:
        """`write_results` by the first process, to be called by all.

        Returns:
            The metrics there, an empty dict elsewhere.

        Raises:
            LostProcessError: a process of the group is lost while it has a part of the state.
        """
        return self.write_results(state, folder, frames) if group.is_first else {}

    def run(
        self,
        state: AnyState,
        folder: Path,
        on_step: Callable[[AnyState], None] | None = None,
        evaluate_every: int | None = None,
        group: Group = ALONE,
    ) -> AnyState:
        """Fit until the end or until SIGINT or SIGTERM, keeping the state in an existing folder.

        Args:
            on_step: called with the state after every step.
            evaluate_every: steps between two measurements on the photographs held out; by default as `fit` has it.
            group: the processes that fit; all begin with the same state. The first one writes.

        Raises:
            CheckpointError: the state cannot be written; the one that was written last is still there.
            LostProcessError: a process of the group is lost.
        """
        fit = partial(self.fit, group=group)
        return self._run(fit, state, folder, on_step, evaluate_every, group, self._whole(state, folder))

    def _whole(self, state: AnyState, folder: Path) -> Whole[AnyState] | None:
        """The function that joins the parts of a state, see `run_with_checkpoints`; None if each process has the whole
        state."""
        return None
