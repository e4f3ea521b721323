"""Depth peeling: the surfaces behind the visible one, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._rasterize import SUBPIXEL_BITS, _op, check_geometry
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int


def peel(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    size: tuple[int, int],
    layers: int,
    ranges: Int[Tensor, "views 2"] | None = None,
    derivatives: bool = True,
) -> Iterator[Fragments]:
    """Iterate over the layers of a scene, front to back.

    The first layer is what :func:`~lumigrad.rasterize` sees; each further one is the nearest
    surface behind the layer before it, pixel by pixel. Surfaces that coincide are separate layers (the later
    triangle first), so nothing is lost. Once a layer is empty at a pixel, all later ones are.

    Args:
        pos, tri, size, ranges, derivatives: as for :func:`~lumigrad.rasterize`.
        layers: how many layers to make, 0 or more.

    Returns:
        An iterator of `layers` :class:`~lumigrad.Fragments`, each made when it is asked for. They carry gradients as
        those of `rasterize` do.

    Raises:
        TypeError, ValueError: for what `rasterize` refuses, and a negative number of layers; before the first layer.

    Source: Everitt 2001, "Interactive Order-Independent Transparency".

    >>> import torch
    >>> import lumigrad as lg
    >>> corners = torch.tensor([[-1.0, -1.0, 0.0, 1.0], [3.0, -1.0, 0.0, 1.0], [-1.0, 3.0, 0.0, 1.0]])
    >>> behind, front = torch.tensor([0.0, 0.0, 0.5, 0.0]), torch.tensor([0.0, 0.0, -0.5, 0.0])
    >>> pos = torch.cat([corners + behind, corners + front])
    >>> tri = torch.tensor([[0, 1, 2], [3, 4, 5]])
    >>> [(int(frags.tri[0, 1, 1]), float(frags.depth[0, 1, 1])) for frags in lg.peel(pos, tri, (4, 4), layers=3)]
    [(1, -0.5), (0, 0.5), (-1, 0.0)]
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
    if not isinstance(layers, int) or layers < 0:
        raise ValueError(f"layers: expected a non-negative integer, got {layers!r}")
    return peel_layers(pos, tri, ranges, (height, width), layers, bool(derivatives))


def peel_layers(
    pos: Tensor,
    tri: Tensor,
    ranges: Tensor | None,
    size: tuple[int, int],
    layers: int,
    derivatives: bool,
    drop_coincident: bool = False,
) -> Iterator[Fragments]:
    """:func:`peel` on checked arguments; with `drop_coincident` layers must be strictly deeper than those before."""
    if needs_reference("peel", pos, "rasterize"):
        return iter(reference.peel(pos, tri, size, layers, ranges, derivatives, drop_coincident))
    return _peel(pos, tri, ranges, size, layers, derivatives, drop_coincident)


def _peel(
    pos: Tensor,
    tri: Tensor,
    ranges: Tensor | None,
    size: tuple[int, int],
    layers: int,
    derivatives: bool,
    drop_coincident: bool,
) -> Iterator[Fragments]:
    before: tuple[Tensor | None, Tensor | None] = (None, None)
    for _ in range(layers):
        out = _op(pos, tri, ranges, *size, derivatives, True, SUBPIXEL_BITS, False, *before, drop_coincident, False)
        before = out[0], out[4]
        yield Fragments(out[0], out[1], out[2], out[3] if derivatives else None)
