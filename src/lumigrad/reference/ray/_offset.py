"""Origins of rays that leave a surface."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types import Hits
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int


def offset_origins(
    hits: Hits,
    directions: Float[Tensor, "*#rays 3"],
    vertices: Float[Tensor, "vertices 3"],
    tri: Int[Tensor, "triangles 3"],
) -> Float[Tensor, "*rays 3"]:
    """Compute where rays begin that leave the points that were hit, so that they do not hit the same triangle again.

    Points are computed from barycentrics, which is more precise than going along the ray that hit them. They are moved
    off the triangle, to the side to which the new rays go, by a bound of the rounding errors of this and of the next
    intersection: 32 times half a unit in the last place of the triangle's largest coordinate. So there is nothing to
    choose. The derivation is in ``native/ray/offset.h``.

    Args:
        hits: from :func:`~lumigrad.trace`.
        directions: [..., 3], of the rays that leave.
        vertices, tri: the mesh that was hit.

    Returns:
        origins [..., 3], zero where nothing was hit. Gradients reach `hits.bary` and `vertices`, as of the points on
        the surface.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, and hits of another mesh.

    Source: the idea of an error bound in the place of a distance to choose: Pharr, Jakob and Humphreys 2023,
    "Physically Based Rendering", 6.8.

    >>> import torch
    >>> import lumigrad as lg
    >>> mesh = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [0.0, 2.0, 1.0]]), torch.tensor([[0, 1, 2]])
    >>> up, down = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0])
    >>> hits = lg.trace(torch.tensor([0.5, 0.25, 3.0]), down, *mesh)
    >>> [lg.trace(lg.offset_origins(hits, way, *mesh), way, *mesh).tri.item() for way in (up, down)]
    [-1, -1]
    """
    vertices = check.floating("vertices", vertices)
    check.shape("vertices", vertices, ("V", 3))
    if not isinstance(hits, Hits):
        raise TypeError(f"hits: expected what lumigrad.trace returns, got {type(hits).__name__}")
    bary = check.floating("hits.bary", hits.bary, vertices, "vertices")
    directions = check.floating("directions", directions, vertices, "vertices")
    check.shape("hits.bary", bary, (*hits.tri.shape, 2))
    check.like_image("directions", directions, (*bary.shape[:-1], 3))
    faces = check.triangles(tri, vertices.device).long()
    check.in_range("tri", faces, 0, len(vertices))
    check.in_range("hits.tri", hits.tri, -1, len(faces))
    found = hits.tri >= 0
    if not faces.numel():
        return vertices.new_zeros(*hits.tri.shape, 3)
    corners = vertices[faces[hits.tri.clamp(0, len(faces) - 1).long()]]
    weights = torch.cat((bary, 1 - bary.sum(-1, keepdim=True)), -1)
    points = (weights[..., None] * corners).sum(-2)
    with torch.no_grad():
        first, second, last = corners.double().unbind(-2)
        normal = torch.linalg.cross(first - last, second - last)
        normal = normal / normal.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        side = (normal * directions).sum(-1, keepdim=True)
        distance = 16 * torch.finfo(vertices.dtype).eps * corners.abs().amax((-2, -1)).double()
        moved = points + (torch.where(side < 0, -normal, normal) * distance[..., None])
        offset = moved.to(points.dtype) - points
    return torch.where(found[..., None], points + offset, 0.0)
