"""Cameras alone: of photo sets whose photographs need not be there, and of glTF files."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.io._transforms import read_json, transforms_cameras
from lumigrad.io.colmap import has_colmap, load_colmap
from lumigrad.io.dataset import load_dataset, model_folders
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.cameras.orthographic import OrthographicCamera
from lumigrad.scene.cameras.pose import affine_inverse, quaternion_to_matrix


def named_cameras(
    path: str | Path, size: tuple[int, int] = (512, 512)
) -> tuple[tuple[str, ...], tuple[PerspectiveCamera | OrthographicCamera, ...]]:
    """Names and cameras of a file or folder.

    Args:
        path: `transforms.json`, whose photographs need not be there; a COLMAP model, or a folder with one; another data
            set as `load_dataset` reads it; or a glTF file, whose cameras are those of its nodes.
        size: (height, width) of the images of glTF's cameras, which have none. Where a camera has an aspect ratio,
            the width follows from it.

    Returns:
        float64 cameras, in the order of the names of photographs, or of the nodes of glTF.

    Raises:
        FileNotFoundError: there is no such file, or nothing with cameras in the folder.
        ValueError: a file that is cut short or malformed, or that has no cameras.
    """
    path = Path(path)
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
    document = _gltf_document(path)
    nodes, lenses = document.get("nodes", []), document.get("cameras", [])
    names: list[str] = []
    cameras: list[Camera] = []
    try:
        for number, matrix in _world_matrices(nodes).items():
            if "camera" not in nodes[number]:
                continue
            lens = lenses[nodes[number]["camera"]]
            names.append(str(nodes[number].get("name") or lens.get("name") or f"camera {len(names)}"))
            cameras.append(_gltf_camera(lens, matrix, size))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: malformed nodes or cameras: {error}") from error
    if not cameras:
        raise ValueError(f"{path}: no node has a camera")
    return tuple(names), tuple(cameras)


def _gltf_document(path: Path) -> dict[str, Any]:
    """The JSON of a glTF file, text or binary."""
    data = path.read_bytes()
    if data[:4] != b"glTF":
        return read_json(path)
    try:
        length = struct.unpack_from("<I", data, 12)[0]
        document = json.loads(data[20 : 20 + length])
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path}: no glTF, or cut short: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def _world_matrices(nodes: Sequence[dict[str, Any]]) -> dict[int, Tensor]:
    """The matrix [4, 4] of each node in the world, by its number."""
    children = {child for node in nodes for child in node.get("children", [])}
    found: dict[int, Tensor] = {}
    waiting = [(number, torch.eye(4, dtype=torch.float64)) for number in range(len(nodes)) if number not in children]
    while waiting:
        number, above = waiting.pop()
        if number in found:
            raise ValueError(f"node {number} has two parents")
        found[number] = above @ _local_matrix(nodes[number])
        waiting += [(child, found[number]) for child in nodes[number].get("children", [])]
    return dict(sorted(found.items()))


def _local_matrix(node: dict[str, Any]) -> Tensor:
    if "matrix" in node:
        return torch.tensor(node["matrix"], dtype=torch.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    matrix = torch.eye(4, dtype=torch.float64)
    rotation = quaternion_to_matrix(torch.tensor([w, x, y, z], dtype=torch.float64))
    matrix[:3, :3] = rotation * torch.tensor(node.get("scale", (1.0, 1.0, 1.0)), dtype=torch.float64)
    matrix[:3, 3] = torch.tensor(node.get("translation", (0.0, 0.0, 0.0)), dtype=torch.float64)
    return matrix


def _gltf_camera(lens: dict[str, Any], pose: Tensor, size: tuple[int, int]) -> Camera:
    """A camera that looks along -z of its node, whose scale does not count."""
    pose = pose.clone()
    pose[:3, :3] = torch.nn.functional.normalize(pose[:3, :3], dim=0)
    view = affine_inverse(pose)
    if lens["type"] == "orthographic":
        values = lens["orthographic"]
        across, up = float(values["xmag"]), float(values["ymag"])
        size = (size[0], max(1, round(size[0] * across / up)))
        return OrthographicCamera.from_height(2 * up, size, view, float(values["znear"]), float(values["zfar"]))
    values = lens["perspective"]
    if "aspectRatio" in values:
        size = (size[0], max(1, round(size[0] * float(values["aspectRatio"]))))
    near = float(values["znear"])
    return PerspectiveCamera.from_fov(
        math.degrees(float(values["yfov"])), size, view, near, float(values.get("zfar", 1e5 * near))
    )
