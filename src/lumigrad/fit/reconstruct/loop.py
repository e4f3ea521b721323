"""The fitting loop: from a first mesh to the surface and texture that reproduce photographs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit._laplacian import LargeSteps, laplacian_energy, unique_edges
from lumigrad.fit._remesh import remesh
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
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.fit.reconstruct.topology import is_closed
from lumigrad.ops.surface import edge_topology
from lumigrad.scene.shapes.mesh import Mesh


def refine(
    photos: PhotoSet,
    state: ReconstructState,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 250,
    on_step: Callable[[ReconstructState], bool] | None = None,
) -> ReconstructState:
    """Fit a mesh, its colours and the photographs' exposures by gradient descent.

    Args:
        photos: to fit, on the device of the state.
        state: where to begin, `ReconstructState.begin` or what an earlier call returned; changed in place. The schedule
            is the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through.
    """
    clock, leg = time.perf_counter(), None
    while (progress := schedule.progress(state)) < 1:
        number = schedule.stage(progress)
        if leg is None or number != leg.number:
            leg = _Leg(number, schedule, state, photos, fresh=number != state.stage)
            state.stage = number
        picks = pick(len(photos), leg.stage.batch, state.iteration, schedule.seed)
        state.losses.append(leg.step(state, schedule.within(progress), picks))
        state.iteration += 1
        state.optimizers = [optimizer.state_dict() for optimizer in leg.optimizers]
        state.seconds += time.perf_counter() - clock
        if held_out and state.iteration % evaluate_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, **evaluate(state.mesh(), held_out)})
        if on_step is not None and not on_step(state):
            break
        clock = time.perf_counter()
    return state


class _Leg:
    """What a stage needs throughout: photographs of its size, the system of large steps, optimisers."""

    def __init__(self, number: int, schedule: Schedule, state: ReconstructState, photos: PhotoSet, fresh: bool) -> None:
        self.number, self.stage, self.exposure = number, schedule.stages[number], schedule.exposure
        if fresh and (state.stage < 0 or not schedule.stages[state.stage].textured):
            _prepare(self.stage, state, photos, schedule.texture_size)
        self.photos = photos.reduced(self.stage.factor)
        self.topology = edge_topology(state.faces)
        self.edges = unique_edges(state.faces)
        self.system = None
        if self.stage.rate:
            self.system = LargeSteps(state.faces, len(state.positions), self.stage.smoothness)
        if fresh or state.parameter is None:
            state.parameter = state.positions if self.system is None else self.system.from_positions(state.positions)
        moves = self.system is not None
        self.optimizers = state.make_optimizers(self.stage.rate, self.stage.color_rate, fresh, moves)

    def step(self, state: ReconstructState, within: float, picks: Tensor) -> float:
        """One gradient step at a part `within` of the stage; returns the mean absolute error."""
        assert state.parameter is not None
        stage = self.stage
        rates = (stage.rate * 0.2**within, stage.color_rate * 0.1**within)
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        positions = state.positions if self.system is None else self.system.to_positions(state.parameter)
        shot = draw(state.mesh(positions), self.photos.camera[picks], self.topology)
        error = self._error(shot.color * state.gains[picks][:, None, None], shot.mask, picks)
        loss = error.abs().mean()
        total = loss + stage.squares * error.square().mean() if stage.squares else loss
        if self.system is not None and stage.laplacian:
            total = total + stage.laplacian * laplacian_energy(positions, self.edges)
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            state.appearance.clamp_(0, 1)
            if self.system is not None:
                state.positions = self.system.solve(state.parameter)
            if self.exposure:
                self._expose(state, shot.color, shot.mask, picks)
        return float(loss.detach())

    def _error(self, color: Tensor, mask: Tensor, picks: Tensor) -> Tensor:
        """Differences of colour, and of coverage where photographs have it, [B, H, W, 3 or 4]."""
        photos = self.photos
        target, counts = photos.images[picks].float(), photos.counts[picks]
        if photos.alpha is None:
            # Where there is no surface yet there is nothing to compare, and nothing is gained by leaving a pixel.
            return (color - mask.detach() * target) * counts
        return torch.cat([color - target, mask - photos.alpha[picks].float()], dim=-1) * counts

    def _expose(self, state: ReconstructState, color: Tensor, mask: Tensor, picks: Tensor) -> None:
        photos = self.photos
        counts = photos.counts[picks] & (mask > 0.99)
        if photos.alpha is not None:
            counts = counts & (photos.alpha[picks] > 0.99)
        state.gains[picks] = gains_of(color, photos.images[picks].float(), counts, state.gains[picks])
        state.gains = centred(state.gains)


def _prepare(stage: Stage, state: ReconstructState, photos: PhotoSet, size: int | None) -> None:
    """Remesh, and paint with what photographs show, as the stage requires."""
    if stage.edge_length > 0 and is_closed(state.faces):
        positions, faces, _ = remesh(state.positions, state.faces, stage.edge_length)
        state.positions, state.faces = positions, faces
    mesh = Mesh(state.positions, state.faces, state.uvs, state.uv_faces)
    if not stage.textured:
        found = project_colors(mesh, photos, mesh.positions, mesh.vertex_normals(), state.gains)
        state.appearance = torch.where(found.weights[:, None] > 0, found.colors, 0.5)
        return
    size = texture_size(mesh, photos) if size is None else size
    if state.uvs is None:
        state.uvs, state.uv_faces, shape, state.atlas = unwrap(state.positions, state.faces, size)
        mesh = Mesh(state.positions, state.faces, state.uvs, state.uv_faces)
    else:
        shape = (size, size)
    state.appearance, _ = project_texture(mesh, photos, shape, state.gains)
