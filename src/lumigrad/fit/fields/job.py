"""A whole fit of a field to photographs: running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields import report
from lumigrad.fit.fields.file import save_field
from lumigrad.fit.fields.hashed import HashField
from lumigrad.fit.fields.loop import fit_field
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.fields.voxels import Voxels
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.job import DividedJob, load_split
from lumigrad.fit.photos.preview import preview_of
from lumigrad.fit.preview import Preview, frozen
from lumigrad.io.photos import PosedPhotos

# Rays per step for each kind of field.
RAYS = {"hash": 1024, "voxels": 4096}


@dataclass(frozen=True)
class FieldOptions:
    """What determines the fit of a field to photographs.

    Attributes:
        kind: "hash" for `HashField`, "voxels" for `Voxels`.
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        voxels: of a side of the innermost grid, at the end. This and the next two, and `smoothness`, are for voxels.
        boxes: number of nested grids, each of twice the size of the one inside.
        degree: of the spherical harmonics, at the end.
        rays: in each step; by default `RAYS` of the kind.
        smoothness: weight of the total variation of densities.
        opaque: something is behind every pixel, unless photographs have an alpha channel; see `Schedule`.
        reduce: factor by which photographs are averaged down.
        seed: of everything that is random.
    """

    kind: str = "hash"
    iterations: int = 3000
    minutes: float | None = None
    voxels: int = 128
    boxes: int = 3
    degree: int = 0
    rays: int | None = None
    smoothness: float = 1e-5
    opaque: bool = True
    reduce: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in RAYS:
            raise ValueError(f"kind: expected one of {', '.join(RAYS)}, got {self.kind!r}")

    def schedule(self) -> Schedule:
        """The length of the fit, and the numbers of voxels over time.

        >>> from lumigrad.fit.fields import FieldOptions
        >>> FieldOptions(kind="voxels", voxels=160, degree=2).schedule().levels
        ((0.0, 40, 0), (0.12, 80, 0), (0.3, 120, 0), (0.5, 160, 2))
        """
        rays = RAYS[self.kind] if self.rays is None else self.rays
        shares = ((0.0, 0.25), (0.12, 0.5), (0.3, 0.75), (0.5, 1.0))
        levels = tuple(
            (begin, max(2, round(share * self.voxels)), self.degree if share == 1 else 0) for begin, share in shares
        )
        if self.kind == "hash":  # all steps cost the same
            levels = ((0.0, 1, 0),)
        return Schedule(self.iterations, self.minutes, levels, rays, self.smoothness, self.opaque, self.seed)

    def model(self, photos: list[Photo]) -> Voxels | HashField:
        """The field."""
        return HashField(photos) if self.kind == "hash" else Voxels(photos, self.boxes)

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return dict(vars(self))


@dataclass(frozen=True)
class FieldJob(DividedJob[FieldState]):
    """A fit of a field to posed photographs.

    ::

        job = FieldJob.prepare(load_dataset("garden"), FieldOptions(minutes=5))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        photos: those to fit.
        held_out: those held back for the metrics.
        model, schedule: as for `fit_field`.
        settings: plain values that determine the fit, kept beside its state.
    """

    options: FieldOptions
    photos: list[Photo]
    held_out: list[Photo]
    model: Voxels | HashField
    schedule: Schedule
    settings: dict[str, Any]

    @classmethod
    def prepare(
        cls, data: PosedPhotos, options: FieldOptions | None = None, device: torch.device | None = None
    ) -> FieldJob:
        """Read the photographs and set the fit up.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`.
        """
        options, device = options or FieldOptions(), device or torch.device("cpu")
        read = load_split(data, options, device)
        photos, held_out = ([photo.to(device) for photo in part] for part in (read.fitted, read.held_out))
        opaque = options.opaque and photos[0].alpha is None
        schedule = replace(options.schedule(), opaque=opaque)
        return cls(options, photos, held_out, options.model(photos), schedule, read.settings)

    def begin(self) -> FieldState:
        """The state before the first step."""
        return self.model.begin(self.schedule)

    def read(self, values: dict[str, Any]) -> FieldState:
        """The state of a file.

        Raises:
            ValueError, RuntimeError: it is none of this fit.
        """
        state = FieldState.from_dict(values).to(self.photos[0].image.device)
        self.model.check(state)
        if min(state.age, state.iteration, state.seconds) < 0 or state.random.ndim != 1:
            raise ValueError("state: expected numbers of at least 0, and one dimension of state.random")
        torch.Generator(state.device).set_state(state.random)
        return state

    def fit(
        self, state: FieldState, go_on: Callable[[FieldState], bool], evaluate_every: int = 1000, group: Group = ALONE
    ) -> FieldState:
        """Go on to the end of the schedule."""
        return fit_field(self.photos, state, self.model, self.schedule, self.held_out, evaluate_every, go_on, group)

    def preview(self, state: FieldState) -> Preview:
        """What photographs show; see `Job.preview`."""
        return preview_of(self.photos, report.drawn(frozen(state), self.model), state.device)

    def write_results(self, state: FieldState, folder: Path, frames: int = 30) -> dict[str, Any]:
        """Write metrics.json, field.npz, comparison.png and fly_through.gif; returns the metrics.

        Args:
            frames: of the fly-through.
        """
        numbers = report.metrics(state, self.model, self.held_out)
        write_metrics(numbers, folder / "metrics.json")
        save_field(self.model, state, self.photos, folder / "field.npz")
        report.comparison(state, self.model, self.held_out[:4], folder / "comparison.png")
        report.fly_through(state, self.model, self.photos, folder / "fly_through.gif", frames)
        return numbers
