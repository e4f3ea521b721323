"""Depth as points and normals, rotations, files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.gsplat._missing import missing
from lumigrad.compat.gsplat.exporter import export_splats
from lumigrad.scene.rotations import quaternion_to_matrix
from lumigrad.scene.shapes._splat_cloud import constant_harmonics

map_gaussian_to_intersects = missing("map_gaussian_to_intersects")
bin_and_sort_gaussians = missing("bin_and_sort_gaussians")
get_tile_bin_edges = missing("get_tile_bin_edges")


def save_ply(splats: Mapping[str, Tensor], dir: str, colors: Tensor | None = None) -> None:
    """Write a PLY file of Gaussians; `export_splats` is its new name.

    Args:
        splats: "means", "scales" (logarithms), "quats", "opacities" (logits), "sh0" and "shN".
        dir: the file.
        colors: in place of "sh0" and "shN", linear colours [N, 3].
    """
    warnings.warn("save_ply() is deprecated; use export_splats()", DeprecationWarning, stacklevel=2)
    sh0, shN = splats["sh0"], splats["shN"]
    if colors is not None:
        sh0, shN = constant_harmonics(colors.reshape(-1, 3)), shN[:, :0]
    export_splats(
        splats["means"], splats["scales"], splats["quats"], splats["opacities"], sh0, shN, save_to=str(dir)
    )  # fmt: skip


def normalized_quat_to_rotmat(quat: Tensor) -> Tensor:
    """Matrices [..., 3, 3] of quaternions (w, x, y, z) of length 1."""
    if quat.shape[-1] != 4:
        raise ValueError(f"quat: expected shape [..., 4], got {list(quat.shape)}")
    return quaternion_to_matrix(quat)


def log_transform(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def inverse_log_transform(y: Tensor) -> Tensor:
    """sign(y) (exp(|y|) - 1)."""
    return y.sign() * y.abs().expm1()


def depth_to_points(depths: Tensor, camtoworlds: Tensor, Ks: Tensor, z_depth: bool = True) -> Tensor:
    """Points in the world [..., H, W, 3] of the centres of pixels.

    Args:
        depths: [..., H, W, 1].
        camtoworlds: x right, y down, z forward [..., 4, 4].
        Ks: [..., 3, 3].
        z_depth: whether depths are along the viewing direction; along the rays otherwise.

    Raises:
        ValueError: shapes that do not fit.
    """
    batch = depths.shape[:-3]
    if depths.shape[-1] != 1 or camtoworlds.shape != (*batch, 4, 4) or Ks.shape != (*batch, 3, 3):
        raise ValueError(
            "depths, camtoworlds, Ks: expected shapes [..., H, W, 1], [..., 4, 4], [..., 3, 3], got "
            f"{list(depths.shape)}, {list(camtoworlds.shape)}, {list(Ks.shape)}"
        )
    height, width = depths.shape[-3:-1]
    x = torch.arange(width, device=depths.device) + 0.5
    y = torch.arange(height, device=depths.device) + 0.5
    fx, fy, cx, cy = (Ks[..., i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    across, down = torch.broadcast_tensors((x - cx) / fx, (y[:, None] - cy) / fy)
    rays = torch.stack((across, down, torch.ones_like(down)), -1)
    rays = (camtoworlds[..., None, None, :3, :3] @ rays[..., None])[..., 0]
    if not z_depth:
        rays = F.normalize(rays, dim=-1)
    return camtoworlds[..., None, None, :3, 3] + depths * rays


def depth_to_normal(depths: Tensor, camtoworlds: Tensor, Ks: Tensor, z_depth: bool = True) -> Tensor:
    """Normals [..., H, W, 3] of the surface between the points of neighbouring pixels, 0 at the border.

    They point to the camera. Arguments and errors: `depth_to_points`.
    """
    points = depth_to_points(depths, camtoworlds, Ks, z_depth)
    down = points[..., 2:, 1:-1, :] - points[..., :-2, 1:-1, :]
    right = points[..., 1:-1, 2:, :] - points[..., 1:-1, :-2, :]
    return F.pad(F.normalize(torch.linalg.cross(down, right), dim=-1), (0, 0, 1, 1, 1, 1))


def get_projection_matrix(
    znear: float, zfar: float, fovX: float, fovY: float, device: torch.device | str = "cpu"
) -> Tensor:  # fmt: skip
    """To clip space [4, 4], of a camera that looks along +z, with depths from 0 to 1. Fields of view in radians."""
    matrix = torch.zeros(4, 4, device=device)
    matrix[0, 0], matrix[1, 1] = 1 / math.tan(fovX / 2), 1 / math.tan(fovY / 2)
    matrix[2, 2], matrix[2, 3], matrix[3, 2] = zfar / (zfar - znear), -zfar * znear / (zfar - znear), 1.0
    return matrix


def compute_cov2d_bounds(cov2d: Tensor) -> tuple[Tensor, Tensor]:
    """Conics [N, 3] and radii [N, 1] (three standard deviations, rounded up) of upper triangles [N, 3].

    Raises:
        ValueError: another shape.
    """
    if cov2d.ndim != 2 or cov2d.shape[1] != 3:
        raise ValueError(f"cov2d: expected shape [N, 3], got {list(cov2d.shape)}")
    a, b, c = cov2d.unbind(1)
    det = a * c - b * b
    conics = torch.stack((c, -b, a), 1) / det[:, None]
    middle = (a + c) / 2
    widest = middle + (middle * middle - det).clamp(min=0.1).sqrt()
    there = det != 0
    return torch.where(there[:, None], conics, 0), torch.where(there, (3 * widest.sqrt()).ceil(), 0)[:, None]


def compute_cumulative_intersects(num_tiles_hit: Tensor) -> tuple[int, Tensor]:
    """How many pairs of Gaussians and tiles there are, and their number up to and with each Gaussian, int32 [N]."""
    total = num_tiles_hit.reshape(-1).cumsum(0, dtype=torch.int32)
    return (int(total[-1]) if len(total) else 0), total
