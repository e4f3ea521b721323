"""COLMAP's models, in and out: cameras, images and points3D, as text or binary files.

Source: COLMAP's documentation, "Output Format".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.conventions import COLMAP_MODELS, from_colmap, to_colmap
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types.validation import as_path

# Binary files give models by number. Models that lumigrad does not support are listed too, for the error message.
_MODEL_OF_NUMBER = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE",
)  # fmt: skip


class _Intrinsics(NamedTuple):
    model: str
    size: tuple[int, int]
    params: list[float]


@dataclass(frozen=True)
class ColmapModel:
    """A reconstruction.

    Attributes:
        names: of the images, relative to the folder of images, sorted.
        cameras: one float64 camera for each name.
        points: the sparse points with colours in [0, 1], or None where there are none.
    """

    names: tuple[str, ...]
    cameras: tuple[PerspectiveCamera, ...]
    points: PointCloud | None


def has_colmap(folder: Path) -> bool:
    """Whether a folder holds a model."""
    return any((folder / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt"))


def load_colmap(folder: str | Path) -> ColmapModel:
    """Read cameras, images and, where it exists, points3D; .bin is preferred where there are both .bin and .txt.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is cut short or malformed, or has a camera model that lumigrad does not know; names the file.

    >>> from pathlib import Path
    >>> from lumigrad.io import load_colmap
    >>> _ = Path("cameras.txt").write_text("1 PINHOLE 640 480 500 500 320 240")
    >>> _ = Path("images.txt").write_text("1 1 0 0 0 0 0 3 1 photo.png")  # number, rotation, translation, camera, name
    >>> model = load_colmap(".")
    >>> model.names, model.cameras[0].size, model.cameras[0].position[2].item()
    (('photo.png',), (480, 640), -3.0)
    """
    folder = as_path("folder", folder)
    intrinsics = _read(folder, "cameras", _cameras_binary, _cameras_text)
    images = _read(folder, "images", _images_binary, _images_text)
    try:
        points = _read(folder, "points3D", _points_binary, _points_text)
    except FileNotFoundError:
        points = None
    cameras: list[PerspectiveCamera] = []
    images = sorted(images)
    if not images:
        raise ValueError(f"{_file(folder, 'images')}: no images")
    for name, pose, camera in images:
        path = _file(folder, "images")
        if camera not in intrinsics:
            lacking = _file(folder, "cameras").name
            raise ValueError(f"{path}: image {name!r} names camera {camera}, which {lacking} lacks")
        if not np.isfinite(pose).all() or not np.any(pose[:4]):
            raise ValueError(f"{path}: image {name!r} has no valid pose")
        one, values = intrinsics[camera], torch.tensor(pose, dtype=torch.float64)
        cameras.append(from_colmap(values[:4], values[4:], one.model, one.params, one.size))
    return ColmapModel(tuple(name for name, _, _ in images), tuple(cameras), points)


def _file(folder: Path, stem: str) -> Path:
    for suffix in (".bin", ".txt"):
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise FileNotFoundError(f"no {stem}.bin or {stem}.txt in {folder}")


def _read(folder: Path, stem: str, binary: Callable[..., Any], text: Callable[..., Any]) -> Any:
    path = _file(folder, stem)
    try:
        if path.suffix == ".bin":
            source = _Bytes(path.read_bytes())
            found = binary(source)
            source.end()
            return found
        return text(path.read_text(encoding="utf-8-sig").splitlines())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error


class _Bytes:
    """Reads little-endian values one after another; an error says where the data ends."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, pattern: str) -> tuple[Any, ...]:
        first, length = self.at, struct.calcsize("<" + pattern)
        self.skip(length)
        return struct.unpack_from("<" + pattern, self.data, first)

    def skip(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise ValueError(f"cut short: {len(self.data)} bytes, expected at least {self.at + length}")
        self.at += length

    def string(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ValueError("cut short within a name")
        first, self.at = self.at, end + 1
        return self.data[first:end].decode("utf-8")

    def end(self) -> None:
        if self.at != len(self.data):
            raise ValueError(f"malformed: {len(self.data) - self.at} bytes more than its counts say")


def _intrinsics(number: int, model: str, width: int, height: int, params: list[float]) -> _Intrinsics:
    if model not in COLMAP_MODELS:
        raise ValueError(f"camera {number} has the model {model}, expected one of {', '.join(COLMAP_MODELS)}")
    if width < 1 or height < 1 or not np.isfinite(params).all() or not params[0] > 0:
        raise ValueError(f"camera {number} has no valid size and focal length")
    return _Intrinsics(model, (height, width), params)


def _count(model: str) -> int:
    focals, _, names = COLMAP_MODELS[model]
    return focals + 2 + len(names)


def _cameras_binary(source: _Bytes) -> dict[int, _Intrinsics]:
    found = {}
    for _ in range(source.take("Q")[0]):
        number, code, width, height = source.take("iiQQ")
        model = _MODEL_OF_NUMBER[code] if 0 <= code < len(_MODEL_OF_NUMBER) else f"number {code}"
        count = _count(model) if model in COLMAP_MODELS else 0
        found[number] = _intrinsics(number, model, width, height, list(source.take(f"{count}d")) or [0.0])
    return found


def _images_binary(source: _Bytes) -> list[tuple[str, list[float], int]]:
    found = []
    for _ in range(source.take("Q")[0]):
        _, *pose, camera = source.take("i7di")
        name = source.string()
        source.skip(24 * source.take("Q")[0])  # the observations of its points
        found.append((name, pose, camera))
    return found


def _points_binary(source: _Bytes) -> PointCloud | None:
    rows = []
    for _ in range(source.take("Q")[0]):
        _, *row, _, track = source.take("Q3d3BdQ")
        source.skip(8 * track)
        rows.append(row)
    return _cloud(rows)


def _cloud(rows: list[list[float]]) -> PointCloud | None:
    if not rows:
        return None
    values = torch.tensor(rows, dtype=torch.float64)
    if not bool(values.isfinite().all()):
        raise ValueError("malformed: a point that is not finite")
    return PointCloud(values[:, :3].float(), (values[:, 3:] / 255).float())


def _fields(lines: list[str], min_count: int) -> list[tuple[int, list[str]]]:
    """Line numbers and words of the lines that are neither empty nor comments."""
    rows = [(i + 1, line.split()) for i, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    for number, words in rows:
        if len(words) < min_count:
            raise ValueError(f"line {number}: expected at least {min_count} values, got {len(words)}")
    return rows


def _numbers(kind: type, words: list[str], line: int) -> list[Any]:
    try:
        return [kind(word) for word in words]
    except ValueError:
        raise ValueError(f"line {line}: expected numbers, got {' '.join(words)[:60]!r}") from None


def _cameras_text(lines: list[str]) -> dict[int, _Intrinsics]:
    found = {}
    for line, words in _fields(lines, 5):
        number, width, height = _numbers(int, [words[0], *words[2:4]], line)
        params = _numbers(float, words[4:], line)
        if words[1] in COLMAP_MODELS and len(params) != _count(words[1]):
            raise ValueError(f"line {line}: expected {_count(words[1])} parameters of {words[1]}, got {len(params)}")
        found[number] = _intrinsics(number, words[1], width, height, params)
    return found


def _images_text(lines: list[str]) -> list[tuple[str, list[float], int]]:
    found = []
    # Each image has two lines; the second, with its points, may be empty.
    rows = [(i + 1, line) for i, line in enumerate(lines) if not line.startswith("#")]
    while rows and not rows[0][1].strip():
        rows.pop(0)
    for number, line in rows[::2]:
        if not line.strip():
            break
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise ValueError(f"line {number}: expected 10 values of an image, got {len(words)}")
        (camera,) = _numbers(int, words[8:9], number)
        found.append((words[9].strip(), _numbers(float, words[1:8], number), camera))
    return found


def _points_text(lines: list[str]) -> PointCloud | None:
    return _cloud([_numbers(float, words[1:7], line) for line, words in _fields(lines, 8)])


# ---- Writing -------------------------------------------------------------------------------------------------------


class _Image(NamedTuple):
    name: str
    pose: list[float]
    camera: int


def save_colmap(data: ColmapModel | PosedPhotos, folder: str | Path, binary: bool = True) -> None:
    """Write cameras, images and points3D; photographs stay where they are, and points have no tracks.

    Cameras with the same intrinsics are one of COLMAP's. Images are named relative to the folder that all of them lie
    in, which other programs are to be given as the folder of images.

    Args:
        data: a model, or photographs as `load_dataset` reads them.
        folder: for the three files, such as `sparse/0`.
        binary: .bin files; .txt files otherwise.

    Raises:
        ValueError: no cameras.

    >>> import torch
    >>> from lumigrad.io import ColmapModel, load_colmap, save_colmap
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> cameras = tuple(PerspectiveCamera.orbit(angle, 20.0, 4.0, 40.0, (6, 8)) for angle in (0.0, 90.0))
    >>> save_colmap(ColmapModel(("a.png", "b.png"), cameras, PointCloud(torch.rand(5, 3))), "model", binary=False)
    >>> model = load_colmap("model")
    >>> model.names, len(model.points)
    (('a.png', 'b.png'), 5)
    >>> torch.allclose(model.cameras[1].position.float(), cameras[1].position, atol=1e-5)
    True
    """
    model = data if isinstance(data, ColmapModel) else ColmapModel(_names(data), data.cameras, data.points)
    if not model.cameras:
        raise ValueError("data: expected at least one camera")
    intrinsics: dict[tuple[Any, ...], int] = {}
    images = []
    for name, camera in zip(model.names, model.cameras):
        quaternion, translation, lens, params = to_colmap(camera.to(torch.float64))
        key = (*_simplest(lens, params), camera.size)
        number = intrinsics.setdefault(key, len(intrinsics) + 1)
        images.append(_Image(name, [*quaternion.tolist(), *translation.tolist()], number))
    files = {
        "cameras": (_binary_cameras, _text_cameras)[not binary](intrinsics),
        "images": (_binary_images, _text_images)[not binary](images),
        "points3D": (_binary_points, _text_points)[not binary](model.points),
    }
    folder = as_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, content in files.items():
        (folder / f"{stem}.{'bin' if binary else 'txt'}").write_bytes(content)


def _names(data: PosedPhotos) -> tuple[str, ...]:
    """The photographs' names relative to their common folder."""
    common = os.path.commonpath([path.resolve().parent for path in data.paths]) if data.paths else ""
    return tuple(path.resolve().relative_to(common).as_posix() for path in data.paths)


def _simplest(model: str, params: torch.Tensor) -> tuple[str, tuple[float, ...]]:
    """The equivalent model with the fewest parameters, because few programs read FULL_OPENCV."""
    values = tuple(params.tolist())
    for simpler in ("PINHOLE", "OPENCV"):
        if model != "OPENCV_FISHEYE" and not any(values[_count(simpler) :]):
            return simpler, values[: _count(simpler)]
    return model, values


def _binary_cameras(intrinsics: dict[tuple[Any, ...], int]) -> bytes:
    parts = [struct.pack("<Q", len(intrinsics))]
    for (model, params, (height, width)), number in intrinsics.items():
        parts.append(struct.pack("<iiQQ", number, _MODEL_OF_NUMBER.index(model), width, height))
        parts.append(struct.pack(f"<{len(params)}d", *params))
    return b"".join(parts)


def _text_cameras(intrinsics: dict[tuple[Any, ...], int]) -> bytes:
    lines = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    for (model, params, (height, width)), number in intrinsics.items():
        lines.append(f"{number} {model} {width} {height} {_words(params)}")
    return _lines(lines)


def _binary_images(images: list[_Image]) -> bytes:
    parts = [struct.pack("<Q", len(images))]
    for number, image in enumerate(images, start=1):
        parts.append(struct.pack("<i7di", number, *image.pose, image.camera))
        parts.append(image.name.encode() + b"\0" + struct.pack("<Q", 0))
    return b"".join(parts)


def _text_images(images: list[_Image]) -> bytes:
    lines = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, image in enumerate(images, start=1):
        lines += [f"{number} {_words(image.pose)} {image.camera} {image.name}", ""]
    return _lines(lines)


def _rows(points: PointCloud | None) -> Iterator[tuple[int, list[float], list[int]]]:
    """Number, position and 8-bit colour of each point; white where there are no colours."""
    if points is None:
        return
    colors = torch.ones_like(points.positions) if points.colors is None else points.colors[:, :3]
    levels = (colors.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).tolist()
    positions = points.positions.detach().double().cpu().tolist()
    yield from zip(range(1, len(positions) + 1), positions, levels)


def _binary_points(points: PointCloud | None) -> bytes:
    parts = [struct.pack("<Q3d3BdQ", number, *place, *level, 0.0, 0) for number, place, level in _rows(points)]
    return struct.pack("<Q", len(parts)) + b"".join(parts)


def _text_points(points: PointCloud | None) -> bytes:
    lines = [f"{number} {_words(place)} {_words(level)} 0" for number, place, level in _rows(points)]
    return _lines(["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)", *lines])


def _words(values: Any) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def _lines(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()
