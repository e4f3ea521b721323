"""What whole fits to posed photographs have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from lumigrad.fit.checkpoints import AnyState, run_with_checkpoints
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
    """A whole fit to posed photographs, which measures itself on those that are held out.

    Attributes:
        schedule: how long to fit.
        settings: see `Job`; those that `load_split` makes say which photographs are fitted.
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
        fit = self.fit if evaluate_every is None else partial(self.fit, evaluate_every=evaluate_every)
        return run_with_checkpoints(lambda go_on: fit(state, go_on), self.checkpoints(folder), on_step)

    @abstractmethod
    def write_results(self, state: AnyState, folder: Path, frames: int = 60) -> dict[str, Any]:
        """Write metrics.json, pictures and what was fitted; returns the metrics.

        Args:
            frames: of the animation.
        """

    def progress(self, state: AnyState) -> float:
        """The part of the schedule that is done, from 0 to 1."""
        return self.schedule.progress(state)
