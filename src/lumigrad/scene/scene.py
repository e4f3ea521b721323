"""Everything that is in a picture, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import Light
from lumigrad.scene.shapes.mesh import Mesh


@dataclass(frozen=True)
class Scene:
    """Meshes seen together, and what lights them.

    Attributes:
        meshes: one mesh or several, all in world space.
        lights: any number; with none, and no environment, renderers use light of their own.
        environment: an environment map that lights the scene besides `lights`, or None.
        background: what is seen past the meshes: a display-encoded colour or image, an `EnvironmentLight`, or
            "environment" for the scene's own; None for black.
    """

    meshes: Sequence[Mesh] | Mesh
    lights: Sequence[Light] = ()
    environment: EnvironmentLight | None = None
    background: Any = None

    def __post_init__(self) -> None:
        meshes = (self.meshes,) if isinstance(self.meshes, Mesh) else tuple(self.meshes)
        for mesh in meshes:
            if not isinstance(mesh, Mesh):
                raise TypeError(f"meshes: expected Mesh, got {type(mesh).__name__}")
        object.__setattr__(self, "meshes", meshes)
        object.__setattr__(self, "lights", tuple(self.lights))
        for light in self.lights:
            if not isinstance(light, Light):
                raise TypeError(f"lights: expected Light, got {type(light).__name__}")
        if isinstance(self.background, str) and (self.background != "environment" or self.environment is None):
            raise ValueError("background: expected 'environment' where there is one, a colour, an image or a light")

    def to(self, *args: object) -> Scene:
        """Copy with all tensors passed through `Tensor.to`; index buffers only follow a device."""
        assert not isinstance(self.meshes, Mesh)
        background: Any = self.background
        return replace(
            self,
            meshes=tuple(mesh.to(*args) for mesh in self.meshes),
            lights=tuple(light.to(*args) for light in self.lights),
            environment=None if self.environment is None else self.environment.to(*args),
            background=background.to(*args) if isinstance(background, (Tensor, EnvironmentLight)) else background,  # type: ignore[call-overload]
        )
