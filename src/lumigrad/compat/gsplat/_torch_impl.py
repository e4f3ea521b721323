"""What programs import of gsplat 0.1's formulas in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.gsplat.cuda._torch_impl import _eval_sh_bases_fast, _quat_to_rotmat
from lumigrad.compat.gsplat.utils import normalized_quat_to_rotmat

__all__ = ["eval_sh_bases", "normalized_quat_to_rotmat", "quat_to_rotmat", "scale_rot_to_cov3d"]

eval_sh_bases, quat_to_rotmat = _eval_sh_bases_fast, _quat_to_rotmat


def scale_rot_to_cov3d(scale: Tensor, glob_scale: float, quat: Tensor) -> Tensor:
    """Covariances [..., 3, 3]."""
    half = quat_to_rotmat(quat) * (glob_scale * scale)[..., None, :]
    return half @ half.transpose(-1, -2)


def compute_sh_color(viewdirs: Tensor, sh_coeffs: Tensor, method: str = "fast") -> Tensor:
    """Colours [..., C] of all coefficients [..., K, C] along directions [..., 3], of any length."""
    bases = eval_sh_bases(sh_coeffs.shape[-2], torch.nn.functional.normalize(viewdirs, dim=-1))
    return (bases[..., None] * sh_coeffs).sum(-2)


def project_pix(
    fxfy: tuple[float, float], p_view: Tensor, center: tuple[float, float], eps: float = 1e-6
) -> Tensor:  # fmt: skip
    """Pixels [..., 2] of points in the camera's space [..., 3]."""
    return p_view[..., :2] / (p_view[..., 2:] + eps) * p_view.new_tensor(fxfy) + p_view.new_tensor(center)


def clip_near_plane(p: Tensor, viewmat: Tensor, clip_thresh: float = 0.01) -> tuple[Tensor, Tensor]:
    """Points [N, 3] in the camera's space, and which of them are nearer than a depth."""
    seen = p @ viewmat[:3, :3].T + viewmat[:3, 3]
    return seen, seen[:, 2] < clip_thresh
