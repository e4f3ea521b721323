"""Projection of surfels to the image, registered with torch. The kernel is ``native/splat/project_surfel.h``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from lumigrad.ops._registration import register


def project_surfels(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    view: torch.Tensor,
    lens: torch.Tensor,
    projection: str,
    near: float,
    far: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of checked arguments: centres in pixels [N, V, 2], shapes as the compositing kernel takes them [N, V, 8], depths
    [N, V] (NaN for what is not to be drawn), and unit normals in the world, turned to the camera [N, V, 3]."""
    settings = [0.0, 0.0, 0.0, near, far, float(projection == "orthographic")]
    return _op(*(t.contiguous() for t in (means, quats, scales, view, lens)), settings)


def _output_shapes(means: torch.Tensor, view: torch.Tensor) -> list[tuple]:
    sizes = (view.shape[0], means.shape[0])
    return [(*sizes, 2), (*sizes, 8), sizes, (*sizes, 3)]


def _arguments(core: Any, inputs: Sequence[torch.Tensor], settings: Sequence[float]) -> tuple:
    """What both C functions begin with; inputs: means, quats, scales, view, lens."""
    return (
        core.float_code(inputs[0]), core.pointers(inputs), (ctypes.c_double * 6)(*settings), len(inputs[3]),
        len(inputs[0]),
    )  # fmt: skip


def _kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
    outputs = [core.empty(size, args[0].dtype) for size in _output_shapes(args[0], args[3])]
    core.calls["project_surfels_forward"](*_arguments(core, args[:5], args[5]), core.pointers(outputs))
    return tuple(outputs)


def _fake(means: torch.Tensor, quats: Any, scales: Any, view: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
    return tuple(means.new_empty(size) for size in _output_shapes(means, view))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.settings = inputs[5]


def _grad(ctx: Any, *grads: Any) -> tuple:
    return (*_backward_op(*ctx.saved_tensors, ctx.settings, *grads), None)


def _backward_kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
    inputs, settings = args[:5], args[5]
    outputs = [core.empty(tensor.shape, tensor.dtype) for tensor in inputs]
    given = [None if grad is None else grad.contiguous() for grad in args[6:]]
    core.calls["project_surfels_backward"](
        *_arguments(core, inputs, settings), core.pointers(given), core.pointers(outputs)
    )
    return tuple(outputs)


_TENSORS = "Tensor means, Tensor quats, Tensor scales, Tensor view, Tensor lens, float[] settings"
_backward_op = register(
    f"project_surfels_backward({_TENSORS}, Tensor? grad_xy, Tensor? grad_shape, Tensor? grad_depth, "
    "Tensor? grad_normal) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=lambda *args: tuple(torch.empty_like(tensor) for tensor in args[:5]),
    any_core=True,
)
_op = register(
    f"project_surfels({_TENSORS}) -> (Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
