"""Whole fits of open scenes to photographs without masks: running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields import HashField
from lumigrad.fit.fields import report as field_report
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.job import DividedJob, load_split
from lumigrad.fit.photos.preview import preview_of
from lumigrad.fit.preview import Preview, frozen
from lumigrad.fit.reconstruct import results
from lumigrad.fit.reconstruct.conventions import reread
from lumigrad.fit.reconstruct.job import ReconstructOptions, check_state
from lumigrad.fit.reconstruct.overlap import check_overlap
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.preview import preview_of_mesh
from lumigrad.fit.reconstruct.scene import SceneSchedule, SceneState, fit_scene, place_of
from lumigrad.fit.reconstruct.schedule import scene_stages
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.shapes.mesh import Mesh

# Voxels per side of the grid in which depths are fused, half of which are where the cameras look.
VOXELS = 192


@dataclass(frozen=True)
class SceneJob(DividedJob[SceneState]):
    """A fit of a textured mesh of all that posed photographs show, without masks.

    ::

        job = SceneJob.prepare(load_dataset("garden"))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit; as many steps are taken with the field as with the surface.
        photos: those to fit, in the world.
        held_out: those held back for the metrics, in the space of the fit.
        model: the field whose depths make the first surface.
        schedule: as for `fit_scene`.
        settings: plain values that determine the fit, kept beside its state.
        truth: what the surface should be, or that of a part of the scene, in the world, to be measured against.
    """

    options: ReconstructOptions
    photos: list[Photo]
    held_out: list[Photo]
    model: HashField
    schedule: SceneSchedule
    settings: dict[str, Any]
    truth: Mesh | None = None

    @classmethod
    def prepare(
        cls,
        data: PosedPhotos,
        options: ReconstructOptions | None = None,
        device: torch.device | None = None,
        truth: Mesh | None = None,
    ) -> SceneJob:
        """Read the photographs and set the fit up.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; photographs have alpha channels;
                there are too few; or their cameras do not look at one place.
        """
        options, device = options or ReconstructOptions(), device or torch.device("cpu")
        photos, held_out, settings = load_split(reread(data, options.axes, options.poses), options, device)
        if any(photo.alpha is not None for photo in photos):
            raise ValueError(f"{data.folder}: expected photographs without an alpha channel")
        try:
            check_overlap(photos, options.axes, options.poses)
        except ValueError as error:
            raise ValueError(f"{data.folder}: {error}") from None
        photos = [photo.to(device) for photo in photos]
        model = HashField(photos)
        resolution = 4 * max(4, round(VOXELS * options.detail / 4))
        schedule = SceneSchedule.of(options.schedule(scene_stages()), options.iterations, options.minutes, resolution)
        schedule = replace(schedule, sweep=options.sweep)
        settings["scene"] = True
        place = place_of(model)
        kept = [place.photo(photo).to(device) for photo in held_out]
        return cls(options, photos, kept, model, schedule, settings, truth)

    @property
    def place(self) -> Placement:
        """Where the space of the fit is in the world."""
        return place_of(self.model)

    def begin(self) -> SceneState:
        """The state before the first step."""
        return SceneState(self.model.begin(self.schedule.field))

    def read(self, values: dict[str, Any]) -> SceneState:
        """The state of a file.

        Raises:
            ValueError, RuntimeError: it is none of this fit.
        """
        state = SceneState.from_dict(values)
        device = self.photos[0].image.device
        state.field = state.field.to(device)
        self.model.check(state.field)
        torch.Generator(device).set_state(state.field.random)
        if state.surface is not None:
            check_state(state.surface, len(self.photos), self.schedule.surface)
            state.surface = state.surface.to(device)
        return state

    def fit(
        self, state: SceneState, go_on: Callable[[SceneState], bool], evaluate_every: int = 100, group: Group = ALONE
    ) -> SceneState:
        """Go on to the end of both schedules."""
        return fit_scene(
            self.photos,
            state,
            self.model,
            self.schedule,
            self.held_out,
            evaluate_every,
            go_on,
            self.background(),
            group,
        )

    def background(self) -> Tensor:
        """The mean colour [3] of the photographs, seen where there is no mesh."""
        return torch.stack([photo.image.mean((0, 1, 2)) for photo in self.photos]).mean(0)

    def preview(self, state: SceneState) -> Preview:
        """The field as long as there is no surface, then the mesh; see `Job.preview`."""
        if state.surface is None:
            draw = field_report.drawn(frozen(state.field), self.model)
            return preview_of(self.photos, draw, state.field.device)
        photos = PhotoSet.of([self.place.photo(photo) for photo in self.photos])
        return preview_of_mesh(state.surface, photos, self.background())

    def write_results(self, state: SceneState, folder: Path, frames: int = 48) -> dict[str, Any]:
        """Write mesh.glb, metrics.json, comparison.png, turntable.gif and report.html; returns the metrics.

        Args:
            frames: of the turntable, which goes along the cameras.
        """
        assert state.surface is not None
        scene = results.Scene(self.background(), state.field.iteration, state.field_seconds)
        photos = PhotoSet.of(self.photos)
        placed = photos.with_camera(self.place.camera(photos.camera))
        return results.write(
            state.surface, placed, self.held_out, self.place, self.settings, self.truth, folder, frames, scene
        )
