"""Plain batched data that renderers consume: cameras, meshes, lights, built-in shapes."""

from __future__ import annotations

from lumigrad.scene.camera import Camera, PerspectiveCamera
from lumigrad.scene.distortion import Distortion, FisheyeDistortion, RadialTangentialDistortion
from lumigrad.scene.lights import Lighting
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.mesh import Mesh
from lumigrad.scene.orthographic import OrthographicCamera
from lumigrad.scene.pose import look_at, matrix_to_quaternion, orbit_view, quaternion_to_matrix

__all__ = [
    "Camera",
    "Distortion",
    "FisheyeDistortion",
    "Lighting",
    "Material",
    "Mesh",
    "OrthographicCamera",
    "PBRMaterial",
    "PerspectiveCamera",
    "PhongMaterial",
    "RadialTangentialDistortion",
    "look_at",
    "matrix_to_quaternion",
    "orbit_view",
    "quaternion_to_matrix",
]
