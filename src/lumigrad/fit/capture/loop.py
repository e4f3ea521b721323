"""The fitting loop: random frames from random cameras, by gradients of filtered images."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.fit.capture._high_pass import high_pass
from lumigrad.fit.capture.drawing import draw_frames
from lumigrad.fit.capture.rig import CaptureRig
from lumigrad.fit.capture.schedule import LAPLACIAN_UNITS, CaptureSchedule
from lumigrad.fit.capture.smoothness import UniformLaplacian
from lumigrad.fit.capture.state import CaptureState
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.mesh.views import pick
from lumigrad.io.photos import reduced
from lumigrad.ops.surface import edge_topology
from lumigrad.scene.cameras.camera import PerspectiveCamera

# Number of images on which the curve is measured.
_MEASURED = 9


def capture(
    rig: CaptureRig,
    camera: PerspectiveCamera,
    state: CaptureState,
    schedule: CaptureSchedule,
    evaluate_every: int = 250,
    on_step: Callable[[CaptureState], bool] | None = None,
    group: Group = ALONE,
) -> CaptureState:
    """Fit the shapes of all frames, the texture, and the cameras' exposures by gradient descent.

    Args:
        rig: what was recorded.
        camera: the rig's cameras, in the space of the model.
        state: where to begin; changed in place. The schedule is the same as before when resuming.
        evaluate_every: steps between points of `state.curve`; this time does not count.
        on_step: called after every step; returning False stops the fit.
        group: processes among which the images of a step are divided; all begin with the same state.

    Returns:
        The state. Unless `schedule.minutes` ends it, a fit that is stopped and resumed takes the same steps as one
        that runs through.
    """
    steps = _Steps(rig, camera, state, schedule, group)
    clock = time.perf_counter()
    while (progress := schedule.progress(state)) < 1:
        state.losses.append(steps.take(progress))
        state.iteration += 1
        state.seconds = group.first(state.seconds + time.perf_counter() - clock)
        if state.iteration % evaluate_every == 0:
            error = steps.mean_square()
            place = {"iteration": state.iteration, "seconds": state.seconds}
            state.curve.append({**place, "psnr_db": -10 * float(torch.log10(error))})
        if on_step is not None and not on_step(state):
            break
        clock = time.perf_counter()
    return state


class _Steps:
    """Gradient steps, and the data that all of them need."""

    def __init__(
        self,
        rig: CaptureRig,
        camera: PerspectiveCamera,
        state: CaptureState,
        schedule: CaptureSchedule,
        group: Group,
    ) -> None:
        self.group = group
        self.rig, self.camera, self.state, self.schedule = rig, camera, state, schedule
        faces = state.model.mesh.faces
        self.topology = edge_topology(faces)
        self.smooth = UniformLaplacian(faces, len(state.model.base))

    def take(self, progress: float) -> float:
        """One step; returns the mean squared difference of filtered images."""
        schedule, optimizer, model = self.schedule, self.state.optimizer, self.state.model
        rates = schedule.rates(progress)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rates[parameters["name"]]
        optimizer.zero_grad(set_to_none=True)
        frames, cameras = self._picked(schedule.batch, self.state.iteration)
        part = self.group.share(len(frames), "batch")
        weight = (part.stop - part.start) / len(frames)
        frames, cameras = frames[part], cameras[part]
        deltas, factor = model.deltas(frames), schedule.factor(progress)
        amount, blur = schedule.high_pass
        error = self._error(deltas, frames, cameras, factor)
        loss = high_pass(error, amount, max(1, blur // factor)).square().mean()
        total = loss
        if schedule.laplacian:
            total = loss + schedule.laplacian * self.smooth.energy(LAPLACIAN_UNITS * deltas)
        (weight * total).backward()
        (summed,) = self.group.sum_gradients(list(model.parameters()), [weight * loss.detach()])
        optimizer.step()
        model.settle()
        return float(summed)

    @torch.no_grad()
    def mean_square(self) -> Tensor:
        """The mean squared difference, not filtered, of some images, always the same."""
        frames, cameras = self._picked(_MEASURED, 0)
        return self._error(self.state.model.deltas(frames), frames, cameras, 1).square().mean()

    def _picked(self, batch: int, step: int) -> tuple[Tensor, Tensor]:
        """Frames and cameras of a step: all pairs, in random order, one round after the other."""
        count = len(self.rig.names)
        picks = pick(self.rig.frames * count, batch, step, self.schedule.seed)
        return picks // count, picks % count

    def _error(self, deltas: Tensor, frames: Tensor, cameras: Tensor, factor: int) -> Tensor:
        """Colour differences between drawn and recorded images, averaged down by a factor, [N, h, w, 3]."""
        model, camera = self.state.model, self.camera
        target = self.rig.images(frames, cameras).to(deltas)
        if factor > 1:
            pooled = torch.nn.functional.avg_pool2d(target.permute(0, 3, 1, 2), factor)
            target, camera = pooled.permute(0, 2, 3, 1), reduced(camera, factor)
        positions = model.moved(model.base + deltas, frames)
        image = draw_frames(model, positions, camera, cameras, self.rig.background, self.topology)
        return (image - target[..., :3]) * (target[..., 3:] > 0.999)
