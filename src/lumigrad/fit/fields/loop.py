"""The fitting loop: random rays of all photographs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields.model import FieldModel
from lumigrad.fit.fields.rays import PixelRays
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.measure import measure


@torch.no_grad()
def evaluate(model: FieldModel, state: FieldState, photos: list[Photo], group: Group = ALONE) -> dict[str, float]:
    """Mean PSNR (decibels, of covered pixels) and SSIM over photographs, which are divided among a group's processes.

    >>> import torch
    >>> from lumigrad.fit.fields import FieldState, Voxels, evaluate
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model = Voxels(photos, boxes=2)
    >>> sorted(evaluate(model, FieldState.start(model.start(voxels=16, degree=0)), photos))
    ['psnr_db', 'ssim']
    """
    return measure(lambda camera: model.picture(state, camera).color, photos, group)


def fit_field(
    photos: list[Photo],
    state: FieldState,
    model: FieldModel,
    schedule: Schedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 250,
    on_step: Callable[[FieldState], bool] | None = None,
    group: Group = ALONE,
) -> FieldState:
    """Fit a field to photographs by gradient descent.

    Args:
        photos: to fit, on the device of the state, as are those held out.
        state: where to begin, `model.begin(schedule)` or what an earlier call returned; changed in place.
            Model and schedule are the same as before when resuming.
        held_out: photographs that `state.curve` is measured on, every `evaluate_every` steps; this time does not count.
        on_step: called after every step; returning False stops the fit.
        group: processes among which the rays of a step are divided; all begin with the same state.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through; on a CUDA device, only with torch's deterministic algorithms.

    >>> import torch
    >>> from lumigrad.fit.fields import FieldState, Schedule, Voxels, fit_field
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model, schedule = Voxels(photos, boxes=2), Schedule(iterations=40, levels=((0.0, 16, 0),))
    >>> state = fit_field(photos, FieldState.start(model.start(voxels=16, degree=0)), model, schedule)
    >>> state.iteration, state.losses[-1] < state.losses[0]
    (40, True)
    """
    generator = torch.Generator(state.device)
    generator.set_state(state.random)
    pixels = PixelRays(photos)
    while (progress := schedule.progress(state)) < 1:
        clock = time.perf_counter()
        model.prepare(state, schedule, progress)
        rays, colors = pixels.draw(schedule.rays, generator)
        state.losses.append(model.step(state, rays, colors, schedule, progress, generator, group))
        state.iteration += 1
        state.random = generator.get_state()
        state.seconds = group.first(state.seconds + time.perf_counter() - clock)
        if held_out and state.iteration % evaluate_every == 0:
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, **evaluate(model, state, held_out, group)})
        if on_step is not None and not on_step(state):
            break
    return state
