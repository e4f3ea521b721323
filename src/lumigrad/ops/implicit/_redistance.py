"""Restoring signed distances in a grid of values.

Defined by :func:`lumigrad.reference.redistance`; the kernel is ``native/implicit/redistance.h``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.reference.implicit._redistance import check_redistance, settled, signed
from lumigrad.types.grids import Box
from lumigrad.types.shapes import Float


def redistance(
    values: Float[Tensor, "depth height width"], box: Box | None = None, sweeps: int = 64
) -> Float[Tensor, "depth height width"]:
    """Signed distances to the surface on which a grid of values is zero.

    Voxels beside the surface get their distance from where it cuts their edges and keep it, so the surface stays where
    it is; from there, distances grow outwards and inwards by upwind differences. The error is of first order in the
    size of a voxel. NaN counts as outside; beside a value that is not finite, the surface is in the middle of an edge.

    Args:
        values: [D, H, W], negative or zero inside.
        box: two corners [2, 3] of the grid, by default with voxels of size 1 from the origin on.
        sweeps: rounds of sweeps along the axes, both ways, at the most; a few are enough for most surfaces. The host
            waits for each of them.

    Returns:
        [D, H, W], without gradients. Infinite, with the sign of the values, where there is no surface at all.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    Source: Zhao 2005, "A Fast Sweeping Method for Eikonal Equations".

    >>> import torch
    >>> import lumigrad as lg
    >>> lg.redistance(torch.tensor([[[-9.0, 3.0, 1.0, 5.0]]]))  # the surface is at 3/4 of the first edge
    tensor([[[-0.7500,  0.2500,  1.2500,  2.2500]]])
    """
    checked, sweeps, size = check_redistance(values, box, sweeps)
    if needs_reference("redistance", checked, "redistance_round"):
        return reference.redistance(checked, box, sweeps)
    if checked.numel() == 0:
        return checked.clone()
    checked, size = checked.contiguous(), size.contiguous()
    start: Tensor = _start(checked, size)
    return signed(checked, settled(start, size, sweeps, lambda distance: _round(distance, start, size)))


def _start_sizes(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape)


def _round_sizes(distance: Tensor) -> tuple[int, ...]:
    return tuple(distance.shape)


_start = declare(
    "redistance_start(Tensor values, Tensor size)",
    sizes=("depth height width", _start_sizes),
    outputs={"start": "depth height width"},
)
_round = declare(
    "redistance_round(Tensor distance, Tensor start, Tensor size)",
    sizes=("depth height width", _round_sizes),
    outputs={"out": "depth height width"},
)
