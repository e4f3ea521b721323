"""glTF materials, read and written around trimesh.

trimesh reads and writes geometry and images, but rounds colour factors to 8 bits and drops the scale of normal maps
and the strength of occlusion. These numbers are read from, and written to, the file's JSON. To match the two, materials
are named by numbers in the file that trimesh is given.

Not read: texture coordinates other than the first set, texture transforms, and the wrapping of samplers.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lumigrad.io.image import from_pil, to_pil
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial

if TYPE_CHECKING:
    import trimesh
    from PIL import Image

_JSON_CHUNK = 0x4E4F534A


def read(path: Path) -> tuple[trimesh.Scene, list[dict[str, Any]]]:
    """The scene, with materials named "0", "1" ..., and the JSON entry of each material."""
    import trimesh

    data = path.read_bytes()
    resolver = trimesh.resolvers.FilePathResolver(str(path))
    if path.suffix.lower() == ".gltf":
        document = json.loads(data)
        materials = _number(document)
        stream = io.BytesIO(json.dumps(document).encode())
        return trimesh.load_scene(stream, file_type="gltf", resolver=resolver, process=False), materials
    magic, version, _, length, kind = struct.unpack_from("<4sIIII", data)
    if magic != b"glTF" or kind != _JSON_CHUNK:
        raise ValueError("not a binary glTF file")
    document = json.loads(data[20 : 20 + length])
    materials = _number(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    header = struct.pack("<4sIIII", magic, version, 20 + len(text) + len(rest), len(text), kind)
    stream = io.BytesIO(header + text + rest)
    return trimesh.load_scene(stream, file_type="glb", resolver=resolver, process=False), materials


def _number(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Rename materials to numbers, and return them as they were."""
    materials = list(document.get("materials", []))
    if materials:
        document["materials"] = [{**material, "name": str(i)} for i, material in enumerate(materials)]
    return materials


def material_of(found: Any, said: list[dict[str, Any]]) -> PBRMaterial:
    """The material of a trimesh material and its JSON entry: images of the former, numbers of the latter."""
    entry = said[int(found.name)]
    factors = entry.get("pbrMetallicRoughness", {})
    base = list(factors.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)))
    strength = entry.get("extensions", {}).get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    return PBRMaterial(
        name=entry.get("name", ""),
        alpha_mode=entry.get("alphaMode", "OPAQUE").lower(),
        alpha_cutoff=float(entry.get("alphaCutoff", 0.5)),
        double_sided=bool(entry.get("doubleSided", False)),
        base_color=torch.tensor(base if base[3] != 1 else base[:3]),
        base_color_texture=_texture(found.baseColorTexture, 4),
        metallic=float(factors.get("metallicFactor", 1.0)),
        roughness=float(factors.get("roughnessFactor", 1.0)),
        metallic_roughness_texture=_texture(found.metallicRoughnessTexture, 3),
        normal_texture=_texture(found.normalTexture, 3),
        normal_scale=float(entry.get("normalTexture", {}).get("scale", 1.0)),
        occlusion_texture=_texture(found.occlusionTexture, 1),
        occlusion_strength=float(entry.get("occlusionTexture", {}).get("strength", 1.0)),
        emissive=strength * torch.tensor(list(entry.get("emissiveFactor", (0.0, 0.0, 0.0)))),
        emissive_texture=_texture(found.emissiveTexture, 3),
    )


def _texture(picture: Any, channels: int) -> Tensor | None:
    from PIL import Image

    return from_pil(picture)[..., :channels].contiguous() if isinstance(picture, Image.Image) else None


def write(parts: list[tuple[trimesh.Trimesh, Tensor | None, Material | None]]) -> bytes:
    """Binary glTF of meshes, each with or without texture coordinates (v upwards) and a material."""
    import trimesh

    scene = trimesh.Scene()
    entries: dict[str, PBRMaterial] = {}
    for mesh, uvs, material in parts:
        number = str(len(entries))
        if material is not None:
            pbr = material if isinstance(material, PBRMaterial) else as_pbr(material)
            before: Any = mesh.visual
            coordinates = None if uvs is None else uvs.numpy()
            mesh.visual = trimesh.visual.TextureVisuals(uv=coordinates, material=_pictures(pbr, number))
            if before.kind == "vertex":
                mesh.visual.vertex_attributes["color"] = np.asarray(before.vertex_colors)
            entries[number] = pbr
        scene.add_geometry(mesh, node_name=f"part{len(scene.geometry)}", geom_name=f"part{len(scene.geometry)}")

    def complete(tree: dict[str, Any]) -> None:
        for entry in tree.get("materials", []):
            _complete(entry, entries[entry["name"]])

    return trimesh.exchange.gltf.export_glb(scene, include_normals=True, tree_postprocessor=complete)


def _pictures(material: PBRMaterial, number: str) -> Any:
    """The images of a material for trimesh; a distinct colour keeps it from merging materials that look the same."""
    import trimesh

    occlusion = material.occlusion_texture
    return trimesh.visual.material.PBRMaterial(
        name=number,
        baseColorFactor=np.array([int(number) // 2**16, int(number) // 2**8 % 256, int(number) % 256, 255], np.uint8),
        baseColorTexture=_picture(material.base_color_texture),
        metallicRoughnessTexture=_picture(material.metallic_roughness_texture),
        normalTexture=_picture(material.normal_texture),
        occlusionTexture=_picture(None if occlusion is None else occlusion[..., :1].expand(*occlusion.shape[:2], 3)),
        emissiveTexture=_picture(material.emissive_texture),
    )


def _picture(image: Tensor | None) -> Image.Image | None:
    return None if image is None else to_pil(image)


def _complete(entry: dict[str, Any], material: PBRMaterial) -> None:
    """Write a material's numbers into its JSON entry."""
    factors = entry.setdefault("pbrMetallicRoughness", {})
    base = material.base_color.clamp(0, 1).tolist()
    factors["baseColorFactor"] = base if len(base) == 4 else [*base, 1.0]
    factors["metallicFactor"], factors["roughnessFactor"] = float(material.metallic), float(material.roughness)
    entry["name"] = material.name
    entry["alphaMode"] = material.alpha_mode.upper()
    if material.alpha_mode == "mask":
        entry["alphaCutoff"] = float(material.alpha_cutoff)
    entry["doubleSided"] = material.double_sided
    emissive = material.emissive.clamp_min(0)
    strength = max(1.0, float(emissive.max()))
    entry["emissiveFactor"] = (emissive / strength).tolist()
    if strength > 1:
        entry["extensions"] = {"KHR_materials_emissive_strength": {"emissiveStrength": strength}}
    for name, key, value in (
        ("normalTexture", "scale", material.normal_scale),
        ("occlusionTexture", "strength", material.occlusion_strength),
    ):
        if name in entry:
            entry[name][key] = float(value)


def as_pbr(material: Material) -> PBRMaterial:
    """The metallic-roughness material closest to a Phong one: its highlight becomes roughness.

    Source: the width of a Blinn-Phong lobe with exponent s is that of a microfacet surface of alpha^2 = 2 / (s + 2).
    """
    if isinstance(material, PBRMaterial):
        return material
    assert isinstance(material, PhongMaterial)
    shiny = bool((material.specular != 0).any())
    alpha = torch.as_tensor(material.alpha, dtype=material.diffuse.dtype).reshape(1)
    encoded = material.diffuse.clamp(0, 1)
    linear = torch.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    return PBRMaterial(
        name=material.name,
        alpha_mode=material.alpha_mode,
        alpha_cutoff=material.alpha_cutoff,
        double_sided=material.double_sided,
        base_color=torch.cat([linear, alpha]) if float(alpha) != 1 else linear,
        base_color_texture=material.diffuse_texture,
        roughness=(2 / (float(material.shininess) + 2)) ** 0.25 if shiny else 1.0,
        normal_texture=material.normal_texture,
        normal_scale=material.normal_scale,
        emissive=material.emissive,
    )
