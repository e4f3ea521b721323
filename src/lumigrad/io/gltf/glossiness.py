"""Specular-glossiness materials as metallic-roughness ones.

Source: Khronos, glTF extension KHR_materials_pbrSpecularGlossiness, and its conversion between the two models: the
metallic value is the one for which a metallic-roughness surface has the same brightness of diffuse and specular colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.io.geometry.colors import decoded, encoded
from lumigrad.scene.materials import PBRMaterial

_DIELECTRIC = 0.04
_WEIGHTS = (0.299, 0.587, 0.114)


def metallic_roughness(
    material: PBRMaterial, glossy: dict[str, Any], look_up: Callable[[dict[str, Any], str, int], Tensor | None]
) -> PBRMaterial:
    """The material with the colours of the extension's entry `glossy`."""
    diffuse = torch.tensor([float(x) for x in glossy.get("diffuseFactor", (1, 1, 1, 1))])
    specular = torch.tensor([float(x) for x in glossy.get("specularFactor", (1, 1, 1))])
    gloss = float(glossy.get("glossinessFactor", 1))
    diffuse_image, glossy_image = look_up(glossy, "diffuseTexture", 4), look_up(glossy, "specularGlossinessTexture", 4)
    if glossy_image is None:
        opacity = diffuse[3:]
        base, metallic = _converted(diffuse[:3], specular)
        if diffuse_image is None:
            color = torch.cat([base, opacity]) if float(opacity) != 1 else base
            return replace(material, base_color=color, metallic=float(metallic), roughness=1 - gloss)
    size = (diffuse_image if glossy_image is None else glossy_image).shape[:2]  # type: ignore[union-attr]
    diffuse_map = _decoded(_resized(diffuse_image, size), diffuse)
    glossy_map = _decoded(_resized(glossy_image, size), torch.cat([specular, torch.tensor([gloss])]))
    base, metallic = _converted(diffuse_map[..., :3], glossy_map[..., :3])
    texture = torch.cat([encoded(base), diffuse_map[..., 3:]], -1)
    roughness = 1 - glossy_map[..., 3:]
    return replace(
        material,
        base_color_texture=texture if bool((texture[..., 3] != 1).any()) else texture[..., :3].contiguous(),
        metallic=1.0,
        roughness=1.0,
        metallic_roughness_texture=torch.cat([torch.zeros_like(roughness), roughness, metallic], -1),
    )


def _converted(diffuse: Tensor, specular: Tensor) -> tuple[Tensor, Tensor]:
    """Base colour [..., 3] and metallic [..., 1] of linear diffuse and specular colours [..., 3]."""
    strength = 1 - specular.amax(-1, keepdim=True)
    bright_diffuse, bright_specular = _brightness(diffuse), _brightness(specular)
    b = bright_diffuse * strength / (1 - _DIELECTRIC) + bright_specular - 2 * _DIELECTRIC
    c = _DIELECTRIC - bright_specular
    metallic = ((-b + (b * b - 4 * _DIELECTRIC * c).clamp_min(0).sqrt()) / (2 * _DIELECTRIC)).clamp(0, 1)
    metallic = torch.where(bright_specular < _DIELECTRIC, torch.zeros_like(metallic), metallic)
    from_diffuse = diffuse * strength / (1 - _DIELECTRIC) / (1 - metallic).clamp_min(1e-4)
    from_specular = (specular - _DIELECTRIC * (1 - metallic)) / metallic.clamp_min(1e-4)
    return torch.lerp(from_diffuse, from_specular, (metallic * metallic).expand_as(diffuse)).clamp(0, 1), metallic


def _brightness(color: Tensor) -> Tensor:
    return (color.square() * color.new_tensor(_WEIGHTS)).sum(-1, keepdim=True).sqrt()


def _resized(image: Tensor | None, size: tuple[int, ...]) -> Tensor:
    """An image [H, W, 4] of another size; white where there is none."""
    if image is None:
        return torch.ones(*size, 4)
    if image.shape[-1] == 3:
        image = torch.cat([image, torch.ones_like(image[..., :1])], -1)
    if tuple(image.shape[:2]) == tuple(size):
        return image
    planes = image.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)


def _decoded(image: Tensor, factor: Tensor) -> Tensor:
    return torch.cat([decoded(image[..., :3]), image[..., 3:]], -1) * factor
