"""Zero in place of gradients that do not exist."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Finite(torch.autograd.Function):
    """Returns the values unchanged."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.where(grad.isfinite(), grad, 0)


class _FiniteForward(_Finite):
    """The same for forward-mode derivatives, which torch.compile does not support."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.view_as(tangent)


def finite_gradient(values: Tensor) -> Tensor:
    """Return the values unchanged; where their gradient is not finite, it becomes zero."""
    kind = _Finite if torch.compiler.is_compiling() else _FiniteForward
    found: Tensor = kind.apply(values)  # type: ignore[no-untyped-call]
    return found


def lengths(directions: Tensor) -> Tensor:
    """The lengths of directions [..., 3]; zero, without a gradient, where they are not finite."""
    good = directions.detach().norm(dim=-1).isfinite()
    return torch.where(good[..., None], directions, 0).norm(dim=-1)
