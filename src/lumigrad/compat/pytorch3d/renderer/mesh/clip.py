"""Triangles cut at a plane in front of the camera, and the way back to the triangles that they were cut from.

The rasterizer clips on its own; this is for programs that clip themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ClipFrustum:
    """Where triangles are cut and culled; None: not there.

    Attributes:
        left, right, top, bottom: bounds of x and y in NDC; `top` is the lower bound of y.
        znear, zfar: bounds of z.
        perspective_correct: x and y were divided by z.
        cull: leave out triangles that are wholly beyond one of the bounds.
        z_clip_value: where triangles are cut.
    """

    left: float | None = None
    right: float | None = None
    top: float | None = None
    bottom: float | None = None
    znear: float | None = None
    zfar: float | None = None
    perspective_correct: bool = False
    cull: bool = True
    z_clip_value: float | None = None


@dataclass
class ClippedFaces:
    """Triangles after cutting.

    Attributes:
        face_verts: [G, 3, 3].
        mesh_to_face_first_idx, num_faces_per_mesh: [N].
        faces_clipped_to_unclipped_idx: [G], the triangle that each comes from; None if nothing changed, as the others.
        barycentric_conversion: [T, 3, 3]; column k has the weights in the whole triangle of corner k of the part.
        faces_clipped_to_conversion_idx: [G], rows of `barycentric_conversion`, -1 for triangles that are whole.
        clipped_faces_neighbor_idx: [G], the other half of what is left of a triangle that lost a corner, else -1.
    """

    face_verts: Tensor
    mesh_to_face_first_idx: Tensor
    num_faces_per_mesh: Tensor
    faces_clipped_to_unclipped_idx: Tensor | None = None
    barycentric_conversion: Tensor | None = None
    faces_clipped_to_conversion_idx: Tensor | None = None
    clipped_faces_neighbor_idx: Tensor | None = None


def outside(face_verts: Tensor, frustum: ClipFrustum) -> Tensor:
    """Which triangles [F] have all corners [F, 3, 3] beyond one of the frustum's bounds."""
    culled = face_verts.new_zeros(len(face_verts), dtype=torch.bool)
    x, y, z = face_verts.detach().unbind(-1)
    one = torch.ones_like(z)
    # Not divided by z, so that what is behind the camera is left or right as what is in front.
    w = z if frustum.perspective_correct else one
    bounds = (
        (x * w, w, frustum.left, frustum.right),
        (y * w, w, frustum.top, frustum.bottom),
        (z, one, frustum.znear, frustum.zfar),
    )
    for value, scale, low, high in bounds:
        if low is not None:
            culled |= (value < low * scale).all(1)
        if high is not None:
            culled |= (value > high * scale).all(1)
    return culled


def clip_faces(
    face_verts_unclipped: Tensor, mesh_to_face_first_idx: Tensor, num_faces_per_mesh: Tensor, frustum: ClipFrustum
) -> ClippedFaces:
    """Cut triangles where they come nearer than `frustum.z_clip_value`; leave out what is nearer or culled.

    Of a triangle with one corner in front of the plane a triangle is left, of one with two a quadrilateral: two
    triangles, one after the other. The order of meshes and triangles stays.

    Args:
        face_verts_unclipped: [F, 3, 3], x and y in NDC, z in view space. Gradients reach it.
        mesh_to_face_first_idx, num_faces_per_mesh: [N].
        frustum: where to cut.
    """
    faces, near = face_verts_unclipped, frustum.z_clip_value
    lost = (faces.detach()[..., 2] < near).sum(1) if near is not None else faces.new_zeros(len(faces)).long()
    culled = outside(faces, frustum) if frustum.cull else torch.zeros_like(lost, dtype=torch.bool)
    if not bool((lost > 0).any() | culled.any()):
        return ClippedFaces(faces, mesh_to_face_first_idx, num_faces_per_mesh)
    parts = lost.new_tensor([1, 2, 1, 0])[lost] * ~culled
    before = torch.cat((parts.new_zeros(1), parts.cumsum(0)))
    first = mesh_to_face_first_idx
    counts = (before[first + num_faces_per_mesh] - before[first]).to(num_faces_per_mesh.dtype)
    origin = torch.repeat_interleave(torch.arange(len(faces), device=faces.device), parts)
    clipped = ClippedFaces(faces[origin], counts.cumsum(0) - counts, counts, origin)
    if bool((parts[(lost == 1) | (lost == 2)] > 0).any()):
        assert near is not None
        _cut(clipped, faces, lost, parts, near, frustum.perspective_correct)
    return clipped


def _cut(clipped: ClippedFaces, faces: Tensor, lost: Tensor, parts: Tensor, near: float, perspective: bool) -> None:
    """Replace the triangles [G] that lost one or two corners, and return how."""
    first = parts.cumsum(0) - parts
    tips, quads = ((lost == 2) & (parts > 0)).nonzero()[:, 0], ((lost == 1) & (parts > 0)).nonzero()[:, 0]
    p1, _, _, p4, p5 = _corners(faces[tips], near)
    _, q2, q3, q4, q5 = _corners(faces[quads], near)
    weights = torch.cat([torch.stack(part, 1) for part in ((p4, p5, p1), (q4, q2, q5), (q5, q2, q3))])
    places = torch.cat((first[tips], first[quads], first[quads] + 1))
    points = _points(faces[torch.cat((tips, quads, quads))], weights, perspective)
    clipped.face_verts = clipped.face_verts.index_copy(0, places, points)
    clipped.barycentric_conversion = weights.transpose(1, 2)
    whole = torch.full((len(clipped.face_verts),), -1, device=faces.device)
    clipped.faces_clipped_to_conversion_idx = whole.index_copy(
        0, places, torch.arange(len(places), device=faces.device)
    )
    halves = places[len(tips) :]
    clipped.clipped_faces_neighbor_idx = whole.index_copy(0, halves, halves.roll(len(quads)))


def _corners(faces: Tensor, near: float) -> list[Tensor]:
    """Weights [T, 3] of the corner that is alone on its side of the plane, the two that follow, and where the plane
    cuts the edges to them."""
    z = faces[..., 2]
    behind = z < near
    alone = (behind == (behind.sum(1, keepdim=True) == 1)).long().argmax(1)
    order = (alone[:, None] + torch.arange(3, device=faces.device)) % 3
    one, two, three = torch.nn.functional.one_hot(order, 3).to(faces).unbind(1)
    a, b, c = z.gather(1, order).unbind(1)
    to_two, to_three = ((a - near) / (a - b))[:, None], ((a - near) / (a - c))[:, None]
    return [one, two, three, one + to_two * (two - one), one + to_three * (three - one)]


def _points(faces: Tensor, weights: Tensor, perspective: bool) -> Tensor:
    """The points [T, 3, 3] of triangles that have the weights [T, 3, 3] in view space."""
    if not perspective:
        return weights @ faces
    xy, z = faces.split((2, 1), -1)
    depth = weights @ z
    return torch.cat((weights @ (xy * z) / depth, depth), -1)


def convert_clipped_rasterization_to_original_faces(
    pix_to_face_clipped: Tensor, bary_coords_clipped: Tensor, clipped_faces: ClippedFaces
) -> tuple[Tensor, Tensor]:
    """Faces [N, H, W, K] and weights [N, H, W, K, 3] in the triangles before cutting; -1 stays.

    Args:
        pix_to_face_clipped, bary_coords_clipped: fragments of the triangles after cutting.
        clipped_faces: how they were cut.
    """
    origin, rows = clipped_faces.faces_clipped_to_unclipped_idx, clipped_faces.faces_clipped_to_conversion_idx
    if origin is None or not len(origin):
        return pix_to_face_clipped, bary_coords_clipped
    found, face = pix_to_face_clipped >= 0, pix_to_face_clipped.clamp(min=0)
    bary = bary_coords_clipped
    if rows is not None:
        assert clipped_faces.barycentric_conversion is not None
        row = torch.where(found, rows[face], -1)
        cut = row >= 0
        turned = clipped_faces.barycentric_conversion[row[cut]] @ bary[cut][..., None]
        bary = bary.index_put((cut,), turned[..., 0])
    return torch.where(found, origin[face], -1), bary
