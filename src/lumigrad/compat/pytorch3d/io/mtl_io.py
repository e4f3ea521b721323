"""Material files of OBJ: colours, images, and small images of faces made of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.io.utils import exists, open_file, read_image
from lumigrad.io.obj.library import parse

MaterialProperties = dict[str, dict[str, Tensor]]
TextureFiles = dict[str, str]
TextureImages = dict[str, Tensor]

_COLORS = {"kd": "diffuse_color", "ka": "ambient_color", "ks": "specular_color", "ns": "shininess"}


def _parse_mtl(f: Any, path_manager: Any = None, device: Any = "cpu") -> tuple[MaterialProperties, TextureFiles]:
    """Colours and image files of a file's materials, by their names."""
    with open_file(f, path_manager, "rb") as file:
        content = file.read()
    properties: MaterialProperties = {}
    files: TextureFiles = {}
    for entry in parse(content.encode("utf-8") if isinstance(content, str) else content, Path()):
        said = {_COLORS[key]: entry.statements[key].text for key in _COLORS if key in entry.statements}
        properties[entry.name] = {
            name: torch.tensor([float(value) for value in text.split()[:3]], device=device)
            for name, text in said.items()
            if text
        }
        if "map_kd" in entry.statements:
            files[entry.name] = entry.statements["map_kd"].text
    return properties, files


def load_mtl(
    f: Any, *, material_names: Sequence[str], data_dir: str, device: Any = "cpu", path_manager: Any = None
) -> tuple[MaterialProperties, TextureImages]:
    """Colours and images of the materials that faces use.

    Args:
        f: path of the file.
        material_names: which; if none is named, the file's only one.
        data_dir: where images lie.
        device: of the tensors.
        path_manager: has `open` and `exists`, for paths of its own kind.

    Raises:
        ValueError: none is named, and the file has several.
    """
    properties, files = _parse_mtl(f, path_manager, device)
    names = list(material_names)
    if not names and properties:
        if len(properties) > 1:
            raise ValueError("Multiple materials but no usemtl declarations in the obj file")
        names = list(properties)
    images: TextureImages = {}
    for name in names:
        if name in files:
            path = _image_path(data_dir, files[name], path_manager)
            if exists(path, path_manager):
                images[name] = read_image(path, path_manager).to(device)
            else:
                warnings.warn(f"Texture file does not exist: {path}", stacklevel=3)
    return {name: properties[name] for name in names if name in properties}, images


def _image_path(data_dir: str, name: str, path_manager: Any) -> str:
    """The file of an entry, whose options, if there are any, come before its name."""
    path = os.path.join(data_dir, name)
    if name.startswith("-") and not exists(path, path_manager):
        return os.path.join(data_dir, name.split()[-1])
    return path


def make_mesh_texture_atlas(
    material_properties: MaterialProperties | None,
    texture_images: TextureImages | None,
    face_material_names: Sequence[str],
    faces_uvs: Tensor,
    verts_uvs: Tensor | None,
    texture_size: int,
    texture_wrap: str | None,
) -> Tensor:
    """Images of faces [F, R, R, 3]: of their material's image, else its diffuse colour, else white.

    Args:
        material_properties, texture_images: of `load_mtl`.
        face_material_names: the material of each face, "" for none.
        faces_uvs, verts_uvs: texture coordinates [F, 3] and [U, 2].
        texture_size: R.
        texture_wrap: "repeat", "clamp" or None: texture coordinates outside of [0, 1].
    """
    size, device = texture_size, faces_uvs.device
    atlas = torch.ones(len(faces_uvs), size, size, 3, device=device)
    names = list(face_material_names)

    def faces_of(name: str) -> Tensor:
        return torch.tensor([n for n, other in enumerate(names) if other == name], dtype=torch.int64, device=device)

    for name, properties in (material_properties or {}).items():
        if "diffuse_color" in properties:
            these = faces_of(name)
            atlas[these] = properties["diffuse_color"].to(atlas)
    if verts_uvs is None or len(verts_uvs) == 0:
        return atlas
    corners = _wrapped(verts_uvs[faces_uvs], texture_wrap)
    for name, image in (texture_images or {}).items():
        these = faces_of(name)
        atlas[these] = make_material_atlas(image[..., :3].flip(0).to(corners), corners[these], size)
    return atlas


def _wrapped(uvs: Tensor, texture_wrap: str | None) -> Tensor:
    if texture_wrap == "clamp":
        return uvs.clamp(0, 1)
    if texture_wrap == "repeat" and bool(((uvs < 0) | (uvs > 1)).any()):
        warnings.warn(
            "Texture UV coordinates outside the range [0, 1]. The integer part will be ignored to form a repeating "
            "pattern.",
            stacklevel=4,
        )
        return uvs % 1
    return uvs


def make_material_atlas(image: Tensor, faces_verts_uvs: Tensor, texture_size: int) -> Tensor:
    """Images of faces [F, R, R, C], as `TexturesAtlas` looks them up, of an image [H, W, C] with row 0 at the bottom.

    Each texel is a small triangle of the face, and has the image's colour at its centroid. Texels on the diagonal and
    beyond it belong to the small triangles that point the other way.
    """
    steps = torch.arange(texture_size, device=image.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    lower = x + y < texture_size
    weights = [torch.where(lower, n + 1 / 3, texture_size - 1 - n + 2 / 3) / texture_size for n in (x, y)]
    bary = torch.stack((*weights, 1 - weights[0] - weights[1]), -1).to(faces_verts_uvs)
    uvs = torch.einsum("yxk,fkc->fyxc", bary, faces_verts_uvs)
    return _bilinear_interpolation_grid_sample(image, uvs)


def _bilinear_interpolation_grid_sample(image: Tensor, grid: Tensor) -> Tensor:
    """Colours [N, R, R, C] of an image [H, W, C] at [N, R, R, 2], (0, 0) and (1, 1) the centres of corner texels."""
    flat = (2 * grid - 1).reshape(1, grid.shape[0], -1, 2)
    found = F.grid_sample(image.permute(2, 0, 1)[None], flat, mode="bilinear", align_corners=True)
    return found[0].permute(1, 2, 0).reshape(*grid.shape[:-1], image.shape[-1])


def _bilinear_interpolation_vectorized(image: Tensor, grid: Tensor) -> Tensor:
    """`_bilinear_interpolation_grid_sample`."""
    return _bilinear_interpolation_grid_sample(image, grid)
