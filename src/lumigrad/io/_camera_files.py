"""Reading only cameras: from photo sets, whose photographs may be missing, and from glTF files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lumigrad.io._transforms import read_json, transforms_cameras
from lumigrad.io.colmap import has_colmap, load_colmap
from lumigrad.io.dataset import load_dataset, model_folders
from lumigrad.io.gltf import scene as gltf
from lumigrad.io.scene import of_document
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.orthographic import OrthographicCamera
from lumigrad.types.validation import as_path


def named_cameras(
    path: str | Path, size: tuple[int, int] = (512, 512)
) -> tuple[tuple[str, ...], tuple[PerspectiveCamera | OrthographicCamera, ...]]:
    """Names and cameras of a file or folder.

    Args:
        path: `transforms.json`, whose photographs may be missing; a COLMAP model, or a folder with one; another data
            set as `load_dataset` reads it; or a glTF file, whose cameras are those of its nodes.
        size: (height, width) of the images of glTF's cameras, which have none. Where a camera has an aspect ratio,
            the width follows from it.

    Returns:
        float64 cameras, in the order of the names of photographs, or of the nodes of glTF.

    Raises:
        FileNotFoundError: there is no such file, or nothing with cameras in the folder.
        ValueError: a file that is cut short or malformed, or that has no cameras.
    """
    path = as_path("path", path)
    if path.suffix.lower() in (".gltf", ".glb") and path.is_file():
        return _gltf_cameras(path, size)
    if path.suffix.lower() == ".json" and path.is_file() and "frames" in read_json(path):
        return transforms_cameras(path)
    for file in (path / "transforms.json", path / "transforms_train.json"):
        if file.is_file():
            return transforms_cameras(file)
    model = next((folder for folder in model_folders(path) if has_colmap(folder)), None)
    if model is not None:
        read = load_colmap(model)
        return read.names, read.cameras
    data = load_dataset(path)
    return tuple(photo.name for photo in data.paths), data.cameras


def _gltf_cameras(path: Path, size: tuple[int, int]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    found = of_document(path, lambda document: gltf.cameras(document, size, own_aspect=True))
    if not found:
        raise ValueError(f"{path}: no node has a camera")
    names, cameras = zip(*found)
    return names, cameras
