"""Covariances of Gaussians in the world, before the camera and on the image."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.gsplat._arguments import CAMERA_MODELS, one_of
from lumigrad.reference.splat._project_gaussians import PROJECTIONS, rotations
from lumigrad.types import validation as check

UPPER = torch.triu_indices(3, 3)


def quat_scale_to_covar_preci(
    quats: Tensor, scales: Tensor, compute_covar: bool = True, compute_preci: bool = True, triu: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """Covariances R diag(s^2) R^T and their inverses.

    Args:
        quats: (w, x, y, z), of any length [..., 4]. scales: [..., 3].
        compute_covar, compute_preci: which of the two; the other is None.
        triu: whether to return the upper triangles [..., 6], row by row, in place of matrices [..., 3, 3].

    Raises:
        TypeError, ValueError: wrong types, shapes or devices.
    """
    scales = check.floating("scales", scales)
    quats = check.floating("quats", quats, scales, "scales")
    if scales.shape[-1:] != (3,) or quats.shape != (*scales.shape[:-1], 4):
        raise ValueError(
            f"quats, scales: expected shapes [..., 4] and [..., 3], got {tuple(quats.shape)} and {tuple(scales.shape)}"
        )
    turn = rotations(quats)

    def product(half: Tensor) -> Tensor:
        matrices = half @ half.transpose(-1, -2)
        return matrices[..., UPPER[0], UPPER[1]] if triu else matrices

    covars = product(turn * scales[..., None, :]) if compute_covar else None
    return covars, product(turn / scales[..., None, :]) if compute_preci else None


def full(covars: Tensor, name: str = "covars") -> Tensor:
    """Symmetric matrices [..., 3, 3], of such or of upper triangles [..., 6]."""
    if covars.shape[-2:] == (3, 3):
        covars = covars[..., UPPER[0], UPPER[1]]
    if covars.shape[-1:] != (6,):
        raise ValueError(f"{name}: expected shape [..., 3, 3] or [..., 6], got {tuple(covars.shape)}")
    return covars[..., torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]], device=covars.device)]


def world_to_cam(means: Tensor, covars: Tensor, viewmats: Tensor) -> tuple[Tensor, Tensor]:
    """Turn Gaussians into the space of cameras.

    Args:
        means: [..., N, 3]. covars: [..., N, 3, 3]. viewmats: world to camera [..., C, 4, 4].

    Returns:
        Means [..., C, N, 3] and covariances [..., C, N, 3, 3].
    """
    turn = viewmats[..., None, :3, :3]
    moved = (turn @ means[..., None, :, :, None])[..., 0] + viewmats[..., None, :3, 3]
    return moved, turn @ covars[..., None, :, :, :] @ turn.transpose(-1, -2)


def proj(
    means: Tensor, covars: Tensor, Ks: Tensor, width: int, height: int, camera_model: str = "pinhole"
) -> tuple[Tensor, Tensor]:
    """Project Gaussians in camera space, linearised at their means.

    Args:
        means: x right, y down, z forward [..., C, N, 3]. covars: [..., C, N, 3, 3]. Ks: [..., C, 3, 3]; a skew has no
            effect.

    Returns:
        Means in pixels [..., C, N, 2] and covariances [..., C, N, 2, 2]; nothing is added to these.

    Raises:
        ValueError: an unknown `camera_model`.
    """
    one_of("camera_model", camera_model, tuple(CAMERA_MODELS))
    size = check.size((height, width))
    fx, fy, cx, cy = (Ks[..., i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x, y, z = means.unbind(-1)
    xy, jacobian = PROJECTIONS[CAMERA_MODELS[camera_model]](x, y, z, fx, fy, cx, cy, size)
    return xy, jacobian @ covars @ jacobian.transpose(-1, -2)


def persp_proj(means: Tensor, covars: Tensor, Ks: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """`proj` of pinhole cameras, its name in gsplat 1.0."""
    return proj(means, covars, Ks, width, height)
