"""3D Gaussians in PLY files, in the layout of 3D Gaussian splatting, which viewers read.

Float32 properties of each vertex: x y z, nx ny nz (unused, zero), f_dc_0..2, f_rest_* (the other coefficients of red,
then of green, then of blue), opacity (logit), scale_0..2 (logarithms), rot_0..3 (w, x, y, z).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lumigrad.io.points import read_columns
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud


def _names(rest: int) -> list[str]:
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(rest))]
    return [*names, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def save_gaussians(cloud: GaussianCloud, path: str | Path) -> None:
    """Write a binary PLY file. Opacities of 0 and 1 become 1e-6 and 1 - 1e-6, whose logits are finite.

    Raises:
        ValueError: another suffix than .ply.

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
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise ValueError(f"cannot write {path}: expected .ply")
    count, rest = len(cloud), cloud.harmonics[:, 1:].transpose(1, 2).flatten(1)
    columns = [
        cloud.means,
        torch.zeros_like(cloud.means),
        cloud.harmonics[:, 0],
        rest,
        torch.logit(cloud.opacities, eps=1e-6)[:, None],
        cloud.scales.clamp_min(torch.finfo(torch.float32).tiny).log(),
        torch.nn.functional.normalize(cloud.quats, dim=-1),
    ]
    table = torch.cat([column.detach().float().cpu() for column in columns], dim=1).numpy().astype("<f4")
    names = _names(rest.shape[1])
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(header).encode("ascii") + table.tobytes())


def load_gaussians(path: str | Path) -> GaussianCloud:
    """Read Gaussians, float32 on the CPU, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a PLY file, is cut short, or lacks properties of Gaussians; the message names it.

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
    columns = read_columns(Path(path), "Gaussians", "lumigrad.io.load_gaussians")
    rest = sum(name.startswith("f_rest_") for name in columns)
    missing = [name for name in _names(rest) if name not in columns and name not in ("nx", "ny", "nz")]
    if missing:
        raise ValueError(f"cannot read {path} as Gaussians: it lacks {', '.join(missing)}")
    if rest not in (0, 9, 24, 45, 72):
        raise ValueError(f"cannot read {path} as Gaussians: expected 0, 9, 24, 45 or 72 f_rest, got {rest}")

    def stack(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in names], axis=-1))

    constant = stack("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    others = [stack(*(f"f_rest_{i}" for i in range(rest))).unflatten(1, (3, rest // 3)).transpose(1, 2)] if rest else []
    return GaussianCloud(
        stack("x", "y", "z"),
        stack("rot_0", "rot_1", "rot_2", "rot_3"),
        stack("scale_0", "scale_1", "scale_2").exp(),
        stack("opacity")[:, 0].sigmoid(),
        torch.cat([constant, *others], dim=1),
    )
