"""The arguments of renderers: shapes, cameras and lights, in any form, checked and normalised."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.render.geometry import cameras_of
from lumigrad.render.shading import LINEAR, Shader
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.light.skies import studio
from lumigrad.scene.scene import SHAPES, Scene, Shape, listed
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.instances import Instances
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.scene.shapes.signed_distance_function import SignedDistanceFunction
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import validation as check

NAMES = {
    Mesh: "meshes",
    PointCloud: "point clouds",
    GaussianCloud: "Gaussians",
    SurfelCloud: "surfels",
    SignedDistanceGrid: "grids of signed distances",
    VoxelGrid: "voxel grids",
    SphereCloud: "spheres",
    SignedDistanceFunction: "functions of signed distances",
    VolumeField: "fields",
}


@dataclass(frozen=True)
class Stage:
    """The inputs of a rendering.

    Attributes:
        shapes: at least one, except for renderers of media; all of the same class, except for a stage of mixed shapes.
        together: whether every image shows all of them; otherwise image n shows shape n.
        camera: as given, at the final size.
        cameras: one for each image, single.
        scene: the scene that the shapes come from, for its lights and background.
    """

    shapes: tuple[Shape, ...]
    together: bool
    camera: Camera
    cameras: list[Camera]
    scene: Scene

    @property
    def kind(self) -> type[Shape]:
        """The class of the shapes, if they have the same class."""
        return next(kind for kind in SHAPES if isinstance(self.shapes[0], kind))

    @property
    def kinds(self) -> list[type[Shape]]:
        """The classes of the shapes, each once."""
        return [kind for kind in SHAPES if any(isinstance(shape, kind) for shape in self.shapes)]

    def alone(self, name: str) -> list[Shape]:
        """The one shape that each image shows.

        Raises:
            ValueError: there are several in one image; the message begins with `name`.
        """
        if not self.together:
            return list(self.shapes)
        if len(self.shapes) > 1:
            raise ValueError(
                f"{name}: expected one of the {NAMES[self.kind]} in an image, got {len(self.shapes)}; "
                "lumigrad.render.render shows several"
            )
        return list(self.shapes) * len(self.cameras)


def stage_of(
    scene: Any,
    camera: Any,
    size: tuple[int, int] | None = None,
    name: str = "scene",
    kinds: Sequence[type] = SHAPES,
    media: bool = False,
    mixed: bool = False,
) -> Stage:
    """A scene or a single shape, seen together; or a sequence of shapes, of which each has an image of its own.

    Args:
        scene: `Scene`, a shape, a mesh that is a batch, `Meshes`, `PointClouds`, or a sequence of shapes.
        camera: batch shape [N] or [].
        size: (height, width) in place of the camera's.
        name: what messages call the scene.
        kinds: the classes of shapes that the renderer takes.
        media: whether it follows light through media, which a scene may hold besides shapes, or instead of them.
        mixed: whether it puts shapes of several kinds into one image.

    Raises:
        TypeError: something else than shapes of these kinds, or no camera.
        ValueError: a camera batch that does not fit, no shapes or no cameras; shapes of several kinds, unless `mixed`.
        NotImplementedError: media, for a renderer that sees none.
    """
    check_camera(camera)
    if isinstance(scene, Scene) and scene.medium is not None and not media:
        raise NotImplementedError(
            f"{name}.medium: expected None, got a medium; of the renderers, render_path sees media"
        )
    if isinstance(scene, Mesh) and scene.shape:
        scene = scene.unbind()
    if isinstance(scene, Instances):
        scene = scene.flattened()
    camera = camera if size is None else camera.resized(size)
    together = isinstance(scene, (Scene, *SHAPES))
    shapes = tuple(listed(scene.shapes if isinstance(scene, Scene) else scene, name, kinds))
    _check_kinds(shapes, name, kinds, mixed and together)
    count = (camera.shape[0] if camera.shape else 1) if together else len(shapes)
    if not count or not (shapes or (media and isinstance(scene, Scene))):
        raise ValueError(f"{name}, camera: expected at least one shape and one image, got none")
    if not together and camera.shape and camera.shape[0] != count:
        raise ValueError(f"camera: expected one, or {count} like the shapes, got {camera.shape[0]}")
    drawn = of_one_type(shapes) if together else shapes
    whole = scene if isinstance(scene, Scene) else Scene(drawn)
    if drawn is not shapes and isinstance(scene, Scene):
        whole = replace(scene, shapes=drawn)
    return Stage(drawn, together, camera, cameras_of(camera, count), whole)


def of_one_type(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The shapes converted to the widest of their floating types; unchanged if they have at most one."""
    types = [floating_type(shape) for shape in shapes]
    if len({found for found in types if found is not None}) < 2:
        return shapes
    for shape in shapes:
        check_colors(shape)
    return tuple(shape if found in (None, torch.float64) else shape.to(torch.float64)
                 for shape, found in zip(shapes, types, strict=True))  # fmt: skip


def floating_type(shape: Shape) -> torch.dtype | None:
    """The type in which a shape is drawn; None if the camera's type decides."""
    if isinstance(shape, Mesh):
        return shape.positions.dtype
    if isinstance(shape, Cloud):
        return shape.centers.dtype
    if isinstance(shape, (VoxelGrid, SignedDistanceGrid)):
        return shape.values.dtype
    return shape.box.dtype if isinstance(shape.box, Tensor) else None


def check_colors(shape: Shape) -> None:
    """Raise an error for integer colours, which a conversion to another type would hide."""
    if (colors := getattr(shape, "colors", None)) is not None:
        check.floating("colors", colors)


def _check_kinds(shapes: Sequence[Shape], name: str, kinds: Sequence[type], mixed: bool) -> None:
    for shape in shapes:
        if not isinstance(shape, tuple(kinds)):
            wanted = ", ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name}: expected {wanted}, got {type(shape).__name__}")
    found = [NAMES[kind] for kind in SHAPES if any(isinstance(shape, kind) for shape in shapes)]
    if len(found) > 1 and not mixed:
        raise ValueError(
            f"{name}: expected shapes of one kind, got {', '.join(found[:-1])} and {found[-1]}; a Scene of them is "
            "rendered by lumigrad.render.render, in one image"
        )


def check_camera(camera: Any) -> None:
    """Raise an error unless this is a camera with at most one batch dimension."""
    if not isinstance(camera, Camera):
        raise TypeError(f"camera: expected a Camera, got {type(camera).__name__}")
    if len(camera.shape) > 1:
        raise ValueError(f"camera: expected a batch shape [N] or [], got {list(camera.shape)}")


def lights_of(
    scene: Scene, lights: Sequence[Light] | Lighting | None, shader: Shader, camera: Camera
) -> tuple[Light, ...]:
    """The lights to use: the given ones, otherwise the scene's, otherwise built-in ones that suit the shader."""
    if lights is None:
        lights = (*scene.lights, *([] if scene.environment is None else [scene.environment]))
        if not lights:
            lights = (default_environment(),) if shader in LINEAR else Lighting()
    if isinstance(lights, Lighting):
        return lights.lights(camera.position)
    for light in lights:
        if not isinstance(light, Light):
            raise TypeError(f"lights: expected Light, got {type(light).__name__}")
    return tuple(lights)


@functools.lru_cache(maxsize=1)
def default_environment() -> EnvironmentLight:
    """The built-in studio, prefiltered once per process."""
    with torch.no_grad():
        return EnvironmentLight(studio())
