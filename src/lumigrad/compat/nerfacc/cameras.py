"""Places on the ideal image plane of what lenses image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.scene.cameras.distortion import Distortion, FisheyeDistortion, RadialTangentialDistortion

LENGTHS = (0, 1, 2, 4, 8)


@torch.no_grad()
def opencv_lens_undistortion(uv: Tensor, params: Tensor, eps: float = 1e-6, iters: int = 10) -> Tensor:
    """Undistorted places [..., 2] of distorted ones, both by the focal length; no gradients.

    Args:
        uv: [..., 2].
        params: OpenCV's coefficients [N] or [..., N]: none, k1, (k1, k2), (k1, k2, p1, p2), or those and k3 to k6.
        eps, iters: not looked at; lumigrad iterates until the places stand still.

    Raises:
        ValueError: other shapes.
    """
    if params.shape[-1] not in LENGTHS:
        raise ValueError(f"params: expected shape [..., N] with N one of {LENGTHS}, got {list(params.shape)}")
    if params.shape[-1] == 0:
        return uv
    return _undistorted(uv, F.pad(params, (0, 8 - params.shape[-1])), RadialTangentialDistortion)


@torch.no_grad()
def opencv_lens_undistortion_fisheye(uv: Tensor, params: Tensor, eps: float = 1e-6, iters: int = 10) -> Tensor:
    """The same for fisheye lenses, of the coefficients k1 to k4 [4] or [..., 4]."""
    if params.shape[-1] != 4:
        raise ValueError(f"params: expected shape [..., 4], got {list(params.shape)}")
    return _undistorted(uv, params, FisheyeDistortion)


def _undistorted(uv: Tensor, params: Tensor, model: type[RadialTangentialDistortion | FisheyeDistortion]) -> Tensor:
    if uv.shape[-1] != 2:
        raise ValueError(f"uv: expected shape [..., 2], got {list(uv.shape)}")
    lens: Distortion
    if params.ndim == 1:
        lens = model.from_opencv(params.to(uv))
        return lens.undistort(uv.reshape(-1, 2)).reshape(uv.shape)
    # A lens for each place: batches of one point.
    lens = model.from_opencv(params.to(uv).expand(*uv.shape[:-1], -1))
    return lens.undistort(uv[..., None, :])[..., 0, :]
