"""Features of points from tables of several resolutions.

Defined by :func:`lumigrad.reference.hash_encode`; the kernel is ``native/field/hash_encode.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int

MAX_LEVELS = 32
MAX_RESOLUTION = 2**20


def hash_encode(
    x: Float[Tensor, "points axes"],
    tables: Float[Tensor, "levels entries channels"] | Sequence[Float[Tensor, "_ channels"]],
    resolutions: Sequence[int] | Int[Tensor, " levels"],
) -> Float[Tensor, "points features"]:
    """Look points up in grids of several resolutions, whose corners share the rows of tables.

    Level l divides the unit square or cube into N_l = resolutions[l] cells along each axis. Each corner of a cell has a
    row of the level's table with T_l rows. Where all (N_l + 1)^axes corners fit, corner (i, j, k) has the row
    i + (N_l + 1) (j + (N_l + 1) k); otherwise it shares the row (i xor 2654435761 j xor 805459861 k) mod T_l with
    others, in unsigned integers of 32 bits. Between corners, rows are interpolated linearly along each axis.

    Args:
        x: [M, 3] or [M, 2], in [0, 1]; coordinates beyond are clamped.
        tables: [L, T, F], or a list of L tables [T_l, F]. At most 32 levels.
        resolutions: L numbers from 1 to 2^20. A tensor is read by the host.

    Returns:
        [M, L F], the features of the first level first. Gradients reach `x` and `tables`. The gradient of a clamped
        coordinate is zero; at the border between two cells it is that of the upper one. Points that are not finite have
        features of zero and give no gradients.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or resolutions.

    Source: Müller, Evans, Schied and Keller 2022, "Instant neural graphics primitives with a multiresolution hash
    encoding".

    >>> import torch
    >>> import lumigrad as lg
    >>> tables = [torch.tensor([[0.0], [1.0], [0.0], [1.0]]), torch.zeros(7, 1)]  # of 2 x 2 corners, and hashed
    >>> lg.hash_encode(torch.tensor([[0.25, 0.5]]), tables, (1, 16)).tolist()
    [[0.25, 0.0]]
    """
    x = check.floating("x", x)
    if x.dim() != 2 or x.shape[1] not in (2, 3):
        raise ValueError(f"x: expected shape [M, 3] or [M, 2], got {tuple(x.shape)}")
    parts = check_tables(tables, x)
    sides = check_resolutions(resolutions, len(parts))
    if needs_reference("hash_encode", x):
        return reference.hash_encode(x, parts, sides)
    if isinstance(tables, Tensor):
        rows = tables.to(x.dtype).reshape(-1, tables.shape[-1])
    else:
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    return _op(x.contiguous(), rows.contiguous(), [part.shape[0] for part in parts], sides)


def check_tables(tables: Tensor | Sequence[Tensor], x: Tensor) -> list[Tensor]:
    """Check the table of each level."""
    if isinstance(tables, Tensor):
        tables = check.floating("tables", tables, x, "x")
        check.shape("tables", tables, ("L", "T", "F"))
        parts = list(tables)
    elif isinstance(tables, Sequence):
        parts = [check.floating(f"tables[{i}]", table, x, "x") for i, table in enumerate(tables)]
        for i, part in enumerate(parts):
            check.shape(f"tables[{i}]", part, ("T", parts[0].shape[1] if i and parts[0].dim() == 2 else "F"))
    else:
        raise TypeError(f"tables: expected a torch.Tensor or a list of them, got {type(tables).__name__}")
    if not 1 <= len(parts) <= MAX_LEVELS:
        raise ValueError(f"tables: expected 1 to {MAX_LEVELS} levels, got {len(parts)}")
    for part in parts:
        if not part.numel() or part.shape[0] >= 2**31:
            raise ValueError(f"tables: expected 1 to 2^31 - 1 rows and at least one feature, got {tuple(part.shape)}")
    return parts


def check_resolutions(resolutions: Sequence[int] | Tensor, levels: int) -> list[int]:
    if isinstance(resolutions, Tensor):
        if resolutions.is_floating_point() or resolutions.dtype == torch.bool or resolutions.dim() != 1:
            raise TypeError(f"resolutions: expected integers [L], got {check.describe(resolutions)}")
        resolutions = resolutions.tolist()
    try:
        values = list(resolutions)
    except TypeError:
        raise TypeError(f"resolutions: expected integers, got {type(resolutions).__name__}") from None
    if len(values) != levels:
        raise ValueError(f"resolutions: expected {levels} numbers, one for each table, got {len(values)}")
    return [check.integer(f"resolutions[{i}]", value, 1, MAX_RESOLUTION) for i, value in enumerate(values)]


def _sizes(x: Tensor, tables: Tensor, entries: Sequence[int]) -> tuple[int, ...]:
    levels, channels = len(entries), tables.shape[1]
    return *x.shape, levels, channels, levels * channels


_op = declare(
    "hash_encode(Tensor x, Tensor tables, int[] entries, int[] resolutions)",
    sizes=("points axes levels channels features", _sizes),
    outputs={"out": "points features"},
)
