"""Files of Gaussians, from parameters as they are trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from lumigrad.io.gaussians import load_gaussians, save_gaussians
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.types import validation as check

SUFFIXES = {"ply": ".ply", "splat": ".splat"}


def export_splats(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    opacities: Tensor,
    sh0: Tensor,
    shN: Tensor,
    format: str = "ply",
    save_to: str | None = None,
) -> bytes:
    """The bytes of a file of Gaussians; those with a value that is not finite are left out.

    Args:
        means: [N, 3]. scales: logarithms [N, 3]. quats: [N, 4]. opacities: logits [N]. sh0: [N, 1, 3].
        shN: the other coefficients [N, K - 1, 3].
        format: "ply" or "splat", as `lumigrad.io.save_gaussians` writes them: quaternions get length 1, logits are
            held to +-13.8, and PLY files have normals of zero.
        save_to: where to write them, too.

    Raises:
        ValueError: another format, or wrong shapes.
        NotImplementedError: "ply_compressed", which lumigrad reads and does not write.
    """
    if format == "ply_compressed":
        raise NotImplementedError("format: 'ply_compressed' is not offered; use 'ply', or lumigrad.io for .spz")
    if format not in SUFFIXES:
        raise ValueError(f"format: expected 'ply' or 'splat', got {format!r}")
    count = len(means)
    values = {"means": means, "scales": scales, "quats": quats, "opacities": opacities, "sh0": sh0, "shN": shN}
    tails: list[tuple[int | str, ...]] = [(3,), (3,), (4,), (), (1, 3), ("K - 1", 3)]
    finite = torch.ones(count, dtype=torch.bool, device=means.device)
    for (name, value), tail in zip(values.items(), tails):
        check.shape(name, value, (count, *tail))
        finite &= value.isfinite().reshape(count, -1).all(-1)
    means, scales, quats, opacities, sh0, shN = (value.detach()[finite] for value in values.values())
    if format == "splat" and shN.any():
        warnings.warn("export_splats: .splat files have no view-dependent colours; shN is left out", stacklevel=2)
        shN = shN[:, :0]
    cloud = GaussianCloud(means, quats, scales.exp(), opacities.sigmoid(), torch.cat((sh0, shN), 1))
    with TemporaryDirectory() as folder:
        path = Path(folder, "splats" + SUFFIXES[format])
        save_gaussians(cloud, path)
        data = path.read_bytes()
    if save_to is not None:
        Path(save_to).write_bytes(data)
    return data


def load_ply_to_splats(path: str) -> dict[str, Tensor]:
    """The parameters in a PLY file: "means", "scales" (logarithms), "quats", "opacities" (logits), "sh0", "shN".

    Raises:
        FileNotFoundError, ValueError: as `lumigrad.io.load_gaussians`; ValueError for surfels, too.
    """
    cloud = load_gaussians(path)
    if not isinstance(cloud, GaussianCloud):
        raise ValueError(f"cannot read {path}: expected Gaussians with three scales, got surfels")
    return {
        "means": cloud.means, "scales": cloud.scales.log(), "quats": cloud.quats,
        "opacities": cloud.opacities.logit(eps=1e-6), "sh0": cloud.harmonics[:, :1], "shN": cloud.harmonics[:, 1:],
    }  # fmt: skip
