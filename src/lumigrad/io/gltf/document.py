"""A glTF document: its JSON, its buffers, and the arrays in them.

Source: Khronos, glTF 2.0 specification, sections 3.6 (binary data) and 4 (GLB).
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from lumigrad._optional import installed
from lumigrad.io._named_files import find, is_lfs_pointer, read_bytes
from lumigrad.io._problems import Notes, UnreadableError
from lumigrad.io.gltf.compression import meshopt_view

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_SHAPES = {
    "SCALAR": (1, 1),
    "VEC2": (1, 2),
    "VEC3": (1, 3),
    "VEC4": (1, 4),
    "MAT2": (2, 2),
    "MAT3": (3, 3),
    "MAT4": (4, 4),
}
_LARGEST_EMPTY = 2**26  # elements of an accessor without data


class Document:
    """What a glTF file holds.

    Attributes:
        path: the file.
        json: its JSON.
        notes: collects what is left out.
    """

    def __init__(self, path: Path, notes: Notes) -> None:
        self.path, self.notes = path, notes
        data = read_bytes(path)
        self._chunk: memoryview | None = None
        text = data
        if data[:4] == b"glTF":
            text, self._chunk = _split(data)
        try:
            self.json: dict[str, Any] = json.loads(text.decode("utf-8-sig", errors="replace").rstrip("\0 \n\r\t"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise UnreadableError(f"it is no glTF: its JSON cannot be read ({error})") from error
        if not isinstance(self.json, dict) or not isinstance(self.json.get("asset", {}), dict):
            raise UnreadableError("it is no glTF: its JSON is no object")
        _check_version(self.json)
        self._buffers: dict[int, memoryview] = {}
        self._views: dict[int, memoryview] = {}

    def entry(self, kind: str, index: Any, user: str) -> dict[str, Any]:
        """An entry of one of the document's lists.

        Args:
            kind: name of the list, such as "accessors".
            index: which one.
            user: what refers to it, for messages.
        """
        entries = self.json.get(kind, [])
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(entries):
            raise UnreadableError(f"{user} refers to {kind}[{index}]; there are {len(entries)}")
        if not isinstance(entries[index], dict):
            raise UnreadableError(f"{kind}[{index}] is no object")
        return entries[index]

    def view(self, index: Any, user: str) -> memoryview:
        """The bytes of a buffer view."""
        if index not in self._views:
            entry = self.entry("bufferViews", index, user)
            packed = next(
                (e for name, e in entry.get("extensions", {}).items() if name.endswith("_meshopt_compression")), None
            )
            if packed is None or (not installed("meshoptimizer") and self._has_fallback(entry)):
                self._views[index] = self._slice(entry, f"bufferViews[{index}]")
            else:
                source = self._slice(packed, f"bufferViews[{index}]")
                self._views[index] = memoryview(meshopt_view(packed, bytes(source), f"bufferViews[{index}]"))
        return self._views[index]

    def _has_fallback(self, entry: dict[str, Any]) -> bool:
        """Whether a compressed view also exists uncompressed."""
        buffer = self.entry("buffers", entry.get("buffer"), "a view")
        return "uri" in buffer and (
            buffer["uri"].startswith("data:") or find(buffer["uri"], self.path.parent) is not None
        )

    def accessor(self, index: Any, user: str) -> np.ndarray:
        """The array [count, components] of an accessor; normalised integers as float32."""
        entry = self.entry("accessors", index, user)
        where = f"accessors[{index}]"
        array = self._plain(entry, where)
        if "sparse" in entry:
            array = self._sparse(entry, array, where)
        return normalized(array) if entry.get("normalized") else array

    def resource(self, uri: str, what: str) -> bytes:
        """The bytes that a URI holds or names.

        Raises:
            FileNotFoundError: it names a file that is not there.
        """
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            try:
                return base64.b64decode(body) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(body)
            except (binascii.Error, ValueError) as error:
                raise UnreadableError(f"{what} has a data URI that cannot be decoded ({error})") from error
        path = find(uri, self.path.parent)
        if path is None:
            raise FileNotFoundError(f"{what} is '{_short(uri)}', and there is no such file")
        if is_lfs_pointer(path):
            raise UnreadableError(
                f"{path} is a Git LFS pointer, not the file itself; fetch the file with 'git lfs pull'"
            )
        return path.read_bytes()

    def _buffer(self, index: Any, user: str) -> memoryview:
        if index not in self._buffers:
            entry = self.entry("buffers", index, user)
            uri = entry.get("uri")
            if uri is None and self._chunk is not None and index == 0:
                data: bytes | memoryview = self._chunk
            elif uri is None:
                raise UnreadableError(f"buffers[{index}] has no uri, and there is no binary chunk for it")
            else:
                if "://" not in uri and ".." in Path(urllib.parse.unquote(uri).replace("\\", "/")).parts:
                    raise UnreadableError(f"buffers[{index}] is '{uri}', outside the file's folder, which is not read")
                try:
                    data = self.resource(uri, f"buffers[{index}]")
                except FileNotFoundError as error:
                    raise UnreadableError(f"{error} beside it") from error
            length = int(entry.get("byteLength", len(data)))
            if len(data) < length:
                raise UnreadableError(f"buffers[{index}] has {len(data)} bytes of {length}: the file is cut short")
            self._buffers[index] = memoryview(data)
        return self._buffers[index]

    def _slice(self, entry: dict[str, Any], where: str) -> memoryview:
        buffer = self._buffer(entry.get("buffer"), where)
        begin, length = int(entry.get("byteOffset", 0)), int(entry.get("byteLength", 0))
        if begin < 0 or length < 0 or begin + length > len(buffer):
            raise UnreadableError(f"{where} has bytes {begin} to {begin + length} of a buffer of {len(buffer)}")
        return buffer[begin : begin + length]

    def _plain(self, entry: dict[str, Any], where: str) -> np.ndarray:
        """The accessor's own values; zeros where it has no buffer view."""
        count = int(entry.get("count", 0))
        dtype, columns, rows = _layout(entry, where)
        if "bufferView" not in entry:
            if not 0 <= count <= _LARGEST_EMPTY:
                raise UnreadableError(f"{where} has {count} elements and no data")
            return np.zeros((count, columns * rows), dtype)
        data = self.view(entry["bufferView"], where)
        # Columns of matrices begin at multiples of four bytes.
        column = rows * dtype.itemsize if columns == 1 else -(-rows * dtype.itemsize // 4) * 4
        stride = int(self.json["bufferViews"][entry["bufferView"]].get("byteStride", 0)) or column * columns
        begin = int(entry.get("byteOffset", 0))
        end = begin + stride * (count - 1) + column * (columns - 1) + rows * dtype.itemsize if count > 0 else begin
        if count < 0 or begin < 0 or stride <= 0 or end > len(data):
            raise UnreadableError(f"{where} has {count} elements, up to byte {end} of a view of {len(data)}")
        strides = (stride, column, dtype.itemsize)
        array = np.ndarray((count, columns, rows), dtype, data, begin, strides)
        return array.reshape(count, columns * rows)

    def _sparse(self, entry: dict[str, Any], array: np.ndarray, where: str) -> np.ndarray:
        """The values with some of them replaced."""
        sparse = entry["sparse"]
        shared = {"count": sparse.get("count", 0)}
        index = self._plain({**sparse["indices"], **shared, "type": "SCALAR"}, f"{where}.sparse.indices")[:, 0]
        values = self._plain(
            {**sparse["values"], **shared, "type": entry["type"], "componentType": entry["componentType"]},
            f"{where}.sparse.values",
        )
        if len(index) and int(index.max()) >= len(array):
            raise UnreadableError(f"{where}.sparse replaces element {int(index.max())} of {len(array)}")
        array = array.copy()
        array[index] = values
        return array


def normalized(array: np.ndarray) -> np.ndarray:
    """Integers as fractions of the largest value of their type; signed ones are at least -1."""
    if array.dtype.kind not in "iu":
        return array
    values = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    return np.maximum(values, np.float32(-1)) if array.dtype.kind == "i" else values


def _layout(entry: dict[str, Any], where: str) -> tuple[np.dtype, int, int]:
    """Component type, columns and rows of an accessor's elements."""
    component, shape = entry.get("componentType"), entry.get("type")
    if component not in _COMPONENTS or shape not in _SHAPES:
        raise UnreadableError(f"{where} has elements of an unknown kind: type {shape}, componentType {component}")
    return np.dtype(_COMPONENTS[component]), *_SHAPES[shape]


def _split(data: bytes) -> tuple[bytes, memoryview | None]:
    """The JSON and the binary chunk of a GLB file."""
    if len(data) < 20:
        raise UnreadableError("the file is cut short: a GLB file has at least 20 bytes")
    _, version, length = struct.unpack_from("<4sII", data)
    if version != 2:
        raise UnreadableError(f"it is glTF {version}.0; convert it to glTF 2.0, for example with gltf-pipeline")
    if length > len(data):
        raise UnreadableError(f"the file is cut short: it has {len(data)} bytes of {length}")
    chunks: dict[int, memoryview] = {}
    position = 12
    while position + 8 <= len(data):
        size, kind = struct.unpack_from("<II", data, position)
        position += 8
        if position + size > len(data):
            raise UnreadableError(f"the file is cut short: it has {len(data)} bytes of {position + size}")
        chunks.setdefault(kind, memoryview(data)[position : position + size])
        position += size
    if _JSON not in chunks:
        raise UnreadableError("it is no GLB file: it has no JSON chunk")
    return bytes(chunks[_JSON]), chunks.get(_BIN)


def _check_version(document: dict[str, Any]) -> None:
    version = str(document.get("asset", {}).get("version", "2.0"))
    if version.startswith("1") or isinstance(document.get("meshes"), dict):
        raise UnreadableError("it is glTF 1.0; convert it to glTF 2.0, for example with gltf-pipeline")
    minimum = str(document.get("asset", {}).get("minVersion", "2.0"))
    if not version.startswith("2") or minimum > "2.0":
        raise UnreadableError(f"it is of the glTF version '{max(version, minimum) if version else ''}'; expected 2.0")
    if "asset" not in document and "meshes" not in document:
        raise UnreadableError("it is no glTF: its JSON has neither an asset nor meshes")


def _short(uri: str) -> str:
    return uri if len(uri) <= 80 else uri[:77] + "..."
