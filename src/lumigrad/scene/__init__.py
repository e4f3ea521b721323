"""Plain batched data that renderers consume: cameras, meshes, lights, built-in shapes."""

from __future__ import annotations

from lumigrad.scene.camera import Camera, PerspectiveCamera
from lumigrad.scene.cubemap import cube_to_equirect, equirect_to_cube
from lumigrad.scene.distortion import Distortion, FisheyeDistortion, RadialTangentialDistortion
from lumigrad.scene.environment import EnvironmentLight
from lumigrad.scene.gaussian_cloud import GaussianCloud
from lumigrad.scene.lights import (
    AmbientLight,
    DirectionalLight,
    Light,
    Lighting,
    PointLight,
    PunctualLight,
    SpotLight,
    SurroundingLight,
)
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.mesh import Mesh
from lumigrad.scene.meshes import Meshes
from lumigrad.scene.orthographic import OrthographicCamera
from lumigrad.scene.point_cloud import PointCloud, PointClouds
from lumigrad.scene.pose import look_at, matrix_to_quaternion, orbit_view, quaternion_to_matrix
from lumigrad.scene.scene import Scene
from lumigrad.scene.skies import sky, studio
from lumigrad.scene.undistort import undistort_image

__all__ = [
    "AmbientLight",
    "Camera",
    "DirectionalLight",
    "Distortion",
    "EnvironmentLight",
    "FisheyeDistortion",
    "GaussianCloud",
    "Light",
    "Lighting",
    "Material",
    "Mesh",
    "Meshes",
    "OrthographicCamera",
    "PBRMaterial",
    "PerspectiveCamera",
    "PhongMaterial",
    "PointCloud",
    "PointClouds",
    "PointLight",
    "PunctualLight",
    "RadialTangentialDistortion",
    "Scene",
    "SpotLight",
    "SurroundingLight",
    "cube_to_equirect",
    "equirect_to_cube",
    "look_at",
    "matrix_to_quaternion",
    "orbit_view",
    "quaternion_to_matrix",
    "sky",
    "studio",
    "undistort_image",
]
