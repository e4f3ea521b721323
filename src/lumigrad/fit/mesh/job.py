"""A whole fit to renders of a known mesh: initialisation, fitting with checkpoints, and the results as files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lumigrad.fit.job import Job
from lumigrad.fit.mesh import report
from lumigrad.fit.mesh.loop import FitState, fit
from lumigrad.fit.mesh.stages import Stage, default_stages, stages_to_dict
from lumigrad.fit.mesh.views import Views, fibonacci_cameras, render_views
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.preview import Preview, frozen
from lumigrad.io.mesh import save_mesh
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.procedural import icosphere

# Degrees by which the held-out cameras are turned relative to those of the reference images.
_TURN = 77.0


@dataclass(frozen=True)
class MeshOptions:
    """What determines the fit of a mesh.

    Attributes:
        start: the shape to begin from: a sphere, or the target itself, bent and unpainted.
        size: rows and columns of the reference images.
        views: number of reference images.
        test_views: number of images held back for the metrics.
        texture_size: rows of the recovered texture.
        effort: scales the number of iterations.
        detail: scales the number of vertices per length.
        seed: of the order of views.
    """

    start: Literal["sphere", "perturbed"] = "sphere"
    size: int = 512
    views: int = 40
    test_views: int = 8
    texture_size: int = 1024
    effort: float = 1.0
    detail: float = 1.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        names = ("start", "size", "views", "seed", "effort", "detail")
        return {**{name: getattr(self, name) for name in names}, "texture-size": self.texture_size}


@dataclass(frozen=True)
class MeshJob(Job[FitState]):
    """A fit that recovers a mesh and its texture from renders of it.

    ::

        job = MeshJob.prepare(mesh, MeshOptions(size=256))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        options: of the fit.
        target: the mesh, moved and scaled into the unit ball.
        start: the mesh to begin from, in the same space.
        stages: the stages of the fit.
        settings: plain values that determine the fit, kept beside its state.
        centre, scale: take positions back to where the mesh was, by p * scale + centre.
        lighting: of all images.
    """

    options: MeshOptions
    target: Mesh
    start: Mesh
    stages: list[Stage]
    settings: dict[str, Any]
    centre: Tensor
    scale: float
    lighting: Lighting
    inputs: ClassVar[Mapping[str, str]] = {"mesh": "another mesh or texture"}

    @classmethod
    def prepare(cls, mesh: Mesh, options: MeshOptions | None = None) -> MeshJob:
        """Set the fit up.

        Raises:
            ValueError: the mesh has no extent, or positions that are not finite.
        """
        options = options or MeshOptions()
        low, high = mesh.bounds()
        centre = 0.5 * (low + high)
        scale = float((mesh.positions[mesh.faces.reshape(-1)] - centre).norm(dim=-1).max())
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError("the mesh has no extent, or positions that are not finite")
        target = replace(mesh, positions=(mesh.positions - centre) / scale)
        stages = default_stages(options.size, options.texture_size, options.effort, options.detail)
        start = icosphere(3, 0.5)
        if options.start == "perturbed":
            start = perturbed(target)
            stages = [replace(stage, edge_length=0.0, smoothness=8.0) for stage in stages]
        settings = {**options.to_dict(), "mesh": digest_of_mesh(mesh), "stages": stages_to_dict(stages)}
        return cls(options, target, start, stages, settings, centre, scale, Lighting())

    def begin(self) -> FitState:
        """The state before the first step."""
        return FitState.start(self.start)

    def read(self, values: dict[str, Any]) -> FitState:
        """The state of a file.

        Raises:
            ValueError: it is none of this fit.
        """
        state = FitState.from_dict(values)
        if not -1 <= state.stage < len(self.stages):
            raise ValueError(f"state.stage: expected one of {len(self.stages)} stages, got {state.stage}")
        return state

    def fit(self, state: FitState, go_on: Callable[[FitState], bool]) -> FitState:
        """Take the remaining steps."""
        return fit(self._views(self.options.views), state, self.stages, self.lighting, self.options.seed, go_on)

    def preview(self, state: FitState) -> Preview:
        """The mesh as it is; see `Job.preview`."""
        mesh, views = frozen(report.detached(state.mesh())), self._views(self.options.views)

        def draw(camera: PerspectiveCamera) -> Tensor:
            return render_mesh(mesh, camera, self.lighting).over(report.BACKGROUND)

        return Preview.of_ball(draw, views.camera, report.over(views.images, report.BACKGROUND))

    @property
    def iterations(self) -> int:
        """Steps of all stages."""
        return sum(stage.iterations for stage in self.stages)

    def progress(self, state: FitState) -> float:
        """The part of all steps that has been taken, from 0 to 1."""
        return state.iteration / self.iterations if state.iteration < self.iterations else 1.0

    def write_results(
        self, state: FitState, folder: Path, background: report.Color = report.BACKGROUND, frames: int = 48
    ) -> dict[str, float | int]:
        """Write metrics.json, mesh.glb, comparison.png, loss.png and turntable.gif; returns the metrics.

        Args:
            background: colour behind images, in the metrics too.
            frames: of the turntable.
        """
        held_back = self._views(self.options.test_views, _TURN)
        result, start = report.detached(state.mesh()), self.begin().mesh()
        numbers = report.metrics(state, self.target, held_back, self.lighting, background)
        write_metrics(numbers, folder / "metrics.json")
        save_mesh(replace(result, positions=result.positions * self.scale + self.centre), folder / "mesh.glb")
        picks = torch.linspace(0, len(held_back) - 1, min(4, len(held_back))).round().long()
        camera = held_back.camera[picks]
        report.comparison(start, self.target, result, camera, self.lighting, background, folder / "comparison.png")
        report.loss_plot(state, self.stages, folder / "loss.png")
        report.turntable(self.target, result, self.lighting, background, folder / "turntable.gif", frames)
        return numbers

    def _views(self, count: int, turn: float = 0.0) -> Views:
        cameras = fibonacci_cameras(count, (self.options.size, self.options.size), turn=turn)
        return render_views(self.target, cameras, self.lighting)


def perturbed(mesh: Mesh) -> Mesh:
    """A copy bent by smooth waves, without colours or texture."""
    waves = torch.sin(5 * mesh.positions.roll(1, dims=1) + 1) + torch.sin(7 * mesh.positions.roll(2, dims=1))
    return Mesh(mesh.positions + 0.04 * waves, mesh.faces)


def digest_of_mesh(mesh: Mesh) -> str:
    """A digest of the shape and colours, which identifies the mesh."""
    digest = hashlib.sha256()
    for value in vars(mesh).values():
        if isinstance(value, Tensor):
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
