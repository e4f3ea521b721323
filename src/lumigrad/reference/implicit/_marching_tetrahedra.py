"""Marching tetrahedra, in plain PyTorch."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient
from lumigrad.reference.implicit._crossing import crossing
from lumigrad.types import validation as check
from lumigrad.types.grids import check_level
from lumigrad.types.shapes import Float, Int, Int32

# The corners at the ends of each edge.
_EDGES = list(itertools.combinations(range(4), 2))


def marching_tetrahedra(
    vertices: Float[Tensor, "vertices 3"],
    tets: Int[Tensor, "tets 4"],
    values: Float[Tensor, " vertices"],
    level: float | Tensor = 0.0,
) -> tuple[Float[Tensor, "cuts 3"], Int32[Tensor, "triangles 3"]]:
    """Extract the surface on which values at the corners of tetrahedra have a given level, as triangles.

    The inside is where values are at most `level`; NaN is outside. Triangles are counter-clockwise seen from outside,
    whichever way a tetrahedron is turned. No case is ambiguous: where tetrahedra share faces, triangles share edges.

    Args:
        vertices: [V, 3]; they may move, as in DMTet.
        tets: [T, 4], int32 or int64, corners in `vertices`.
        values: [V].
        level: a number, or a tensor of one.

    Returns:
        vertices [V', 3], one for each edge that the surface cuts, in the order of the numbers at its ends, and
        triangles [F, 3], int32. Gradients reach `vertices`, `values` and `level`. In plain PyTorch, on any device.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices, or indices out of range.

    Sources: Doi and Koide 1991; deformable: Shen et al. 2021, "Deep Marching Tetrahedra".

    >>> import torch
    >>> import lumigrad as lg
    >>> vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> values = torch.tensor([-1.0, 1.0, 3.0, 1.0])
    >>> verts, faces = lg.marching_tetrahedra(vertices, torch.tensor([[0, 1, 2, 3]]), values)
    >>> verts, faces
    (tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 0.2500, 0.0000],
            [0.0000, 0.0000, 0.5000]]), tensor([[0, 1, 2]], dtype=torch.int32))
    """
    vertices, tets, values = _check(vertices, tets, values)
    level = check_level(level, values)
    vertices, values = finite_gradient(vertices), finite_gradient(values)
    shifted = values - (finite_gradient(level) if isinstance(level, Tensor) else level)
    inside = shifted.detach() <= 0
    case = (inside[tets].long() << torch.arange(4, device=tets.device)).sum(-1)
    chosen = ((case > 0) & (case < 15)).nonzero()[:, 0]
    tets, case = tets[chosen], case[chosen]

    ends = tets[:, torch.tensor(_EDGES, device=tets.device)].sort(-1).values
    cut = inside[ends[..., 0]] != inside[ends[..., 1]]
    codes, number = torch.unique(ends[cut][:, 0] * len(vertices) + ends[cut][:, 1], return_inverse=True)
    ids = torch.full(cut.shape, -1, device=tets.device).masked_scatter(cut, number)
    low, high = codes // max(len(vertices), 1), codes % max(len(vertices), 1)
    part = crossing(shifted[low], shifted[high])[:, None]
    points = vertices[low] + part * (vertices[high] - vertices[low])

    triangles = _triangles().to(tets.device)[case]
    faces = ids.gather(1, triangles.flatten(1).clamp(min=0)).view(-1, 2, 3)
    corner = vertices.detach()[tets]
    turned = torch.linalg.det(corner[:, 1:] - corner[:, :1]) < 0
    faces = torch.where(turned[:, None, None], faces.flip(-1), faces)
    return points, faces[triangles[..., 0] >= 0].int()


def _check(vertices: Tensor, tets: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    vertices = check.floating("vertices", vertices)
    check.shape("vertices", vertices, ("V", 3))
    values = check.floating("values", values, vertices, "vertices")
    check.shape("values", values, (len(vertices),))
    tets = check.tensor("tets", tets)
    if tets.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"tets: expected int32 or int64, got {str(tets.dtype).removeprefix('torch.')}")
    check.shape("tets", tets, ("T", 4))
    if tets.device != vertices.device:
        raise ValueError(f"tets: expected device {vertices.device} like vertices, got {tets.device}")
    if tets.numel() and not (int(tets.min()) >= 0 and int(tets.max()) < len(vertices)):
        raise ValueError(
            f"tets: expected indices of {len(vertices)} vertices, got {int(tets.min())} to {int(tets.max())}"
        )
    return vertices, tets.long(), values


@functools.lru_cache(maxsize=1)
def _triangles() -> Tensor:
    """[16, 2, 3]: the edges that hold the corners of a case's triangles; -1 if there is no triangle."""
    table = []
    for case in range(16):
        inside = [corner for corner in range(4) if case >> corner & 1]
        outside = [corner for corner in range(4) if not case >> corner & 1]
        loop: list[tuple[int, int]] = []
        if len(inside) == 2:
            (a, b), (c, d) = inside, outside
            loop = [(a, c), (a, d), (b, d), (b, c)]
            if a + b == 3:  # either diagonal would do; with this one, meshes equal kaolin's
                loop = loop[1:] + loop[:1]
        elif inside and outside:
            alone, others = (inside[0], outside) if len(inside) == 1 else (outside[0], inside)
            loop = [(alone, other) for other in others]
            if len(outside) == 1:
                loop.reverse()
        order = inside + outside if len(inside) != 3 else outside + inside
        swaps = sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4))
        if swaps % 2:
            loop.reverse()
        edges = [_EDGES.index((min(edge), max(edge))) for edge in loop]
        rows = [[edges[0], edges[i], edges[i + 1]] for i in range(1, len(edges) - 1)]
        table.append(rows + [[-1] * 3] * (2 - len(rows)))
    return torch.tensor(table)
