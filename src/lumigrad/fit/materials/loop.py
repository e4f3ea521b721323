"""The fitting loop: from grey to the materials and the light that reproduce photographs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.materials.drawing import Lit, LitDrawer, draw
from lumigrad.fit.materials.regularise import penalty
from lumigrad.fit.materials.schedule import Schedule
from lumigrad.fit.materials.state import MaterialsState
from lumigrad.fit.mesh.views import pick
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.exposure import centred, gains_of
from lumigrad.fit.reconstruct.measure import evaluate_drawn
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.scene.color import srgb_decode
from lumigrad.scene.shapes.mesh import Mesh

# Initial step sizes of the parameters (logits and logarithms); they fall to a tenth over a stage.
_RATES = {"base_color": 0.1, "roughness": 0.1, "metallic": 0.1, "normal": 0.03, "light": 0.1}
_FALL = 0.1
# Progress from which the normal map is fitted: earlier, it would absorb the errors of a light that is not yet
# right.
_BENT = 0.4
_CLIPPED = 0.995
# Darker values count as this bright: the display's curve is steep near black, where noise is.
_DARK = 0.02
# Samples per pixel of renders that are measured, if light is traced.
_MEASURED = 16


def fit_materials(
    mesh: Mesh,
    photos: PhotoSet,
    state: MaterialsState,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 100,
    on_step: Callable[[MaterialsState], bool] | None = None,
) -> MaterialsState:
    """Fit base colour, roughness, metallic, perhaps normals, and the light around, by gradient descent.

    Args:
        mesh: the surface, which stays as it is.
        photos: to fit, on the device of the state.
        state: where to begin, `MaterialsState.begin` or what an earlier call returned; changed in place. The schedule
            is the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through.
    """
    clock = time.perf_counter()
    step = _Step(state.on(mesh), photos, state, schedule)
    while (progress := schedule.progress(state)) < 1:
        state.losses.append(step(state, progress))
        state.iteration += 1
        state.optimizer = step.optimizer.state_dict()
        state.seconds += time.perf_counter() - clock
        if held_out and state.iteration % evaluate_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, **step.evaluate(state, progress, held_out)})
        if on_step is not None and not on_step(state):
            break
        clock = time.perf_counter()
    for leaf in state.leaves():
        leaf.requires_grad_(False)
    return state


class _Step:
    """The data that all steps need."""

    def __init__(self, mesh: Mesh, photos: PhotoSet, state: MaterialsState, schedule: Schedule) -> None:
        self.mesh, self.photos, self.schedule = mesh, photos, schedule
        self.covered = state.covered(mesh)
        self.names = [name for name in sorted(state.parameters) for _ in state.parameters[name]]
        groups = [{"params": [leaf.requires_grad_()]} for leaf in state.leaves()]
        # Moments decay fast, because a batch shows only part of the surface.
        self.optimizer = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99))
        if state.optimizer:
            self.optimizer.load_state_dict(state.optimizer)

    def __call__(self, state: MaterialsState, progress: float) -> float:
        """One gradient step; returns the root mean square of the error."""
        schedule = self.schedule
        stage, within = schedule.stages[schedule.stage(progress)], schedule.within(progress)
        fall = 1.0 if stage.coarse else _FALL**within
        for name, group in zip(self.names, self.optimizer.param_groups, strict=True):
            rests = name == "normal" and progress < _BENT
            group["lr"] = 0.0 if rests else _RATES[name] * stage.rate * fall
        self.optimizer.zero_grad(set_to_none=True)
        picks = pick(len(self.photos), schedule.batch, state.iteration, schedule.seed)
        maps = state.maps(stage.coarse)
        seed = schedule.seed * 1_000_003 + state.iteration
        shot = draw(self.mesh, maps, self.photos.camera[picks], schedule.tracing if stage.traced else None, seed)
        loss = self._error(shot, state.gains[picks], picks)
        total = loss + penalty(maps, self.covered, schedule.albedo, schedule.weights)
        total.backward()
        self.optimizer.step()
        if schedule.exposure:
            self._expose(state, shot, picks)
        return float(loss.detach().sqrt())

    def evaluate(self, state: MaterialsState, progress: float, photos: list[Photo]) -> dict[str, float]:
        """The similarity of the current state's renders to photographs."""
        traced = self.schedule.stages[self.schedule.stage(progress)].traced
        with torch.no_grad():
            drawer = LitDrawer(self.mesh, state.maps(), self.schedule.tracing.at_least(_MEASURED) if traced else None)
        return evaluate_drawn(drawer.shown, photos)

    def _inside(self, shot: Lit, picks: Tensor) -> Tensor:
        """Pixels that are entirely covered by the surface: only there are light and coverage not mixed."""
        counts = self.photos.counts[picks] & (shot.mask > 0.99)
        if self.photos.alpha is not None:
            counts = counts & (self.photos.alpha[picks] > 0.99)
        return counts

    def _error(self, shot: Lit, gains: Tensor, picks: Tensor) -> Tensor:
        """Mean square of the differences of linear light, weighted by the slope of the display's curve there.

        Squares of linear light keep noise of rays from biasing the fit: a render and its gradient come from different
        rays.
        """
        inside, encoded = self._inside(shot, picks), self.photos.images[picks].float()
        target = srgb_decode(encoded)
        slope = 1.055 / 2.4 * target.clamp_min(_DARK) ** (1 / 2.4 - 1)
        error = shot.color * gains[:, None, None] - target
        # A pixel clipped in the photograph may be any brighter.
        error = torch.where(encoded >= _CLIPPED, error.clamp_max(0), error)
        return ((slope * error).square() * inside).sum() / (3 * inside.sum().clamp_min(1))

    def _expose(self, state: MaterialsState, shot: Lit, picks: Tensor) -> None:
        target = srgb_decode(self.photos.images[picks].float())
        gains = gains_of(shot.color.detach(), target, self._inside(shot, picks), state.gains[picks])
        state.gains[picks] = gains
        state.gains = centred(state.gains)
