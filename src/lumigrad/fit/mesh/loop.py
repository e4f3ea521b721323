"""The fitting loop: from a start mesh to geometry and texture that reproduce the reference images.

Stages go from coarse to fine. Geometry is parameterised through `LargeSteps` and remeshed at the start of a
stage. Appearance is one colour per vertex until the shape is known, and then a texture in an atlas made for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._laplacian import LargeSteps, laplacian_energy, unique_edges
from lumigrad.fit._plain import from_plain
from lumigrad.fit._remesh import remesh
from lumigrad.fit.atlas import bake, make_atlas
from lumigrad.fit.mesh.stages import Stage
from lumigrad.fit.mesh.views import Views, pick
from lumigrad.fit.optim import AdamUniform
from lumigrad.ops.surface import edge_topology
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh


@dataclass
class FitState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely."""

    faces: Tensor
    positions: Tensor
    appearance: Tensor
    uvs: Tensor | None = None
    uv_faces: Tensor | None = None
    iteration: int = 0
    stage: int = -1
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    parameter: Tensor | None = None
    optimizers: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, mesh: Mesh, seed_color: float = 0.5) -> FitState:
        """State before the first step, painted a uniform grey."""
        return cls(mesh.faces.long(), mesh.positions.clone(), torch.full_like(mesh.positions, seed_color))

    def mesh(self, positions: Tensor | None = None) -> Mesh:
        """The mesh as it is now, or with other positions."""
        positions = self.positions if positions is None else positions
        if self.uvs is None:
            return Mesh(positions, self.faces, colors=self.appearance)
        return Mesh(positions, self.faces, self.uvs, self.uv_faces, self.appearance)

    def make_optimizers(
        self, rate: float, appearance_rate: float, fresh: bool, moves: bool = True
    ) -> list[torch.optim.Optimizer]:
        """Those of the parameter of positions and of the appearance, which become leaves.

        Args:
            fresh: a stage begins; otherwise the optimisers continue from their saved state.
            moves: whether the parameter needs a gradient.
        """
        assert self.parameter is not None
        self.parameter = self.parameter.detach().requires_grad_(moves)
        self.appearance = self.appearance.detach().requires_grad_()
        # Moments decay fast, because large steps soon make old gradients irrelevant.
        optimizers: list[torch.optim.Optimizer] = [
            AdamUniform([self.parameter], lr=rate, betas=(0.9, 0.99)),
            torch.optim.Adam([self.appearance], lr=appearance_rate, betas=(0.9, 0.99)),
        ]
        if not fresh:
            for optimizer, saved in zip(optimizers, self.optimizers, strict=True):
                optimizer.load_state_dict(saved)
        return optimizers

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FitState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, or not finite; or they are not those of a mesh.
        """
        state = from_plain(cls, values)
        state.mesh()
        fitted = [state.positions if state.parameter is None else state.parameter, state.appearance]
        if fitted[0].shape != state.positions.shape:
            raise ValueError(f"state.parameter: expected {[*state.positions.shape]}, got {[*fitted[0].shape]}")
        if len(state.optimizers) not in (0, len(fitted)):
            raise ValueError(f"state.optimizers: expected {len(fitted)}, got {len(state.optimizers)}")
        for tensor, saved in zip(fitted, state.optimizers, strict=False):
            torch.optim.Adam([tensor.detach()]).load_state_dict(saved)
            for name, moment in saved["state"].get(0, {}).items():
                if isinstance(moment, Tensor) and moment.ndim and moment.shape != tensor.shape:
                    raise ValueError(f"state.optimizers: {name}: expected {[*tensor.shape]}, got {[*moment.shape]}")
        return state


class _Leg:
    """The data that all steps of a stage need: factorised system, optimisers, resized targets."""

    def __init__(self, stage: Stage, state: FitState, views: Views, lighting: Lighting, fresh: bool) -> None:
        self.stage, self.lighting = stage, lighting
        if fresh:
            _prepare(stage, state)
        self.views = views.resized(stage.size)
        self.system = LargeSteps(state.faces, len(state.positions), stage.smoothness)
        self.edges = unique_edges(state.faces)
        self.topology = edge_topology(state.faces)
        if fresh or state.parameter is None:
            state.parameter = self.system.from_positions(state.positions)
        self.optimizers = state.make_optimizers(stage.rate, stage.appearance_rate, fresh)

    def step(self, state: FitState, progress: float, picks: Tensor) -> float:
        """One gradient step at `progress` in [0, 1) of the stage; returns the mean absolute error."""
        assert state.parameter is not None
        stage = self.stage
        for optimizer, rate in zip(self.optimizers, (stage.rate, stage.appearance_rate), strict=True):
            optimizer.param_groups[0]["lr"] = rate * 0.2**progress
            optimizer.zero_grad(set_to_none=True)
        positions = self.system.to_positions(state.parameter)
        shot = render_mesh(state.mesh(positions), self.views.camera[picks], self.lighting, self.topology)
        error = torch.cat([shot.color, shot.mask], dim=-1) - self.views.images[picks].float()
        loss = error.abs().mean()
        total = loss + stage.squares * error.square().mean() if stage.squares else loss
        if stage.laplacian:
            total = total + stage.laplacian * laplacian_energy(positions, self.edges)
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            state.appearance.clamp_(0, 1)
            state.positions = self.system.solve(state.parameter)
        return float(loss.detach())


def _prepare(stage: Stage, state: FitState) -> None:
    """Remesh, or replace vertex colours by a texture, as the stage requires."""
    if stage.edge_length > 0 and state.uvs is None:
        positions, faces, colors = remesh(state.positions, state.faces, stage.edge_length, state.appearance)
        assert colors is not None
        state.positions, state.faces, state.appearance = positions, faces, colors.clamp(0, 1)
    if stage.texture_size and state.uvs is None:
        state.uvs, state.uv_faces = make_atlas(state.positions, state.faces, stage.texture_size)
        shape = Mesh(state.positions, state.faces, state.uvs, state.uv_faces)
        state.appearance = bake(shape, state.appearance.detach(), stage.texture_size)
    state.parameter, state.optimizers = None, []


def fit(
    views: Views,
    state: FitState,
    stages: list[Stage],
    lighting: Lighting,
    seed: int = 0,
    on_step: Callable[[FitState], bool] | None = None,
) -> FitState:
    """Recover geometry and appearance by gradient descent through antialiased renders.

    Args:
        views: reference images with cameras.
        state: where to begin, `FitState.start(mesh)` or one that an earlier call returned; changed in place.
        stages: the stages in order; to resume, the same as before.
        lighting: of the reference images.
        seed: of the order of views.
        on_step: called after every step; returning False stops the fit.

    Returns:
        The state, complete when `state.iteration` is the sum of all stages' iterations. A fit that is stopped
        and resumed takes the same steps as one that runs through.

    >>> from lumigrad.fit import FitState, Stage, fibonacci_cameras, fit, render_views
    >>> from lumigrad.scene import Lighting, icosphere
    >>> views = render_views(icosphere(1, radius=0.8), fibonacci_cameras(2, size=(32, 32)), Lighting())
    >>> stages = [Stage(iterations=4, size=32, batch=2, rate=0.05, smoothness=1.0)]
    >>> state = fit(views, FitState.start(icosphere(1)), stages, Lighting())
    >>> state.iteration, state.losses[-1] < state.losses[0]
    (4, True)
    >>> (state.mesh().positions.norm(dim=1).mean() < 0.97).item()  # the radius was 1
    True
    """
    begin = 0
    for number, stage in enumerate(stages):
        end = begin + stage.iterations
        if state.iteration < end:
            clock = time.perf_counter()
            leg = _Leg(stage, state, views, lighting, fresh=state.stage != number)
            state.stage = number
            state.seconds += time.perf_counter() - clock
        while state.iteration < end:
            clock = time.perf_counter()
            local = state.iteration - begin
            loss = leg.step(state, local / stage.iterations, pick(len(views), stage.batch, local, seed + number))
            state.losses.append(loss)
            state.iteration += 1
            state.optimizers = [optimizer.state_dict() for optimizer in leg.optimizers]
            state.seconds += time.perf_counter() - clock
            if on_step is not None and not on_step(state):
                return state
        begin = end
    return state
