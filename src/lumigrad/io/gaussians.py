"""Gaussians and surfels in files: PLY as 3D and 2D Gaussian splatting write them, compressed PLY, .splat and .spz."""

from __future__ import annotations

import warnings
from pathlib import Path

from lumigrad.io import _splat_file, _splat_ply, _spz
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.types.validation import as_path, instance

READERS = {".ply": _splat_ply.load, ".splat": _splat_file.load, ".spz": _spz.load}
SUFFIXES = ", ".join(READERS)


def load_gaussians(path: str | Path) -> GaussianCloud | SurfelCloud:
    """Read Gaussians, float32 on the CPU, in the file's order.

    Args:
        path: PLY, as 3D Gaussian splatting writes it, or compressed by PlayCanvas or SuperSplat; .splat; .spz (versions
            1 to 4). A PLY file of 2D Gaussian splatting, whose Gaussians have two scales, gives a `SurfelCloud`.

    Returns:
        The cloud. Axes are those of the file; those of .spz files are turned by half a turn about x, so that they are
        the same as in a PLY file of the same scene.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another format, is cut short, or lacks properties of Gaussians; the message names it.
        MissingPackageError: zstandard is not installed, for .spz files of version 4.

    >>> import torch
    >>> from lumigrad.io import load_gaussians, save_gaussians
    >>> from lumigrad.scene import GaussianCloud, constant_harmonics
    >>> red = constant_harmonics(torch.tensor([[1.0, 0.0, 0.0]]))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> cloud = GaussianCloud(torch.zeros(1, 3), quats, torch.full((1, 3), 0.5), torch.tensor([0.5]), red)
    >>> save_gaussians(cloud, "cloud.ply")
    >>> loaded = load_gaussians("cloud.ply")
    >>> len(loaded), [round(value, 4) for value in loaded.scales[0].tolist()], round(loaded.opacities.item(), 4)
    (1, [0.5, 0.5, 0.5], 0.5)
    """
    path = as_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of Gaussians: {path}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"cannot read {path}: expected {SUFFIXES}")
    return reader(path)


def save_gaussians(cloud: GaussianCloud | SurfelCloud, path: str | Path) -> None:
    """Write Gaussians in the format that the suffix names.

    Args:
        cloud: surfels can be written to .ply alone.
        path: .ply (float32; opacities of 0 and 1 become 1e-6 and 1 - 1e-6, whose logits are finite); .splat (colours,
            opacities and rotations of 8 bits, without the view-dependent part of colours, of which a warning tells);
            .spz (positions of 24 bits, rotations of 10, all else of 8; scales from 4.5e-5 to 380).

    Raises:
        ValueError: another suffix, surfels for another format than .ply, coordinates too large for .spz.

    >>> import torch
    >>> from lumigrad.io import load_gaussians, save_gaussians
    >>> from lumigrad.scene import GaussianCloud, constant_harmonics
    >>> red = constant_harmonics(torch.tensor([[1.0, 0.0, 0.0]]))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> cloud = GaussianCloud(torch.zeros(1, 3), quats, torch.full((1, 3), 0.5), torch.tensor([0.5]), red)
    >>> save_gaussians(cloud, "cloud.ply")
    >>> torch.allclose(load_gaussians("cloud.ply").harmonics, red)
    True
    """
    path = as_path("path", path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"cannot write {path}: expected {SUFFIXES}")
    instance("cloud", cloud, GaussianCloud, SurfelCloud)
    if suffix == ".ply":
        path.parent.mkdir(parents=True, exist_ok=True)
        _splat_ply.save(cloud, path)
        return
    if isinstance(cloud, SurfelCloud):
        raise ValueError(f"cannot write {path}: surfels can be written to .ply alone")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".spz":
        _spz.save(cloud, path)
        return
    if cloud.harmonics.shape[1] > 1:
        warnings.warn(f"{path}: .splat files have no view-dependent colours; they are left out", stacklevel=2)
    _splat_file.save(cloud, path)
