"""Grids of distances, and measures of triangle surfaces."""

from __future__ import annotations

import torch
from torch import Tensor


def centres(size: int | tuple[int, int, int], half: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """[D, H, W, 3]: (x, y, z) of the centres of voxels in the cube from -half to half."""
    counts = (size, size, size) if isinstance(size, int) else size
    axes = [(torch.arange(count, dtype=dtype) + 0.5) * (2 * half / count) - half for count in counts]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)


def box(half: float) -> list[list[float]]:
    return [[-half] * 3, [half] * 3]


def sphere(size: int, half: float, radius: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return centres(size, half, dtype).norm(dim=-1) - radius


def torus(size: int, half: float, major: float, minor: float, dtype: torch.dtype = torch.float64) -> Tensor:
    x, y, z = centres(size, half, dtype).unbind(-1)
    return (((x**2 + y**2).sqrt() - major) ** 2 + z**2).sqrt() - minor


def noise(shape: tuple[int, int, int], seed: int, dtype: torch.dtype = torch.float64, levels: int = 0) -> Tensor:
    """Random values; `levels`: integers from -levels to levels, many of them alike."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return torch.randint(-levels, levels + 1, shape, generator=generator).to(dtype)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def padded(values: Tensor, outside: float = 1.0) -> Tensor:
    return torch.nn.functional.pad(values, (1, 1, 1, 1, 1, 1), value=outside)


def volume(verts: Tensor, faces: Tensor) -> Tensor:
    a, b, c = verts[faces.long()].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum() / 6


def area(verts: Tensor, faces: Tensor) -> Tensor:
    a, b, c = verts[faces.long()].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2


def edge_counts(faces: Tensor) -> Tensor:
    """How often each directed edge and its opposite occur, [edges, 2]."""
    faces = faces.long()
    start, end = faces.flatten(), faces.roll(-1, 1).flatten()
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    _, number = torch.unique(low * (int(faces.max()) + 1) + high, return_inverse=True)
    counts = torch.zeros(int(number.max()) + 1, 2, dtype=torch.long)
    return counts.index_put_((number, (start > end).long()), torch.ones_like(number), accumulate=True)


def is_watertight(faces: Tensor) -> bool:
    """Every edge belongs to two triangles, which run along it in opposite directions."""
    return len(faces) == 0 or bool((edge_counts(faces) == 1).all())


def euler_number(verts: Tensor, faces: Tensor) -> int:
    return len(verts) - len(edge_counts(faces)) + len(faces)
