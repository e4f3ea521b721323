"""Rigid motions, [R 0; T 1] on row vectors, and their logarithms. `torch.jit.script` compiles all functions."""

import torch

from lumigrad.compat.pytorch3d.transforms.math import hat_of, versine_terms
from lumigrad.compat.pytorch3d.transforms.so3 import so3_exp_map, so3_log_map


def _coupling(log_rotation: torch.Tensor) -> torch.Tensor:
    """The matrices [N, 3, 3] that take logarithms of translations to translations.

    Source: Blanco 2010, "A tutorial on SE(3) transformation parameterizations and on-manifold optimization", 9.4.2.
    """
    cross = hat_of(log_rotation)
    _, cosine, rest = versine_terms((log_rotation * log_rotation).sum(-1)[:, None, None])
    identity = torch.eye(3, dtype=log_rotation.dtype, device=log_rotation.device)
    return identity + cosine * cross + rest * (cross @ cross)


def se3_exp_map(log_transform: torch.Tensor, eps: float = 1e-4) -> torch.Tensor:
    """Matrices [N, 4, 4] of logarithms [N, 6]: of the translation, then of the rotation.

    Args:
        log_transform: logarithms.
        eps: PyTorch3D's; not needed here, because small angles use series.

    Raises:
        ValueError: another shape.
    """
    if log_transform.dim() != 2 or log_transform.shape[1] != 6:
        raise ValueError("Expected input to be of shape (N, 6).")
    log_translation, log_rotation = log_transform[:, :3], log_transform[:, 3:]
    R = so3_exp_map(log_rotation, eps)
    T = (_coupling(log_rotation) @ log_translation[:, :, None])[:, :, 0]
    upper = torch.cat((R.transpose(1, 2), torch.zeros_like(T)[:, :, None]), 2)
    lower = torch.cat((T, torch.ones_like(T[:, :1])), 1)[:, None]
    return torch.cat((upper, lower), 1)


def se3_log_map(transform: torch.Tensor, eps: float = 1e-4, cos_bound: float = 1e-4) -> torch.Tensor:
    """Logarithms [N, 6] of rigid motions [N, 4, 4].

    Args:
        transform: matrices that act on row vectors.
        eps, cos_bound: as for `so3_log_map`.

    Raises:
        ValueError: another shape, a last column other than (0, 0, 0, 1), or a trace that no rotation has.
    """
    if transform.dim() != 3 or transform.shape[1] != 4 or transform.shape[2] != 4:
        raise ValueError("Input tensor shape has to be (N, 4, 4).")
    if not torch.allclose(transform[:, :3, 3], torch.zeros_like(transform[:, :3, 3])):
        raise ValueError("All elements of `transform[:, :3, 3]` should be 0.")
    log_rotation = so3_log_map(transform[:, :3, :3].transpose(1, 2), eps, cos_bound)
    log_translation = torch.linalg.solve(_coupling(log_rotation), transform[:, 3, :3, None])[:, :, 0]
    return torch.cat((log_translation, log_rotation), 1)
