"""One similarity transform between two sets of cameras."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.points_alignment import corresponding_points_alignment


def corresponding_cameras_alignment(
    cameras_src: Any, cameras_tgt: Any, estimate_scale: bool = True, mode: str = "extrinsics", eps: float = 1e-9
) -> Any:
    """`cameras_src`, moved by one rotation, translation and scale so that they agree with `cameras_tgt`.

    Args:
        cameras_src, cameras_tgt: N cameras each; those of the same number correspond.
        estimate_scale: whether distances may be scaled.
        mode: "centers": the centres are aligned; "extrinsics": rotations agree best, then translations.
        eps: the least that is divided by.

    Raises:
        ValueError: different numbers of cameras, or another mode.
    """
    if cameras_src.R.shape[0] != cameras_tgt.R.shape[0]:
        raise ValueError(
            "cameras_src and cameras_tgt have to contain the same number of cameras, "
            f"got {cameras_src.R.shape[0]} and {cameras_tgt.R.shape[0]}"
        )
    if mode not in ("centers", "extrinsics"):
        raise ValueError(f'mode has to be one of (centers, extrinsics), got "{mode}"')
    find = _from_centres if mode == "centers" else _from_extrinsics
    R, T, s = find(cameras_src, cameras_tgt, estimate_scale, eps)
    aligned = cameras_src.clone()
    aligned.R = R[None] @ cameras_src.R
    aligned.T = (T[None, None] @ cameras_src.R)[:, 0] + cameras_src.T * s
    return aligned


def _from_centres(source: Any, target: Any, estimate_scale: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """From target's space to source's, x -> (x R + T) / s, by the cameras' centres."""
    ours, theirs = source.get_camera_center(), target.get_camera_center()
    R, T, s = corresponding_points_alignment(ours[None], theirs[None], estimate_scale=estimate_scale, eps=eps)
    # theirs = s ours R + T, so that ours = (theirs R' - T R') / s.
    back = R[0].T
    return back, -(T[0] @ back), s[0]


def _from_extrinsics(source: Any, target: Any, estimate_scale: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The rotation nearest to all R' R^T; then T R + s t = t' in the least squares."""
    U, _, Vh = torch.linalg.svd((target.R @ source.R.transpose(1, 2)).mean(0))
    signs = U.new_ones(3)
    signs[2] = torch.det(U @ Vh).detach().sign()
    R = (U * signs) @ Vh
    ours = (source.T[:, None] @ source.R.transpose(1, 2))[:, 0]
    theirs = (target.T[:, None] @ source.R.transpose(1, 2))[:, 0]
    s = ours.new_ones(())
    if estimate_scale and len(ours) > 1:
        offset, their_offset = ours - ours.mean(0), theirs - theirs.mean(0)
        s = (offset * their_offset).sum() / offset.square().sum().clamp(min=eps)
    return R, theirs.mean(0) - s * ours.mean(0), s
