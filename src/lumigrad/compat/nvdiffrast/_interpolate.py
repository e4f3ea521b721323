"""Interpolation of vertex attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lumigrad.ops.surface._packed import check_packed, interpolate_packed
from lumigrad.types import validation as check


def interpolate(
    attr: Tensor,
    rast: Tensor,
    tri: Tensor,
    rast_db: Tensor | None = None,
    diff_attrs: str | Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Interpolate vertex attributes: u a0 + v a1 + (1-u-v) a2.

    Args:
        attr: attributes [N, V, A] or [1, V, A]; or [V, A], shared by all images.
        rast: first output of `rasterize`.
        tri: vertex indices [T, 3] into `attr`; a negative one stands for zeros.
        rast_db: second output of `rasterize`, needed for `diff_attrs`.
        diff_attrs: which attributes to differentiate: "all", a list of channels (-1 is the last one), or None.

    Returns:
        The attributes [N, H, W, A], zero on the background, and their derivatives [N, H, W, 2 K] for K
        channels: dA/dX and dA/dY of the first, of the second, ... Without `diff_attrs` K is 0.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, channels, or indices out of range.
    """
    rast, rast_db = check_packed(rast, rast_db)
    tri = check.triangles(tri, rast.device)
    attr = check.floating("attr", attr, rast, "rast")
    channels = [] if diff_attrs is None else _channels(diff_attrs, attr.shape[-1])
    if channels and rast_db is None:
        raise ValueError("rast_db: expected the second output of rasterize, needed by diff_attrs; got None")
    return interpolate_packed(attr, rast, tri, rast_db, channels)


def _channels(diff_attrs: Any, count: int) -> list[int]:
    if isinstance(diff_attrs, str) and diff_attrs == "all":
        return list(range(count))
    try:
        channels = [int(channel.__index__()) for channel in diff_attrs]
    except (TypeError, AttributeError):
        expected = "'all', a list of channels, or None"
        raise TypeError(f"diff_attrs: expected {expected}, got {diff_attrs!r}") from None
    if not all(-count <= channel < count for channel in channels):
        raise ValueError(f"diff_attrs: expected channels from {-count} to {count - 1}, got {channels}")
    return [channel % count for channel in channels]
