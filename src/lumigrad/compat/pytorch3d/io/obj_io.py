"""OBJ files. Vertices, texture coordinates, normals and faces keep the order that they have in the file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.io._obj_parser import ObjText, parse_obj
from lumigrad.compat.pytorch3d.io.mtl_io import MaterialProperties, TextureImages, load_mtl, make_mesh_texture_atlas
from lumigrad.compat.pytorch3d.io.pluggable_formats import MeshFormatInterpreter
from lumigrad.compat.pytorch3d.io.utils import PathOrStr, exists, has_suffix, open_file, write_image
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesAtlas, TexturesBase, TexturesUV
from lumigrad.compat.pytorch3d.structures.meshes import Meshes, join_meshes_as_batch


class _Faces(NamedTuple):
    """Numbers [F, 3] of vertices, normals and texture coordinates, and of materials [F]; -1 where there are none."""

    verts_idx: Tensor
    normals_idx: Tensor
    textures_idx: Tensor
    materials_idx: Tensor


class _Aux(NamedTuple):
    """What a file has beside vertices and faces; None where it has not. `verts_uvs` [U, 2] has v upwards."""

    normals: Tensor | None
    verts_uvs: Tensor | None
    material_colors: MaterialProperties | None
    texture_images: TextureImages | None
    texture_atlas: Tensor | None


def load_obj(
    f: Any,
    load_textures: bool = True,
    create_texture_atlas: bool = False,
    texture_atlas_size: int = 4,
    texture_wrap: str | None = "repeat",
    device: Any = "cpu",
    path_manager: Any = None,
) -> tuple[Tensor, _Faces, _Aux]:
    """Vertices [V, 3], faces and the rest of a file.

    Polygons become fans of triangles. Negative numbers count from the last vertex before them.

    Args:
        f: path or file object.
        load_textures: read materials and their images.
        create_texture_atlas: make an image for every face, `texture_atlas` [F, R, R, 3].
        texture_atlas_size: R.
        texture_wrap: "repeat", "clamp" or None: texture coordinates of the atlas outside of [0, 1].
        device: of the tensors.
        path_manager: has `open` and `exists`, for paths of its own kind.

    Raises:
        ValueError: a line that cannot be read, or another `texture_wrap`.
    """
    if texture_wrap not in ("repeat", "clamp", None):
        raise ValueError(f"texture_wrap must be one of ['repeat', 'clamp'] or None, got {texture_wrap!r}")
    data_dir = os.path.dirname(f) if isinstance(f, (str, Path)) else "./"
    with open_file(f, path_manager, "rb") as file:
        text = parse_obj(file.read())
    sizes = (len(text.verts), len(text.normals), len(text.uvs))
    faces = [_checked_numbers(n, size, k > 0) for k, (n, size) in enumerate(zip(text.faces, sizes))]
    names = list(text.material_names)
    colors, images = _materials(text, names, str(data_dir), load_textures, path_manager, device)
    materials = text.materials
    if colors and not names:
        names, materials = list(colors), materials.clamp(min=0)
    atlas = None
    if create_texture_atlas:
        of_faces = [names[m] if m >= 0 else "" for m in materials.tolist()]
        uv_faces = faces[2].clamp(min=0)
        atlas = make_mesh_texture_atlas(
            colors, images, of_faces, uv_faces.to(device), text.uvs.to(device), texture_atlas_size, texture_wrap
        )
    indices = _Faces(*(n.to(device) for n in (faces[0], faces[1], faces[2], materials)))
    normals, uvs = (value.to(device) if len(value) else None for value in (text.normals, text.uvs))
    return text.verts.to(device), indices, _Aux(normals, uvs, colors, images, atlas)


def _checked_numbers(numbers: Tensor, size: int, optional: bool) -> Tensor:
    """Numbers [F, 3] from 0, with a warning about those that do not exist."""
    bad = (numbers < 0) | (numbers >= size)
    if optional:
        bad &= ~(numbers == -1).all(1, keepdim=True)
    if bool(bad.any()):
        warnings.warn("Faces have invalid indices", stacklevel=3)
    return numbers


def _materials(
    text: ObjText, names: Sequence[str], data_dir: str, load: bool, path_manager: Any, device: Any
) -> tuple[MaterialProperties | None, TextureImages | None]:
    if not load:
        return None, None
    if not text.libraries:
        if names:
            warnings.warn("No mtl file provided", stacklevel=3)
        return None, None
    colors: MaterialProperties = {}
    images: TextureImages = {}
    found = False
    for library in text.libraries:
        path = os.path.join(data_dir, library)
        if not exists(path, path_manager):
            warnings.warn(f"Mtl file does not exist: {path}", stacklevel=3)
            continue
        found = True
        more = load_mtl(path, material_names=names, data_dir=data_dir, device=device, path_manager=path_manager)
        colors.update(more[0])
        images.update(more[1])
    return (colors, images) if found else (None, None)


def load_objs_as_meshes(
    files: Sequence[Any],
    device: Any = None,
    load_textures: bool = True,
    create_texture_atlas: bool = False,
    texture_atlas_size: int = 4,
    texture_wrap: str | None = "repeat",
    path_manager: Any = None,
) -> Meshes:
    """A batch of files, one mesh each, with textures where all files have the same kind.

    A mesh of several materials, of which one or more have images, gets as many images: one of a single colour for a
    material without.

    Args:
        files: paths or file objects.
        device: of the meshes.
        load_textures, create_texture_atlas, texture_atlas_size, texture_wrap, path_manager: as for `load_obj`.
    """
    place = "cpu" if device is None else device
    meshes = []
    for file in files:
        verts, faces, aux = load_obj(
            file, load_textures, create_texture_atlas, texture_atlas_size, texture_wrap, place, path_manager
        )
        textures: TexturesBase | None = None
        if create_texture_atlas and aux.texture_atlas is not None:
            textures = TexturesAtlas([aux.texture_atlas])
        elif aux.texture_images and aux.verts_uvs is not None:
            textures = _textures_of(faces, aux)
        meshes.append(Meshes([verts], [faces.verts_idx], textures))
    if len(meshes) == 1:
        return meshes[0]
    return join_meshes_as_batch(meshes, len({type(mesh.textures) for mesh in meshes}) == 1)


def _textures_of(faces: _Faces, aux: _Aux) -> TexturesUV:
    """The images of all materials of a mesh."""
    images, uvs, corners = aux.texture_images or {}, aux.verts_uvs, faces.textures_idx.clamp(min=0)
    assert uvs is not None
    names = list(aux.material_colors or images)
    names += [name for name in images if name not in names]
    used = sorted(set(faces.materials_idx.tolist()))
    plain = next(iter(images.values()))
    if len(used) == 1 and (used[0] < 0 or len(names) == 1):
        return TexturesUV([plain], [corners], [uvs])
    maps = []
    for number in used:
        name = names[number] if 0 <= number < len(names) else ""
        color = (aux.material_colors or {}).get(name, {}).get("diffuse_color")
        single = plain.new_ones(3) if color is None else color.to(plain)
        maps.append(images.get(name, single.expand(1, 1, 3)))
    height, width = (max(m.shape[k] for m in maps) for k in (0, 1))
    stack = torch.stack([_scaled(m, (height, width)) for m in maps])
    ids = torch.searchsorted(torch.tensor(used, device=corners.device), faces.materials_idx)
    return TexturesUV([stack], [corners], [uvs], maps_ids=[ids])


def _scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[:2]) == size:
        return image
    batch = image.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(batch, size, mode="bilinear", align_corners=True)[0].permute(1, 2, 0)


def save_obj(
    f: Any,
    verts: Tensor,
    faces: Tensor,
    decimal_places: int | None = None,
    path_manager: Any = None,
    *,
    normals: Tensor | None = None,
    faces_normals_idx: Tensor | None = None,
    verts_uvs: Tensor | None = None,
    faces_uvs: Tensor | None = None,
    texture_map: Tensor | None = None,
) -> None:
    """Write a mesh, with its image beside it if it has one.

    Args:
        f: path.
        verts, faces: [V, 3] and [F, 3].
        decimal_places: of numbers; 6 by default.
        path_manager: has `open`, for paths of its own kind.
        normals, faces_normals_idx: [N, 3] and [F, 3]; both or neither.
        verts_uvs, faces_uvs, texture_map: [U, 2], [F, 3] and [H, W, 3]; written if all three are given.

    Raises:
        ValueError: shapes that do not fit.
    """
    for name, value, width in (("verts", verts, 3), ("faces", faces, 3), ("normals", normals, 3),
                               ("faces_normals_idx", faces_normals_idx, 3), ("verts_uvs", verts_uvs, 2),
                               ("faces_uvs", faces_uvs, 3)):  # fmt: skip
        if value is not None and (len(value) or value.ndim > 1) and (value.ndim != 2 or value.shape[1] != width):
            raise ValueError(f"'{name}' should either be empty or of shape (rows, {width}), got {tuple(value.shape)}.")
    if (normals is None) != (faces_normals_idx is None):
        raise ValueError("'normals' and 'faces_normals_idx' must both be None or neither.")
    if texture_map is not None and (texture_map.ndim != 3 or texture_map.shape[2] != 3):
        raise ValueError(f"'texture_map' should be of shape (H, W, 3), got {tuple(texture_map.shape)}.")
    textured = verts_uvs is not None and faces_uvs is not None and texture_map is not None
    uvs = (verts_uvs, faces_uvs) if textured else (None, None)
    path = Path(f)
    with open_file(f, path_manager, "w") as file:
        if textured:
            file.write(f"\nmtllib {path.stem}.mtl\nusemtl mesh\n\n")
        file.write(_obj_text(verts, faces, decimal_places, normals, faces_normals_idx, *uvs))
    if textured:
        assert texture_map is not None
        write_image(path.with_suffix(".png"), texture_map, path_manager)
        with open_file(path.with_suffix(".mtl"), path_manager, "w") as file:
            file.write(f"newmtl mesh\nmap_Kd {path.stem}.png\n")


def _obj_text(
    verts: Tensor, faces: Tensor, decimals: int | None, normals: Tensor | None, normal_faces: Tensor | None,
    uvs: Tensor | None, uv_faces: Tensor | None,
) -> str:  # fmt: skip
    if not (len(verts) or len(faces)):
        warnings.warn("Empty 'verts' and 'faces' arguments provided", stacklevel=3)
        return ""
    number = f"%.{6 if decimals is None else decimals}f"
    lines = []
    for key, rows in (("v", verts), ("vn", normals), ("vt", uvs)):
        if rows is not None and len(rows):
            form = key + f" {number}" * rows.shape[1]
            lines += [form % tuple(row) for row in rows.detach().cpu().tolist()]
    text = "".join(line + "\n" for line in lines)
    if bool((faces >= len(verts)).any()) or bool((faces < 0).any()):
        warnings.warn("Faces have invalid indices", stacklevel=3)
    if not len(faces):
        return text
    columns = [c for c in (faces, uv_faces, normal_faces) if c is not None]
    corner = {1: "%d", 2: "%d/%d" if uv_faces is not None else "%d//%d", 3: "%d/%d/%d"}[len(columns)]
    numbers = (torch.stack([c.cpu() for c in columns], 2) + 1).reshape(len(faces), -1).tolist()
    form = "f " + " ".join([corner] * 3)
    return text + "\n".join(form % tuple(row) for row in numbers)


class MeshObjFormat(MeshFormatInterpreter):
    """OBJ files for `IO`."""

    known_suffixes = (".obj",)

    def read(
        self, path: PathOrStr, include_textures: bool, device: Any, path_manager: Any, **kwargs: Any
    ) -> Meshes | None:
        if not has_suffix(path, self.known_suffixes):
            return None
        names = ("create_texture_atlas", "texture_atlas_size", "texture_wrap")
        options = {name: kwargs[name] for name in names if name in kwargs}
        return load_objs_as_meshes([path], device, include_textures, path_manager=path_manager, **options)

    def save(self, data: Meshes, path: PathOrStr, path_manager: Any, binary: bool | None, **kwargs: Any) -> bool:
        if not has_suffix(path, self.known_suffixes):
            return False
        options: dict[str, Any] = {"decimal_places": kwargs.get("decimal_places")}
        if isinstance(data.textures, TexturesUV) and data.textures.maps_ids_list() is None:
            textures = data.textures
            options["verts_uvs"], options["faces_uvs"] = textures.verts_uvs_list()[0], textures.faces_uvs_list()[0]
            options["texture_map"] = textures.maps_list()[0]
        save_obj(path, data.verts_list()[0], data.faces_list()[0], path_manager=path_manager, **options)
        return True
