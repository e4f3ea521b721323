"""glTF materials: metallic-roughness, unlit, and specular-glossiness converted to metallic-roughness.

Source: Khronos, glTF 2.0 specification, section 3.9, and the extensions that `SUPPORTED` names.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.io._named_files import check_kind
from lumigrad.io._problems import UnreadableError
from lumigrad.io.geometry.wrapping import REPEAT, WRAPS, Wrap
from lumigrad.io.gltf.document import Document
from lumigrad.io.gltf.glossiness import metallic_roughness
from lumigrad.io.image import from_pil
from lumigrad.scene.materials import Material, PBRMaterial

_WRAP = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
# Extensions that hold a texture's image, most widely supported first.
_SOURCES = ("EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds")
TEXTURES = {
    "baseColorTexture": "base_color_texture", "metallicRoughnessTexture": "metallic_roughness_texture",
    "normalTexture": "normal_texture", "occlusionTexture": "occlusion_texture", "emissiveTexture": "emissive_texture",
    "clearcoatTexture": "clearcoat_texture", "clearcoatRoughnessTexture": "clearcoat_roughness_texture",
    "transmissionTexture": "transmission_texture",
}  # fmt: skip
_CONVERTED = ("diffuseTexture", "specularGlossinessTexture")  # converted to others, texel by texel
_METADATA = ("KHR_xmp", "ADOBE_", "EXT_structural")
_GLOSSINESS = "KHR_materials_pbrSpecularGlossiness"
_IOR, _CLEARCOAT = "KHR_materials_ior", "KHR_materials_clearcoat"
_TRANSMISSION, _VOLUME = "KHR_materials_transmission", "KHR_materials_volume"
SUPPORTED = (
    "KHR_materials_unlit", "KHR_materials_emissive_strength", _GLOSSINESS, _IOR, _CLEARCOAT, _TRANSMISSION, _VOLUME,
    "KHR_texture_transform", *_SOURCES,
)  # fmt: skip


@dataclass(frozen=True)
class Coordinates:
    """The texture coordinates that a material uses, and their transformation.

    Attributes:
        set: number of the TEXCOORD attribute.
        matrix: [2, 3] acting on (u, v, 1).
        wrap: what lies outside [0, 1] in u and in v: names of `WRAPS`.
    """

    set: int = 0
    matrix: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    wrap: Wrap = REPEAT

    def applied(self, uvs: np.ndarray) -> np.ndarray:
        """The coordinates [U, 2] that the material's textures are looked up with."""
        matrix = np.array(self.matrix)
        return uvs if self.matrix == Coordinates().matrix else uvs @ matrix[:, :2].T + matrix[:, 2]


Wanted = tuple[Coordinates, Coordinates | None]  # coordinates of most textures of a material, and of its others


class Materials:
    """The materials of a document, each made when it is first asked for, with the texture coordinates it wants."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._made: dict[int, tuple[PBRMaterial, Wanted]] = {}
        self._images: dict[tuple[int, int], Tensor | None] = {}
        self._unknown: set[str] = set()

    def get(self, index: Any, user: str) -> tuple[PBRMaterial | None, Wanted]:
        """A material; None where a primitive has none."""
        if index is None:
            return None, (Coordinates(), None)
        if index not in self._made:
            self._made[index] = self._material(self.document.entry("materials", index, user), f"materials[{index}]")
        return self._made[index]

    def wraps(self, materials: Sequence[Material], second: bool) -> list[Wrap]:
        """The wrapping of the materials' textures outside [0, 1], for the first or the second coordinates."""
        made = {id(material): wanted[second] for material, wanted in self._made.values()}
        found = [made.get(id(material)) for material in materials]
        return [REPEAT if coordinates is None else coordinates.wrap for coordinates in found]

    def _material(self, entry: dict[str, Any], where: str) -> tuple[PBRMaterial, Wanted]:
        extensions = entry.get("extensions", {})
        self._note_unknown(extensions, where)
        factors = entry.get("pbrMetallicRoughness", {})
        glossy = extensions.get(_GLOSSINESS)
        look_up = _Lookup(self, where, self._coordinates(entry, factors, glossy))
        strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
        normal, occlusion = entry.get("normalTexture", {}), entry.get("occlusionTexture", {})
        material = PBRMaterial(
            name=str(entry.get("name", "")),
            alpha_mode=_alpha_mode(entry),
            alpha_cutoff=float(entry.get("alphaCutoff", 0.5)),
            double_sided=bool(entry.get("doubleSided", False)),
            unlit="KHR_materials_unlit" in extensions,
            normal_texture=look_up(entry, "normalTexture", 3),
            normal_scale=float(normal.get("scale", 1.0)),
            occlusion_texture=look_up(entry, "occlusionTexture", 1),
            occlusion_strength=_fraction(occlusion.get("strength", 1.0)),
            emissive=_floats(entry.get("emissiveFactor", (0, 0, 0)), 3) * float(strength),
            emissive_texture=look_up(entry, "emissiveTexture", 3),
        )
        if glossy is not None:
            material = metallic_roughness(material, glossy, look_up)
            return replace(material, second_uv_textures=look_up.second_textures()), look_up.wanted
        material = replace(
            material,
            base_color=_base_color(factors.get("baseColorFactor", (1, 1, 1, 1))),
            base_color_texture=look_up(factors, "baseColorTexture", 4),
            metallic=_fraction(factors.get("metallicFactor", 1.0)),
            roughness=_fraction(factors.get("roughnessFactor", 1.0)),
            metallic_roughness_texture=look_up(factors, "metallicRoughnessTexture", 3),
            **self._layers(extensions, look_up, where),
        )
        return replace(material, second_uv_textures=look_up.second_textures()), look_up.wanted

    def _layers(self, extensions: dict[str, Any], look_up: _Lookup, where: str) -> dict[str, Any]:
        """The fields of a material from its clear coat and its transmission."""
        coat, sheet = extensions.get(_CLEARCOAT, {}), extensions.get(_TRANSMISSION, {})
        volume = extensions.get(_VOLUME, {})
        if "clearcoatNormalTexture" in coat:
            self.document.notes.add("clearcoatNormalTexture is left out: a coat has the material's normal", where)
        if "thicknessTexture" in volume:
            self.document.notes.add("thicknessTexture is left out: the thickness is that of the shape", where)
        solid = float(volume.get("thicknessFactor", 0.0)) > 0
        distance = float(volume.get("attenuationDistance", math.inf))
        absorption = -_floats(volume.get("attenuationColor", (1, 1, 1)), 3).clamp_min(1e-6).log() / distance
        return {
            "ior": max(float(extensions.get(_IOR, {}).get("ior", 1.5)), 1e-3),
            "clearcoat": _fraction(coat.get("clearcoatFactor", 0.0)),
            "clearcoat_texture": look_up(coat, "clearcoatTexture", 1),
            "clearcoat_roughness": _fraction(coat.get("clearcoatRoughnessFactor", 0.0)),
            "clearcoat_roughness_texture": look_up(coat, "clearcoatRoughnessTexture", 3),
            "transmission": _fraction(sheet.get("transmissionFactor", 0.0)),
            "transmission_texture": look_up(sheet, "transmissionTexture", 1),
            "solid": solid,
            "absorption": absorption.abs() if solid else torch.zeros(3),
        }

    def _note_unknown(self, extensions: dict[str, Any], where: str) -> None:
        for name in extensions:
            if name not in SUPPORTED and name not in self._unknown and not name.startswith(_METADATA):
                self._unknown.add(name)
                self.document.notes.add(f"the extension {name} is not supported, here and elsewhere", where)

    def _coordinates(
        self, entry: dict[str, Any], factors: dict[str, Any], glossy: dict[str, Any] | None
    ) -> Coordinates:
        """The coordinates of the base colour's texture, or otherwise of the first texture."""
        glossy = glossy or {}
        infos = [glossy.get("diffuseTexture"), glossy.get("specularGlossinessTexture")]
        infos += [factors.get("baseColorTexture"), factors.get("metallicRoughnessTexture")]
        infos += [entry.get(name) for name in ("normalTexture", "emissiveTexture", "occlusionTexture")]
        first = next((info for info in infos if info is not None), None)
        return Coordinates() if first is None else self.coordinates_of(first)

    def coordinates_of(self, info: dict[str, Any]) -> Coordinates:
        """The texture coordinates that a texture is looked up with."""
        moved = info.get("extensions", {}).get("KHR_texture_transform", {})
        (x, y), (width, height) = moved.get("offset", (0, 0)), moved.get("scale", (1, 1))
        cosine, sine = math.cos(moved.get("rotation", 0.0)), math.sin(moved.get("rotation", 0.0))
        matrix = ((cosine * width, sine * height, float(x)), (-sine * width, cosine * height, float(y)))
        texture = self.document.entry("textures", info.get("index"), "a material")
        sampler = self.document.entry("samplers", texture["sampler"], "a texture") if "sampler" in texture else {}
        wrap = tuple(_WRAP.get(sampler.get(name, 10497), "repeat") for name in ("wrapS", "wrapT"))
        assert all(name in WRAPS for name in wrap)
        return Coordinates(int(moved.get("texCoord", info.get("texCoord", 0))), matrix, (wrap[0], wrap[1]))

    def image(self, info: dict[str, Any], channels: int) -> Tensor | None:
        """A texture's image with at most so many channels; None, with a note, where it cannot be read."""
        number = info.get("index")
        texture = self.document.entry("textures", number, "a material")
        source = texture.get("source")
        extensions = texture.get("extensions", {})
        for name in _SOURCES:
            source = extensions.get(name, {}).get("source", source)
        if source is None:
            names = ", ".join(extensions) or "no extension"
            self.document.notes.add(f"it has no image that can be read ({names})", f"textures[{number}]")
            return None
        if (source, channels) not in self._images:
            self._images[source, channels] = self._decoded(source, channels)
        return self._images[source, channels]

    def _decoded(self, source: int, channels: int) -> Tensor | None:
        where = f"images[{source}]"
        entry = self.document.entry("images", source, "a texture")
        pillow = require("PIL.Image", "lumigrad.io.load_mesh, for textures,")
        try:
            if "uri" in entry:
                data = self.document.resource(entry["uri"], where)
            else:
                data = bytes(self.document.view(entry.get("bufferView"), where))
            check_kind(data[:256])
            with pillow.open(io.BytesIO(data)) as picture:
                return from_pil(picture)[..., :channels].contiguous()
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            text = str(error).replace(f"{where} ", "", 1)
            self.document.notes.add(f"the image cannot be read: {text}", where)
            return None


class _Lookup:
    """Textures of one material by name, of which there may be two kinds by where they are looked up.

    Attributes:
        wanted: the coordinates of the first texture, and of the first one that has others.
    """

    def __init__(self, materials: Materials, where: str, first: Coordinates) -> None:
        self.materials, self.where = materials, where
        self.wanted: Wanted = (first, None)
        self._second: list[str] = []

    def __call__(self, entry: dict[str, Any], name: str, channels: int) -> Tensor | None:
        info = entry.get(name)
        if info is None:
            return None
        coordinates, (first, second) = self.materials.coordinates_of(info), self.wanted
        if coordinates != first and (name in _CONVERTED or (second is not None and coordinates != second)):
            self.materials.document.notes.add(
                f"{name} is left out: it has other texture coordinates than the material's textures before it",
                self.where,
            )
            return None
        image = self.materials.image(info, channels)
        if image is not None and coordinates != first:
            self.wanted = (first, coordinates)
            self._second.append(name)
        return image

    def second_textures(self) -> tuple[str, ...]:
        """The fields of the material whose textures are looked up at the second coordinates."""
        return tuple(TEXTURES[name] for name in self._second)


def _alpha_mode(entry: dict[str, Any]) -> str:
    mode = str(entry.get("alphaMode", "OPAQUE")).lower()
    if mode not in ("opaque", "mask", "blend"):
        raise UnreadableError(f"alphaMode: expected OPAQUE, MASK or BLEND, got {entry['alphaMode']}")
    return mode


def _floats(values: Any, count: int) -> Tensor:
    """Numbers as floats: JSON may write whole numbers without a decimal point."""
    if not isinstance(values, (list, tuple)) or len(values) < count:
        raise UnreadableError(f"a colour factor has {values}; expected {count} numbers")
    return torch.tensor([float(value) for value in values[:count]])


def _fraction(value: Any) -> float:
    return min(max(float(value), 0.0), 1.0)


def _base_color(values: Any) -> Tensor:
    color = _floats(values, 4)
    return color[:3] if float(color[3]) == 1 else color
