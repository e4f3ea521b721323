"""Interpolation of vertex attributes, defined in plain PyTorch (Laine et al. 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.types.fragments import Fragments


def interpolate(
    attr: Tensor, frags: Fragments, tri: Tensor, derivatives: bool | Sequence[int] = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Vertex attributes at the visible points: A = u a0 + v a1 + (1-u-v) a2, zero at background.

    Args:
        attr: vertex attributes [V, A], or [N, V, A] or [1, V, A], float32 or float64.
        frags: what `rasterize` gave.
        tri: vertex indices [T, 3], int32 or int64. They may index other vertices than the positions'
            triangles did, but the triangles must be the same. A vertex with a negative index contributes
            zero.
        derivatives: True, or a list of channels A' (negative ones count from the end): also give their screen
            derivatives, which needs ``frags.bary_d``.

    Returns:
        [N, H, W, A]; with ``derivatives`` also [N, H, W, A', 2]: by the chain rule
        dA/dX = du/dX (a0-a2) + dv/dX (a1-a2) per pixel column, rightwards, then the same per pixel row,
        downwards. Gradients reach ``attr``, ``frags.bary`` and ``frags.bary_d``.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    channels = _check(attr, frags, tri, derivatives)
    images, height, width = frags.tri.shape
    image, row, col = (frags.tri >= 0).nonzero().unbind(1)
    index = tri.long()[frags.tri[image, row, col].long()]
    present = (index >= 0)[..., None]
    source = attr if attr.ndim == 2 else attr.expand(images, -1, -1)
    if not source.shape[-2]:  # a vertex for negative indices
        source = torch.cat((source, source.new_zeros((*source.shape[:-2], 1, source.shape[-1]))), -2)
    index = index.clamp(min=0)
    corners = source[index] if attr.ndim == 2 else source[image[:, None], index]
    corners = torch.where(present, corners, torch.zeros_like(corners))  # [P, 3, A]

    u, v = frags.bary[image, row, col].unbind(-1)
    weights = torch.stack((u, v, 1 - u - v), 1)
    values = (weights[..., None] * corners).sum(1)
    out = values.new_zeros((images, height, width, attr.shape[-1])).index_put((image, row, col), values)
    if channels is None or frags.bary_d is None:
        return out

    bary_d = frags.bary_d[image, row, col]  # [P, (u, v), (X, Y)]
    chosen = corners[..., channels]
    sides = chosen[:, :2] - chosen[:, 2:]  # [P, (a0-a2, a1-a2), A']
    values_d = (sides[..., None] * bary_d[:, :, None, :]).sum(1)
    out_d = values_d.new_zeros((images, height, width, len(channels), 2))
    return out, out_d.index_put((image, row, col), values_d)


def _check(attr: Tensor, frags: Fragments, tri: Tensor, derivatives: bool | Sequence[int]) -> list[int] | None:
    """Raise TypeError or ValueError for unsound arguments; return the channels to differentiate."""
    if not isinstance(attr, Tensor) or attr.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"attr: expected a float32 or float64 tensor, got {getattr(attr, 'dtype', type(attr))}")
    images = frags.tri.shape[0]
    if attr.ndim not in (2, 3) or (attr.ndim == 3 and attr.shape[0] not in (1, images)):
        raise ValueError(f"attr: expected shape [V, A] or [{images} or 1, V, A], got {list(attr.shape)}")
    if not isinstance(tri, Tensor) or tri.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"tri: expected an int32 or int64 tensor, got {getattr(tri, 'dtype', type(tri))}")
    if tri.ndim != 2 or tri.shape[1] != 3:
        raise ValueError(f"tri: expected shape [T, 3], got {list(tri.shape)}")
    if tri.numel() and int(tri.max()) >= attr.shape[-2]:
        raise ValueError(f"tri: expected indices below {attr.shape[-2]}, the vertices of attr, got {int(tri.max())}")
    if frags.tri.numel() and int(frags.tri.max()) >= len(tri):
        raise ValueError(f"frags: expected triangles below {len(tri)}, those of tri, got {int(frags.tri.max())}")
    if derivatives is False:
        return None
    if frags.bary_d is None:
        raise ValueError("frags: expected bary_d for derivatives, got None (rasterize with derivatives=True)")
    count = attr.shape[-1]
    channels = list(range(count)) if derivatives is True else [int(c) for c in derivatives]
    if any(not -count <= c < count for c in channels):
        raise ValueError(f"derivatives: expected channels from {-count} to {count - 1}, got {channels}")
    return [c % count for c in channels]
