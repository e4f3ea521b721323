"""PyTorch3D's names and conventions for meshes: cameras, rasterizer, shaders, losses, all in one module.

Row vectors, X_view = X R + T; view and NDC have +X left, +Y up, +Z into the scene. Nothing here needs PyTorch3D.
"""

from lumigrad.compat.pytorch3d._blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from lumigrad.compat.pytorch3d._cameras import (
    CamerasBase,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
)
from lumigrad.compat.pytorch3d._interpolate import interpolate_face_attributes
from lumigrad.compat.pytorch3d._io import ico_sphere, load_obj, load_objs_as_meshes, meshes_from
from lumigrad.compat.pytorch3d._lighting import AmbientLights, DirectionalLights, Materials, PointLights
from lumigrad.compat.pytorch3d._losses import mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency
from lumigrad.compat.pytorch3d._meshes import Meshes, join_meshes_as_batch
from lumigrad.compat.pytorch3d._rasterize import Fragments, MeshRasterizer, RasterizationSettings, rasterize_meshes
from lumigrad.compat.pytorch3d._shading import (
    HardFlatShader,
    HardGouraudShader,
    HardPhongShader,
    MeshRenderer,
    MeshRendererWithFragments,
    ShaderBase,
    SoftGouraudShader,
    SoftPhongShader,
    SoftSilhouetteShader,
    flat_shading,
    gouraud_shading,
    phong_shading,
)
from lumigrad.compat.pytorch3d._textures import TexturesBase, TexturesUV, TexturesVertex
from lumigrad.compat.pytorch3d._transform import Transform3d
from lumigrad.compat.pytorch3d._view import (
    camera_position_from_spherical_angles,
    look_at_rotation,
    look_at_view_transform,
)

__all__ = [
    "AmbientLights",
    "BlendParams",
    "CamerasBase",
    "DirectionalLights",
    "FoVOrthographicCameras",
    "FoVPerspectiveCameras",
    "Fragments",
    "HardFlatShader",
    "HardGouraudShader",
    "HardPhongShader",
    "Materials",
    "MeshRasterizer",
    "MeshRenderer",
    "MeshRendererWithFragments",
    "Meshes",
    "OrthographicCameras",
    "PerspectiveCameras",
    "PointLights",
    "RasterizationSettings",
    "ShaderBase",
    "SoftGouraudShader",
    "SoftPhongShader",
    "SoftSilhouetteShader",
    "TexturesBase",
    "TexturesUV",
    "TexturesVertex",
    "Transform3d",
    "camera_position_from_spherical_angles",
    "flat_shading",
    "gouraud_shading",
    "hard_rgb_blend",
    "ico_sphere",
    "interpolate_face_attributes",
    "join_meshes_as_batch",
    "load_obj",
    "load_objs_as_meshes",
    "look_at_rotation",
    "look_at_view_transform",
    "mesh_edge_loss",
    "mesh_laplacian_smoothing",
    "mesh_normal_consistency",
    "meshes_from",
    "phong_shading",
    "rasterize_meshes",
    "sigmoid_alpha_blend",
    "softmax_rgb_blend",
]
