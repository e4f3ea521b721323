"""Meshes and points as binary PLY files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_NAMES = {"f4": "float", "u1": "uchar", "i4": "int"}


def write(
    path: Path, vertices: dict[str, np.ndarray], faces: np.ndarray | None = None, comments: Sequence[str] = ()
) -> None:
    """Write vertices, columns [V] of float32 or uint8 by name, and triangles [F, 3]."""
    names = {name: array.dtype.str[1:] for name, array in vertices.items()}
    count = len(next(iter(vertices.values())))
    rows = np.zeros(count, [(name, "<" + kind) for name, kind in names.items()])
    for name, array in vertices.items():
        rows[name] = array
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    header += [f"element vertex {count}", *(f"property {_NAMES[kind]} {name}" for name, kind in names.items())]
    body = rows.tobytes()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        table = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        table["count"], table["corners"] = 3, faces
        body += table.tobytes()
    path.write_bytes("\n".join([*header, "end_header", ""]).encode("ascii", errors="replace") + body)


def color_columns(colors: np.ndarray) -> dict[str, np.ndarray]:
    """8-bit columns of colours [V, 1, 3 or 4] in [0, 1]."""
    values = (np.clip(np.nan_to_num(colors.astype(np.float64)), 0, 1) * 255 + 0.5).astype(np.uint8)
    if values.shape[1] == 1:
        values = values.repeat(3, axis=1)
    return dict(zip(("red", "green", "blue", "alpha"), values.T))
