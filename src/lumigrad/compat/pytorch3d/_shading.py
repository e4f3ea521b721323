"""PyTorch3D's shaders: (ambient + diffuse) times texture, plus specular, blended to one colour a pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d._blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from lumigrad.compat.pytorch3d._cameras import CamerasBase
from lumigrad.compat.pytorch3d._interpolate import interpolate_face_attributes, mix, present_faces, spread
from lumigrad.compat.pytorch3d._lighting import Materials, PointLights, per_point
from lumigrad.compat.pytorch3d._meshes import Meshes
from lumigrad.compat.pytorch3d._rasterize import Fragments, cameras_of
from lumigrad.compat.pytorch3d._textures import TexturesVertex


def _light(
    points: Tensor, normals: Tensor, owner: Tensor, lights: Any, cameras: CamerasBase, materials: Materials
) -> tuple[Tensor, Tensor]:
    """Light that the texture is multiplied with, and light that is added, at points [P, 3] of meshes `owner` [P]."""

    def rows(value: Tensor) -> Tensor:
        return value if len(value) == 1 else value[owner]

    lights, materials = (thing if len(thing) == 1 else thing._map(rows) for thing in (lights, materials))
    # To lights, each point is a mesh of its own.
    points, normals = points[:, None], normals[:, None]
    ambient = per_point(materials.ambient_color, points) * per_point(lights.ambient_color, points)
    diffuse = per_point(materials.diffuse_color, points) * lights.diffuse(normals, points)
    specular = lights.specular(normals, points, rows(cameras.get_camera_center()), materials.shininess)
    return (ambient + diffuse)[:, 0], (per_point(materials.specular_color, points) * specular)[:, 0]


def _lit(
    corners: Tensor, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Colours [N, H, W, K, C] of fragments from places and normals at the corners of faces [F, 3, 6]."""
    present, faces = present_faces(fragments.pix_to_face)
    weights = fragments.bary_coords.reshape(-1, 3).index_select(0, present)
    points, normals = mix(weights, corners, faces).split(3, 1)
    owner = present.div(math.prod(fragments.pix_to_face.shape[1:]), rounding_mode="floor")
    times, plus = _light(points, normals, owner, lights, cameras, materials)
    texels = texels.reshape(-1, texels.shape[-1]).index_select(0, present)
    return spread(times * texels + plus, present, fragments.pix_to_face)


def phong_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at every fragment with interpolated normals, [N, H, W, K, 3]; zero where there is no face."""
    corners = torch.cat((meshes.verts_packed(), meshes.verts_normals_packed()), 1)[meshes.faces_packed()]
    return _lit(corners, fragments, lights, cameras, materials, texels)


def flat_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at the middle of every face with its own normal, [N, H, W, K, 3]; zero where there is no face."""
    middles = meshes.verts_packed()[meshes.faces_packed()].mean(1)
    light = _light(
        middles, meshes.faces_normals_packed(), meshes.faces_packed_to_mesh_idx(), lights, cameras, materials
    )
    present, faces = present_faces(fragments.pix_to_face)
    times, plus = (value.expand(len(middles), 3).index_select(0, faces) for value in light)
    texels = texels.reshape(-1, texels.shape[-1]).index_select(0, present)
    return spread(times * texels + plus, present, fragments.pix_to_face)


def gouraud_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials
) -> Tensor:
    """Lit at the vertices, whose colours are interpolated, [N, H, W, K, 3]; zero where there is no face.

    Raises:
        ValueError: textures other than of vertices.
    """
    if not isinstance(meshes.textures, TexturesVertex):
        raise ValueError(f"textures: expected TexturesVertex for Gouraud shading, got {type(meshes.textures).__name__}")
    owner = meshes.verts_packed_to_mesh_idx()
    times, plus = _light(meshes.verts_packed(), meshes.verts_normals_packed(), owner, lights, cameras, materials)
    colors = times * meshes.textures.verts_features_packed() + plus
    corners = colors[meshes.faces_packed()]
    return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)


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
