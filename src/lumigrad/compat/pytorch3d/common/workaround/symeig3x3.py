"""Eigenvalues of symmetric matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def symeig3x3(inputs: Tensor, eigenvectors: bool = True) -> tuple[Tensor, Tensor | None]:
    """Eigenvalues [..., 3], the least first, and eigenvectors [..., 3, 3] (columns) of symmetric matrices.

    Args:
        inputs: [..., 3, 3].
        eigenvectors: whether these are returned; None otherwise.

    Raises:
        ValueError: another shape.
    """
    if inputs.shape[-2:] != (3, 3):
        raise ValueError(f"Only inputs of shape (..., 3, 3) are supported, got {tuple(inputs.shape)}")
    if not eigenvectors:
        return torch.linalg.eigvalsh(inputs), None
    values, vectors = torch.linalg.eigh(inputs)
    return values, vectors
