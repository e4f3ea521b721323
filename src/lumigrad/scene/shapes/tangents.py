"""Tangents of textured surfaces: the frames in which normal maps are read."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.shapes import Float, Int


def corner_tangents(
    positions: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    uvs: Float[Tensor, "coordinates 2"],
    uv_faces: Int[Tensor, "faces 3"],
    normals: Float[Tensor, "normals 3"],
    normal_faces: Int[Tensor, "faces 3"],
) -> tuple[Float[Tensor, "tangents 4"], Int[Tensor, "faces 3"]]:
    """Tangents of the corners of triangles, as glTF and MikkTSpace have them.

    A triangle's tangent is dP/du, the direction in which u grows: with edges e1, e2 of the triangle and (u1, v1),
    (u2, v2) of its texture coordinates, (e1 v2 - e2 v1) / (u1 v2 - u2 v1). At each corner it is made perpendicular to
    the corner's normal and of unit length, weighted with the corner's angle, and summed over all corners that share
    vertex, normal, texture coordinate and handedness. The sum is made a unit vector t.

    The bitangent is w (n x t), and points where v *falls*: up in the texture image, like the green axis of normal maps
    in glTF. w is 1 where the texture is seen the right way round from outside, -1 where it is mirrored.

    Args:
        positions, uvs, normals: [V, 3], [U, 2], [M, 3]; v grows with the row.
        faces, uv_faces, normal_faces: integers [F, 3] into them.

    Returns:
        tangents [K, 4] = (t, w), of the type of the positions, perpendicular to their normals, and faces [F, 3] that
        index them. Where texture coordinates or triangles are degenerate, t is some unit vector perpendicular to the
        normal, without gradient. Differentiable in positions, uvs and normals.

    Source: Mikkelsen 2008, "Simulation of Wrinkled Surfaces Revisited"; Khronos, glTF 2.0 specification, section 3.7.2.
    """
    faces, uv_faces, normal_faces = faces.long(), uv_faces.long(), normal_faces.long()
    uvs, normals = uvs.to(positions), normals.to(positions)
    tangent, sign = _face_tangents(positions[faces], uvs[uv_faces])
    normal = normals[normal_faces]
    flat = tangent[:, None] - normal * (normal * tangent[:, None]).sum(-1, keepdim=True)
    weighted = _unit(flat)[0] * _angles(positions[faces])[..., None]

    handed = sign[:, None].expand(-1, 3)
    index = _grouped(faces, normal_faces, uv_faces, handed)
    count = int(index.max()) + 1 if index.numel() else 0
    # Any corner of a group will do: these values are the same at all.
    some = index.new_zeros(count).scatter(0, index, torch.arange(len(index), device=index.device))
    total = positions.new_zeros(count, 3).index_add(0, index, weighted.reshape(-1, 3))
    unit, found = _unit(total)
    unit = torch.where(found, unit, _perpendicular(normals[normal_faces.reshape(-1)[some]].detach()))
    return torch.cat([unit, handed.reshape(-1)[some, None].to(unit.dtype)], dim=-1), index.reshape(-1, 3)


def _grouped(*keys: Tensor) -> Tensor:
    """Numbers of the groups of items whose integer keys are the same, flat, in the order of the keys.

    One key after the other: `torch.unique` of rows takes many times as long.
    """
    index = keys[0].reshape(-1).new_zeros(())
    for key in keys:
        key = key.reshape(-1)
        if key.numel():
            low = key.min()
            index = index * (key.max() - low + 1) + (key - low)
        _, index = torch.unique(index.expand_as(key), return_inverse=True)
    return index


def _face_tangents(corners: Tensor, uvs: Tensor) -> tuple[Tensor, Tensor]:
    """Unit dP/du [F, 3], zero where there is none, and handedness [F], 1 or -1."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (u1, v1), (u2, v2) = (uvs[:, 1] - uvs[:, 0]).unbind(-1), (uvs[:, 2] - uvs[:, 0]).unbind(-1)
    area = u1 * v2 - u2 * v1
    # v grows downwards, so a texture with the usual orientation has a negative area. Only the direction of the quotient
    # matters, which is that of its numerator times the sign of the area.
    sign = torch.where(area > 0, -1, 1)
    numerator = (e1 * v2[:, None] - e2 * v1[:, None]) * -sign[:, None]
    degenerate = (area == 0)[:, None]
    return torch.where(degenerate, 0.0, _unit(torch.where(degenerate, 0.0, numerator))[0]), sign


def _angles(corners: Tensor) -> Tensor:
    """Angles [F, 3] at the corners of triangles [F, 3, 3]; 0 in degenerate ones."""
    onwards, backwards = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    sine = torch.linalg.cross(onwards, backwards)
    squared = sine.square().sum(-1)
    regular = squared > 0
    cosine = torch.where(regular, (onwards * backwards).sum(-1), 1.0)
    return torch.where(regular, torch.atan2(torch.where(regular, squared, 1.0).sqrt(), cosine), 0.0)


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised vectors [..., 3], and whether [..., 1] they had a direction; others become zero, without gradient."""
    size = vectors.detach().abs().amax(-1, keepdim=True)
    found = (size > torch.finfo(vectors.dtype).tiny) & size.isfinite()
    scaled = torch.where(found, vectors, 1.0) / torch.where(found, size, 1.0)
    return torch.where(found, scaled / scaled.norm(dim=-1, keepdim=True), 0.0), found


def _perpendicular(normals: Tensor) -> Tensor:
    """Some unit vectors [K, 3] perpendicular to normals [K, 3]."""
    axis = torch.eye(3, dtype=normals.dtype, device=normals.device)[normals.abs().argmin(dim=-1)]
    return torch.nn.functional.normalize(axis - normals * (normals * axis).sum(-1, keepdim=True), dim=-1)
