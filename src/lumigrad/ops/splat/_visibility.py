"""The visibility gradient of splats, registered with torch. The kernel is ``native/splat/visibility.h``."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad._engine.registration import register


def pull_by_visibility(alpha: torch.Tensor, xy: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """alpha [N, H, W] as it is; its gradient goes to the centres xy [N, V, 2], from pixels within radius [N, V]."""
    return _op(alpha.contiguous(), xy.contiguous(), radius.detach().contiguous())


def _grad(ctx: Any, grad: Any) -> tuple:
    if grad is None:
        return None, None, None
    return grad, _backward_op(grad, *ctx.saved_tensors), None


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_kernel(core: Any, grad: torch.Tensor, xy: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    grad, out = grad.contiguous(), core.empty(xy.shape, xy.dtype)
    core.calls["splat_visibility"](
        core.float_code(xy), *radius.shape, *grad.shape[1:], *map(core.pointer, (xy, radius, grad, out))
    )
    return out


_backward_op = register(
    "splat_visibility_backward(Tensor grad, Tensor xy, Tensor radius) -> Tensor",
    kernel=_backward_kernel,
    fake=lambda grad, xy, radius: torch.empty_like(xy),
    any_core=True,
)
_op = register(
    "splat_visibility(Tensor alpha, Tensor xy, Tensor radius) -> Tensor",
    kernel=lambda core, alpha, xy, radius: alpha.clone(),
    fake=lambda alpha, xy, radius: torch.empty_like(alpha),
    setup=_setup,
    backward=_grad,
    any_core=True,
)
