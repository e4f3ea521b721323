"""gsplat 0.1's formulas in PyTorch."""

from lumigrad.compat.gsplat._torch_impl import (
    clip_near_plane,
    compute_sh_color,
    eval_sh_bases,
    normalized_quat_to_rotmat,
    project_pix,
    quat_to_rotmat,
    scale_rot_to_cov3d,
)

__all__ = [
    "clip_near_plane",
    "compute_sh_color",
    "eval_sh_bases",
    "normalized_quat_to_rotmat",
    "project_pix",
    "quat_to_rotmat",
    "scale_rot_to_cov3d",
]
