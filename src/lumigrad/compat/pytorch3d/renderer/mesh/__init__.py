"""Meshes: textures, rasterizer, shaders, renderer."""

from lumigrad.compat.pytorch3d.renderer.blending import BlendParams
from lumigrad.compat.pytorch3d.renderer.mesh.clip import (
    ClipFrustum,
    ClippedFaces,
    clip_faces,
    convert_clipped_rasterization_to_original_faces,
)
from lumigrad.compat.pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from lumigrad.compat.pytorch3d.renderer.mesh.rasterizer import Fragments, MeshRasterizer, RasterizationSettings
from lumigrad.compat.pytorch3d.renderer.mesh.renderer import MeshRenderer, MeshRendererWithFragments
from lumigrad.compat.pytorch3d.renderer.mesh.shader import (
    HardDepthShader,
    HardFlatShader,
    HardGouraudShader,
    HardPhongShader,
    ShaderBase,
    SoftDepthShader,
    SoftGouraudShader,
    SoftPhongShader,
    SoftSilhouetteShader,
    SplatterPhongShader,
    TexturedSoftPhongShader,
)
from lumigrad.compat.pytorch3d.renderer.mesh.shading import flat_shading, gouraud_shading, phong_shading
from lumigrad.compat.pytorch3d.renderer.mesh.textures import (
    Textures,
    TexturesAtlas,
    TexturesBase,
    TexturesUV,
    TexturesVertex,
)

__all__ = [
    "BlendParams",
    "ClipFrustum",
    "ClippedFaces",
    "Fragments",
    "HardDepthShader",
    "HardFlatShader",
    "HardGouraudShader",
    "HardPhongShader",
    "MeshRasterizer",
    "MeshRenderer",
    "MeshRendererWithFragments",
    "RasterizationSettings",
    "ShaderBase",
    "SoftDepthShader",
    "SoftGouraudShader",
    "SoftPhongShader",
    "SoftSilhouetteShader",
    "SplatterPhongShader",
    "TexturedSoftPhongShader",
    "Textures",
    "TexturesAtlas",
    "TexturesBase",
    "TexturesUV",
    "TexturesVertex",
    "clip_faces",
    "convert_clipped_rasterization_to_original_faces",
    "flat_shading",
    "gouraud_shading",
    "phong_shading",
    "rasterize_meshes",
]
