"""Posed photographs: folders with a transforms.json (NeRF, Blender) or with a COLMAP model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lumigrad._optional import require
from lumigrad.io.colmap import load_colmap
from lumigrad.io.image import load_image
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.conventions import from_transforms
from lumigrad.scene.cameras.undistort import undistort_image
from lumigrad.scene.shapes.point_cloud import PointCloud

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
# Where a COLMAP model usually lies.
_MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")


@dataclass(frozen=True)
class PosedPhotos:
    """Photographs, their cameras, and the points of the reconstruction.

    Attributes:
        folder: where the data set is.
        paths: one file per photograph, in the order of the file names.
        cameras: one float64 camera per photograph, with the lens distortion that the data set gives.
        points: sparse points of the reconstruction, or None.
    """

    folder: Path
    paths: tuple[Path, ...]
    cameras: tuple[PerspectiveCamera, ...]
    points: PointCloud | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> tuple[Tensor, PerspectiveCamera]:
        """One photograph, float32 [H, W, 3 or 4] as it is in the file, and its camera at that resolution.

        Raises:
            FileNotFoundError, ValueError: the file is missing, no image, or has another aspect ratio than the camera.
        """
        image = load_image(self.paths[index], orient=False)  # poses are those of the stored pixels
        size, camera = (image.shape[0], image.shape[1]), self.cameras[index]
        if size == camera.size:
            return image, camera
        # Copies of lower resolution are common; their sizes are rounded.
        scales = size[0] / camera.size[0], size[1] / camera.size[1]
        if abs(scales[0] / scales[1] - 1) > 0.02:
            expected = f"{camera.size[1]} x {camera.size[0]}"
            raise ValueError(f"{self.paths[index]}: {size[1]} x {size[0]} pixels, but its camera has {expected}")
        return image, camera.resized(size)

    def load_undistorted(self, index: int) -> tuple[Tensor, Tensor, PerspectiveCamera]:
        """One photograph without distortion: image, covered pixels and camera, as from `undistort_image`."""
        return undistort_image(*self.load(index))

    def split(self, every: int = 8) -> tuple[list[int], list[int]]:
        """Indices to train on, and indices held out: every `every`-th, beginning with the first.

        Raises:
            ValueError: `every` below 2, or fewer than two photographs.
        """
        if every < 2:
            raise ValueError(f"every: expected at least 2, got {every}")
        if len(self) < 2:
            raise ValueError(f"{self.folder}: expected at least two photographs, one to hold out, got {len(self)}")
        held_out = list(range(0, len(self), every))
        return sorted(set(range(len(self))) - set(held_out)), held_out


def load_dataset(folder: str | Path) -> PosedPhotos:
    """Find and read cameras and points; photographs are read on demand.

    Args:
        folder: with `transforms.json` (or the path of such a file), or with a COLMAP model in `sparse/0`, `sparse` or
            the folder itself, and its photographs in `images` or the folder itself.

    Raises:
        FileNotFoundError: there is no data set, or a photograph that it names is missing.
        ValueError: a file is cut short or malformed; the message names it and what is wrong.

    >>> import json
    >>> import math
    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.io import load_dataset, save_image
    >>> save_image(torch.rand(6, 8, 3), "photo.png")
    >>> pose = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]
    >>> frame = {"file_path": "photo.png", "transform_matrix": pose}
    >>> document = {"w": 8, "h": 6, "camera_angle_x": math.pi / 2, "frames": [frame]}
    >>> _ = Path("transforms.json").write_text(json.dumps(document))
    >>> photos = load_dataset(".")
    >>> image, camera = photos.load(0)
    >>> image.shape, camera.position.tolist()
    (torch.Size([6, 8, 3]), [0.0, 0.0, 4.0])
    """
    folder = Path(folder)
    if folder.is_file():
        return _from_transforms(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such data set: {folder}")
    if (folder / "transforms.json").is_file():
        return _from_transforms(folder / "transforms.json")
    if (folder / "transforms_train.json").is_file():
        return _from_transforms(folder / "transforms_train.json")
    for name in _MODEL_FOLDERS:
        if any((folder / name / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt")):
            return _from_colmap(folder, folder / name)
    raise FileNotFoundError(f"no transforms.json and no COLMAP model (cameras.bin or cameras.txt) in {folder}")


def _from_colmap(folder: Path, model: Path) -> PosedPhotos:
    read = load_colmap(model)
    images = folder / "images" if (folder / "images").is_dir() else folder
    paths = tuple(_existing(images / name, model) for name in read.names)
    return PosedPhotos(folder, paths, read.cameras, read.points)


def _from_transforms(path: Path) -> PosedPhotos:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON, or cut short: {error}") from error
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"{path}: expected a list 'frames' of at least one photograph")
    for number, frame in enumerate(frames):
        _check_frame(path, number, frame)
    frames = sorted(frames, key=lambda frame: frame["file_path"])
    paths = tuple(_existing(path.parent / frame["file_path"], path) for frame in frames)
    cameras = []
    for photo, frame in zip(paths, frames, strict=True):
        merged = {**{k: v for k, v in document.items() if k != "frames"}, **frame}
        if "w" not in merged or "h" not in merged:
            merged["w"], merged["h"] = _pixels(photo)
        try:
            one = from_transforms({**merged, "frames": [{}]})
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{path}: frame {frame['file_path']!r}: {error}") from error
        cameras.append(one[0])
    return PosedPhotos(path.parent, paths, tuple(cameras))


def _check_frame(path: Path, number: int, frame: Any) -> None:
    if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
        raise ValueError(f"{path}: frame {number} has no file_path")
    matrix = frame.get("transform_matrix")
    rows = isinstance(matrix, list) and len(matrix) in (3, 4)
    if not rows or not all(isinstance(row, list) and len(row) == 4 for row in matrix or []):
        raise ValueError(f"{path}: frame {number} ({frame['file_path']}) has no 4 x 4 transform_matrix")
    if not all(isinstance(value, (int, float)) and abs(value) < float("inf") for row in matrix or [] for value in row):
        raise ValueError(f"{path}: frame {number} ({frame['file_path']}): transform_matrix is not all finite numbers")


def _existing(path: Path, named_by: Path) -> Path:
    for suffix in _SUFFIXES:
        found = path.with_name(path.name + suffix)
        if found.is_file():
            return found
    raise FileNotFoundError(f"{named_by} names the photograph {path}, which is missing")


def _pixels(path: Path) -> tuple[int, int]:
    pillow = require("PIL.Image", "lumigrad.io.load_dataset")
    try:
        with pillow.open(path) as picture:
            return picture.size
    except OSError as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from error
