"""A whole fit of a closed surface to masks: running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.mesh.views import Views
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.job import PhotoJob
from lumigrad.fit.preview import Preview
from lumigrad.fit.reconstruct.conventions import AXES, POSES
from lumigrad.fit.reconstruct.hull import Hull
from lumigrad.fit.reconstruct.located import located
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.sdf.hull import visual_hull
from lumigrad.fit.sdf.loop import SDFTarget, descend
from lumigrad.fit.sdf.stages import SDFSchedule, SDFStage, default_sdf_stages
from lumigrad.fit.sdf.state import SDFState
from lumigrad.fit.silhouettes import results
from lumigrad.io.photos import PosedPhotos
from lumigrad.render.implicit import render_implicit
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.grids import scaled_box

STEPS, VOXELS = 200, 96
# The box of the grid is larger than the hull by this factor.
_ROOM = 1.2
# The minimum number of voxels per side of the hull that locates the object.
_HULL_VOXELS = 32


@dataclass(frozen=True)
class SilhouetteOptions:
    """What determines a fit to silhouettes.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        voxels: of a side of the grid, at the end.
        reduce: factor by which photographs are averaged down.
        axes, poses: what the matrices of the cameras mean, see `lumigrad.fit.reconstruct.conventions.reread`.
        seed: of the order of photographs.
    """

    iterations: int = STEPS
    minutes: float | None = None
    voxels: int = VOXELS
    reduce: int = 1
    axes: str = AXES[0]
    poses: str = POSES[0]
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return dict(vars(self))


@dataclass(frozen=True)
class SilhouetteJob(PhotoJob[SDFState]):
    """A fit of a closed surface to the masks of posed photographs.

    ::

        job = SilhouetteJob.prepare(load_dataset("statue"))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        photos: those to fit, in the space of the fit.
        held_out: those held back for the metrics, in the same space.
        place: where that space is in the world.
        target: the masks, and the visual hull to begin from.
        schedule: the stages, and when they end.
        settings: plain values that determine the fit, kept beside its state.
        truth: what the surface should be, in the world, to be measured against.
    """

    options: SilhouetteOptions
    photos: PhotoSet
    held_out: list[Photo]
    place: Placement
    target: SDFTarget
    schedule: SDFSchedule
    settings: dict[str, Any]
    truth: Mesh | None = None

    @classmethod
    def prepare(
        cls,
        data: PosedPhotos,
        options: SilhouetteOptions | None = None,
        device: torch.device | None = None,
        truth: Mesh | None = None,
    ) -> SilhouetteJob:
        """Read the photographs and set the fit up.

        Raises:
            FileNotFoundError, ValueError: see `ReconstructJob.of_object`.
        """
        options, device = options or SilhouetteOptions(), device or torch.device("cpu")
        hull, held_out, settings = located(data, options, device, max(_HULL_VOXELS, options.voxels // 2))
        photos = _of_even_size(hull.photos).to(device)
        schedule = SDFSchedule(_stages(options, photos.size[0]), options.minutes, options.seed)
        target = _target(photos, _box_of(hull).to(device), schedule.stages[0].resolution)
        held_out = [hull.place.photo(photo).to(device) for photo in held_out]
        return cls(options, photos, held_out, hull.place, target, schedule, settings, truth)

    def begin(self) -> SDFState:
        """The state before the first step."""
        return SDFState()

    def read(self, values: dict[str, Any]) -> SDFState:
        """The state of a file.

        Raises:
            ValueError: it is none of this fit.
        """
        state = SDFState.from_dict(values)
        if not -1 <= state.stage < len(self.schedule.stages):
            raise ValueError(f"state.stage: expected one of {len(self.schedule.stages)}, got {state.stage}")
        if state.values is not None:
            side = self.schedule.stages[state.stage].resolution
            if tuple(state.values.shape) != (side,) * 3:
                raise ValueError(f"state.values: expected {[side] * 3}, got {[*state.values.shape]}")
            if len(state.optimizers) != 1:
                raise ValueError(f"state.optimizers: expected 1, got {len(state.optimizers)}")
        if state.colors is not None:
            raise ValueError("state.colors: expected none")
        return state.to(self.photos.images.device)

    def fit(self, state: SDFState, go_on: Callable[[SDFState], bool], evaluate_every: int = 100) -> SDFState:
        """Go on to the end of the schedule."""

        def measure(now: SDFState) -> dict[str, float]:
            return results.measured(self.target.grid(now), self.held_out)

        return descend(self.target, state, self.schedule, go_on, measure, evaluate_every)

    def preview(self, state: SDFState) -> Preview:
        """The surface in the light of the camera; see `Job.preview`."""
        grid, photos = self.target.grid(state), self.photos

        def draw(camera: PerspectiveCamera) -> Tensor:
            return render_implicit(grid, camera, "phong", background=0.0).image

        return Preview.of_ball(draw, photos.camera, photos.images)

    def write_results(self, state: SDFState, folder: Path, frames: int = 48) -> dict[str, Any]:
        """Write mesh.glb, grid.npz, metrics.json, comparison.png, turntable.gif and report.html; returns the metrics.

        Args:
            frames: of the turntable.
        """
        return results.write(state, self.target.grid(state), self.photos, self.held_out, self.place, self.settings,
                             self.truth, folder, frames)  # fmt: skip


def _stages(options: SilhouetteOptions, rows: int) -> list[SDFStage]:
    """Stages with exactly the requested number of steps: numbers are rounded, and the last stage compensates."""
    stages = default_sdf_stages(rows, options.voxels, options.iterations / STEPS)[-options.iterations :]
    left = options.iterations - sum(stage.iterations for stage in stages[:-1])
    return [*stages[:-1], replace(stages[-1], iterations=left)]


def _box_of(hull: Hull) -> Tensor:
    """A cube around the hull."""
    low, high = hull.mesh.bounds()
    half = 0.5 * float((high - low).max())
    centre = 0.5 * (low + high)
    return scaled_box(torch.stack([centre - half, centre + half]), _ROOM)


def _of_even_size(photos: PhotoSet) -> PhotoSet:
    """The image without the last row or column if their number is odd, so that halves have whole pixels."""
    height, width = (side // 2 * 2 for side in photos.size)
    alpha = None if photos.alpha is None else photos.alpha[:, :height, :width]
    counts, camera = photos.counts[:, :height, :width], replace(photos.camera, size=(height, width))
    return PhotoSet(photos.images[:, :height, :width], alpha, counts, camera)


def _target(photos: PhotoSet, box: Tensor, resolution: int) -> SDFTarget:
    """Masks as white pictures. Pixels that do not count exclude nothing from the hull."""
    assert photos.alpha is not None
    everywhere = torch.where(photos.counts, photos.alpha, 1.0)
    start = visual_hull(Views(photos.camera, everywhere.expand(-1, -1, -1, 4)), resolution, box)
    if not bool((start.values <= 0).any()):
        raise ValueError(f"voxels: expected enough for one to be inside, got {resolution} along a side at first")
    views = Views(photos.camera, photos.alpha.expand(-1, -1, -1, 4), photos.counts)
    return SDFTarget(views, start, shading="unlit")
