"""Meshes as OBJ files with material libraries."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io._problems import FileWarning
from lumigrad.io.geometry.colors import encoded
from lumigrad.io.image import save_image
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh


def write(mesh: Mesh, path: Path) -> None:
    """Write the mesh and, if it has materials, the library `NAME.mtl` and images beside it."""
    lines = []
    names: list[str] = []
    if mesh.materials:
        for i, material in enumerate(mesh.materials):
            name = _word(material.name) or "material"
            names.append(f"{name}_{i}" if name in names else name)
        lines.append(f"mtllib {path.stem}.mtl")
        library = [_library(m, name, path) for m, name in zip(mesh.materials, names)]
        path.with_suffix(".mtl").write_text("\n".join(library), encoding="utf-8")
    positions = mesh.positions
    if mesh.colors is not None:
        positions = torch.cat([positions, mesh.colors[..., :3].expand(-1, 3).clamp(0, 1)], dim=-1)
    lines += _rows("v", positions)
    columns = [mesh.faces]
    if mesh.uvs is not None and mesh.uv_faces is not None:
        lines += _rows("vt", mesh.uvs * mesh.uvs.new_tensor([1.0, -1.0]) + mesh.uvs.new_tensor([0.0, 1.0]))
        columns.append(mesh.uv_faces)
    normals, normal_faces = mesh.shading_normals()
    lines += _rows("vn", normals)
    columns.append(normal_faces)
    corner = "%d/%d/%d" if len(columns) == 3 else "%d//%d"
    pattern = " ".join(["f", corner, corner, corner])
    rows = (torch.stack([column.long() for column in columns], dim=-1) + 1).flatten(1)
    if not names:
        lines += [pattern % tuple(row) for row in rows.tolist()]
    chosen = torch.zeros(len(rows), dtype=torch.int64) if mesh.face_materials is None else mesh.face_materials.cpu()
    for i, name in enumerate(names):
        lines.append(f"usemtl {name}")
        lines += [pattern % tuple(row) for row in rows[(chosen == i).to(rows.device)].tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(key: str, values: Tensor) -> list[str]:
    pattern = " ".join([key, *["%.9g"] * values.shape[1]])
    return [pattern % tuple(row) for row in values.double().tolist()]


def _word(name: str) -> str:
    """A name that is valid in the file and on disk."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def _library(material: Material, name: str, path: Path) -> str:
    """The library's entry of one material; writes its images beside the library."""
    phong = as_phong(material)
    lines = [f"newmtl {name}"]
    for key, value in (("Ka", phong.ambient), ("Kd", phong.diffuse), ("Ks", phong.specular), ("Ke", phong.emissive)):
        lines.append(" ".join([key, *(f"{x:.9g}" for x in value.tolist())]))
    lines += [f"Ns {float(phong.shininess):.9g}", f"d {float(phong.alpha):.9g}"]
    if phong.unlit:
        lines.append("illum 0")
    for key, field in (("map_Kd", "diffuse_texture"), ("map_Ks", "specular_texture"), ("norm", "normal_texture")):
        image = getattr(phong, field)
        if image is not None and field in phong.second_uv_textures:
            what = f"{path}, material '{name}': {field} is left out: OBJ has no second texture coordinates"
            warnings.warn(what, FileWarning, stacklevel=5)
        elif image is not None:
            file = f"{_word(path.stem)}_{name}_{key.removeprefix('map_')}.png"
            save_image(image, path.parent / file)
            lines.append(f"{key} {file}")
            if key == "map_Kd" and image.shape[-1] == 4:
                lines.append(f"map_d {file}")
    return "\n".join(lines) + "\n"


def as_phong(material: Material) -> PhongMaterial:
    """The Phong material closest to a metallic-roughness one.

    Metals have no diffuse colour, and a highlight in their base colour; other materials have a highlight of 4 percent.
    The exponent s follows from alpha^2 = 2 / (s + 2). Textures of roughness, metal and occlusion are lost.
    """
    if isinstance(material, PhongMaterial):
        return material
    assert isinstance(material, PBRMaterial)
    metallic = min(max(float(material.metallic), 0.0), 1.0)
    base = material.base_color[:3]
    color = base.clamp(0, 1)
    shown = encoded(color)
    alpha = float(material.base_color[3].clamp(0, 1)) if len(material.base_color) == 4 else 1.0
    return PhongMaterial(
        name=material.name,
        alpha_mode=material.alpha_mode,
        alpha_cutoff=material.alpha_cutoff,
        double_sided=material.double_sided,
        unlit=material.unlit,
        ambient=shown,
        diffuse=shown * (1 - metallic),
        specular=0.04 * (1 - metallic) + metallic * shown,
        shininess=max(2 / max(float(material.roughness), 0.05) ** 4 - 2, 0.0),
        diffuse_texture=material.base_color_texture,
        normal_texture=material.normal_texture,
        normal_scale=material.normal_scale,
        emissive=material.emissive,
        alpha=alpha,
        second_uv_textures=tuple(
            {"base_color_texture": "diffuse_texture"}.get(name, name)
            for name in material.second_uv_textures
            if name in ("base_color_texture", "normal_texture")
        ),
    )
