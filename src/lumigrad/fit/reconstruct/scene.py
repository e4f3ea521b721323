"""Open scenes, without masks: from photographs to a first surface, by the depths of a field that is fitted to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._laplacian import LargeSteps
from lumigrad.fit._plain import from_plain
from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields import FieldState, HashField, fit_field
from lumigrad.fit.fields import Schedule as FieldSchedule
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.fusion import Fused, fuse_depths, fused_surface
from lumigrad.fit.reconstruct.loop import refine
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.schedule import Schedule
from lumigrad.fit.reconstruct.space import Contracted
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.fit.reconstruct.sweep import mesh_depths, sweep_depths
from lumigrad.fit.reconstruct.visible import seen_faces
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

# Rays per step of the field.
RAYS = 1024
# The radius of the ball that is not contracted, in units of the cameras' distance from the point that they look at.
UNIT = 0.4
# Longest side of the depth images that are fused, and of the photographs to which the field is fitted.
_DEPTH_SIDE, _FIELD_SIDE = 160, 320
# Other views see a little more than the photographs, so the surface visible in photographs this much wider is kept.
_WIDER = 1.25
# How much the fused surface is smoothed: the lambda of `LargeSteps`.
_SMOOTHING = 1.0
# Stages of the comparison of depths with photographs: longest side of these, the reach, and the number of neighbours.
_SWEEPS = ((160, 0.06, 8), (320, 0.03, 6))
# Reach of `fuse_depths` for depths that photographs agree on.
_EXACT = 2.5
# The fractions of the total time that the field takes, for a fit that is limited by time.
_FIELD_TIME = 0.4


def place_of(model: HashField) -> Placement:
    """The space of the fit: around the point that the cameras look at."""
    return Placement(model.centre.double().cpu(), UNIT * model.extent)


@torch.no_grad()
def median_depths(model: HashField, state: FieldState, photos: PhotoSet) -> tuple[Tensor, PhotoSet]:
    """Depths [N, H, W] of photographs in the world, no larger than what fusing needs, and the photographs of that size.

    Pixels that do not count have the depth 0.
    """
    small = photos.reduced(max(1, -(-max(photos.size) // _DEPTH_SIDE)))
    depths = torch.cat([model.depth(state, small.camera[n : n + 1]) for n in range(len(small))])
    return torch.where(small.counts[..., 0], depths, 0), small


@torch.no_grad()
def first_surface(model: HashField, state: FieldState, photos: PhotoSet, resolution: int, sweep: bool = False) -> Mesh:
    """The part of the surface that photographs show, from the depths of a fitted field, in the space of `place_of`.

    Args:
        photos: in the world.
        resolution: of `fuse_depths`.
        sweep: make the depths more exact by `sweep_depths`.

    Raises:
        ValueError: photographs show nothing of it.
    """
    place = place_of(model)
    depths, small = median_depths(model, state, photos)
    camera = place.camera(small.camera)
    mesh = _seen_surface(fuse_depths(depths / place.scale, camera, resolution), camera)
    for side, reach, neighbours in _SWEEPS if sweep else ():
        near = photos.reduced(max(1, -(-max(photos.size) // side)))
        near = near.with_camera(place.camera(near.camera))
        found = sweep_depths(mesh_depths(mesh, near.camera), near, reach, neighbours=neighbours)
        mesh = _seen_surface(fuse_depths(found.depths, near.camera, resolution, found.weights, _EXACT), near.camera)
    space = Contracted()
    positions = space.inward(mesh.positions)
    smooth = LargeSteps(mesh.faces, len(positions), _SMOOTHING)
    once = smooth.solve(positions)
    if sweep:
        # Smoothing makes limbs thinner; for exact surfaces, the change due to smoothing is itself smoothed and added
        # back.
        once = once + smooth.solve(positions - once)
    return Mesh(space.outward(once), mesh.faces)


def _seen_surface(fused: Fused, camera: PerspectiveCamera) -> Mesh:
    """The part of a surface that photographs show."""
    mesh = fused_surface(fused)
    if len(mesh.faces):
        wide = replace(camera, fx=camera.fx / _WIDER, fy=camera.fy / _WIDER)
        mesh = mesh.submesh(seen_faces(mesh, wide))
    if not len(mesh.faces):
        raise ValueError("photographs: the depths found in them make no surface; see that their cameras are right")
    return mesh


@dataclass(frozen=True)
class SceneSchedule:
    """The schedules of the field and of the surface, one after the other.

    Attributes:
        field: of `fit_field`.
        surface: of `refine`.
        resolution: of the grid between them.
        sweep: as for `first_surface`.
    """

    field: FieldSchedule
    surface: Schedule
    resolution: int = 192
    sweep: bool = False

    @classmethod
    def of(
        cls, stages: Schedule, steps: int, minutes: float | None, resolution: int = 192, opaque: bool = True
    ) -> SceneSchedule:
        """Steps of the field, and the surface's schedule; both take their part of the minutes, if these are limited."""
        of_field = None if minutes is None else _FIELD_TIME * minutes
        of_surface = None if minutes is None else (1 - _FIELD_TIME) * minutes
        levels = ((0.0, 1, 0),)
        field_schedule = FieldSchedule(steps, of_field, levels, RAYS, opaque=opaque, seed=stages.seed)
        return cls(field_schedule, replace(stages, minutes=of_surface), resolution)

    def progress(self, state: SceneState) -> float:
        """The part that is done, from 0 to 1."""
        if state.surface is None:
            return 0.499 * self.field.progress(state.field)
        return 0.5 + 0.5 * self.surface.progress(state.surface)


@dataclass
class SceneState:
    """The field, until there is a surface.

    Attributes:
        field: of `fit_field`.
        surface: of `refine`; None at first.
        field_seconds: of the field, and of making a surface of it.
    """

    field: FieldState
    surface: ReconstructState | None = None
    field_seconds: float = 0.0

    @property
    def iteration(self) -> int:
        """Steps of both."""
        return self.field.iteration + (0 if self.surface is None else self.surface.iteration)

    @property
    def losses(self) -> list[float]:
        """Of the one that is fitted now."""
        return self.field.losses if self.surface is None or not self.surface.losses else self.surface.losses

    @property
    def curve(self) -> list[dict[str, float]]:
        """Measurements of the surface."""
        return [] if self.surface is None else self.surface.curve

    def to_dict(self) -> dict[str, Any]:
        surface = None if self.surface is None else self.surface.to_dict()
        return {"field": self.field.to_dict(), "surface": surface, "field_seconds": self.field_seconds}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SceneState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, or not finite; or they do not fit together.
        """
        read = from_plain(_Kept, values)
        surface = None if read.surface is None else ReconstructState.from_dict(read.surface)
        return cls(FieldState.from_dict(read.field), surface, read.field_seconds)


@dataclass
class _Kept:
    """What a file has of the state."""

    field: dict[str, Any]
    surface: dict[str, Any] | None
    field_seconds: float


def fit_scene(
    photos: list[Photo],
    state: SceneState,
    model: HashField,
    schedule: SceneSchedule,
    held_out: list[Photo] | None = None,
    evaluate_every: int = 100,
    on_step: Callable[[SceneState], bool] | None = None,
    background: Tensor | None = None,
    group: Group = ALONE,
) -> SceneState:
    """Fit a field, make a surface of its depths, and refine that with a texture.

    Args:
        photos: to fit, in the world.
        state: where to begin, or what an earlier call returned; changed in place.
        held_out: photographs that the curve of the surface is measured on, in the space of `place_of`.
        on_step: called after every step; returning False stops the fit.
        background: as for `evaluate`.
        group: processes among which rays and photographs of a step are divided; all begin with the same state.

    Raises:
        ValueError: depths that make no surface.
    """
    go_on = on_step or (lambda _: True)
    if state.surface is None:
        factor = max(1, round(max(photos[0].camera.size) / _FIELD_SIDE))
        small = [photo.reduced(factor) for photo in photos]
        fit_field(small, state.field, model, schedule.field, on_step=lambda _: go_on(state), group=group)
        if schedule.field.progress(state.field) < 1:
            return state
    every = PhotoSet.of(photos)
    if state.surface is None:
        clock = time.perf_counter()
        mesh = first_surface(model, state.field, every, schedule.resolution, schedule.sweep)
        state.surface = ReconstructState.begin(mesh, len(photos))
        state.field_seconds = group.first(state.field.seconds + time.perf_counter() - clock)
    placed = every.with_camera(place_of(model).camera(every.camera))
    refine(
        placed,
        state.surface,
        schedule.surface,
        held_out,
        evaluate_every,
        lambda _: go_on(state),
        Contracted(),
        background,
        group,
    )
    return state
