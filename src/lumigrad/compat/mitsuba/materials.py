"""From BSDFs, area lights and textures to lumigrad's materials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.objects import Object, at, below
from lumigrad.scene import (
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    Material,
    PBRMaterial,
    PlasticMaterial,
)
from lumigrad.scene.color import srgb_encode

IMAGES = ("bitmap", "checkerboard")
_SHARP = 512  # texels along a side of an image with sharp edges


class ColorTexture(NamedTuple):
    """A colour [3], and an image [H, W, 3] that it multiplies, display-encoded, or None."""

    color: Tensor
    image: Tensor | None


def material_of(bsdf: Object | None, emitter: Object | None) -> Material:
    """The material of a shape with a BSDF (by default diffuse, 0.5) that emits or does not."""
    if bsdf is not None and bsdf.kind == "mask":
        return _masked(bsdf, emitter)
    two_sided = bsdf is not None and bsdf.kind == "twosided"
    if bsdf is not None and two_sided:
        bsdf = bsdf.children["brdf_0"]
        if bsdf.kind not in OPAQUE:
            raise ValueError(f"{at(bsdf.path)}expected an opaque BSDF below 'twosided', got {bsdf.kind!r}")
    if emitter is not None:
        if emitter.kind != "area":
            raise ValueError(f"{at(emitter.path)}expected an area light at a shape, got {emitter.kind!r}")
        if bsdf is not None and bsdf.kind != "diffuse":
            raise NotImplementedError(f"{at(bsdf.path)}surfaces that emit are diffuse, got {bsdf.kind!r}")
        if two_sided and not _is_black(bsdf):
            raise NotImplementedError(f"{at(emitter.path)}surfaces that emit to one side and reflect from both")
        two_sided = False
    options: dict[str, Any] = {"double_sided": two_sided}
    if emitter is not None:
        glow = color_texture(emitter.children["radiance"])
        options |= {"emissive": glow.color, "emissive_texture": glow.image}
    if bsdf is None:
        return DiffuseMaterial(**options)
    return MATERIALS[bsdf.kind](bsdf, options)


def _is_black(bsdf: Object | None) -> bool:
    return bsdf is not None and not bool(color_texture(bsdf.children["reflectance"]).color.any())


def _masked(bsdf: Object, emitter: Object | None) -> Material:
    """There in part: the opacity is the fourth channel of the texture."""
    if bsdf.children["nested_bsdf"].kind == "mask":
        raise NotImplementedError(f"{at(bsdf.path)}expected no other mask below 'mask'")
    material = material_of(bsdf.children["nested_bsdf"], emitter)
    if not isinstance(material, (DiffuseMaterial, PlasticMaterial)):
        raise NotImplementedError(f"{at(bsdf.path)}expected something diffuse or plastic below 'mask'")
    opacity = bsdf.children["opacity"]
    if opacity.kind in IMAGES:
        alpha = _WRAPS[opacity.options["wrap_mode"]](_texels(opacity))[..., :1]
    else:
        alpha = _number(bsdf, "opacity").reshape(1, 1, 1)
    image = material.base_color_texture
    if image is None:
        image = alpha.new_ones(*alpha.shape[:2], 3)
    elif alpha.numel() == 1:
        alpha = alpha.expand(*image.shape[:2], 1)
    if image.shape[:2] != alpha.shape[:2]:
        raise NotImplementedError(f"{below(bsdf.path, 'opacity')}: expected the size of the reflectance's bitmap")
    return replace(material, base_color_texture=torch.cat([image, alpha], -1), alpha_mode="blend")


# ---- Kinds of BSDFs ------------------------------------------------------------------------------------------------


def _diffuse(bsdf: Object, options: dict[str, Any]) -> Material:
    base = color_texture(bsdf.children["reflectance"])
    return DiffuseMaterial(base_color=base.color, base_color_texture=base.image, **options)


def _conductor(bsdf: Object, options: dict[str, Any]) -> Material:
    _check_facets(bsdf)
    _refuse_factor(bsdf, "specular_reflectance")
    eta, k = (_color(bsdf, name) for name in ("eta", "k"))
    return ConductorMaterial(eta=eta, k=k, roughness=_roughness(bsdf), **options)


def _dielectric(bsdf: Object, options: dict[str, Any]) -> Material:
    _check_facets(bsdf)
    tints = [_color(bsdf, name) for name in ("specular_reflectance", "specular_transmittance")]
    if not torch.equal(*tints):
        raise NotImplementedError(
            f"{at(bsdf.path)}expected one factor of all light, got specular_reflectance {tints[0].tolist()} and "
            f"specular_transmittance {tints[1].tolist()}"
        )
    return DielectricMaterial(ior=bsdf.values["eta"], roughness=_roughness(bsdf), tint=tints[0])


def _plastic(bsdf: Object, options: dict[str, Any]) -> Material:
    """Of a smooth coat, the reflection is a little rough."""
    _check_facets(bsdf)
    _refuse_factor(bsdf, "specular_reflectance")
    base = color_texture(bsdf.children["diffuse_reflectance"])
    return PlasticMaterial(
        base_color=base.color, base_color_texture=base.image, ior=bsdf.values["eta"], roughness=_roughness(bsdf),
        saturating=bsdf.options["nonlinear"], **options,
    )  # fmt: skip


def _principled(bsdf: Object, options: dict[str, Any]) -> Material:
    """glTF's formulas in place of Disney's, where that is asked for."""
    if bsdf.options["model"] != "gltf":
        raise NotImplementedError(
            f"{below(bsdf.path, 'model')}: expected 'gltf', got {bsdf.options['model']!r}: Disney's formulas"
        )
    for name in ("anisotropic", "spec_tint", "sheen", "sheen_tint", "flatness"):
        if bool(_number(bsdf, name) != 0):
            raise NotImplementedError(f"{below(bsdf.path, name)}: expected 0")
    base, values = color_texture(bsdf.children["base_color"]), bsdf.values
    reflected = (0.08 * values["specular"]).sqrt() if "specular" in values else None
    coat = 0.1 + (0.001 - 0.1) * _number(bsdf, "clearcoat_gloss")
    return PBRMaterial(
        base_color=base.color, base_color_texture=base.image, metallic=_number(bsdf, "metallic"),
        roughness=_number(bsdf, "roughness"), clearcoat=_number(bsdf, "clearcoat"), clearcoat_roughness=coat.sqrt(),
        ior=values["eta"] if reflected is None else (1 + reflected) / (1 - reflected),
        transmission=_number(bsdf, "spec_trans"), solid=bool(_number(bsdf, "spec_trans") > 0), **options,
    )  # fmt: skip


MATERIALS: dict[str, Callable[[Object, dict[str, Any]], Material]] = {
    "diffuse": _diffuse,
    "conductor": _conductor,
    "roughconductor": _conductor,
    "dielectric": _dielectric,
    "roughdielectric": _dielectric,
    "plastic": _plastic,
    "roughplastic": _plastic,
    "principled": _principled,
}
OPAQUE = ("diffuse", "conductor", "roughconductor", "plastic", "roughplastic", "principled")


def _check_facets(bsdf: Object) -> None:
    if bsdf.options.get("distribution", "ggx") != "ggx":
        raise NotImplementedError(
            f"{below(bsdf.path, 'distribution')}: expected 'ggx', got {bsdf.options['distribution']!r}"
            f"{' (the default)' if bsdf.options['distribution'] == 'beckmann' else ''}"
        )
    for name in ("alpha_u", "alpha_v"):
        if bsdf.options.get(name) is not None:
            raise NotImplementedError(f"{below(bsdf.path, name)}: expected alpha, the same in all directions")


def _refuse_factor(bsdf: Object, name: str) -> None:
    if bool((_color(bsdf, name) != 1).any()):
        raise NotImplementedError(f"{below(bsdf.path, name)}: expected 1")


def _roughness(bsdf: Object) -> float | Tensor:
    """lumigrad's roughness, whose square is the width of the distribution."""
    if "alpha" in bsdf.values:
        return bsdf.values["alpha"].sqrt()
    return _number(bsdf, "alpha").sqrt() if "alpha" in bsdf.children else 0.0


# ---- Textures ------------------------------------------------------------------------------------------------------


def _number(parent: Object, name: str) -> Tensor:
    texture = parent.children[name]
    if texture.kind in IMAGES or texture.values["value"].numel() != 1:
        raise NotImplementedError(f"{below(parent.path, name)}: expected one number")
    return texture.values["value"].reshape(())


def _color(parent: Object, name: str) -> Tensor:
    texture = parent.children[name]
    if texture.kind in IMAGES:
        raise NotImplementedError(f"{below(parent.path, name)}: expected a colour, got a {texture.kind}")
    return texture.values["value"].expand(3)


def color_texture(texture: Object) -> ColorTexture:
    if texture.kind not in IMAGES:
        return ColorTexture(texture.values["value"].expand(3), None)
    image = _texels(texture)
    image = image.expand(*image.shape[:2], 3)
    return ColorTexture(torch.ones(3), srgb_encode(_WRAPS[texture.options["wrap_mode"]](image)))


def _texels(texture: Object) -> Tensor:
    """A texture as an image [H, W, C] that is looked up between its texels.

    What has sharp edges has many texels for one, so that the edges are a small part of it wide.
    """
    if texture.kind == "bitmap":
        image = texture.values["data"]
        sharp = texture.options["filter_type"] == "nearest"
    else:
        first, second = (_color(texture, name) for name in ("color0", "color1"))
        image, sharp = torch.stack([torch.stack([first, second]), torch.stack([second, first])]), True
    if not sharp:
        return image
    times = max(2, _SHARP // max(image.shape[:2]))
    return image.repeat_interleave(times, 0).repeat_interleave(times, 1)


def _mirrored(image: Tensor) -> Tensor:
    """An image that repeats as the other one is mirrored."""
    image = torch.cat([image, image.flip(0)])
    return torch.cat([image, image.flip(1)], 1)


def _framed(image: Tensor) -> Tensor:
    """With a frame of one texel, so that lookups within the image find no other side."""
    image = torch.cat([image[:1], image, image[-1:]])
    return torch.cat([image[:, :1], image, image[:, -1:]], 1)


_WRAPS: dict[str, Callable[[Tensor], Tensor]] = {"repeat": lambda image: image, "mirror": _mirrored, "clamp": _framed}


def coordinates(shape: Object, uvs: Tensor | None) -> Tensor | None:
    """Texture coordinates as the textures of a shape look them up.

    Raises:
        ValueError: textures on a mesh without coordinates.
        NotImplementedError: textures of one shape that are placed differently.
    """
    bitmaps = [texture for texture in _textures(shape) if texture.kind in IMAGES]
    if not bitmaps:
        return uvs
    if uvs is None:
        raise ValueError(f"{at(shape.path)}expected texture coordinates for its bitmap, the mesh has none")
    first = bitmaps[0]
    for other in bitmaps[1:]:
        same = torch.equal(first.values["to_uv"], other.values["to_uv"])
        same = same and first.options["wrap_mode"] == other.options["wrap_mode"]
        same = same and (first.options["wrap_mode"] != "clamp" or _size(first) == _size(other))
        if not same:
            raise NotImplementedError(f"{at(shape.path)}expected textures of one to_uv and wrap_mode")
    matrix = first.values["to_uv"].to(uvs)
    uvs = uvs @ matrix[:2, :2].T + matrix[:2, 2]
    if first.options["wrap_mode"] == "mirror":
        return uvs / 2
    if first.options["wrap_mode"] == "clamp":
        if bool(((uvs < 0) | (uvs > 1)).any()):
            raise NotImplementedError(f"{below(first.path, 'wrap_mode')}: with 'clamp', expected coordinates in [0, 1]")
        size = uvs.new_tensor(_size(first))
        return (uvs * size + 1) / (size + 2)
    return uvs


def _size(bitmap: Object) -> list[int]:
    height, width = _texels(bitmap).shape[:2]
    return [width, height]


def _textures(shape: Object) -> Iterator[Object]:
    for child in shape.children.values():
        if child.family == "texture":
            yield child
        elif child.family in ("bsdf", "emitter"):
            yield from _textures(child)
