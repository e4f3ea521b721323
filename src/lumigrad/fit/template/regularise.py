"""Regularisers of deformed meshes. Values that depend only on the faces are computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit._arguments import check_indices, check_positions, check_surface
from lumigrad.fit._laplacian import unique_edges
from lumigrad.types.shapes import Float, Int


def cotangent_weights(
    positions: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]
) -> tuple[Int[Tensor, "edges 2"], Float[Tensor, " edges"]]:
    """Edges [E, 2] and half the sum of the cotangents of the angles across [E], for `laplacian_energy`.

    With these weights, the Laplacian of the positions is the mean curvature normal, and zero in a plane however it is
    triangulated.

    Source: Pinkall, Polthier 1993, "Computing Discrete Minimal Surfaces and Their Conjugates".

    >>> import torch
    >>> from lumigrad.fit import cotangent_weights
    >>> right_angled = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> edges, weights = cotangent_weights(right_angled, torch.tensor([[0, 1, 2]]))
    >>> edges.tolist(), [round(w, 4) for w in weights.tolist()]
    ([[0, 1], [0, 2], [1, 2]], [0.5, 0.5, 0.0])
    """
    check_surface(positions, faces)
    edges = unique_edges(faces)
    faces = faces.long()
    total = positions.new_zeros(len(edges))
    key = edges[:, 0] * len(positions) + edges[:, 1]
    least = torch.finfo(positions.dtype).eps  # sine of an angle below which a face has no area
    for k in range(3):
        at, b, c = (faces[:, (k + i) % 3] for i in range(3))
        u, v = positions[b] - positions[at], positions[c] - positions[at]
        area = torch.linalg.cross(u, v).norm(dim=-1)
        has_area = area > least * u.norm(dim=-1) * v.norm(dim=-1)
        cotangent = torch.where(has_area, (u * v).sum(-1) / torch.where(has_area, area, 1), 0)
        ends = torch.stack([b, c], -1).sort(dim=-1).values
        proper = ends[:, 0] != ends[:, 1]
        place = torch.searchsorted(key, (ends[:, 0] * len(positions) + ends[:, 1])[proper])
        total = total.index_add(0, place, 0.5 * cotangent[proper])
    return edges, total


def edge_lengths(positions: Float[Tensor, "*batch vertices 3"], edges: Int[Tensor, "edges 2"]) -> Float[Tensor, "*l"]:
    """Lengths [..., E]; the gradient of a length of zero is zero.

    >>> import torch
    >>> from lumigrad.fit import edge_lengths
    >>> edge_lengths(torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), torch.tensor([[0, 1]]))
    tensor([5.])
    """
    check_indices("edges", edges, 2, check_positions(positions))
    square = (positions[..., edges[:, 0], :] - positions[..., edges[:, 1], :]).square().sum(-1)
    return torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)


def edge_length_loss(
    positions: Float[Tensor, "*batch vertices 3"], edges: Int[Tensor, "edges 2"], target: Tensor | float = 0.0
) -> Float[Tensor, ""]:
    """Mean squared difference of edge lengths to a target: one number, or one for each edge, as in the rest pose.

    >>> import torch
    >>> from lumigrad.fit import edge_length_loss
    >>> edge_length_loss(torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]), torch.tensor([[0, 1]]), target=4.0)
    tensor(1.)
    """
    return (edge_lengths(positions, edges) - target).square().mean()


def adjacent_faces(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "pairs 2"]:
    """Pairs of faces [K, 2] that share an edge; edges of one face, or of more than two, are left out.

    >>> import torch
    >>> from lumigrad.fit import adjacent_faces
    >>> adjacent_faces(torch.tensor([[0, 1, 2], [2, 1, 3]]))
    tensor([[0, 1]])
    """
    faces = check_indices("faces", faces, 3).long()
    sides = torch.stack([faces[:, [k, (k + 1) % 3]] for k in range(3)], 1).reshape(-1, 2).sort(dim=1).values
    owner = torch.arange(len(faces), device=faces.device).repeat_interleave(3)
    _, edge, count = torch.unique(sides, dim=0, return_inverse=True, return_counts=True)
    order = edge.argsort(stable=True)
    return owner[order][(count == 2)[edge[order]]].reshape(-1, 2)


def bending_loss(
    positions: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], pairs: Int[Tensor, "pairs 2"]
) -> Float[Tensor, ""]:
    """Mean of 1 - cos of the angle between the normals of adjacent faces; 0 for a plane.

    Faces of no area count as at right angles to their neighbours, without gradient.

    Args:
        pairs: `adjacent_faces(faces)`.

    >>> import torch
    >>> from lumigrad.fit import adjacent_faces, bending_loss
    >>> folded = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])  # two faces at a right angle
    >>> faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    >>> bending_loss(folded, faces, adjacent_faces(faces))
    tensor(1.)
    """
    check_indices("faces", faces, 3, check_positions(positions))
    check_indices("pairs", pairs, 2, len(faces))
    a, b, c = positions[..., faces.long(), :].unbind(-2)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-20)
    return (1 - (normal[..., pairs[:, 0], :] * normal[..., pairs[:, 1], :]).sum(-1)).mean()


class ArapEnergy:
    """As rigid as possible: how far the surroundings of each vertex are from a rotation of what they were at rest.

    The sum over vertices i and neighbours j of w_ij |(p_i - p_j) - R_i (r_i - r_j)|^2, with the best rotation R_i and
    cotangent weights. Zero for every rigid motion. The gradient is exact, although the rotations are held: they are
    optimal.

    Args:
        rest: [V, 3].
        faces: [F, 3].

    Source: Sorkine, Alexa 2007, "As-Rigid-As-Possible Surface Modeling".

    >>> import torch
    >>> from lumigrad.fit import ArapEnergy
    >>> from lumigrad.scene import axis_angle_to_matrix, icosphere
    >>> ball = icosphere(1)
    >>> energy = ArapEnergy(ball.positions, ball.faces)
    >>> moved = ball.positions @ axis_angle_to_matrix(torch.tensor([0.4, 1.5, 0.2])).T + 3.0
    >>> bool(energy(moved) < 1e-6), bool(energy(1.1 * ball.positions) > 0.01)
    (True, True)
    """

    def __init__(self, rest: Tensor, faces: Tensor) -> None:
        edges, weights = cotangent_weights(rest.detach(), faces)
        # Each edge from both of its ends. Negative weights, due to obtuse angles, would make the energy unbounded.
        self.edges = torch.cat([edges, edges.flip(1)])
        self.weights = weights.clamp_min(0).repeat(2)
        self.rest = self._along(rest.detach())

    def _along(self, positions: Tensor) -> Tensor:
        return positions[self.edges[:, 0]] - positions[self.edges[:, 1]]

    @torch.no_grad()
    def rotations(self, positions: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 3 3"]:
        """The best rotation of each vertex's surroundings."""
        outer = self.weights[:, None, None] * self.rest[:, :, None] * self._along(positions)[:, None, :]
        covariance = outer.new_zeros(len(positions), 3, 3).index_add(0, self.edges[:, 0], outer)
        u, _, vh = torch.linalg.svd(covariance)
        sign = torch.linalg.det(u @ vh)
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
        return vh.transpose(-1, -2) @ (flip[..., None] * u.transpose(-1, -2))

    def __call__(self, positions: Float[Tensor, "vertices 3"]) -> Float[Tensor, ""]:
        turned = (self.rotations(positions)[self.edges[:, 0]] @ self.rest[..., None])[..., 0]
        return (self.weights * (self._along(positions) - turned).square().sum(-1)).sum()


def mirror_vertices(rest: Float[Tensor, "vertices 3"], axis: int = 0, tolerance: float = 1e-3) -> Int[Tensor, " v"]:
    """The vertex [V] that mirrors each one at the plane where coordinate `axis` is 0; -1 where there is none.

    Args:
        tolerance: of places, relative to the diagonal of the bounding box.

    >>> import torch
    >>> from lumigrad.fit import mirror_vertices
    >>> mirror_vertices(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [5.0, 5.0, 5.0]]))
    tensor([ 1,  0,  2, -1])
    """
    if axis not in (0, 1, 2):
        raise ValueError(f"axis: expected 0, 1 or 2, got {axis!r}")
    diagonal = (rest.amax(0) - rest.amin(0)).norm()
    parts = []
    for part in (rest * _mirror(rest, axis)).split(1024):
        distance, nearest = torch.cdist(part, rest).min(1)
        parts.append(torch.where(distance <= tolerance * diagonal, nearest, -1))
    return torch.cat(parts)


def symmetry_loss(
    positions: Float[Tensor, "*batch vertices 3"], partners: Int[Tensor, " vertices"], axis: int = 0
) -> Float[Tensor, ""]:
    """Mean squared distance of vertices to the mirror image of their partners.

    Args:
        partners: `mirror_vertices` of the rest pose; vertices without one do not count.

    >>> import torch
    >>> from lumigrad.fit import symmetry_loss
    >>> symmetry_loss(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 2.0, 0.0]]), torch.tensor([1, 0]))
    tensor(4.)
    """
    some = (partners >= 0).nonzero()[:, 0]
    if not len(some):
        return positions.sum() * 0
    mirrored = positions[..., partners[some], :] * _mirror(positions, axis)
    return (positions[..., some, :] - mirrored).square().sum(-1).mean()


def _mirror(like: Tensor, axis: int) -> Tensor:
    return 1 - 2 * (torch.arange(3, device=like.device) == axis).to(like)
