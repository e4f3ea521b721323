"""Data sets of other programs: LLFF, NeuS (DTU, BlendedMVS), and the scanning apps Polycam and Record3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad.io._photo_files import PhotoFolder, natural, pixels, warn_missing
from lumigrad.io._transforms import read_json
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.conventions import from_opencv, from_opengl
from lumigrad.scene.rotations import quaternion_to_matrix

POSES_BOUNDS = "poses_bounds.npy"
NEUS_CAMERAS = ("cameras_sphere.npz", "cameras.npz", "cameras_large.npz")
_POLYCAM = (("corrected_cameras", "corrected_images"), ("cameras", "images"))


def read_llff(folder: Path, photos: PhotoFolder) -> PosedPhotos:
    """Photographs with poses_bounds.npy: a row of 17 numbers for each, in the order of the file names.

    Source: Mildenhall et al. 2019, "Local Light Field Fusion"; the README of its code. The first 15 numbers are a
    matrix [3, 5]: the camera's down, right and backward axes, its position, and height, width and focal length.
    """
    path = folder / POSES_BOUNDS
    rows = _array(path)
    if rows.ndim != 2 or rows.shape[1] not in (15, 17) or not np.isfinite(rows).all():
        raise ValueError(f"{path}: expected finite numbers [photographs, 17], got {list(rows.shape)}")
    paths = photos.listed()
    if len(paths) != len(rows):
        raise ValueError(f"{path}: {len(rows)} cameras, but {len(paths)} photographs in {folder}")
    cameras = []
    for row in torch.from_numpy(rows[:, :15].reshape(-1, 3, 5)):
        down, right, back, position, (height, width, focal) = row.unbind(1)
        pose = torch.stack([right, -down, back, position], dim=1)
        cameras.append(_camera(path, pose, (focal, focal, 0.5 * width, 0.5 * height), (int(height), int(width))))
    return PosedPhotos(folder, tuple(paths), tuple(cameras), masks=photos.masks(paths))


def read_neus(path: Path, photos: PhotoFolder) -> PosedPhotos:
    """Photographs with cameras_sphere.npz: projection matrices `world_mat_i @ scale_mat_i`, for a scene in a unit ball.

    Positions are in that ball, as NeuS, IDR and their successors have them: `scale_mat_0` takes them back to the world.
    Pixels are counted from their centres. Masks become alpha channels.

    Source: Wang et al. 2021, "NeuS"; the README of its code.
    """
    folder = path.parent
    try:
        with np.load(path, allow_pickle=False) as file:
            matrices = {name: file[name] for name in file.files}
    except Exception as error:  # zip files, arrays and pickles can fail in many ways
        raise ValueError(f"cannot read {path}: {error}") from error
    paths = photos.listed()
    numbers = [i for i in range(len(matrices)) if f"world_mat_{i}" in matrices]
    if len(numbers) != len(paths) or not paths:
        raise ValueError(f"{path}: {len(numbers)} cameras (world_mat_0, ...), but {len(paths)} photographs in {folder}")
    cameras = []
    for number, photo in zip(numbers, paths):
        scale = matrices.get(f"scale_mat_{number}", np.eye(4))
        projection = torch.from_numpy(np.asarray(matrices[f"world_mat_{number}"] @ scale, dtype=np.float64)[:3])
        width, height = pixels(photo)
        try:
            rotation, translation, intrinsics = _decomposed(projection)
            cameras.append(from_opencv(rotation, translation, intrinsics, (height, width), integer_centers=True))
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: world_mat_{number}: {error}") from error
    return PosedPhotos(folder, tuple(paths), tuple(cameras), masks=photos.masks(paths), masks_are_alpha=True)


def _decomposed(projection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation [3, 3], translation [3] and intrinsics [3, 3] of a projection matrix [3, 4] of any scale."""
    if not bool(projection.isfinite().all()):
        raise ValueError("expected finite numbers")
    matrix = projection[:, :3]
    if not abs(float(torch.linalg.det(matrix))) > 0:
        raise ValueError("expected a projection matrix of full rank")
    # The inverse of a QR decomposition of the inverse is upper triangular times orthogonal.
    orthogonal, triangular = torch.linalg.qr(torch.linalg.inv(matrix))
    signs = triangular.diagonal().sign()
    rotation, intrinsics = (orthogonal * signs).T, torch.linalg.inv(signs[:, None] * triangular)
    translation = torch.linalg.solve(intrinsics, projection[:, 3])
    if float(torch.linalg.det(rotation)) < 0:  # projection matrices are only known up to their sign
        rotation, translation = -rotation, -translation
    intrinsics = intrinsics / intrinsics[2, 2]
    if abs(float(intrinsics[0, 1])) > 1e-3 * float(intrinsics[0, 0]):
        raise ValueError(f"expected no skew, got {float(intrinsics[0, 1]):g} pixels")
    intrinsics[0, 1] = 0
    return rotation, translation, intrinsics


def polycam_folder(folder: Path) -> Path | None:
    """The folder of key frames in a raw export of Polycam, or None."""
    for place in (folder / "keyframes", folder):
        if any((place / cameras).is_dir() for cameras, _ in _POLYCAM):
            return place
    return None


def read_polycam(folder: Path, photos: PhotoFolder) -> PosedPhotos:
    """A raw export of Polycam: a JSON file for each key frame, of the optimised cameras where there are any.

    Source: Polycam's "polyform": t_00 to t_23 are camera to world, OpenGL axes, y up.
    """
    cameras_name, images_name = next(pair for pair in _POLYCAM if (folder / pair[0]).is_dir())
    source = folder / cameras_name
    files = sorted(source.glob("*.json"), key=natural)
    if not files:
        raise FileNotFoundError(f"no cameras in {source}")
    if photos.images is None:
        photos = PhotoFolder(folder, images_name if (folder / images_name).is_dir() else None)
    paths, cameras, missing = [], [], []
    for file in files:
        found = photos.photo(file.stem)
        if found is None:
            missing.append(file.stem)
            continue
        values = read_json(file)
        try:
            pose = torch.tensor([[float(values[f"t_{i}{j}"]) for j in range(4)] for i in range(3)], dtype=torch.float64)
            intrinsics = tuple(float(values[name]) for name in ("fx", "fy", "cx", "cy"))
            size = int(values["height"]), int(values["width"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: expected a camera of Polycam, lacks or has no number {error}") from error
        paths.append(found)
        cameras.append(_camera(file, pose, intrinsics, size))
    warn_missing(source, missing, len(files))
    return PosedPhotos(folder, tuple(paths), tuple(cameras), masks=photos.masks(paths))


def is_record3d(path: Path) -> bool:
    """Whether a metadata.json is Record3D's."""
    return path.is_file() and {"poses", "K"} <= read_json(path).keys()


def read_record3d(path: Path, photos: PhotoFolder) -> PosedPhotos:
    """An export of Record3D ("EXR + RGB"): metadata.json, and the photographs rgb/0.jpg, rgb/1.jpg, ...

    Source: the app's documentation; poses are quaternions (x, y, z, w) and positions, camera to world, OpenGL axes.
    """
    values = read_json(path)
    try:
        poses = torch.tensor(values["poses"], dtype=torch.float64).reshape(-1, 7)
        matrix = torch.tensor(values["K"], dtype=torch.float64).reshape(3, 3).T
        shared = [float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])]
        own = values.get("perFrameIntrinsicCoeffs") or [shared] * len(poses)
        intrinsics = torch.tensor(own, dtype=torch.float64)[:, :4]
        size = int(values["h"]), int(values["w"])
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f"{path}: expected poses, K, w and h of Record3D: {error}") from error
    if len(intrinsics) != len(poses):
        raise ValueError(f"{path}: {len(poses)} poses, but intrinsics of {len(intrinsics)}")
    paths, cameras, missing = [], [], []
    for number, (pose, lens) in enumerate(zip(poses, intrinsics)):
        found = photos.photo(f"rgb/{number}")
        if found is None:
            missing.append(f"rgb/{number}")
            continue
        rotation = quaternion_to_matrix(pose[[3, 0, 1, 2]])
        paths.append(found)
        cameras.append(_camera(path, torch.cat([rotation, pose[4:, None]], dim=1), lens, size))
    warn_missing(path, missing, len(poses))
    return PosedPhotos(path.parent, tuple(paths), tuple(cameras), masks=photos.masks(paths))


def _camera(source: Path, pose: Tensor, intrinsics: Any, size: tuple[int, int]) -> PerspectiveCamera:
    """A camera from its pose [3, 4], camera to world, and (fx, fy, cx, cy)."""
    try:
        if not all(float(value) > 0 for value in intrinsics[:2]):
            raise ValueError("expected focal lengths above zero")
        fx, fy, cx, cy = intrinsics
        return from_opengl(pose, fx, fy, cx, cy, size)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _array(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise ValueError(f"cannot read {path} as an array: {error}") from error
