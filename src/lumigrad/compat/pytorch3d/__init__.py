"""PyTorch3D's names and conventions for meshes: cameras, rasterizer, shaders, losses, all in one module.

Row vectors, X_view = X R + T; view and NDC have +X left, +Y up, +Z into the scene. Nothing here needs PyTorch3D.
"""

from lumigrad.compat.pytorch3d._cameras import (
    CamerasBase,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
)
from lumigrad.compat.pytorch3d._interpolate import interpolate_face_attributes
from lumigrad.compat.pytorch3d._meshes import Meshes, join_meshes_as_batch
from lumigrad.compat.pytorch3d._rasterize import Fragments, MeshRasterizer, RasterizationSettings, rasterize_meshes
from lumigrad.compat.pytorch3d._textures import TexturesBase, TexturesUV, TexturesVertex
from lumigrad.compat.pytorch3d._transform import Transform3d
from lumigrad.compat.pytorch3d._view import (
    camera_position_from_spherical_angles,
    look_at_rotation,
    look_at_view_transform,
)

__all__ = [
    "CamerasBase",
    "FoVOrthographicCameras",
    "FoVPerspectiveCameras",
    "Fragments",
    "MeshRasterizer",
    "Meshes",
    "OrthographicCameras",
    "PerspectiveCameras",
    "RasterizationSettings",
    "TexturesBase",
    "TexturesUV",
    "TexturesVertex",
    "Transform3d",
    "camera_position_from_spherical_angles",
    "interpolate_face_attributes",
    "join_meshes_as_batch",
    "look_at_rotation",
    "look_at_view_transform",
    "rasterize_meshes",
]
