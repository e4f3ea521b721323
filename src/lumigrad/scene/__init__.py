"""Plain batched data that renderers consume: cameras, shapes, materials and lights.

Converters of cameras are in `conventions` (OpenCV, COLMAP, OpenGL, Blender, NeRF) and `pytorch3d`.
"""

from __future__ import annotations

from lumigrad.scene.cameras import conventions, pytorch3d
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.cameras.distortion import Distortion, FisheyeDistortion, RadialTangentialDistortion
from lumigrad.scene.cameras.lens import ThinLens
from lumigrad.scene.cameras.orthographic import OrthographicCamera
from lumigrad.scene.cameras.pose import look_at, orbit_view
from lumigrad.scene.cameras.undistort import undistort_image
from lumigrad.scene.light.cubemap import cube_to_equirect, equirect_to_cube
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import (
    AmbientLight,
    DirectionalLight,
    Light,
    Lighting,
    PointLight,
    PunctualLight,
    SpotLight,
    SurroundingLight,
)
from lumigrad.scene.light.skies import sky, studio
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.media import GridMedium, HomogeneousMedium, Medium, MediumBoundary
from lumigrad.scene.physical_materials import ConductorMaterial, DielectricMaterial, DiffuseMaterial, PlasticMaterial
from lumigrad.scene.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_to_matrix,
    rotation_6d_to_matrix,
    rotation_angle,
)
from lumigrad.scene.scene import Scene, Shape
from lumigrad.scene.shapes._splat_cloud import constant_harmonics
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.instances import Instances
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.scene.shapes.point_cloud import PointCloud, PointClouds
from lumigrad.scene.shapes.procedural import creature, icosphere
from lumigrad.scene.shapes.signed_distance_function import SignedDistanceFunction
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid

__all__ = [
    "AmbientLight",
    "Camera",
    "ConductorMaterial",
    "DielectricMaterial",
    "DiffuseMaterial",
    "DirectionalLight",
    "Distortion",
    "EnvironmentLight",
    "FisheyeDistortion",
    "GaussianCloud",
    "GridMedium",
    "HomogeneousMedium",
    "Instances",
    "Light",
    "Lighting",
    "Material",
    "Medium",
    "MediumBoundary",
    "Mesh",
    "Meshes",
    "OrthographicCamera",
    "PBRMaterial",
    "PerspectiveCamera",
    "PhongMaterial",
    "PlasticMaterial",
    "PointCloud",
    "PointClouds",
    "PointLight",
    "PunctualLight",
    "RadialTangentialDistortion",
    "Scene",
    "Shape",
    "SignedDistanceFunction",
    "SignedDistanceGrid",
    "SphereCloud",
    "SpotLight",
    "SurfelCloud",
    "SurroundingLight",
    "ThinLens",
    "VolumeField",
    "VoxelGrid",
    "axis_angle_to_matrix",
    "constant_harmonics",
    "conventions",
    "creature",
    "cube_to_equirect",
    "equirect_to_cube",
    "icosphere",
    "look_at",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "matrix_to_rotation_6d",
    "orbit_view",
    "pytorch3d",
    "quaternion_to_matrix",
    "rotation_6d_to_matrix",
    "rotation_angle",
    "sky",
    "studio",
    "undistort_image",
]
