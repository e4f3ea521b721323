"""Depth peeling, defined in plain PyTorch (Everitt 2001, "Interactive order-independent transparency")."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lumigrad.reference.surface._rasterize import check_arguments, points_seen, visibility
from lumigrad.types.fragments import Fragments


def peel(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    layers: int,
    ranges: Tensor | None = None,
    derivatives: bool = True,
    drop_coincident: bool = False,
    *,
    subpixel_bits: int = 8,
    straight_through: bool = False,
) -> Iterator[Fragments]:
    """Yield the surfaces behind each pixel, front to back: ``layers`` times `Fragments`, the first as by
    `rasterize`.

    Layer k+1 holds at every pixel the first fragment strictly after that of layer k in the order (visibility
    depth ascending, triangle index descending): coincident surfaces follow each other, nothing is lost. Once
    a pixel is background it stays so; layers behind everything are empty, and are yielded all the same.

    Args:
        pos, tri, size, ranges, derivatives, subpixel_bits, straight_through: as in `rasterize`.
        layers: number of layers, at least 0.
        drop_coincident: skip fragments at exactly the depth of the layer before (as nvdiffrast does).

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range; raised by the call
            itself.
    """
    check_arguments(pos, tri, size, ranges, subpixel_bits)
    if layers < 0:
        raise ValueError(f"layers: expected at least 0, got {layers}")

    def generate() -> Iterator[Fragments]:
        previous = None
        for _ in range(layers):
            previous = visibility(pos, tri, size, ranges, subpixel_bits, previous, drop_coincident=drop_coincident)
            yield points_seen(pos, tri, previous[0], derivatives, straight_through=straight_through)

    return generate()
