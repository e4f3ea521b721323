"""Meshes as binary glTF."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad.io.geometry.colors import decode, decoded, encode
from lumigrad.io.gltf.materials import TEXTURES
from lumigrad.io.image import to_pil
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_CODES = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_VERTICES, _INDICES = 34962, 34963
_EXTENSION_OF = {
    "clearcoatTexture": "KHR_materials_clearcoat",
    "clearcoatRoughnessTexture": "KHR_materials_clearcoat",
    "transmissionTexture": "KHR_materials_transmission",
}


def write(parts: Sequence[Mesh]) -> bytes:
    """A file of meshes that have one vertex for each corner's combination, and one material or none each."""
    return _Writer().file(parts)


class _Writer:
    """A file under construction."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.lists: dict[str, list[dict[str, Any]]] = {"accessors": [], "materials": [], "textures": [], "images": []}
        self.extensions: set[str] = set()
        self.textures: dict[int, tuple[int, Tensor]] = {}  # images are kept alive, so that their ids stay unique

    def file(self, parts: Sequence[Mesh]) -> bytes:
        primitives = [self.primitive(part) for part in parts]
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "lumigrad"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": primitives}],
            **{name: entries for name, entries in self.lists.items() if entries},
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }
        if self.extensions:
            document["extensionsUsed"] = sorted(self.extensions)
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        body = bytes(self.data)
        chunks = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(body), _BIN) + body
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def primitive(self, part: Mesh) -> dict[str, Any]:
        """Vertices, faces and material of one part."""
        arrays = {"POSITION": part.positions, "NORMAL": part.normals, "TEXCOORD_0": part.uvs}
        arrays |= {"TEXCOORD_1": part.second_uvs}
        attributes = {
            name: self.accessor(value.float().numpy(), _VERTICES, bounds=name == "POSITION")
            for name, value in arrays.items()
            if value is not None
        }
        if part.colors is not None:
            colors = linear_colors(part.colors.numpy())
            attributes["COLOR_0"] = self.accessor(colors, _VERTICES, normalized=colors.dtype == np.uint8)
        small = len(part.positions) < 65535
        indices = part.faces.numpy().astype(np.uint16 if small else np.uint32).reshape(-1)
        primitive: dict[str, Any] = {"attributes": attributes, "indices": self.accessor(indices, _INDICES)}
        if part.materials:
            self.lists["materials"].append(self.material(as_pbr(part.materials[0])))
            primitive["material"] = len(self.lists["materials"]) - 1
        return primitive

    def accessor(self, array: np.ndarray, target: int, normalized: bool = False, bounds: bool = False) -> int:
        """An array in the buffer, rows of multiples of four bytes."""
        columns = 1 if array.ndim == 1 else array.shape[1]
        entry = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes(), target),
            "componentType": _CODES[array.dtype.name],
            "count": len(array),
            "type": _KINDS[columns],
        }
        if normalized:
            entry["normalized"] = True
        if bounds:
            finite = array[np.isfinite(array).all(1)]
            finite = finite if len(finite) else np.zeros((1, columns), array.dtype)
            entry |= {"min": finite.min(0).tolist(), "max": finite.max(0).tolist()}
        self.lists["accessors"].append(entry)
        return len(self.lists["accessors"]) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        entry: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        if target is not None:
            entry["target"] = target
        self.data += data + b"\0" * (-len(data) % 4)
        self.views.append(entry)
        return len(self.views) - 1

    def texture(self, image: Tensor) -> int:
        """A PNG image; the same tensor is written once."""
        if id(image) not in self.textures:
            stream = io.BytesIO()
            to_pil(image).save(stream, format="PNG")
            self.lists["images"].append({"bufferView": self.view(stream.getvalue()), "mimeType": "image/png"})
            self.lists["textures"].append({"source": len(self.lists["images"]) - 1})
            self.textures[id(image)] = len(self.lists["textures"]) - 1, image
        return self.textures[id(image)][0]

    def material(self, material: PBRMaterial) -> dict[str, Any]:
        base = material.base_color.clamp(0, 1).tolist()
        factors: dict[str, Any] = {
            "baseColorFactor": base if len(base) == 4 else [*base, 1.0],
            "metallicFactor": float(material.metallic),
            "roughnessFactor": float(material.roughness),
        }
        emissive = material.emissive.clamp_min(0)
        strength = max(1.0, float(emissive.max()))
        entry: dict[str, Any] = {
            "name": material.name,
            "pbrMetallicRoughness": factors,
            "alphaMode": material.alpha_mode.upper(),
            "doubleSided": material.double_sided,
            "emissiveFactor": (emissive / strength).tolist(),
        }
        if material.alpha_mode == "mask":
            entry["alphaCutoff"] = float(material.alpha_cutoff)
        extensions = _layers(material)
        more: dict[str, dict[str, Any]] = {
            "normal_texture": {"scale": float(material.normal_scale)},
            "occlusion_texture": {"strength": float(material.occlusion_strength)},
        }
        for name, field in TEXTURES.items():
            image = getattr(material, field)
            if image is None:
                continue
            said = {"index": self.texture(image[..., :1] if image.shape[-1] == 2 else image), **more.get(field, {})}
            if field in material.second_uv_textures:
                said["texCoord"] = 1
            extension = _EXTENSION_OF.get(name)
            if extension is not None:
                extensions.setdefault(extension, {})[name] = said
            else:
                (factors if name in ("baseColorTexture", "metallicRoughnessTexture") else entry)[name] = said
        if strength > 1:
            extensions["KHR_materials_emissive_strength"] = {"emissiveStrength": strength}
        if material.unlit:
            extensions["KHR_materials_unlit"] = {}
        if extensions:
            entry["extensions"] = extensions
            self.extensions |= extensions.keys()
        return entry


def _layers(material: PBRMaterial) -> dict[str, dict[str, Any]]:
    """Extensions for a coat, transmission and the index of refraction, where they are not the default."""
    found: dict[str, dict[str, Any]] = {}
    if float(material.ior) != 1.5:
        found["KHR_materials_ior"] = {"ior": float(material.ior)}
    if float(material.clearcoat) > 0:
        found["KHR_materials_clearcoat"] = {
            "clearcoatFactor": float(material.clearcoat),
            "clearcoatRoughnessFactor": float(material.clearcoat_roughness),
        }
    if float(material.transmission) > 0:
        found["KHR_materials_transmission"] = {"transmissionFactor": float(material.transmission)}
    if material.solid:
        volume: dict[str, Any] = {"thicknessFactor": 1.0}
        if bool((material.absorption > 0).any()):
            volume |= {"attenuationDistance": 1.0, "attenuationColor": (-material.absorption).exp().tolist()}
        found["KHR_materials_volume"] = volume
    return found


def linear_colors(colors: np.ndarray) -> np.ndarray:
    """Linear colours [V, 4] of display-encoded ones [V, 1, 3 or 4]: 8 bits where these are as exact as 8 encoded bits.

    Linear light in 8 bits is too coarse for dark colours; then they are floats.
    """
    colors = np.clip(np.nan_to_num(colors.astype(np.float64)), 0, 1)
    color, alpha = np.broadcast_to(colors[:, :3], (len(colors), 3)), colors[:, 3:]
    alpha = alpha if alpha.shape[1] else np.ones((len(colors), 1))
    values = np.concatenate([decode(color), alpha], 1)
    coarse = np.rint(values * 255).astype(np.uint8)
    error = np.abs(encode(coarse[:, :3] / 255) - color).max(initial=0)
    if max(error, np.abs(coarse[:, 3] / 255 - alpha[:, 0]).max(initial=0)) < 0.5 / 255:
        return coarse
    return values.astype(np.float32)


def as_pbr(material: Material) -> PBRMaterial:
    """The metallic-roughness material closest to a Phong one: its highlight becomes roughness.

    Source: the width of a Blinn-Phong lobe with exponent s is that of a microfacet surface of alpha^2 = 2 / (s + 2).
    """
    if isinstance(material, PBRMaterial):
        return material
    assert isinstance(material, PhongMaterial)
    shiny = bool((material.specular != 0).any())
    alpha = torch.as_tensor(material.alpha, dtype=material.diffuse.dtype).reshape(1)
    linear = decoded(material.diffuse.clamp(0, 1))
    return PBRMaterial(
        name=material.name,
        alpha_mode=material.alpha_mode,
        alpha_cutoff=material.alpha_cutoff,
        double_sided=material.double_sided,
        unlit=material.unlit,
        base_color=torch.cat([linear, alpha]) if float(alpha) != 1 else linear,
        base_color_texture=material.diffuse_texture,
        roughness=(2 / (float(material.shininess) + 2)) ** 0.25 if shiny else 1.0,
        normal_texture=material.normal_texture,
        normal_scale=material.normal_scale,
        emissive=material.emissive,
        second_uv_textures=tuple(
            {"diffuse_texture": "base_color_texture"}.get(name, name)
            for name in material.second_uv_textures
            if name != "specular_texture"
        ),
    )
