"""The interpretation of a library's materials, as exporters write them.

Source: Wavefront's description of the format; for Pr, Pm, map_Pr, map_Pm and norm, its extension for physically based
materials, which Blender and others write.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lumigrad.io._problems import Notes
from lumigrad.io.geometry.colors import decoded
from lumigrad.io.obj.library import Entry, Statement
from lumigrad.io.obj.maps import Map, Maps
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial

_BUMPS = ("norm", "map_bump", "bump", "map_kn")
_IGNORED = {
    "refl",
    "map_refl",
    "disp",
    "map_disp",
    "decal",
    "tf",
    "map_ns",
    "pc",
    "pcr",
    "ps",
    "map_ps",
    "aniso",
    "anisor",
}
# Statements that many exporters write for every material, with a value that has no effect.
_NEUTRAL = {"tf": 1.0, "pc": 0.0, "pcr": 0.0, "ps": 0.0, "aniso": 0.0, "anisor": 0.0}


@dataclass(frozen=True)
class Placed:
    """A material, and the transformation of the texture coordinates (u, v), v upwards, of its faces."""

    material: Material
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False


def read_material(entry: Entry, maps: Maps, notes: Notes) -> Placed:
    """The material of a library's entry."""
    return _Reader(entry, maps, notes).material()


def default_material() -> PhongMaterial:
    """The material of faces that have none."""
    return PhongMaterial(specular=torch.zeros(3), shininess=1.0)


class _Reader:
    """Converts one entry to a material."""

    def __init__(self, entry: Entry, maps: Maps, notes: Notes) -> None:
        self.entry, self.maps, self.notes = entry, maps, notes

    def material(self) -> Placed:
        """A metallic-roughness material where the entry speaks of roughness or metal, otherwise a Phong material."""
        entry = self.entry
        image = self.maps.get(entry, "map_kd", "map_basecolor")
        if image is None:
            image = self._ambient_image()
        diffuse = self.color("kd", torch.ones(3))
        if entry.get("map_kd") is not None and not bool(diffuse.any()):
            diffuse = torch.ones(3)  # black times the image would be black, so the image alone is meant
        opacity = self.opacity()
        texture, cutout = self.texture(image)
        transparent = opacity < 1 or (texture is not None and texture.shape[-1] == 4)
        illumination = self.number("illum", -1)
        common: dict[str, Any] = {
            "name": entry.name,
            "alpha_mode": ("mask" if cutout and opacity == 1 else "blend") if transparent else "opaque",
            "unlit": illumination == 0,
            "normal_texture": None,
        }
        bump = self.bump()
        if bump is not None:
            common |= {"normal_texture": bump.image[..., :3].contiguous(), "normal_scale": bump.bump}
        for key in _IGNORED & entry.statements.keys():
            if not (key in _NEUTRAL and self.all_are(key, _NEUTRAL[key])):
                self.note(entry.statements[key], key, "is not supported")
        if entry.get("pr", "pm", "map_pr", "map_pm") is not None:
            material: Material = self.pbr(common, diffuse, opacity, texture)
        else:
            material = self.phong(common, diffuse, opacity, texture, illumination)
        first = image or bump
        if first is None:
            return Placed(material)
        return Placed(material, first.scale, first.offset, first.clamp)

    def phong(
        self, common: dict[str, Any], diffuse: Tensor, opacity: float, texture: Tensor | None, illumination: float
    ) -> PhongMaterial:
        specular = self.color("ks", torch.zeros(3))
        image = self.maps.get(self.entry, "map_ks")
        if self.maps.get(self.entry, "map_ke") is not None:
            self.note(self.entry.statements["map_ke"], "map_ke", "is supported together with Pr or Pm alone")
        if illumination == 1:  # no highlights
            specular, image = torch.zeros(3), None
        return PhongMaterial(
            **common,
            ambient=self.color("ka", diffuse),
            diffuse=diffuse,
            specular=specular,
            shininess=self.shininess(),
            diffuse_texture=texture,
            specular_texture=None if image is None else image.image[..., :3].contiguous(),
            emissive=self.color("ke", torch.zeros(3)),
            alpha=opacity,
        )

    def pbr(self, common: dict[str, Any], diffuse: Tensor, opacity: float, texture: Tensor | None) -> PBRMaterial:
        roughness, metal = self.maps.get(self.entry, "map_pr"), self.maps.get(self.entry, "map_pm")
        emissive = self.maps.get(self.entry, "map_ke")
        glow = self.color("ke", torch.zeros(3) if emissive is None else torch.ones(3))
        base = decoded(diffuse.clamp(0, 1))
        return PBRMaterial(
            **common,
            base_color=base if opacity == 1 else torch.cat([base, torch.tensor([opacity])]),
            base_color_texture=texture,
            metallic=_fraction(self.number("pm", 0.0 if metal is None else 1.0)) if metal is None else 1.0,
            roughness=_fraction(self.number("pr", 0.5)) if roughness is None else 1.0,
            metallic_roughness_texture=_packed(roughness, metal),
            emissive=decoded(glow) if emissive is None or bool(glow.any()) else torch.ones(3),
            emissive_texture=None if emissive is None else emissive.image[..., :3].contiguous(),
        )

    def opacity(self) -> float:
        """d, or else Tr: transparency, which some exporters write as opacity.

        An invisible material is not meant: Tr 1 alone, as written by MeshLab, is opaque.
        """
        dissolve, transparency = self.number("d", math.nan), self.number("tr", math.nan)
        if math.isnan(dissolve):
            dissolve = 1.0 if math.isnan(transparency) or transparency >= 1 else 1 - transparency
        elif dissolve <= 0 and transparency <= 0:
            dissolve = 1.0
        elif dissolve <= 0:
            self.note(self.entry.get("d"), "d", "is 0: the material is invisible")
        return _fraction(dissolve)

    def shininess(self) -> float:
        """Ns; below 0, as old versions of Blender write it, it is 0."""
        value = self.number("ns", 1.0)
        return min(max(value, 0.0), 1e4)

    def texture(self, image: Map | None) -> tuple[Tensor | None, bool]:
        """The diffuse image with the opacity of map_d as its fourth channel, and whether it is either 0 or 1."""
        opacity = self.maps.get(self.entry, "map_d", "map_tr", "map_opacity")
        if opacity is None:
            return None if image is None else image.image[..., :3].contiguous(), False
        same = image is not None and image.path == opacity.path
        alpha = _one_channel(opacity, prefer_alpha=same)
        if same and opacity.image.shape[-1] == 3 and not opacity.channel:
            return image.image, False  # type: ignore[union-attr]
        color = torch.ones(*alpha.shape[:2], 3) if image is None else image.image[..., :3]
        size = max(color.shape[:2], alpha.shape[:2], key=lambda shape: shape[0] * shape[1])
        texture = torch.cat([_resized(color, size), _resized(alpha, size)], -1)
        values = texture[..., 3]
        return texture, bool(((values < 0.02) | (values > 0.98)).all())

    def bump(self) -> Map | None:
        """A normal map: of `norm`, or of `map_Bump` where the image is one, as Blender writes it."""
        found = self.maps.get(self.entry, *_BUMPS)
        if found is None or self.entry.get(*_BUMPS) is self.entry.statements.get("norm"):
            return found
        if _is_normal_map(found.image):
            return found
        self.note(
            self.entry.get(*_BUMPS), "map_Bump", "is a height map, which is not supported; use a normal map (norm)"
        )
        return None

    def _ambient_image(self) -> Map | None:
        """map_Ka, which stands for the diffuse image where that is missing."""
        return self.maps.get(self.entry, "map_ka") if self.entry.get("map_kd") is None else None

    def color(self, key: str, default: Tensor) -> Tensor:
        """A colour of three numbers, or of one for all three."""
        statement = self.entry.get(key)
        if statement is None:
            return default
        values = [_number(word) for word in statement.words[:3]]
        if not values or any(value is None or not math.isfinite(value) for value in values):
            self.note(statement, key, f"is '{statement.text}'; expected three numbers")
            return default
        return torch.tensor(values if len(values) == 3 else values[:1] * 3).clamp_min(0)

    def number(self, key: str, default: float) -> float:
        """The last number of a statement, after options such as -halo."""
        statement = self.entry.get(key)
        if statement is None or not statement.words:
            return default
        value = _number(statement.words[-1])
        if value is None or not math.isfinite(value):
            self.note(statement, key, f"is '{statement.text}'; expected a number")
            return default
        return value

    def all_are(self, key: str, value: float) -> bool:
        return all(_number(word) == value for word in self.entry.statements[key].words)

    def note(self, statement: Statement | None, key: str, what: str) -> None:
        line = "" if statement is None else f"line {statement.line}"
        self.notes.add(f"{key} of '{self.entry.name}' {what}", line, self.entry.path)


def _number(word: str) -> float | None:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return None


def _fraction(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _one_channel(image: Map, prefer_alpha: bool) -> Tensor:
    """The channel [H, W, 1] that an opacity map means."""
    pixels = image.image
    if image.channel in ("r", "g", "b"):
        first = "rgb".index(image.channel)
        return pixels[..., first : first + 1]
    has_alpha = pixels.shape[-1] == 4 and (prefer_alpha or bool((pixels[..., 3] < 1).any()))
    if has_alpha and image.channel in ("", "m"):
        return pixels[..., 3:]
    return pixels[..., :3].mean(-1, keepdim=True)


def _packed(roughness: Map | None, metal: Map | None) -> Tensor | None:
    """Roughness in G, metallic in B; 1 where there is no image."""
    images = [_one_channel(m, False) if m is not None else None for m in (roughness, metal)]
    sizes: list[Any] = [image.shape[:2] for image in images if image is not None]
    if not sizes:
        return None
    size = max(sizes, key=lambda shape: shape[0] * shape[1])
    g, b = (torch.ones(*size, 1) if image is None else _resized(image, size) for image in images)
    return torch.cat([torch.zeros_like(g), g, b], -1)


def _resized(image: Tensor, size: Any) -> Tensor:
    if tuple(image.shape[:2]) == tuple(size):
        return image
    resize: Callable[..., Tensor] = torch.nn.functional.interpolate
    return resize(image.permute(2, 0, 1)[None], tuple(size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)


def _is_normal_map(image: Tensor) -> bool:
    """Whether most texels, read as 2 t - 1, are vectors of length 1 that point outwards."""
    vectors = 2 * image[..., :3] - 1
    unit = (vectors.norm(dim=-1) - 1).abs() < 0.15
    return bool((unit & (vectors[..., 2] > 0)).float().mean() > 0.7)
