"""Whole fits of meshes to photographs: running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.mesh.job import digest_of_mesh
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.job import DividedJob
from lumigrad.fit.preview import Preview
from lumigrad.fit.reconstruct import results
from lumigrad.fit.reconstruct.conventions import AXES, POSES
from lumigrad.fit.reconstruct.known_mesh import place_mesh
from lumigrad.fit.reconstruct.located import located
from lumigrad.fit.reconstruct.loop import refine
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.preview import preview_of_mesh
from lumigrad.fit.reconstruct.schedule import CAMERAS, Schedule, Stage, object_stages, texture_stages
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.shapes.mesh import Mesh

# Steps of a fit of a texture alone, and of a surface.
TEXTURE_STEPS, SURFACE_STEPS = 300, 600
# Voxels a side of the visual hull, which the first stage remeshes more coarsely.
HULL_VOXELS = 64


@dataclass(frozen=True)
class ReconstructOptions:
    """What determines a reconstruction.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        detail: scales the number of vertices per length.
        texture_size: rows and columns of the texture, approximately; None for what the photographs can show.
        exposure: fit a gain of each channel to each photograph.
        cameras: "fixed"; "poses" or "focal" to fit the cameras of the photographs, see `Schedule`.
        sweep: of open scenes, make depths more exact by `sweep_depths` before they are fused.
        reduce: factor by which photographs are averaged down.
        axes, poses: what the matrices of the cameras mean, see `lumigrad.fit.reconstruct.conventions.reread`.
        seed: of everything that is random.
        batch: photographs of each step.
    """

    iterations: int = SURFACE_STEPS
    minutes: float | None = None
    detail: float = 1.0
    texture_size: int | None = None
    exposure: bool = True
    cameras: str = CAMERAS[0]
    sweep: bool = True
    reduce: int = 1
    axes: str = AXES[0]
    poses: str = POSES[0]
    seed: int = 0
    batch: int = Stage.batch

    def schedule(self, stages: tuple[Stage, ...]) -> Schedule:
        """These stages, with the settings of the options."""
        stages = tuple(replace(stage, batch=self.batch) for stage in stages)
        return Schedule(
            stages, self.iterations, self.minutes, self.exposure, self.texture_size, self.cameras, self.seed
        )

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return dict(vars(self))


@dataclass(frozen=True)
class ReconstructJob(DividedJob[ReconstructState]):
    """A fit of a textured mesh to posed photographs.

    ::

        job = ReconstructJob.of_object(load_dataset("statue"))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        photos: those to fit, in the space of the fit.
        held_out: those held back for the metrics, in the same space.
        place: where that space is in the world.
        start: the mesh to begin from, in the same space.
        schedule: as for `refine`.
        settings: plain values that determine the fit, kept beside its state.
        truth: what the surface should be, in the world, to be measured against.
    """

    options: ReconstructOptions
    photos: PhotoSet
    held_out: list[Photo]
    place: Placement
    start: Mesh
    schedule: Schedule
    settings: dict[str, Any]
    truth: Mesh | None = None
    inputs: ClassVar[Mapping[str, str]] = {**DividedJob.inputs, "mesh": "another mesh"}

    @classmethod
    def of_object(
        cls,
        data: PosedPhotos,
        options: ReconstructOptions | None = None,
        device: torch.device | None = None,
        truth: Mesh | None = None,
    ) -> ReconstructJob:
        """Set up the reconstruction of an object whose photographs have an alpha channel.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; there is no alpha channel; or the
                masks do not fit together.
        """
        options, device = options or ReconstructOptions(), device or torch.device("cpu")
        hull, held_out, settings = located(data, options, device, max(16, round(HULL_VOXELS * options.detail)))
        schedule = options.schedule(object_stages(options.detail))
        return cls(options, hull.photos, held_out, hull.place, hull.mesh, schedule, settings, truth)._on(device)

    @classmethod
    def of_texture(
        cls,
        mesh: Mesh,
        data: PosedPhotos,
        options: ReconstructOptions | None = None,
        device: torch.device | None = None,
    ) -> ReconstructJob:
        """Set up a fit of a texture to a fixed mesh.

        Its texture coordinates, where it has any, are used: no two faces may share texels. Without them, it gets some.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; the mesh has no extent, or lies
                where the photographs do not show it.
        """
        options, device = options or ReconstructOptions(iterations=TEXTURE_STEPS), device or torch.device("cpu")
        known = place_mesh(mesh, data, options, device)
        schedule = options.schedule(texture_stages())
        settings = {**known.settings, "mesh": digest_of_mesh(mesh)}
        return cls(options, known.photos, known.held_out, known.place, known.mesh, schedule, settings)._on(device)

    def _on(self, device: torch.device) -> ReconstructJob:
        """The same with photographs held out in the fit's space, on a device."""
        held_out = [self.place.photo(photo).to(device) for photo in self.held_out]
        return ReconstructJob(
            self.options,
            self.photos.to(device),
            held_out,
            self.place,
            self.start.to(device),
            self.schedule,
            self.settings,
            self.truth,
        )

    def begin(self) -> ReconstructState:
        """The state before the first step."""
        return ReconstructState.begin(self.start, len(self.photos))

    def read(self, values: dict[str, Any]) -> ReconstructState:
        """The state of a file.

        Raises:
            ValueError: it is none of this fit.
        """
        state = ReconstructState.from_dict(values)
        check_state(state, len(self.photos), self.schedule)
        return state.to(self.photos.images.device)

    def fit(
        self,
        state: ReconstructState,
        go_on: Callable[[ReconstructState], bool],
        evaluate_every: int = 100,
        group: Group = ALONE,
    ) -> ReconstructState:
        """Go on to the end of the schedule."""
        return refine(self.photos, state, self.schedule, self.held_out, evaluate_every, go_on, group=group)

    def preview(self, state: ReconstructState) -> Preview:
        """The mesh in its colours; see `Job.preview`."""
        return preview_of_mesh(state, self.photos)

    def write_results(self, state: ReconstructState, folder: Path, frames: int = 48) -> dict[str, Any]:
        """Write mesh.glb, metrics.json, comparison.png, turntable.gif and report.html; returns the metrics.

        Args:
            frames: of the turntable.
        """
        return results.write(state, self.photos, self.held_out, self.place, self.settings, self.truth, folder, frames)


def check_state(state: ReconstructState, count: int, schedule: Schedule) -> None:
    """Raise ValueError if a state is not one of a schedule for a number of photographs."""
    if not -1 <= state.stage < len(schedule.stages):
        raise ValueError(f"state.stage: expected one of {len(schedule.stages)}, got {state.stage}")
    if tuple(state.gains.shape) != (count, 3):
        raise ValueError(f"state.gains: expected [{count}, 3], got {list(state.gains.shape)}")
    for name, values in state.cameras.items():
        if name != "focal" and len(values) != count:
            raise ValueError(f"state.cameras.{name}: expected {count} rows, got {len(values)}")
