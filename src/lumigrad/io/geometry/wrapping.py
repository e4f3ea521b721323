"""Textures that do not simply repeat outside [0, 1]: clamped and mirrored ones.

Materials repeat their textures. Where faces reach outside [0, 1] of a texture that files want clamped or mirrored, the
texture is continued as far as they reach, and their texture coordinates are scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.materials import Material
from lumigrad.scene.shapes.mesh import INDEXED, Mesh

WRAPS = ("repeat", "clamp", "mirror")
_LARGEST = 8192  # texels along an axis
Wrap = tuple[str, str]
REPEAT: Wrap = ("repeat", "repeat")


def unwrapped(mesh: Mesh, wraps: Sequence[Wrap], second: bool = False) -> Mesh:
    """The mesh with textures that may be repeated.

    Args:
        mesh: with the materials of a file.
        wraps: what the textures of each material do in u and in v.
        second: whether of the textures at the second texture coordinates, in place of the first.
    """
    name = "second_uvs" if second else "uvs"
    whole, faces = getattr(mesh, name), getattr(mesh, INDEXED[name])
    if whole is None:
        return mesh
    materials, uvs, uv_faces = list(mesh.materials), whole, faces.clone()
    for slot, (material, wrap) in enumerate(zip(mesh.materials, wraps)):
        if wrap == REPEAT:
            continue
        chosen = torch.ones(len(uv_faces), dtype=torch.bool)
        if mesh.face_materials is not None:
            chosen = mesh.face_materials == slot
        index = uv_faces[chosen]
        corners = uvs[index]
        ranges = [_tiles(corners[..., axis], wrap[axis]) for axis in (0, 1)]
        if ranges == [(0, 1), (0, 1)]:
            continue
        materials[slot] = _continued(material, ranges, wrap, second)
        low = torch.tensor([float(first) for first, _ in ranges])
        extent = torch.tensor([float(last - first) for first, last in ranges])
        used, inverse = torch.unique(index, return_inverse=True)
        uv_faces[chosen] = inverse.reshape(-1, 3) + len(uvs)
        uvs = torch.cat([uvs, (uvs[used] - low) / extent])
    if uvs is whole:
        return mesh
    return replace(mesh, materials=tuple(materials), **{name: uvs, INDEXED[name]: uv_faces})


def _tiles(values: Tensor, wrap: str) -> tuple[int, int]:
    """First and last tile that coordinates reach, as a half-open range."""
    finite = values[values.isfinite()]
    if wrap == "repeat" or not len(finite):
        return 0, 1
    low, high = float(finite.min()), float(finite.max())
    slack = 1e-4
    return min(int((low + slack) // 1), 0), max(int(-((slack - high) // 1)), 1)


def _continued(material: Material, ranges: list[tuple[int, int]], wrap: Wrap, second: bool) -> Material:
    changed: dict[str, Any] = {}
    for field in fields(material):
        value = getattr(material, field.name)
        there = (field.name in material.second_uv_textures) is second
        if field.name.endswith("_texture") and there and value is not None:
            columns, rows = (_index(value.shape[1 - axis], ranges[axis], wrap[axis]) for axis in (0, 1))
            changed[field.name] = value[rows][:, columns].contiguous()
    return replace(material, **changed)


def _index(size: int, tiles: tuple[int, int], wrap: str) -> Tensor:
    """The texel of a row (or column) that each texel of the continued one shows."""
    first, last = tiles
    step = max(1, -(-size * (last - first) // _LARGEST))
    texels = torch.arange(first * size, last * size, step)
    if wrap == "clamp":
        return texels.clamp(0, size - 1)
    if wrap == "mirror":
        around = texels % (2 * size)
        return torch.where(around < size, around, 2 * size - 1 - around)
    return texels % size
