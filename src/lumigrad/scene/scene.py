"""A scene: everything in a picture, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import Light
from lumigrad.scene.media import Medium
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.instances import Instances
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.scene.shapes.point_cloud import PointCloud, PointClouds
from lumigrad.scene.shapes.signed_distance_function import SignedDistanceFunction
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid

Shape = (
    Mesh
    | PointCloud
    | GaussianCloud
    | SurfelCloud
    | SignedDistanceGrid
    | VoxelGrid
    | SphereCloud
    | SignedDistanceFunction
    | VolumeField
)
SHAPES = (
    Mesh,
    PointCloud,
    GaussianCloud,
    SurfelCloud,
    SignedDistanceGrid,
    VoxelGrid,
    SphereCloud,
    SignedDistanceFunction,
    VolumeField,
)


@dataclass(frozen=True)
class Scene:
    """Shapes and lights that are rendered together.

    Attributes:
        shapes: one or several, of any kinds, all in world space: `Mesh`, `PointCloud`, `GaussianCloud`, `SurfelCloud`,
            `SignedDistanceGrid`, `VoxelGrid`, `SphereCloud`, `SignedDistanceFunction`, `VolumeField`. `Meshes` and
            `PointClouds` count as their elements, `Instances` as one mesh. Kept as a tuple; `meshes`, `point_clouds`,
            `gaussian_clouds`, `surfel_clouds`, `signed_distance_grids` and `voxel_grids` are those of one kind, in
            their order.
        lights: any number; with none, and no environment, renderers use built-in lights. They light only meshes and
            implicit surfaces.
        environment: an environment map that lights the scene besides `lights`, or None.
        medium: fills the scene around the shapes, such as mist; or None. Only `render_path` supports it.
        background: behind the shapes: a display-encoded colour or image, an `EnvironmentLight`, or
            "environment" for the scene's own; None for black.

    Raises:
        TypeError: shapes or lights of other types.
        ValueError: a background that is a string other than "environment", or "environment" without one.

    >>> from lumigrad.scene import PointCloud, Scene
    >>> from lumigrad.scene.shapes.procedural import icosphere
    >>> ball = icosphere(1)
    >>> scene = Scene([ball, PointCloud(ball.positions)])
    >>> len(scene.shapes), len(scene.meshes), len(scene.point_clouds)
    (2, 1, 1)
    """

    shapes: Sequence[Shape | Meshes | PointClouds | Instances] | Shape | Meshes | PointClouds | Instances
    lights: Sequence[Light] = ()
    environment: EnvironmentLight | None = None
    background: Any = None
    medium: Medium | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(listed(self.shapes)))
        if any(mesh.shape for mesh in self.meshes):
            raise ValueError("shapes: expected single meshes, got a batch of them; a scene is shown as a whole")
        if not isinstance(self.lights, Sequence):
            raise TypeError(f"lights: expected a sequence of lights, got {type(self.lights).__name__}")
        object.__setattr__(self, "lights", tuple(self.lights))
        for light in self.lights:
            if not isinstance(light, Light):
                raise TypeError(f"lights: expected Light, got {type(light).__name__}")
        if self.medium is not None and not isinstance(self.medium, Medium):
            raise TypeError(f"medium: expected a Medium or None, got {type(self.medium).__name__}")
        if isinstance(self.background, str) and (self.background != "environment" or self.environment is None):
            raise ValueError("background: expected 'environment' where there is one, a colour, an image or a light")

    @property
    def meshes(self) -> tuple[Mesh, ...]:
        """The meshes among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, Mesh))

    @property
    def point_clouds(self) -> tuple[PointCloud, ...]:
        """The point clouds among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, PointCloud))

    @property
    def gaussian_clouds(self) -> tuple[GaussianCloud, ...]:
        """The clouds of Gaussians among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, GaussianCloud))

    @property
    def surfel_clouds(self) -> tuple[SurfelCloud, ...]:
        """The clouds of surfels among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, SurfelCloud))

    @property
    def signed_distance_grids(self) -> tuple[SignedDistanceGrid, ...]:
        """The grids of signed distances among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, SignedDistanceGrid))

    @property
    def voxel_grids(self) -> tuple[VoxelGrid, ...]:
        """The voxel grids among the shapes."""
        return tuple(shape for shape in listed(self.shapes) if isinstance(shape, VoxelGrid))

    def to(self, *args: object) -> Scene:
        """Copy with all tensors passed through `Tensor.to`; index buffers only follow a device."""
        background: Any = self.background
        return replace(
            self,
            shapes=tuple(shape.to(*args) for shape in listed(self.shapes)),
            lights=tuple(light.to(*args) for light in self.lights),
            environment=None if self.environment is None else self.environment.to(*args),
            medium=None if self.medium is None else self.medium.to(*args),
            background=background.to(*args) if isinstance(background, (Tensor, EnvironmentLight)) else background,  # type: ignore[call-overload]
        )


def listed(shapes: Any, name: str = "shapes", kinds: Sequence[type] = SHAPES) -> list[Shape]:
    """One shape, a batch, or a sequence of shapes and batches, as a list of shapes.

    `kinds`: the classes that messages name.

    Raises:
        TypeError: anything else; the message begins with `name`.
    """
    if isinstance(shapes, SHAPES):
        return [shapes]
    if isinstance(shapes, Instances):
        return [shapes.flattened()]
    wanted = ", ".join(kind.__name__ for kind in kinds)
    if isinstance(shapes, (str, Tensor)) or not hasattr(shapes, "__iter__"):
        raise TypeError(f"{name}: expected {wanted} or a sequence of them, got {type(shapes).__name__}")
    found: list[Shape] = []
    for shape in shapes:
        if isinstance(shape, (Meshes, PointClouds)):
            found.extend(shape)
        elif isinstance(shape, Instances):
            found.append(shape.flattened())
        elif isinstance(shape, SHAPES):
            found.append(shape)
        else:
            raise TypeError(f"{name}: expected {wanted}, got {type(shape).__name__}")
    return found
