"""A whole capture: initialisation, fitting with checkpoints, and the results as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lumigrad.fit.capture import results
from lumigrad.fit.capture.loop import capture
from lumigrad.fit.capture.model import CaptureModel, Rigid, check_rigid
from lumigrad.fit.capture.rig import CaptureRig
from lumigrad.fit.capture.schedule import CaptureSchedule, coarse_to_fine
from lumigrad.fit.capture.state import CaptureState
from lumigrad.fit.capture.truth import seen_vertices
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.mesh.job import digest_of_mesh
from lumigrad.fit.photos.job import DividedJob
from lumigrad.fit.preview import Preview, frozen
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.scene.cameras.camera import PerspectiveCamera

# Steps of a whole fit.
STEPS = 5000


@dataclass(frozen=True)
class CaptureOptions:
    """What determines a capture.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most; without a limit by default.
        batch: images of each step.
        widths: of the weights of a frame, and of their images under M1 and M2.
        decompose: fit M1, M2, M3 and weights; without, an offset of each vertex in each frame.
        laplacian: weight of the uniform Laplacian of offsets.
        high_pass: part of the blurred images that is taken away; 0 compares images as they are.
        blur_factor: by which images are reduced for it, in pixels.
        rigid: what has a rigid transform of its own: each "sequence", each "frame", or "none".
        texture_size: rows and columns of the texture.
        seed: of all that is random.
    """

    iterations: int = STEPS
    minutes: float | None = None
    batch: int = 4
    widths: tuple[int, int, int] = (64, 64, 64)
    decompose: bool = True
    laplacian: float = 3.0
    high_pass: float = 0.3
    blur_factor: int = 32
    rigid: Rigid = "sequence"
    texture_size: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        check_rigid(self.rigid)

    def to_dict(self) -> dict[str, Any]:
        """The values that a fit must have in common with the one it resumes."""
        return {**vars(self), "widths": list(self.widths)}

    def schedule(self, size: tuple[int, int]) -> CaptureSchedule:
        """Length and settings of the loop for images of a size (height, width)."""
        return CaptureSchedule(
            self.iterations,
            self.minutes,
            self.batch,
            self.laplacian,
            (self.high_pass, self.blur_factor),
            coarse_to_fine(size),
            seed=self.seed,
        )


# For minutes on two cores.
QUICK = CaptureOptions(iterations=500, widths=(32, 32, 32), texture_size=256)


@dataclass(frozen=True)
class CaptureJob(DividedJob[CaptureState]):
    """A capture of a rig.

    ::

        job = CaptureJob.of_rig(load_rig("rig"))
        state = job.run(job.begin(), folder)
        if job.complete(state):
            numbers = job.write_results(state, folder)

    Attributes:
        rig: what was recorded.
        options: of the fit.
        place: where the space of the fit is in the world.
        camera: the rig's cameras, in that space.
        schedule: of the loop.
        settings: plain values that determine the fit, kept beside its state.
        truth: positions of all frames in the world, to be measured against.
        millimetres: the length of a unit of the world.
        device: where it is fitted.
    """

    rig: CaptureRig
    options: CaptureOptions
    place: Placement
    camera: PerspectiveCamera
    schedule: CaptureSchedule
    settings: dict[str, Any]
    truth: Tensor | None = None
    millimetres: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    inputs: ClassVar[Mapping[str, str]] = {"recording": "another recording", "mesh": "another base mesh"}

    @classmethod
    def of_rig(
        cls,
        rig: CaptureRig,
        options: CaptureOptions | None = None,
        truth: Tensor | None = None,
        millimetres: float = 1.0,
        device: torch.device | None = None,
    ) -> CaptureJob:
        """Set the capture up.

        Raises:
            ValueError: the base has no extent, or a camera does not see it; no two cameras see a vertex of the truth.
        """
        options, device = options or CaptureOptions(), device or torch.device("cpu")
        place = Placement.around(*rig.base.bounds())
        if not 0 < place.scale < float("inf"):
            raise ValueError("base: it has no extent, or positions that are not finite")
        _check_seen(rig)
        if truth is not None and not bool(seen_vertices(rig, truth[0]).any()):
            raise ValueError(
                f"truth: expected vertices that at least two cameras see, got none; the rig has {len(rig.names)}"
            )
        settings = {
            **options.to_dict(),
            "device": device.type,
            "downscale": rig.downscale,
            "background": list(rig.background),
            "recording": rig.digest(),
            "mesh": digest_of_mesh(rig.base),
        }
        camera = place.camera(rig.camera).to(device)
        return cls(rig, options, place, camera, options.schedule(rig.camera.size), settings, truth, millimetres, device)

    def begin(self) -> CaptureState:
        """The state before the first step."""
        options, rig = self.options, self.rig
        model = CaptureModel(
            replace(rig.base, positions=self.place.inward(rig.base.positions)).to(self.device),
            rig.counts,
            len(rig.names),
            options.widths if options.decompose else None,
            options.rigid,
            options.texture_size,
            seed=options.seed,
        ).to(self.device)
        return CaptureState.begin(model, self.schedule)

    def read(self, values: dict[str, Any]) -> CaptureState:
        """The state of which `to_dict` made values."""
        return self.begin().restore(values)

    def fit(
        self,
        state: CaptureState,
        go_on: Callable[[CaptureState], bool],
        evaluate_every: int = 100,
        group: Group = ALONE,
    ) -> CaptureState:
        """Go on from a state to the end; returns the state.

        Args:
            go_on: to be called with the state after every step; where it returns False, the fit stops.
            evaluate_every: steps between two measurements of the curve.
            group: the processes that fit.
        """
        return capture(self.rig, self.camera, state, self.schedule, evaluate_every, go_on, group)

    @torch.no_grad()
    def positions(self, state: CaptureState) -> Tensor:
        """Shapes of all frames in the world, [frames, V, 3]."""
        parts = [state.model.positions(part) for part in torch.arange(self.rig.frames).split(64)]
        return self.place.outward(torch.cat(parts)).cpu()

    @torch.no_grad()
    def preview(self, state: CaptureState) -> Preview:
        """The first frame in its texture; see `Job.preview`."""
        model, first = frozen(state.model), torch.zeros(1, dtype=torch.long)
        drawer = Drawer(replace(model.mesh, positions=model.positions(first)[0], texture=model.texture.detach()))
        images = self.rig.images(first.expand(len(self.rig.names)), torch.arange(len(self.rig.names)))

        def draw(camera: PerspectiveCamera) -> Tensor:
            return drawer(camera).color

        return Preview.of_ball(draw, self.camera, images[..., :3])

    def write_results(self, state: CaptureState, folder: Path, frames: int = 48) -> dict[str, Any]:
        """Write mesh.glb, meshes/, metrics.json, comparison.png, capture.gif and report.html; returns the metrics.

        Args:
            frames: of the animation, at most.
        """
        shapes = self.positions(state)
        drawn = results.Drawn(self.rig, self.camera, state.model, shapes)
        return results.write(drawn, state, self.settings, self.truth, self.millimetres, folder, frames)


def _check_seen(rig: CaptureRig) -> None:
    """Raise ValueError if no camera sees the base."""
    height, width = rig.camera.size
    pixels, depth = rig.camera.pixels(rig.base.positions), rig.camera.depth(rig.base.positions)
    inside = (depth > 0) & (pixels >= 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height)
    for name, share in zip(rig.names, inside.float().mean(1), strict=True):
        if float(share) == 0:
            raise ValueError(f"base: camera {name} does not see it; expected it in the coordinates of the cameras")
