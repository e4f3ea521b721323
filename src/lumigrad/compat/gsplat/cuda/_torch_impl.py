"""What programs import of gsplat's formulas in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._compositing import rasterize_to_pixels
from lumigrad.compat.gsplat._contributions import accumulate
from lumigrad.compat.gsplat._covariances import persp_proj, quat_scale_to_covar_preci, world_to_cam
from lumigrad.compat.gsplat._projection import fully_fused_projection
from lumigrad.compat.gsplat._spherical_harmonics import spherical_harmonics
from lumigrad.compat.gsplat._tiles import isect_offset_encode, isect_tiles
from lumigrad.reference import spherical_harmonics as evaluate
from lumigrad.scene.rotations import quaternion_to_matrix

__all__ = ["accumulate"]

_isect_tiles, _isect_offset_encode, _persp_proj, _world_to_cam = (
    isect_tiles, isect_offset_encode, persp_proj, world_to_cam,
)  # fmt: skip
_quat_scale_to_covar_preci = quat_scale_to_covar_preci


def _quat_to_rotmat(quats: Tensor) -> Tensor:
    """Matrices [..., 3, 3] of quaternions (w, x, y, z) of any length."""
    return quaternion_to_matrix(torch.nn.functional.normalize(quats, dim=-1))


def _quat_scale_to_matrix(quats: Tensor, scales: Tensor) -> Tensor:
    """R diag(s) [..., 3, 3]."""
    return _quat_to_rotmat(quats) * scales[..., None, :]


def _eval_sh_bases_fast(basis_dim: int, dirs: Tensor) -> Tensor:
    """The first `basis_dim` functions [..., basis_dim] along directions of length 1 [..., 3]."""
    rows = torch.eye(basis_dim, dtype=dirs.dtype, device=dirs.device)
    return evaluate(rows.expand(*dirs.shape[:-1], basis_dim, basis_dim), dirs)


def _spherical_harmonics(degree: int, dirs: Tensor, coeffs: Tensor) -> Tensor:
    return spherical_harmonics(degree, coeffs=coeffs, dirs=dirs)


def _fully_fused_projection(
    means: Tensor, covars: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int, eps2d: float = 0.3,
    near_plane: float = 0.01, far_plane: float = 1e10, calc_compensations: bool = False, camera_model: str = "pinhole",
) -> Any:  # fmt: skip
    return fully_fused_projection(
        means, covars, None, None, viewmats, Ks, width, height, eps2d, near_plane, far_plane,
        calc_compensations=calc_compensations, camera_model=camera_model,
    )  # fmt: skip


def _rasterize_to_pixels(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, image_width: int, image_height: int,
    tile_size: int, isect_offsets: Tensor, flatten_ids: Tensor, backgrounds: Tensor | None = None,
    batch_per_iter: int = 100,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return rasterize_to_pixels(
        means2d, conics, colors, opacities, image_width, image_height, tile_size, isect_offsets, flatten_ids,
        backgrounds,
    )  # fmt: skip
