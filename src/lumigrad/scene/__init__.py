"""Plain batched data that renderers consume: cameras, meshes, lights, built-in shapes."""

from __future__ import annotations

from lumigrad.scene.camera import PerspectiveCamera, look_at
from lumigrad.scene.lights import Lighting
from lumigrad.scene.mesh import Mesh

__all__ = ["Lighting", "Mesh", "PerspectiveCamera", "look_at"]
