"""Random points on surfaces."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.mesh_face_areas_normals import mesh_face_areas_normals
from lumigrad.compat.pytorch3d.ops.packed_to_padded import packed_to_padded


class _Samples(NamedTuple):
    """Points of faces in the form of a rasterizer's fragments, for textures to be looked up."""

    pix_to_face: Tensor
    zbuf: Tensor
    bary_coords: Tensor
    dists: Tensor


def sample_points_from_meshes(
    meshes: Any, num_samples: int = 10000, return_normals: bool = False, return_textures: bool = False
) -> Any:
    """Uniform random points on each mesh.

    Args:
        meshes: `Meshes` of N; meshes without faces give zeros.
        num_samples: points of each mesh.
        return_normals: return the normals of their faces too.
        return_textures: return the colours there too.

    Returns:
        Points [N, num_samples, 3]; with what else is asked for, a tuple: normals [N, num_samples, 3], then colours
        [N, num_samples, C]. Gradients reach vertices and textures.

    Raises:
        ValueError: only empty meshes, vertices that are not finite, or no textures where they are asked for.
    """
    if meshes.isempty():
        raise ValueError("Meshes are empty.")
    verts, faces = meshes.verts_packed(), meshes.faces_packed()
    if not bool(torch.isfinite(verts).all()):
        raise ValueError("Meshes contain nan or inf.")
    if return_textures and meshes.textures is None:
        raise ValueError("Meshes do not contain textures.")
    valid = meshes.valid
    areas, unit = mesh_face_areas_normals(verts, faces)
    chosen = _random_faces(areas.detach(), meshes, num_samples)
    weights = _rand_barycentric_coords(len(chosen), num_samples, verts.dtype, verts.device)
    bary = torch.stack(weights, -1)

    def spread(rows: Tensor) -> Tensor:
        """Zeros at meshes without faces."""
        full = rows.new_zeros((len(meshes), *rows.shape[1:]))
        return full.index_copy(0, valid.nonzero()[:, 0], rows)

    result = [spread((bary[..., None] * verts[faces[chosen]]).sum(-2))]
    if return_normals:
        result.append(spread(unit[chosen]))
    if return_textures:
        missing = torch.full((len(meshes), num_samples), -1, dtype=torch.int64, device=verts.device)
        at = missing.index_copy(0, valid.nonzero()[:, 0], chosen)[:, :, None, None]
        zero = torch.zeros_like(at, dtype=verts.dtype)
        samples = _Samples(at, zero, spread(bary)[:, :, None, None], zero)
        texels = meshes.sample_textures(samples)[:, :, 0, 0]
        result.append(torch.where(valid[:, None, None], texels, torch.zeros_like(texels)))
    return result[0] if len(result) == 1 else tuple(result)


def _random_faces(areas: Tensor, meshes: Any, count: int) -> Tensor:
    """Packed faces [valid meshes, count], by their areas."""
    first = meshes.mesh_to_faces_packed_first_idx()[meshes.valid]
    padded = packed_to_padded(areas, first, int(meshes.num_faces_per_mesh().max()))
    return padded.multinomial(count, replacement=True) + first[:, None]


def _rand_barycentric_coords(
    size1: int, size2: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of corners [size1, size2], uniform over a triangle.

    Source: Turk 1990, "Generating Random Points in Triangles".
    """
    root, share = torch.rand(2, size1, size2, dtype=dtype, device=device).unbind(0)
    root = root.sqrt()
    return 1 - root, root * (1 - share), root * share
