"""Compressed geometry: Draco, through DracoPy, and meshopt, through meshoptimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from lumigrad._optional import require
from lumigrad.io._problems import UnreadableError

_FILTERS = {"OCTAHEDRAL": "decode_filter_oct", "QUATERNION": "decode_filter_quat", "EXPONENTIAL": "decode_filter_exp"}


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
    """A buffer view that meshopt compressed (EXT_meshopt_compression)."""
    library = require("meshoptimizer", "reading meshes that meshopt compressed")
    count, stride, mode = int(entry["count"]), int(entry["byteStride"]), entry.get("mode")
    # The codec needs at least one bit per 16 bytes; larger claims mean damage.
    if not 0 < stride <= 256 or not 0 <= count * stride <= 4096 * (len(data) + 1):
        raise UnreadableError(f"{where} claims {count} elements of {stride} bytes in {len(data)} compressed bytes")
    try:
        if mode == "ATTRIBUTES":
            values = library.decode_vertex_buffer(count, stride, data, dtype=None)
            values = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        elif mode in ("TRIANGLES", "INDICES"):
            decode = library.decode_index_buffer if mode == "TRIANGLES" else library.decode_index_sequence
            return decode(count, 4, data).astype(f"<u{stride}").tobytes()
        else:
            raise UnreadableError(f"{where} has the unknown meshopt mode {mode}")
        kind = entry.get("filter", "NONE")
        if kind not in ("NONE", *_FILTERS):
            raise UnreadableError(f"{where} has the unknown meshopt filter {kind}")
        return (values if kind == "NONE" else getattr(library, _FILTERS[kind])(values.copy(), count, stride)).tobytes()
    except UnreadableError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        raise UnreadableError(f"{where} has meshopt data that cannot be decoded ({error})") from error
