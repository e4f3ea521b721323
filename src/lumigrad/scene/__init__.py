"""Plain batched data that renderers consume: cameras, meshes, lights, built-in shapes."""

from __future__ import annotations

from lumigrad.scene.camera import PerspectiveCamera, look_at
from lumigrad.scene.lights import Lighting
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.mesh import Mesh

__all__ = ["Lighting", "Material", "Mesh", "PBRMaterial", "PerspectiveCamera", "PhongMaterial", "look_at"]
