"""Gaussians in .splat files: 32 bytes each, without a header.

Position and scale as float32, red, green, blue and opacity as bytes, and the quaternion (w, x, y, z) as bytes around
128. Source: antimatter15, "splat", which introduced the format.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lumigrad.scene.shapes._splat_cloud import CONSTANT, constant_harmonics
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud

_ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("rotation", "u1", 4)])


def load(path: Path) -> GaussianCloud:
    """Read a .splat file; see `load_gaussians`."""
    data = path.read_bytes()
    if not data or len(data) % _ROW.itemsize:
        raise ValueError(f"cannot read {path} as Gaussians: expected a multiple of 32 bytes, got {len(data)}")
    rows = np.frombuffer(data, _ROW)
    color = torch.from_numpy(rows["color"] / np.float32(255))
    return GaussianCloud(
        torch.from_numpy(rows["position"].copy()),
        torch.from_numpy((rows["rotation"].astype(np.float32) - 128) / 128),
        torch.from_numpy(rows["scale"].copy()),
        color[:, 3].contiguous(),
        constant_harmonics(color[:, :3]),
    )


def save(cloud: GaussianCloud, path: Path) -> None:
    """Write a .splat file; see `save_gaussians`."""
    rows = np.zeros(len(cloud), _ROW)
    colors = 0.5 + CONSTANT * cloud.harmonics[:, 0]
    rows["position"], rows["scale"] = (v.detach().float().cpu().numpy() for v in (cloud.means, cloud.scales))
    rows["color"] = to_bytes(255 * torch.cat([colors, cloud.opacities[:, None]], dim=1))
    rows["rotation"] = to_bytes(128 + 128 * torch.nn.functional.normalize(cloud.quats, dim=-1))
    path.write_bytes(rows.tobytes())


def to_bytes(values: torch.Tensor) -> np.ndarray:
    """Rounded to the nearest of 0 to 255."""
    return values.detach().float().cpu().round().clamp(0, 255).to(torch.uint8).numpy()
