"""A whole fit to photographs: model and strategy, running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from lumigrad.fit.checkpoints import Whole
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.photos import Photo, focus
from lumigrad.fit.photos.job import DividedJob, load_split
from lumigrad.fit.photos.preview import preview_of
from lumigrad.fit.photos.report import Draw, comparison, fly_through
from lumigrad.fit.preview import Preview, frozen
from lumigrad.fit.splats import report
from lumigrad.fit.splats.divided import Drawing
from lumigrad.fit.splats.divided_rows import DividedRows
from lumigrad.fit.splats.loop import Schedule, SplatState, fit_splats
from lumigrad.fit.splats.models import DivisibleModel, Gaussians, Model, Parameters, Spheres
from lumigrad.fit.splats.start import first_points
from lumigrad.fit.splats.strategies import MCMC, CloneSplitPrune, Strategy
from lumigrad.io.gaussians import save_gaussians
from lumigrad.io.photos import PosedPhotos
from lumigrad.io.points import save_points


@dataclass(frozen=True)
class SplatOptions:
    """What determines the fit of primitives to photographs.

    Attributes:
        spheres: fit soft spheres instead of Gaussians.
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        strategy: how primitives are added.
        max_primitives: largest number of primitives.
        points: number to begin with, where the data set has no points.
        degree: of the spherical harmonics.
        reduce: factor by which photographs are averaged down.
        seed: of everything that is random.
        batch: photographs of each step.
        divide: what several processes divide: the "photographs" of each step, or the "primitives", which then need not
            all be in the memory of each. What is fitted is the same, and a state can go on in either way.
    """

    spheres: bool = False
    iterations: int = 4000
    minutes: float | None = None
    strategy: Literal["clone", "mcmc"] = "clone"
    max_primitives: int = 60_000
    points: int = 12_000
    degree: int = 2
    reduce: int = 1
    seed: int = 0
    batch: int = 1
    divide: Literal["photographs", "primitives"] = "photographs"

    def schedule(self) -> Schedule:
        """The length of the fit."""
        return Schedule(self.iterations, self.minutes, seed=self.seed, batch=self.batch)

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return {name: value for name, value in vars(self).items() if name != "divide"}


@dataclass(frozen=True)
class SplatJob(DividedJob[SplatState]):
    """A fit of Gaussians or spheres to posed photographs.

    ::

        job = SplatJob.prepare(load_dataset("garden"), SplatOptions(minutes=5))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        data: where the photographs come from.
        photos: those to fit.
        held_out: those held back for the metrics.
        model, strategy, schedule: as for `fit_splats`.
        device: where to fit.
        settings: plain values that determine the fit, kept beside its state.
    """

    options: SplatOptions
    data: PosedPhotos
    photos: list[Photo]
    held_out: list[Photo]
    model: Model
    strategy: Strategy
    schedule: Schedule
    device: torch.device
    settings: dict[str, Any]

    @classmethod
    def prepare(
        cls, data: PosedPhotos, options: SplatOptions | None = None, device: torch.device | None = None
    ) -> SplatJob:
        """Read the photographs and set the fit up.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`.
        """
        options, device = options or SplatOptions(), device or torch.device("cpu")
        photos, held_out, settings = load_split(data, options, device)
        extent = focus(photos)[1]
        model = Spheres(extent) if options.spheres else Gaussians(options.degree, extent)
        strategy = (
            MCMC(extent, options.max_primitives)
            if options.strategy == "mcmc"
            else CloneSplitPrune(extent, options.max_primitives)
        )
        return cls(options, data, photos, held_out, model, strategy, options.schedule(), device, settings)

    def begin(self) -> SplatState:
        """The state before the first step."""
        generator = torch.Generator().manual_seed(self.options.seed)
        parameters = self.model.start(first_points(self.data, self.photos, self.options.points, generator))
        return SplatState.start({name: value.to(self.device) for name, value in parameters.items()}, self.options.seed)

    def begin_together(self, group: Group, folder: Path | None = None) -> SplatState:
        """The state that all processes of a group begin with, of which each has its part where primitives are divided.

        Raises:
            CheckpointError, ValueError: see `DividedJob.begin_together`.
        """
        if not self.divides(group):
            return super().begin_together(group, folder)
        whole: list[SplatState] = []

        def make() -> dict[str, Any]:
            whole.append(self.begin() if folder is None else self.checkpoints(folder).restore(self.read, in_file=True))
            return {"settings": self.settings, "state": {**whole[0].to_dict(), "rows": {}}}

        told = group.copied(make)
        self.check_settings(told["settings"], group)
        rows = DividedRows.of(whole[0].rows if whole else None, group).to(self.device)
        return SplatState(**{**told["state"], "rows": rows})

    def divides(self, group: Group) -> bool:
        """Whether the processes of a group divide the primitives."""
        return self.options.divide == "primitives" and group.size > 1

    def read(self, values: dict[str, Any]) -> SplatState:
        """The state of a file.

        Raises:
            ValueError, RuntimeError: it is none of this fit.
        """
        state = SplatState.from_dict(values)
        if state.rows.parameters.keys() != self.model.rates.keys():
            raise ValueError(f"state.rows.parameters: expected {', '.join(self.model.rates)}")
        if not all(0 <= index < len(self.photos) for index in state.order):
            raise ValueError(f"state.order: expected indices of {len(self.photos)} photographs")
        state.rows = state.rows.to(self.device)
        if state.random.ndim != 1:
            raise ValueError(f"state.random: expected one dimension, got {[*state.random.shape]}")
        torch.Generator(self.device).set_state(state.random)
        with torch.no_grad():  # shapes that do not match
            self.model.draw(state.rows.parameters, self.photos[0].to(self.device).camera, 0.0, 0.0)
        return state

    def fit(
        self, state: SplatState, go_on: Callable[[SplatState], bool], evaluate_every: int = 250, group: Group = ALONE
    ) -> SplatState:
        """Go on to the end of the schedule."""
        photos, held_out = self._on_device(self.photos), self._on_device(self.held_out)
        return fit_splats(
            photos, state, self.model, self.strategy, self.schedule, held_out, evaluate_every, go_on, group
        )

    def _whole(self, state: SplatState, folder: Path) -> Whole[SplatState] | None:
        return partial(_together, folder=folder) if isinstance(state.rows, DividedRows) else None

    def preview(self, state: SplatState) -> Preview:
        """What photographs show; see `Job.preview`."""
        return preview_of(self.photos, report.drawn(frozen(state), self.model, self.schedule), self.device)

    @property
    def kind(self) -> str:
        """The name of the primitives: that of the file to which they are saved, without .ply."""
        return "spheres" if self.options.spheres else "gaussians"

    def write_results(self, state: SplatState, folder: Path, frames: int = 60) -> dict[str, Any]:
        """Write metrics.json, gaussians.ply or spheres.ply, comparison.png and fly_through.gif; returns the metrics.

        Args:
            frames: of the fly-through.
        """
        numbers = report.metrics(state, self.model, self._on_device(self.held_out), self.schedule)
        write_metrics(numbers, folder / "metrics.json")
        self._write_primitives(state.rows.parameters, folder)
        self._write_pictures(report.drawn(state, self.model, self.schedule), folder, frames)
        return numbers

    def write_results_together(
        self, state: SplatState, folder: Path, frames: int = 60, group: Group = ALONE
    ) -> dict[str, Any]:
        """`write_results` by the first process, with the help of the others where these have a part of the primitives.

        The metrics then tell how much of the state each has, and what steps exchanged, as `processes`.
        """
        rows = state.rows
        if not isinstance(rows, DividedRows):
            return super().write_results_together(state, folder, frames, group)
        assert isinstance(self.model, DivisibleModel)
        numbers = report.divided_metrics(state, self.model, self._on_device(self.held_out), self.schedule)
        with rows.all(folder, ("parameters",)) as whole:
            if whole is not None:
                write_metrics(numbers, folder / "metrics.json")
                self._write_primitives(whole.parameters, folder)
        draw = Drawing(rows, self.model, self.schedule.background, 1.0)
        try:
            if group.is_first:
                self._write_pictures(draw, folder, frames)
        finally:
            draw.finish()
        return numbers if group.is_first else {}

    def _write_primitives(self, parameters: Parameters, folder: Path) -> None:
        path = folder / f"{self.kind}.ply"
        if self.options.spheres:
            save_points(Spheres.cloud(parameters), path)
        else:
            save_gaussians(Gaussians.cloud(parameters), path)

    def _write_pictures(self, draw: Draw, folder: Path, frames: int) -> None:
        photos, held_out = self._on_device(self.photos), self._on_device(self.held_out)
        comparison(draw, held_out[:4], folder / "comparison.png")
        fly_through(draw, photos, folder / "fly_through.gif", frames)

    def _on_device(self, photos: list[Photo]) -> list[Photo]:
        return [photo.to(self.device) for photo in photos]


@contextmanager
def _together(state: SplatState, folder: Path) -> Iterator[SplatState | None]:
    """The state with the primitives of all processes, in the first one; None in the others."""
    assert isinstance(state.rows, DividedRows)
    with state.rows.all(folder) as rows:
        yield None if rows is None else replace(state, rows=rows)
