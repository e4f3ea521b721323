"""Rows of materials whose last columns may be omitted."""

from __future__ import annotations

from torch import Tensor

from lumigrad.types.light import KIND_COLUMNS, MATERIAL_COLUMNS, MORE_KINDS, MORE_MATERIAL, all_columns


def completed_materials(name: str, rows: Tensor) -> Tensor:
    """Rows of `LitScene.materials` with all columns.

    Raises:
        ValueError: for another number of dimensions or columns.
    """
    return _completed(name, rows, MATERIAL_COLUMNS, MORE_MATERIAL)


def completed_kinds(name: str, rows: Tensor) -> Tensor:
    """The same for `LitScene.kinds`."""
    return _completed(name, rows, KIND_COLUMNS, MORE_KINDS)


def _completed(name: str, rows: Tensor, first: int, more: tuple[float, ...]) -> Tensor:
    most = first + len(more)
    if rows.ndim != 2 or not first <= rows.shape[1] <= most:
        raise ValueError(f"{name}: expected shape [M, {first}] to [M, {most}], got {tuple(rows.shape)}")
    return all_columns(rows, more, first)
