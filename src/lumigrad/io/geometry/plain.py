"""A mesh in plain colours: the base colours of its materials as one texture, or as vertex colours.

Renderers and fits without materials show a texture times vertex colours, display-encoded. Several materials share one
texture, an atlas with a cell for each; a cell holds its image as often as faces repeat it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.io._problems import Notes
from lumigrad.io.geometry.colors import decoded, encoded
from lumigrad.io.geometry.weld import weld
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh

_GUTTER = 4  # at least, texels around a cell that continue its repeating image; large cells have more for mip levels
_SOLID = 4  # texels of a cell with a single colour
_LARGEST_CELL = 4096
_LARGEST_ATLAS = 2**25  # texels


@dataclass
class Look:
    """The appearance of a material without light, display-encoded.

    Attributes:
        color: [3 or 4], for faces without texture coordinates and where there is no image.
        image: [H, W, 3 or 4], in the material's colour, or None; of four channels where alpha is not 1 throughout.
        linear: whether vertex colours multiply linear light.
    """

    color: Tensor
    image: Tensor | None
    linear: bool


def plain(mesh: Mesh, notes: Notes) -> Mesh:
    """The mesh without materials and normals, in the colours of its materials."""
    bare = replace(
        mesh, normals=None, normal_faces=None, materials=(), face_materials=None, second_uvs=None, second_uv_faces=None
    )
    looks = [look_of(material, mesh.uvs is not None) for material in mesh.materials]
    for number, material in enumerate(mesh.materials):
        if shown_texture(material) in material.second_uv_textures:
            notes.add(f"the image of its material {number} is left out: it has the second texture coordinates")
    if all(material.alpha_mode == "opaque" for material in mesh.materials) and mesh.colors is not None:
        bare = replace(bare, colors=mesh.colors[:, :3].contiguous())
    if not looks:
        return bare
    first = looks[0]
    if all(look.image is None and torch.equal(look.color, first.color) for look in looks) and len(first.color) == 3:
        return replace(bare, texture=None, colors=_tinted(bare, first))
    if len(looks) == 1 and first.image is not None:
        return replace(bare, texture=first.image)
    return _with_atlas(bare, looks, mesh.face_materials, notes)


def look_of(material: Material, textured: bool = True) -> Look:
    """The appearance of a material without light: its base or diffuse colour, or its emission if that is black."""
    if isinstance(material, PhongMaterial):
        color, linear = material.diffuse, False
        alpha = torch.as_tensor(material.alpha, dtype=color.dtype).reshape(1)
    else:
        assert isinstance(material, PBRMaterial)
        color, linear = material.base_color[:3], True
        alpha = material.base_color[3:] if len(material.base_color) == 4 else torch.ones(1)
    opaque, name = material.alpha_mode == "opaque", shown_texture(material)
    if _only_glows(material):
        color = material.emissive.clamp(0, 1)
    image = getattr(material, name, None) if textured and name not in material.second_uv_textures else None
    shown = _visible(torch.cat([encoded(color) if linear else color, alpha]), material)
    if image is None:
        return Look(shown, None, linear)
    texels = image[..., :3]
    if not bool((color == 1).all()):
        texels = encoded(decoded(texels) * color) if linear else texels * color
    if not opaque:
        opacity = image[..., 3:] if image.shape[-1] == 4 else torch.ones_like(image[..., :1])
        texels = _visible(torch.cat([texels, opacity * alpha], -1), material)
    return Look(shown, texels.clamp(0, 1).contiguous(), linear)


def shown_texture(material: Material) -> str:
    """The field of the texture that a material shows without light."""
    if _only_glows(material):
        return "emissive_texture"
    return "diffuse_texture" if isinstance(material, PhongMaterial) else "base_color_texture"


def _only_glows(material: Material) -> bool:
    assert isinstance(material, (PhongMaterial, PBRMaterial))
    color = material.diffuse if isinstance(material, PhongMaterial) else material.base_color[:3]
    return material.alpha_mode == "opaque" and not bool(color.any()) and bool(material.emissive.any())


def _visible(pixels: Tensor, material: Material) -> Tensor:
    """Colours [..., 4] with the alpha that the material's mode makes of theirs; [..., 3] where it is 1 throughout."""
    alpha = pixels[..., 3:]
    if material.alpha_mode == "mask":
        alpha = (alpha >= material.alpha_cutoff).to(pixels.dtype)
    if material.alpha_mode == "opaque" or bool((alpha == 1).all()):
        return pixels[..., :3].clamp(0, 1)
    return torch.cat([pixels[..., :3], alpha], -1).clamp(0, 1)


def _tinted(mesh: Mesh, look: Look) -> Tensor | None:
    """The vertex colours times one colour; None if everything is white."""
    if bool((look.color == 1).all()):
        return mesh.colors
    if mesh.colors is None:
        return look.color.expand(len(mesh.positions), 3).contiguous()
    if look.linear:
        return encoded(decoded(mesh.colors[:, :3]) * decoded(look.color))
    return mesh.colors[:, :3] * look.color


# ---- The atlas -----------------------------------------------------------------------------------------------------


def _with_atlas(mesh: Mesh, looks: Sequence[Look], chosen: Tensor | None, notes: Notes) -> Mesh:
    chosen = torch.zeros(len(mesh.faces), dtype=torch.int64) if chosen is None else chosen
    corners = torch.full((len(mesh.faces), 3, 2), 0.5, dtype=torch.float64)
    if mesh.uvs is not None and mesh.uv_faces is not None:
        corners = torch.nan_to_num(mesh.uvs.double(), posinf=0.0, neginf=0.0)[mesh.uv_faces]
    tiles = []
    for slot, look in enumerate(looks):
        if look.image is None:
            corners[chosen == slot] = 0.5
            tiles.append((1, 1))
            continue
        mine = corners[chosen == slot]
        mine -= (mine.amin(1, keepdim=True) + 1e-6).floor()
        corners[chosen == slot] = mine
        reach = (mine.reshape(-1, 2) - 1e-4).amax(0).ceil().clamp(1, _LARGEST_CELL).int().tolist()
        tiles.append((reach[0], reach[1]))
    channels = max(max(len(look.color), 0 if look.image is None else look.image.shape[-1]) for look in looks)
    cells = _cells(looks, tiles, channels, notes)
    places, (height, width) = _packed([(cell.shape[0], cell.shape[1]) for cell, _ in cells])
    atlas = torch.zeros(height, width, channels)
    for slot, ((cell, gutter), (row, column)) in enumerate(zip(cells, places)):
        atlas[row : row + cell.shape[0], column : column + cell.shape[1]] = cell
        inner = torch.tensor([cell.shape[1] - 2 * gutter, cell.shape[0] - 2 * gutter], dtype=torch.float64)
        corner = torch.tensor([column + gutter, row + gutter], dtype=torch.float64)
        mine = corners[chosen == slot] / torch.tensor(tiles[slot])
        corners[chosen == slot] = (corner + mine * inner) / torch.tensor([width, height])
    rows = corners.reshape(-1, 2).float()
    kept, index = weld(rows.numpy(), torch.arange(len(rows)).reshape(-1, 3).numpy())
    return replace(mesh, texture=atlas, uvs=rows[torch.from_numpy(kept)], uv_faces=torch.from_numpy(index))


def _cells(
    looks: Sequence[Look], tiles: list[tuple[int, int]], channels: int, notes: Notes
) -> list[tuple[Tensor, int]]:
    """The images, repeated, with gutters and their widths; reduced if they would not fit into an atlas."""
    sizes = []
    for look, repeats in zip(looks, tiles):
        if look.image is None:
            sizes.append((_SOLID, _SOLID))
            continue
        rows, columns = (look.image.shape[i] * repeats[1 - i] for i in (0, 1))
        sizes.append((min(rows, _LARGEST_CELL), min(columns, _LARGEST_CELL)))
        if max(rows, columns) > _LARGEST_CELL:
            notes.add(f"a texture that faces repeat {repeats[0]} x {repeats[1]} times is held at a lower resolution")
    area = sum(rows * columns for rows, columns in sizes)
    if area > _LARGEST_ATLAS:
        notes.add(
            f"its {len(looks)} materials share one texture, at {math.sqrt(_LARGEST_ATLAS / area):.2f} of the resolution"
        )
        shrink = math.sqrt(_LARGEST_ATLAS / area)
        sizes = [(max(1, int(rows * shrink)), max(1, int(columns * shrink))) for rows, columns in sizes]
    return [_cell(look, repeats, size, channels) for look, repeats, size in zip(looks, tiles, sizes)]


def _cell(look: Look, tiles: tuple[int, int], size: tuple[int, int], channels: int) -> tuple[Tensor, int]:
    image = look.color.expand(1, 1, -1) if look.image is None else look.image
    if image.shape[-1] < channels:
        image = torch.cat([image, torch.ones_like(image[..., :1])], -1)
    one = (max(1, size[0] // tiles[1]), max(1, size[1] // tiles[0]))
    if one[0] < image.shape[0] or one[1] < image.shape[1]:
        planes = torch.nn.functional.interpolate(image.permute(2, 0, 1)[None], one, mode="area")
        image = planes[0].permute(1, 2, 0)
    whole = size if look.image is None else (one[0] * tiles[1], one[1] * tiles[0])
    gutter = max(_GUTTER, max(whole) // 32)
    rows, columns = (torch.arange(-gutter, n + gutter) % image.shape[axis] for axis, n in enumerate(whole))
    return image[rows][:, columns], gutter


def _packed(sizes: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Rows and columns of rectangles on shelves, the highest first, and the size of all."""
    area = sum(rows * columns for rows, columns in sizes)
    limit = max(max(columns for _, columns in sizes), math.ceil(math.sqrt(area)))
    places: list[tuple[int, int]] = [(0, 0)] * len(sizes)
    top = bottom = left = width = 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        rows, columns = sizes[i]
        if left and left + columns > limit:
            top, left = bottom, 0
        places[i] = (top, left)
        left, bottom = left + columns, max(bottom, top + rows)
        width = max(width, left)
    return places, (bottom, width)
