"""PyTorch3D's shaders: (ambient + diffuse) times texture, plus specular, blended to one colour a pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d._blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from lumigrad.compat.pytorch3d._cameras import CamerasBase
from lumigrad.compat.pytorch3d._interpolate import interpolate_face_attributes
from lumigrad.compat.pytorch3d._lighting import Materials, PointLights, per_point
from lumigrad.compat.pytorch3d._meshes import Meshes
from lumigrad.compat.pytorch3d._rasterize import Fragments, cameras_of
from lumigrad.compat.pytorch3d._textures import TexturesVertex


def _light(points: Tensor, normals: Tensor, lights: Any, cameras: CamerasBase, materials: Materials) -> tuple:
    """Light that the texture is multiplied with, and light that is added, at points [N, ..., 3]."""
    ambient = per_point(materials.ambient_color, points) * per_point(lights.ambient_color, points)
    diffuse = per_point(materials.diffuse_color, points) * lights.diffuse(normals, points)
    specular = lights.specular(normals, points, cameras.get_camera_center(), materials.shininess)
    return ambient + diffuse, per_point(materials.specular_color, points) * specular


def _at_fragments(fragments: Fragments, corners: Tensor) -> Tensor:
    return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)


def phong_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at every fragment with interpolated normals, [N, H, W, K, 3]."""
    faces = meshes.faces_packed()
    points = _at_fragments(fragments, meshes.verts_packed()[faces])
    normals = _at_fragments(fragments, meshes.verts_normals_packed()[faces])
    times, plus = _light(points, normals, lights, cameras, materials)
    return times * texels + plus


def flat_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at the middle of every face with its own normal, [N, H, W, K, 3]."""
    middles = meshes.verts_packed()[meshes.faces_packed()].mean(1)
    both = torch.cat((middles, meshes.faces_normals_packed()), 1)
    values = both.new_zeros((*fragments.pix_to_face.shape, 6))
    present = (fragments.pix_to_face >= 0).nonzero(as_tuple=True)
    points, normals = values.index_put(present, both[fragments.pix_to_face[present]]).split(3, -1)
    times, plus = _light(points, normals, lights, cameras, materials)
    return times * texels + plus


def gouraud_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials
) -> Tensor:
    """Lit at the vertices, whose colours are interpolated, [N, H, W, K, 3].

    Raises:
        ValueError: textures other than of vertices.
    """
    if not isinstance(meshes.textures, TexturesVertex):
        raise ValueError(f"textures: expected TexturesVertex for Gouraud shading, got {type(meshes.textures).__name__}")
    points, normals = meshes.verts_padded(), meshes.verts_normals_padded()
    times, plus = _light(points, normals, lights, cameras, materials)
    colors = times * meshes.textures.verts_features_padded() + plus
    packed = colors[meshes._vertices.mask(meshes.device)]
    return _at_fragments(fragments, packed[meshes.faces_packed()])


class ShaderBase(nn.Module):
    """A shader's parts; all but the device may come with the call instead."""

    _soft = False

    def __init__(
        self,
        device: Any = "cpu",
        cameras: Any = None,
        lights: Any = None,
        materials: Any = None,
        blend_params: BlendParams | None = None,
    ) -> None:
        super().__init__()
        self.cameras = cameras
        self.lights = PointLights(device=device) if lights is None else lights
        self.materials = Materials(device=device) if materials is None else materials
        self.blend_params = BlendParams() if blend_params is None else blend_params

    def to(self, device: Any) -> ShaderBase:  # type: ignore[override]
        self.cameras = None if self.cameras is None else self.cameras.to(device)
        self.lights, self.materials = self.lights.to(device), self.materials.to(device)
        return self

    def _parts(self, kwargs: dict[str, Any]) -> tuple[Any, CamerasBase, Materials]:
        return kwargs.get("lights", self.lights), cameras_of(self, kwargs), kwargs.get("materials", self.materials)

    def _blend(self, colors: Tensor, fragments: Fragments, cameras: CamerasBase, kwargs: dict[str, Any]) -> Tensor:
        params = kwargs.get("blend_params", self.blend_params)
        if not self._soft:
            return hard_rgb_blend(colors, fragments, params)
        near = kwargs.get("znear", getattr(cameras, "znear", 1.0))
        far = kwargs.get("zfar", getattr(cameras, "zfar", 100.0))
        return softmax_rgb_blend(colors, fragments, params, near, far)


class _TexelShader(ShaderBase):
    """Samples textures at fragments, then lights them."""

    _shading: Callable[..., Tensor]

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        lights, cameras, materials = self._parts(kwargs)
        texels = meshes.sample_textures(fragments)
        colors = type(self)._shading(meshes, fragments, lights, cameras, materials, texels)
        return self._blend(colors, fragments, cameras, kwargs)


class HardPhongShader(_TexelShader):
    """Phong shading of the nearest face."""

    _shading = staticmethod(phong_shading)


class SoftPhongShader(_TexelShader):
    """Phong shading, blended by `softmax_rgb_blend`."""

    _shading, _soft = staticmethod(phong_shading), True


class HardFlatShader(_TexelShader):
    """Flat shading of the nearest face."""

    _shading = staticmethod(flat_shading)


class HardGouraudShader(ShaderBase):
    """Gouraud shading of the nearest face."""

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        lights, cameras, materials = self._parts(kwargs)
        colors = gouraud_shading(meshes, fragments, lights, cameras, materials)
        return self._blend(colors, fragments, cameras, kwargs)


class SoftGouraudShader(HardGouraudShader):
    """Gouraud shading, blended by `softmax_rgb_blend`."""

    _soft = True


class SoftSilhouetteShader(nn.Module):
    """White with the soft silhouette as alpha."""

    def __init__(self, blend_params: BlendParams | None = None) -> None:
        super().__init__()
        self.blend_params = BlendParams() if blend_params is None else blend_params

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        colors = torch.ones_like(fragments.bary_coords)
        return sigmoid_alpha_blend(colors, fragments, kwargs.get("blend_params", self.blend_params))


class MeshRenderer(nn.Module):
    """Images [N, H, W, 4] of meshes: a rasterizer, then a shader. Keywords of the call go to both."""

    def __init__(self, rasterizer: nn.Module, shader: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.shader = shader

    def to(self, device: Any) -> MeshRenderer:  # type: ignore[override]
        self.rasterizer.to(device)
        self.shader.to(device)
        return self

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Tensor:
        return self.shader(self.rasterizer(meshes_world, **kwargs), meshes_world, **kwargs)


class MeshRendererWithFragments(MeshRenderer):
    """Images, and the fragments behind them."""

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> tuple[Tensor, Fragments]:  # type: ignore[override]
        fragments = self.rasterizer(meshes_world, **kwargs)
        return self.shader(fragments, meshes_world, **kwargs), fragments
