"""Data sets of posed photographs, from many programs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lumigrad.io._captures import (
    NEUS_CAMERAS,
    POSES_BOUNDS,
    is_record3d,
    polycam_folder,
    read_llff,
    read_neus,
    read_polycam,
    read_record3d,
)
from lumigrad.io._photo_files import PhotoFolder, warn_missing
from lumigrad.io._transforms import read_transforms
from lumigrad.io.colmap import has_colmap, load_colmap
from lumigrad.io.photos import PosedPhotos
from lumigrad.types.validation import as_path

__all__ = ["PosedPhotos", "load_dataset"]

# Usual folders of a COLMAP model.
_MODEL_FOLDERS = (
    "sparse/0", "sparse", "sparse/1", "colmap/sparse/0", "colmap/sparse", "colmap_sparse/0", "sparse_txt",
    "colmap_text", ".",
)  # fmt: skip
_WANTED = (
    "no transforms.json, no COLMAP model (cameras.bin or cameras.txt in sparse/0, sparse or sparse_txt), no "
    "poses_bounds.npy (LLFF), no cameras_sphere.npz (NeuS), no keyframes (Polycam) and no metadata.json (Record3D)"
)


def load_dataset(
    folder: str | Path,
    images: str | Path | None = None,
    test: int | str | Path | None = None,
    downscale: int = 1,
) -> PosedPhotos:
    """Find and read cameras and points; photographs are read on demand.

    Photographs are looked for where the data set says, and else by name in the folders `images`, `input`, `image`,
    `rgb` and `images_2`, `images_4`, `images_8`. Those that are missing are left out, with a warning that counts them.

    Args:
        folder: with one of these, or the path of such a file: `transforms.json` or `transforms_train.json` (NeRF,
            Blender, instant-ngp, nerfstudio); a COLMAP model in `sparse/0`, `sparse`, `sparse_txt`, ... or the folder
            itself; `poses_bounds.npy` (LLFF); `cameras_sphere.npz` (NeuS: DTU, BlendedMVS); `keyframes` (Polycam's raw
            data); `metadata.json` (Record3D).
        images: folder of the photographs, in place of the data set's own: a path or a name in `folder`.
        test: what is held out: every how many photographs one, or a text file with a name on each line, or "val" for
            `transforms_val.json` in place of `transforms_test.json`. By default what the data set says, if it does.
        downscale: load photographs at one over this of their camera's size: from a folder `images_<downscale>` if there
            is one, otherwise by averaging.

    Raises:
        FileNotFoundError: there is no data set, or all photographs are missing.
        ValueError: a file is cut short or malformed, or has cameras of a kind that is not known; the message names it.

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
    folder = as_path("folder", folder)
    if not folder.exists():
        raise FileNotFoundError(f"no such data set: {folder}")
    root = folder if folder.is_dir() else folder.parent
    if images is None and downscale > 1 and (root / f"images_{downscale}").is_dir():
        images = f"images_{downscale}"
    data = _read(folder, PhotoFolder(root, images), "val" if test == "val" else "test")
    data = replace(data, downscale=downscale)
    return data if test is None or test == "val" else replace(data, held_out=_held_out(data, test))


def model_folders(folder: Path) -> list[Path]:
    """Possible folders of COLMAP's model in a data set."""
    return [folder / name for name in _MODEL_FOLDERS]


def _read(path: Path, photos: PhotoFolder, split: str) -> PosedPhotos:
    """The data set at a path, according to the files that exist."""
    if path.is_file():
        return _read_file(path, photos)
    if (path / "transforms.json").is_file():
        return read_transforms(path / "transforms.json", None, photos)
    if (path / "transforms_train.json").is_file():
        others = [split, *({"test", "val"} - {split})]
        held_out = next((p for name in others if (p := path / f"transforms_{name}.json").is_file()), None)
        return read_transforms(path / "transforms_train.json", held_out, photos)
    models = [folder for folder in model_folders(path) if has_colmap(folder)]
    if models:
        return _read_colmap(path, models, photos)
    if (path / POSES_BOUNDS).is_file():
        return read_llff(path, photos)
    for name in NEUS_CAMERAS:
        if (path / name).is_file():
            return read_neus(path / name, photos)
    keyframes = polycam_folder(path)
    if keyframes is not None:
        return read_polycam(keyframes, photos)
    if is_record3d(path / "metadata.json"):
        return read_record3d(path / "metadata.json", photos)
    raise FileNotFoundError(f"{_WANTED} in {path}")


def _read_file(path: Path, photos: PhotoFolder) -> PosedPhotos:
    if path.name == POSES_BOUNDS:
        return read_llff(path.parent, photos)
    if path.suffix.lower() == ".npz":
        return read_neus(path, photos)
    if path.name == "metadata.json" and is_record3d(path):
        return read_record3d(path, photos)
    if path.suffix.lower() != ".json":
        raise ValueError(f"{path}: expected transforms.json, poses_bounds.npy, cameras_sphere.npz or a folder")
    return read_transforms(path, None, photos)


def _read_colmap(folder: Path, models: list[Path], photos: PhotoFolder) -> PosedPhotos:
    model = models[0]
    if {"0", "1"} <= {path.name for path in models if path.parent.name == "sparse"}:
        warnings.warn(f"{folder}: COLMAP made several models; {model} is used, give another one's path", stacklevel=2)
    if model == folder and photos.images is None and not photos.listed():
        # The given path is the model's own folder: photographs lie beside or above it.
        above = [folder, *folder.resolve().parents][:4]
        photos = next((p for p in map(PhotoFolder, above) if p.listed()), photos)
    read = load_colmap(model)
    paths = [photos.photo(name) for name in read.names]
    warn_missing(model, [name for name, found in zip(read.names, paths) if found is None], len(paths))
    kept = [i for i, found in enumerate(paths) if found is not None]
    found = [path for path in paths if path is not None]
    return PosedPhotos(
        folder,
        tuple(found),
        tuple(read.cameras[i] for i in kept),
        read.points,
        photos.masks(found),
    )


def _held_out(data: PosedPhotos, test: int | str | Path) -> tuple[int, ...]:
    """Numbers of the photographs that are held out."""
    if isinstance(test, int):
        if test < 2:
            raise ValueError(f"test: expected a number of at least 2, got {test}")
        return tuple(range(0, len(data), test))
    path = Path(test)
    if not path.is_file():
        raise FileNotFoundError(f"test: expected a number, 'val' or a file with a name on each line, got {test}")
    wanted = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not wanted:
        raise ValueError(f"{path}: it is empty: expected the name of a photograph on each line")
    return tuple(sorted({_numbered(name, data.paths, path) for name in wanted}))


def _numbered(name: str, photos: Sequence[Path], source: Path) -> int:
    """The number of the photograph that a line of a file refers to; folders count if names alone are ambiguous."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    found = [n for n, photo in enumerate(photos) if parts[-1] in (photo.name, photo.stem)]
    for first in range(len(parts) - 2, -1, -1):
        inner = tuple(parts[first:-1])
        found = [n for n in found if photos[n].parent.parts[-len(inner) :] == inner] or found
    if not found:
        raise ValueError(f"{source}: {name} is none of the photographs")
    if len(found) > 1:
        one, other = (photos[n] for n in found[:2])
        raise ValueError(f"{source}: {name} may be {one} or {other}; expected a name with its folder")
    return found[0]
