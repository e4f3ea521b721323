"""Data sets with a transforms.json, as NeRF, Blender, instant-ngp and nerfstudio have them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lumigrad.io._photo_files import PhotoFolder, pixels, warn_missing
from lumigrad.io.photos import PosedPhotos
from lumigrad.io.points import load_points, save_points
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.conventions import from_transforms, to_transforms
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types.validation import as_path


class _Frame(NamedTuple):
    """One photograph: its entry, the file's values for all photographs, and whether it is held out."""

    entry: dict[str, Any]
    common: dict[str, Any]
    source: Path
    held_out: bool

    @property
    def name(self) -> str:
        return self.entry["file_path"]


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file, with or without a byte order mark.

    Raises:
        ValueError: no JSON, or no object.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        document = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON, or cut short: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def read_transforms(path: Path, held_out: Path | None, photos: PhotoFolder) -> PosedPhotos:
    """The data set of a transforms.json, and of another one whose photographs are held out.

    Raises:
        FileNotFoundError, ValueError: see `load_dataset`.
    """
    documents = [(path, read_json(path), False)]
    if held_out is not None:
        documents.append((held_out, read_json(held_out), True))
    frames = sorted((frame for one in documents for frame in _frames(*one)), key=lambda frame: frame.name)
    paths = [photos.photo(frame.name) for frame in frames]
    warn_missing(path, [frame.name for frame, found in zip(frames, paths) if found is None], len(frames))
    kept = [(frame, found) for frame, found in zip(frames, paths) if found is not None]
    split = held_out is not None or any(f"{part}_filenames" in documents[0][1] for part in ("train", "val", "test"))
    return PosedPhotos(
        path.parent,
        tuple(found for _, found in kept),
        tuple(_camera(frame, found) for frame, found in kept),
        _points(path, documents[0][1], photos),
        _masks(kept, photos),
        held_out=tuple(number for number, (frame, _) in enumerate(kept) if frame.held_out) if split else None,
    )


def transforms_cameras(path: Path) -> tuple[tuple[str, ...], tuple[PerspectiveCamera, ...]]:
    """Names and cameras of a transforms.json, whose photographs may be missing.

    Raises:
        ValueError: see `load_dataset`; or the file does not give the photographs' size.
    """
    frames = sorted(_frames(path, read_json(path), False), key=lambda frame: frame.name)
    return tuple(frame.name for frame in frames), tuple(_camera(frame, None) for frame in frames)


def _frames(path: Path, document: dict[str, Any], held_out: bool) -> list[_Frame]:
    """The frames of a file. If the file lists frames for training and others, only the listed ones."""
    listed = document.get("frames")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: expected a list 'frames' of at least one photograph")
    for number, frame in enumerate(listed):
        _check_frame(path, number, frame)
    common = {name: value for name, value in document.items() if name != "frames"}
    frames = [_Frame(frame, common, path, held_out) for frame in listed]
    lists = {part: set(document.get(f"{part}_filenames") or ()) for part in ("train", "val", "test")}
    if not any(lists.values()):
        return frames
    kept_out = lists["test"] or lists["val"]
    train = lists["train"] or {frame.name for frame in frames} - lists["test"] - lists["val"]
    unknown = (kept_out | train) - {frame.name for frame in frames}
    if unknown:
        raise ValueError(f"{path}: train, val or test_filenames name {min(unknown)!r}, which is none of the frames")
    return [f._replace(held_out=f.name in kept_out) for f in frames if f.name in kept_out | train]


def _check_frame(path: Path, number: int, frame: Any) -> None:
    if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
        raise ValueError(f"{path}: frame {number} has no file_path")
    matrix = frame.get("transform_matrix")
    rows = isinstance(matrix, list) and len(matrix) in (3, 4)
    if not rows or not all(isinstance(row, list) and len(row) == 4 for row in matrix or []):
        raise ValueError(f"{path}: frame {number} ({frame['file_path']}) has no 4 x 4 transform_matrix")
    if not all(isinstance(value, (int, float)) and abs(value) < float("inf") for row in matrix or [] for value in row):
        raise ValueError(f"{path}: frame {number} ({frame['file_path']}): transform_matrix is not all finite numbers")


def _camera(frame: _Frame, photo: Path | None) -> PerspectiveCamera:
    document = {**frame.common, "frames": [frame.entry]}
    try:
        if photo is not None and not {"w", "h"} <= {**frame.common, **frame.entry}.keys():
            document["w"], document["h"] = pixels(photo)
        return from_transforms(document)[0]
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{frame.source}: frame {frame.name!r}: {error}") from error


def _masks(frames: Sequence[tuple[_Frame, Path]], photos: PhotoFolder) -> tuple[Path | None, ...]:
    """The mask of each photograph: the one that its frame names, or otherwise one in the folder of masks."""
    listed = photos.masks([path for _, path in frames]) or (None,) * len(frames)
    masks, missing = [], []
    for (frame, _), found in zip(frames, listed):
        name = frame.entry.get("mask_path")
        mask = found if name is None else photos.file(str(name))
        if name is not None and mask is None:
            missing.append(name)
        masks.append(mask)
    if missing:
        warnings.warn(
            f"{frames[0][0].source}: {len(missing)} of {len(frames)} masks are missing, such as {missing[0]}; "
            "all pixels of these photographs count",
            stacklevel=2,
        )
    return tuple(masks) if any(mask is not None for mask in masks) else ()


def _points(path: Path, document: dict[str, Any], photos: PhotoFolder) -> PointCloud | None:
    name = document.get("ply_file_path")
    if name is None:
        return None
    found = photos.file(str(name))
    if found is None:
        warnings.warn(f"{path} names the points {name}, which are missing; they are left out", stacklevel=2)
        return None
    return load_points(found)


def save_transforms(data: PosedPhotos, path: str | Path) -> None:
    """Write a `transforms.json`, as instant-ngp and nerfstudio read it; photographs stay where they are.

    Paths in it are relative to its folder. Points are written beside it, as `points.ply`; masks that are alpha channels
    (`masks_are_alpha`) are not a part of the format.

    Args:
        data: the photographs and cameras.
        path: the file, or a folder for a file `transforms.json`.

    Raises:
        ValueError: no photographs, or masks that are alpha channels.

    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.io import PosedPhotos, load_dataset, save_image, save_transforms
    >>> from lumigrad.scene import PerspectiveCamera
    >>> paths = (Path("a.png"), Path("b.png"))
    >>> for path in paths:
    ...     save_image(torch.rand(6, 8, 3), path)
    >>> cameras = tuple(PerspectiveCamera.orbit(angle, 20.0, 4.0, 40.0, (6, 8)) for angle in (0.0, 90.0))
    >>> save_transforms(PosedPhotos(Path("."), paths, cameras, held_out=(1,)), "transforms.json")
    >>> photos = load_dataset("transforms.json")
    >>> [path.name for path in photos.paths], photos.split()
    (['a.png', 'b.png'], ([0], [1]))
    """
    path = as_path("path", path)
    path = path if path.suffix.lower() == ".json" else path / "transforms.json"
    if not len(data):
        raise ValueError("data: expected at least one photograph")
    if data.masks_are_alpha and any(data.masks):
        raise ValueError("data: masks that are alpha channels are not a part of the format; write RGBA photographs")
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [_relative(photo, path.parent) for photo in data.paths]
    frames = []
    for index, (name, camera) in enumerate(zip(names, data.cameras)):
        one = replace(camera, world_to_camera=camera.world_to_camera.double()[None])
        document = to_transforms(one, [name])
        frame = document.pop("frames")[0] | document
        if data.masks and data.masks[index] is not None:
            frame["mask_path"] = _relative(data.masks[index], path.parent)  # type: ignore[arg-type]
        frames.append(frame)
    whole: dict[str, Any] = {}
    if data.held_out is not None:
        train, held_out = ([names[i] for i in part] for part in data.split())
        whole |= {"train_filenames": train, "val_filenames": held_out, "test_filenames": held_out}
    if data.points is not None:
        save_points(data.points, path.parent / "points.ply")
        whole["ply_file_path"] = "points.ply"
    path.write_text(json.dumps({**whole, "frames": frames}, indent=2), encoding="utf-8")


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
