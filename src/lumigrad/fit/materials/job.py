"""Whole fits of materials to photographs: running with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lumigrad.fit.materials import results
from lumigrad.fit.materials.choice import Choice, choose_normals
from lumigrad.fit.materials.drawing import LitDrawer, Tracing
from lumigrad.fit.materials.loop import fit_materials
from lumigrad.fit.materials.regularise import weights_of
from lumigrad.fit.materials.relit import RelitPhotos, check_shown
from lumigrad.fit.materials.schedule import Schedule, stages_of
from lumigrad.fit.materials.state import MaterialsState
from lumigrad.fit.materials.truth import check_same_place
from lumigrad.fit.mesh.job import digest_of_mesh
from lumigrad.fit.photos.job import PhotoJob
from lumigrad.fit.preview import Preview, frozen
from lumigrad.fit.reconstruct.conventions import AXES, POSES
from lumigrad.fit.reconstruct.known_mesh import KnownMesh, place_mesh
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

STEPS = 400


@dataclass(frozen=True)
class MaterialsOptions:
    """What determines a fit of materials.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        light: "fast", a prefiltered environment dimmed by baked occlusion, or "traced", with shadows by rays, which
            begins with the former.
        samples: directions, or paths, of each pixel where light is traced.
        bounces: how often traced light is reflected: 1 for direct light with shadows.
        normals: fit a normal map, too.
        texture_size: rows and columns of the maps, approximately; None for what the photographs can show.
        light_size: texels along a side of the faces of the light's cube map.
        albedo: mean linear base colour that is expected.
        exposure: fit a gain of each channel to each photograph.
        reduce: factor by which photographs are averaged down.
        axes, poses: what the matrices of the cameras mean, see `lumigrad.fit.reconstruct.conventions.reread`.
        seed: of everything that is random.
    """

    iterations: int = STEPS
    minutes: float | None = None
    light: str = "fast"
    samples: int = 4
    bounces: int = 1
    normals: bool = False
    texture_size: int | None = None
    light_size: int = 32
    albedo: float = 0.3
    exposure: bool = False
    reduce: int = 1
    axes: str = AXES[0]
    poses: str = POSES[0]
    seed: int = 0

    def __post_init__(self) -> None:
        given = Tracing(self.samples, self.bounces)
        if min(given) < 1:
            raise ValueError(f"samples, bounces: expected at least 1, got {self.samples} and {self.bounces}")
        if self.light == "fast" and given != Tracing():
            raise ValueError("samples, bounces: expected none with light='fast', which traces no rays")

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return dict(vars(self))


@dataclass(frozen=True)
class MaterialsJob(PhotoJob[MaterialsState]):
    """A fit of the materials of a known mesh, and of the light around it, to posed photographs.

    ::

        job = MaterialsJob.of(load_mesh("statue.obj"), load_dataset("statue"))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        known: the mesh and the photographs, in the space of the fit.
        schedule: as for `fit_materials`.
        settings: plain values that determine the fit, kept beside its state.
        truth: a mesh in the world whose materials are to be measured against, or None.
        relit: photographs of the same object in another light that is known, or None.
    """

    options: MaterialsOptions
    known: KnownMesh
    schedule: Schedule
    settings: dict[str, Any]
    truth: Mesh | None = None
    relit: RelitPhotos | None = None
    inputs: ClassVar[Mapping[str, str]] = {**PhotoJob.inputs, "mesh": "another mesh"}

    @classmethod
    def of(
        cls,
        mesh: Mesh,
        data: PosedPhotos,
        options: MaterialsOptions | None = None,
        device: torch.device | None = None,
        truth: Mesh | None = None,
        relit: RelitPhotos | None = None,
    ) -> MaterialsJob:
        """Set up a fit to a fixed mesh.

        Its texture coordinates, where it has any, are used: no two faces may share texels. Without them, it gets some.

        Raises:
            FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; the mesh has no extent, or lies
                where the photographs, or those in another light, do not show it; the truth has no materials, or lies
                elsewhere.
        """
        options, device = options or MaterialsOptions(), device or torch.device("cpu")
        if truth is not None and not truth.materials:
            raise ValueError("truth: expected a mesh with materials, got one without")
        known = place_mesh(mesh, data, options, device)
        place, held_out = known.place, [known.place.photo(photo) for photo in known.held_out]
        if truth is not None:
            inward = replace(truth, positions=place.inward(truth.positions))
            check_same_place(known.mesh, inward, (photo.camera for photo in held_out))
        if relit is not None:
            check_shown(known.mesh, (place.photo(photo) for photo in relit.photos))
        schedule = Schedule(
            stages_of(options.light),
            options.iterations,
            options.minutes,
            tracing=Tracing(options.samples, options.bounces),
            albedo=options.albedo,
            exposure=options.exposure,
            weights=weights_of(options.normals),
            seed=options.seed,
        )
        settings = {**known.settings, "mesh": digest_of_mesh(mesh)}
        held_out = [photo.to(device) for photo in held_out]
        known = known._replace(mesh=known.mesh.to(device), photos=known.photos.to(device), held_out=held_out)
        return cls(options, known, schedule, settings, truth, relit)

    def begin(self) -> MaterialsState:
        """The state before the first step."""
        options = self.options
        return MaterialsState.begin(
            self.known.mesh,
            self.known.photos,
            options.texture_size,
            options.light_size,
            options.albedo,
            options.normals,
        )

    def read(self, values: dict[str, Any]) -> MaterialsState:
        """The state of a file.

        Raises:
            ValueError: it is none of this fit.
        """
        state, photos = MaterialsState.from_dict(values), self.known.photos
        if tuple(state.gains.shape) != (len(photos), 3):
            raise ValueError(f"state.gains: expected [{len(photos)}, 3], got {list(state.gains.shape)}")
        if len(state.uv_faces) != len(self.known.mesh.faces):
            raise ValueError(f"state.uv_faces: expected {len(self.known.mesh.faces)}, got {len(state.uv_faces)}")
        side, options = state.parameters["light"][-1].shape[1], self.options
        if side != options.light_size or ("normal" in state.parameters) != options.normals:
            raise ValueError(f"state.parameters: expected those of {options.light_size} texels of light, got {side}")
        return state.to(photos.images.device)

    def fit(
        self, state: MaterialsState, go_on: Callable[[MaterialsState], bool], evaluate_every: int = 100
    ) -> MaterialsState:
        """Go on to the end of the schedule."""
        known = self.known
        return fit_materials(known.mesh, known.photos, state, self.schedule, known.held_out, evaluate_every, go_on)

    def preview(self, state: MaterialsState) -> Preview:
        """The mesh in the light that was found, without shadows; see `Job.preview`."""
        photos = self.known.photos
        drawer = LitDrawer(state.on(self.known.mesh), frozen(state.maps()))

        def draw(camera: PerspectiveCamera) -> Tensor:
            return drawer.shown(camera)[0]

        return Preview.of_ball(draw, photos.camera, photos.images)

    def write_results(self, state: MaterialsState, folder: Path, frames: int = 48) -> dict[str, Any]:
        """Write the mesh with its materials, the light, metrics, pictures and a page; returns the metrics.

        A normal map is left out where it does not help, see `choose_normals`.

        Args:
            frames: of the turntable.
        """
        truth = None
        if self.truth is not None:
            truth = replace(self.truth, positions=self.known.place.inward(self.truth.positions))
            truth = truth.to(self.known.mesh.positions.device)
        known, choice = self.known, Choice(state, {})
        if self.options.normals:
            choice = choose_normals(known.mesh, known.photos, state, self.schedule, known.held_out)
        subject = results.Subject(choice.state, known, self.schedule.final_tracing, truth, self.relit)
        return results.write(subject, self.settings, folder, frames, choice.numbers)
