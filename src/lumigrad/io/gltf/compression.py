"""Compressed geometry: Draco, through DracoPy, and meshopt."""

from __future__ import annotations

from typing import Any

import numpy as np

from lumigrad._optional import require
from lumigrad.io._problems import UnreadableError


def draco_arrays(data: bytes, ids: dict[str, int], where: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The faces [F, 3] and attributes [V, C], by name, of a Draco mesh (KHR_draco_mesh_compression).

    Args:
        data: the compressed mesh.
        ids: Draco's number of each attribute.
        where: what is compressed, for messages.
    """
    library = require("DracoPy", "reading Draco-compressed meshes")
    try:
        mesh = library.decode(data)
        faces = np.asarray(mesh.faces).reshape(-1, 3)
        found = {name: np.asarray(mesh.get_attribute_by_unique_id(number)["data"]) for name, number in ids.items()}
    except Exception as error:  # the decoder's own kinds of errors
        raise UnreadableError(f"{where} has Draco data that cannot be decoded ({error})") from error
    return faces, {name: array.reshape(len(array), -1) for name, array in found.items()}


def meshopt_view(entry: dict[str, Any], data: bytes, where: str) -> bytes:
    """A buffer view that meshopt compressed."""
    raise UnreadableError(
        f"{where} is compressed with meshopt, which is not supported; decompress it with gltfpack -noq"
    )
