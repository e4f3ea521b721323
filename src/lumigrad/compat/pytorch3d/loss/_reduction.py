"""Means over the meshes of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def loss_of_nothing(meshes: Any) -> Tensor:
    """What PyTorch3D's regularisers return for meshes without faces: zero [1], of which a gradient can be asked."""
    return meshes.verts_packed().detach().new_zeros(1).requires_grad_()


def mean_per_mesh(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """The mean over meshes of the means of their values; 0 for meshes without any."""
    if count == 0:
        return values.sum()
    total = values.new_zeros(count).index_add(0, owner, values)
    return (total / torch.bincount(owner, minlength=count).clamp(min=1)).sum() / count
