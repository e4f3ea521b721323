"""The fitting loop: from a first mesh to the surface and texture that reproduce photographs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit._laplacian import LargeSteps, laplacian_energy, unique_edges
from lumigrad.fit._remesh import remesh
from lumigrad.fit.cameras import CameraRefinement
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.mesh.views import pick
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.atlas import unwrap
from lumigrad.fit.reconstruct.drawing import draw
from lumigrad.fit.reconstruct.exposure import centred, gains_of
from lumigrad.fit.reconstruct.measure import evaluate
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.projection import project_colors, project_texture
from lumigrad.fit.reconstruct.resolution import texture_size
from lumigrad.fit.reconstruct.schedule import Schedule, Stage
from lumigrad.fit.reconstruct.space import Space, Straight
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.fit.reconstruct.topology import is_closed
from lumigrad.io.photos import reduced
from lumigrad.ops.surface import edge_topology
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh


def refine(
    photos: PhotoSet,
    state: ReconstructState,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 250,
    on_step: Callable[[ReconstructState], bool] | None = None,
    space: Space | None = None,
    background: Tensor | None = None,
    group: Group = ALONE,
) -> ReconstructState:
    """Fit a mesh, its colours, the photographs' exposures and, if the schedule says so, their cameras by descent.

    Args:
        photos: to fit, on the device of the state.
        state: where to begin, `ReconstructState.begin` or what an earlier call returned; changed in place. The schedule
            is the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.
        space: in which the stages' lengths are, and vertices move; `Straight` by default.
        background: as for the measurements on the photographs held out, [3].
        group: processes among which the photographs of a step are divided; all begin with the same state.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through.
    """
    clock, leg = time.perf_counter(), None
    cameras = None
    if schedule.cameras != "fixed":
        # A fixed surface is already in place, so a motion common to all cameras is their error.
        moves = any(stage.rate for stage in schedule.stages)
        cameras = CameraRefinement(photos.camera, schedule.cameras == "focal", gauge=moves)
    if cameras is not None and state.cameras:
        cameras.load(state.cameras)
    surroundings = _Surroundings(photos, schedule, space or Straight(), cameras)
    while (progress := schedule.progress(state)) < 1:
        number = schedule.stage(progress)
        if leg is None or number != leg.number:
            leg = _Leg(number, surroundings, state, fresh=number != state.stage)
            state.stage = number
        picks = pick(len(photos), leg.stage.batch, state.iteration, schedule.seed)
        state.losses.append(leg.step(state, schedule.within(progress), picks, group))
        state.iteration += 1
        state.optimizers = [optimizer.state_dict() for optimizer in leg.optimizers]
        state.cameras = {} if cameras is None else cameras.to_dict()
        state.seconds = group.first(state.seconds + time.perf_counter() - clock)
        if held_out and state.iteration % evaluate_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, **evaluate(state.mesh(), held_out, background, group)})
        if on_step is not None and not on_step(state):
            break
        clock = time.perf_counter()
    return state


class _Surroundings(NamedTuple):
    """The data that all stages share."""

    photos: PhotoSet
    schedule: Schedule
    space: Space
    cameras: CameraRefinement | None

    @torch.no_grad()
    def seen(self) -> PhotoSet:
        """The photographs with their current cameras."""
        return self.photos if self.cameras is None else self.photos.with_camera(self.cameras.camera())


class _Leg:
    """The data that all steps of a stage need: photographs of its size, the system of large steps, optimisers."""

    def __init__(self, number: int, around: _Surroundings, state: ReconstructState, fresh: bool) -> None:
        schedule = around.schedule
        self.number, self.stage, self.exposure = number, schedule.stages[number], schedule.exposure
        self.space, self.cameras = around.space, around.cameras
        if fresh and (state.stage < 0 or not schedule.stages[state.stage].textured):
            _prepare(self.stage, state, around)
        self.photos = around.photos.reduced(self.stage.factor)
        self.topology = edge_topology(state.faces)
        self.edges = unique_edges(state.faces)
        self.system = None
        if self.stage.rate:
            self.system = LargeSteps(state.faces, len(state.positions), self.stage.smoothness)
        if fresh or state.parameter is None:
            state.parameter = state.positions
            if self.system is not None:
                state.parameter = self.system.from_positions(self.space.inward(state.positions))
        moves = self.system is not None
        self.optimizers = state.make_optimizers(self.stage.rate, self.stage.color_rate, fresh, moves)
        if fresh:  # a fit can also resume between two stages
            state.optimizers = [optimizer.state_dict() for optimizer in self.optimizers]

    def step(self, state: ReconstructState, within: float, picks: Tensor, group: Group) -> float:
        """One gradient step at a part `within` of the stage; returns the mean absolute error."""
        assert state.parameter is not None
        stage = self.stage
        rates = (stage.rate * 0.2**within, stage.color_rate * 0.1**within)
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        inner = None if self.system is None else self.system.to_positions(state.parameter)
        positions = state.positions if inner is None else self.space.outward(inner)
        part = group.share(len(picks), "batch")
        own, weight = picks[part], (part.stop - part.start) / len(picks)
        shot = draw(state.mesh(positions), self._camera(picks)[part], self.topology)
        error = self._error(shot.color * state.gains[own][:, None, None], shot.mask, own)
        loss = error.abs().mean()
        total = loss + stage.squares * error.square().mean() if stage.squares else loss
        if inner is not None and stage.laplacian:
            total = total + stage.laplacian * laplacian_energy(inner, self.edges)
        (weight * total).backward()
        gains = state.gains.new_zeros(len(picks), 3)
        if self.exposure:
            gains[part] = self._gains(state, shot.color, shot.mask, own)
        leaves = [*self._parameters(), *([] if self.cameras is None else self.cameras.leaves)]
        summed, gains = group.sum_gradients(leaves, [weight * loss.detach(), gains])
        for optimizer in self.optimizers:
            optimizer.step()
        if self.cameras is not None:
            self.cameras.step(picks, stage.camera_rate * 0.2**within / float(self.photos.camera.fx.median()))
        with torch.no_grad():
            state.appearance.clamp_(0, 1)
            if self.system is not None:
                state.positions = self.space.outward(self.system.solve(state.parameter))
            if self.exposure:
                state.gains[picks] = gains
                state.gains = centred(state.gains)
        return float(summed)

    def _parameters(self) -> list[Tensor]:
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        return [parameter for group in groups for parameter in group["params"]]

    def _camera(self, picks: Tensor) -> PerspectiveCamera:
        if self.cameras is None:
            return self.photos.camera[picks]
        return reduced(self.cameras.camera(picks), self.stage.factor)

    def _error(self, color: Tensor, mask: Tensor, picks: Tensor) -> Tensor:
        """Differences of colour, and of coverage where photographs have it, [B, H, W, 3 or 4]."""
        photos = self.photos
        target, counts = photos.images[picks].float(), photos.counts[picks]
        if photos.alpha is None:
            # Where there is no surface yet, nothing is compared, and nothing is gained by uncovering a pixel.
            return (color - mask.detach() * target) * counts
        return torch.cat([color - target, mask - photos.alpha[picks].float()], dim=-1) * counts

    @torch.no_grad()
    def _gains(self, state: ReconstructState, color: Tensor, mask: Tensor, picks: Tensor) -> Tensor:
        photos = self.photos
        counts = photos.counts[picks] & (mask > 0.99)
        if photos.alpha is not None:
            counts = counts & (photos.alpha[picks] > 0.99)
        return gains_of(color, photos.images[picks].float(), counts, state.gains[picks])


def _prepare(stage: Stage, state: ReconstructState, around: _Surroundings) -> None:
    """Remesh, and paint with what photographs show, as the stage requires."""
    photos, size = around.seen(), around.schedule.texture_size
    if stage.edge_length > 0 and is_closed(state.faces):
        inner, faces, _ = remesh(around.space.inward(state.positions), state.faces, stage.edge_length)
        state.positions, state.faces = around.space.outward(inner), faces
    mesh = Mesh(state.positions, state.faces, state.uvs, state.uv_faces)
    if not stage.textured:
        found = project_colors(mesh, photos, mesh.positions, mesh.vertex_normals(), state.gains)
        state.appearance = torch.where(found.weights[:, None] > 0, found.colors, 0.5)
        return
    size = texture_size(mesh, photos) if size is None else size
    if state.uvs is None:
        inner = around.space.inward(state.positions)
        state.uvs, state.uv_faces, shape, state.atlas = unwrap(inner, state.faces, size)
        mesh = Mesh(state.positions, state.faces, state.uvs, state.uv_faces)
    else:
        shape = (size, size)
    state.appearance, _ = project_texture(mesh, photos, shape, state.gains)
