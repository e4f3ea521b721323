"""Rotations and their logarithms, axis times angle. `torch.jit.script` compiles all functions."""

import warnings

import torch

from lumigrad.compat.pytorch3d.transforms.math import acos_linear_extrapolation, hat_of, versine_terms
from lumigrad.compat.pytorch3d.transforms.rotation_conversions import matrix_to_axis_angle


def hat(v: torch.Tensor) -> torch.Tensor:
    """Matrices [N, 3, 3] whose products with vectors are the cross products of `v` [N, 3] with them.

    Raises:
        ValueError: another shape.
    """
    if v.dim() != 2 or v.shape[1] != 3:
        raise ValueError("Input vectors have to be 3-dimensional.")
    return hat_of(v)


def hat_inv(h: torch.Tensor) -> torch.Tensor:
    """The vectors [N, 3] of antisymmetric matrices [N, 3, 3].

    Raises:
        ValueError: another shape, or a matrix that is not antisymmetric.
    """
    if h.dim() != 3 or h.shape[1] != 3 or h.shape[2] != 3:
        raise ValueError("Input has to be a batch of 3x3 Tensors.")
    if float((h + h.transpose(1, 2)).abs().max()) > 1e-5:
        raise ValueError("One of input matrices is not skew-symmetric.")
    return torch.stack((h[:, 2, 1], h[:, 0, 2], h[:, 1, 0]), 1)


def so3_exp_map(log_rot: torch.Tensor, eps: float = 0.0001) -> torch.Tensor:
    """Rotations [N, 3, 3] of axis times angle [N, 3], by Rodrigues' formula.

    Args:
        log_rot: in radians.
        eps: PyTorch3D's; not needed here, because small angles use series.

    Raises:
        ValueError: another shape.
    """
    if log_rot.dim() != 2 or log_rot.shape[1] != 3:
        raise ValueError("Input tensor shape has to be Nx3.")
    cross = hat_of(log_rot)
    sine, cosine, _ = versine_terms((log_rot * log_rot).sum(-1)[:, None, None])
    return torch.eye(3, dtype=log_rot.dtype, device=log_rot.device) + sine * cross + cosine * (cross @ cross)


def so3_exponential_map(log_rot: torch.Tensor, eps: float = 0.0001) -> torch.Tensor:
    """The old name of `so3_exp_map`."""
    warnings.warn("so3_exponential_map is deprecated: use so3_exp_map", DeprecationWarning, stacklevel=2)
    return so3_exp_map(log_rot, eps)


def so3_rotation_angle(
    R: torch.Tensor, eps: float = 1e-4, cos_angle: bool = False, cos_bound: float = 1e-4
) -> torch.Tensor:
    """Angles [N] of rotations [N, 3, 3], in [0, pi].

    Args:
        R: rotations.
        eps: by how much a trace may be out of [-1, 3].
        cos_angle: return the cosines instead.
        cos_bound: beyond -1 + cos_bound and 1 - cos_bound the arc cosine is its tangent there, so that gradients are
            finite.

    Raises:
        ValueError: another shape, or a trace that no rotation has.
    """
    if R.dim() != 3 or R.shape[1] != 3 or R.shape[2] != 3:
        raise ValueError("Input has to be a batch of 3x3 Tensors.")
    trace = R[:, 0, 0] + R[:, 1, 1] + R[:, 2, 2]
    if bool(((trace < -1.0 - eps) | (trace > 3.0 + eps)).any()):
        raise ValueError("A matrix has trace outside valid range [-1-eps,3+eps].")
    cosine = (trace - 1.0) * 0.5
    if cos_angle:
        return cosine
    if cos_bound > 0.0:
        bound = 1.0 - cos_bound
        return acos_linear_extrapolation(cosine, (-bound, bound))
    return torch.acos(cosine.clamp(-1.0, 1.0))


def so3_relative_angle(
    R1: torch.Tensor, R2: torch.Tensor, cos_angle: bool = False, cos_bound: float = 1e-4, eps: float = 1e-4
) -> torch.Tensor:
    """Angles [N] between rotations [N, 3, 3]; see `so3_rotation_angle`."""
    return so3_rotation_angle(R1 @ R2.transpose(1, 2), cos_angle=cos_angle, cos_bound=cos_bound, eps=eps)


def so3_log_map(R: torch.Tensor, eps: float = 0.0001, cos_bound: float = 1e-4) -> torch.Tensor:
    """Axis times angle [N, 3] of rotations [N, 3, 3].

    Args:
        R: rotations.
        eps: by how much a trace may be out of [-1, 3].
        cos_bound: PyTorch3D's; not needed here, because no arc cosine is taken.

    Raises:
        ValueError: another shape, or a trace that no rotation has.
    """
    so3_rotation_angle(R.detach(), eps=eps, cos_angle=True)  # checks
    return matrix_to_axis_angle(R)
