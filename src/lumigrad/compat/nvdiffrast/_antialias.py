"""Antialiasing of silhouettes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.nvdiffrast._geometry import flip, without_bad_rows
from lumigrad.ops import surface
from lumigrad.ops.surface._packed import antialias_packed, check_packed
from lumigrad.types import validation as check


class _Topology(NamedTuple):
    """What `antialias_construct_topology_hash` returns."""

    links: Tensor


class _ScaleGradient(torch.autograd.Function):
    """Identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * grad, None


def antialias(
    color: Tensor,
    rast: Tensor,
    pos: Tensor,
    tri: Tensor,
    topology_hash: Any = None,
    pos_gradient_boost: float = 1.0,
) -> Tensor:
    """Blend colours across silhouette edges; where gradients of visibility come from.

    Only the edges of the nearer of two neighbouring pixels' triangles are considered, silhouettes are told
    by vertex indices, and up to four blends add up in a pixel, even beyond the range of the colours
    (:func:`lumigrad.antialias` follows the surface to its outline and stays in range).

    Args:
        color: [N, H, W, C].
        rast: first output of `rasterize`.
        pos, tri: as given to `rasterize`.
        topology_hash: from `antialias_construct_topology_hash`; built from `tri` when absent.
        pos_gradient_boost: factor for the gradient to `pos`, and for no other.

    Returns:
        [N, H, W, C]. Gradients reach `color`, and x, y and w of `pos`.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or indices out of range.
    """
    rast, _ = check_packed(rast)
    color = check.floating("color", color, rast, "rast")
    pos = check.floating("pos", pos, rast, "rast")
    tri = check.triangles(tri, rast.device)
    if pos.dim() not in (2, 3) or pos.shape[-1] != 4:
        raise ValueError(f"pos: expected shape [N, V, 4] or [V, 4], got {tuple(pos.shape)}")
    tri = without_bad_rows(tri, pos.shape[-2])
    if topology_hash is not None and not isinstance(topology_hash, _Topology):
        raise TypeError(
            "topology_hash: expected the result of antialias_construct_topology_hash, got "
            f"{type(topology_hash).__name__}"
        )
    if pos_gradient_boost != 1.0:
        pos = _ScaleGradient.apply(pos, float(pos_gradient_boost))  # type: ignore[no-untyped-call]
    links = None if topology_hash is None else topology_hash.links
    return antialias_packed(color, rast, flip(pos), tri, links)


def antialias_construct_topology_hash(tri: Tensor) -> Any:
    """Find the neighbours of every edge once, for several calls of `antialias`.

    Args:
        tri: vertex indices [T, 3]. Vertices count as one only if their index is the same.

    Returns:
        An opaque object for the argument `topology_hash`.

    Raises:
        TypeError, ValueError: for a wrong type or shape.
    """
    tri = check.triangles(tri, tri.device)
    return _Topology(surface.edge_topology(without_bad_rows(tri, 2**31 - 1)))
