"""Shared by the tests of the texture ops."""

from __future__ import annotations

import torch
from ops_common import random
from torch import Tensor

FILTERS = ["nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear"]


def outputs(look_up, values: list[Tensor], **options) -> list[Tensor]:
    """The result, and the gradients of a random sum of it to all inputs that have one."""
    leaves = [value.detach().clone().requires_grad_() for value in values]
    out = look_up(*leaves, **options)
    weights = random(*out.shape, seed=77, dtype=out.dtype)
    nothing = sum(0 * leaf.nan_to_num(0.0, 0.0, 0.0).sum() for leaf in leaves)  # all leaves have a gradient
    loss = (out * weights).sum() + nothing
    grads = torch.autograd.grad(loss, leaves)
    return [out.detach(), *grads]
