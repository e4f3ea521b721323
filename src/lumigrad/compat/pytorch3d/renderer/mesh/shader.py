"""PyTorch3D's shaders: fragments to images [N, H, W, C + 1]."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase
from lumigrad.compat.pytorch3d.renderer._project import cameras_of
from lumigrad.compat.pytorch3d.renderer.blending import (
    BlendParams,
    hard_rgb_blend,
    sigmoid_alpha_blend,
    softmax_rgb_blend,
)
from lumigrad.compat.pytorch3d.renderer.lighting import PointLights
from lumigrad.compat.pytorch3d.renderer.materials import Materials
from lumigrad.compat.pytorch3d.renderer.mesh.rasterizer import Fragments
from lumigrad.compat.pytorch3d.renderer.mesh.shading import (
    _phong_shading_with_pixels,
    flat_shading,
    gouraud_shading,
    phong_shading,
)
from lumigrad.compat.pytorch3d.renderer.splatter_blend import SplatterBlender
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


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

    def _get_cameras(self, **kwargs: Any) -> CamerasBase:
        return cameras_of(self, kwargs)

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


class SplatterPhongShader(ShaderBase):
    """Phong shading, blended by `SplatterBlender`: silhouettes have gradients, whatever the rasterizer's blur."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splatter_blender = SplatterBlender()

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        lights, cameras, materials = self._parts(kwargs)
        params = kwargs.get("blend_params", self.blend_params)
        self.check_blend_params(params)
        texels = meshes.sample_textures(fragments)
        colors, places = _phong_shading_with_pixels(meshes, fragments.detach(), lights, cameras, materials, texels)
        return self.splatter_blender(colors, places, cameras, fragments.pix_to_face < 0, params)

    def check_blend_params(self, blend_params: BlendParams) -> None:
        """Warn about a width that is not half a pixel."""
        if blend_params.sigma != 0.5:
            warnings.warn(
                f"SplatterPhongShader received sigma={blend_params.sigma}. sigma is defined in pixel units, and any "
                "value other than 0.5 is highly unexpected.",
                stacklevel=2,
            )


def TexturedSoftPhongShader(*args: Any, **kwargs: Any) -> SoftPhongShader:
    """The old name of `SoftPhongShader`."""
    warnings.warn(
        "TexturedSoftPhongShader is now deprecated; use SoftPhongShader instead.",
        PendingDeprecationWarning,
        stacklevel=2,
    )
    return SoftPhongShader(*args, **kwargs)


def _far_of(cameras: CamerasBase, kwargs: dict[str, Any], like: Tensor) -> Tensor:
    """The far plane as it broadcasts with [N, H, W, K]."""
    far = torch.as_tensor(kwargs.get("zfar", getattr(cameras, "zfar", 100.0)), dtype=like.dtype, device=like.device)
    return far.reshape(-1, 1, 1, 1)


class HardDepthShader(ShaderBase):
    """The depth of the nearest face, [N, H, W, 1]; the far plane's where there is none."""

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        cameras = self._get_cameras(**kwargs)
        zbuf = fragments.zbuf[..., :1]
        return torch.where(fragments.pix_to_face[..., :1] < 0, _far_of(cameras, kwargs, zbuf), zbuf)


class SoftDepthShader(ShaderBase):
    """Depths from front to back by their faces' probabilities sigmoid(-dist / sigma), [N, H, W, 1].

    What is missing to 1 counts with the depth of the far plane.
    """

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> Tensor:
        if fragments.dists is None:
            raise ValueError("SoftDepthShader requires Fragments.dists to be present.")
        cameras = self._get_cameras(**kwargs)
        sigma = kwargs.get("blend_params", self.blend_params).sigma
        share = torch.sigmoid(-fragments.dists / sigma) * (fragments.pix_to_face >= 0)
        far = _far_of(cameras, kwargs, share).expand(*share.shape[:-1], 1)
        total = torch.cat((share, torch.ones_like(far)), -1).cumsum(-1).clamp(max=1)
        depths = torch.cat((fragments.zbuf.to(far.dtype), far), -1)
        return (total.diff(dim=-1, prepend=torch.zeros_like(far)) * depths).sum(-1, keepdim=True)
