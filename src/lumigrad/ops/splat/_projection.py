"""Registration of the ops that project primitives with a place, a rotation and scales: Gaussians and surfels.

Both take means, quats, scales, world-to-camera matrices and lenses (fx, fy, cx, cy), and give four tensors of each
primitive in each view. The maths is in ``native/splat/project.h`` and ``native/splat/project_surfel.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from lumigrad._engine.registration import register

_INPUTS = 5
_TENSORS = "Tensor means, Tensor quats, Tensor scales, Tensor view, Tensor lens, float[] settings"


def _arguments(core: Any, inputs: Sequence[torch.Tensor], settings: Sequence[float]) -> tuple:
    """What both C functions begin with."""
    means, view = inputs[0], inputs[3]
    return (
        core.float_code(means), core.pointers(inputs), (ctypes.c_double * 6)(*settings), view.shape[0], means.shape[0]
    )  # fmt: skip


def register_projection(
    name: str, outputs: Mapping[str, tuple[int, ...]], pointers: Callable[[Any, Sequence[torch.Tensor]], Iterable]
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Register ``lumigrad::<name>`` and its gradient.

    outputs: their names, and their shapes for one primitive. pointers(core, tensors): them as the C function
    ``<name>_forward`` takes them.
    """

    def shapes(means: torch.Tensor, view: torch.Tensor) -> list[tuple[int, ...]]:
        return [(view.shape[0], means.shape[0], *shape) for shape in outputs.values()]

    def kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
        inputs, settings = args[:_INPUTS], args[_INPUTS]
        made = [core.empty(shape, inputs[0].dtype) for shape in shapes(inputs[0], inputs[3])]
        core.calls[f"{name}_forward"](*_arguments(core, inputs, settings), *pointers(core, made))
        return tuple(made)

    def fake(means: torch.Tensor, quats: Any, scales: Any, view: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
        return tuple(means.new_empty(shape) for shape in shapes(means, view))

    def setup(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.save_for_backward(*inputs[:_INPUTS])
        ctx.settings = inputs[_INPUTS]

    def grad(ctx: Any, *grads: Any) -> tuple:
        if all(grad is None for grad in grads):
            return (None,) * (_INPUTS + 1)
        return (*backward_op(*ctx.saved_tensors, ctx.settings, *grads), None)

    def backward_kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
        inputs, settings = args[:_INPUTS], args[_INPUTS]
        made = [core.empty(tensor.shape, tensor.dtype) for tensor in inputs]
        given = [None if grad is None else grad.contiguous() for grad in args[_INPUTS + 1 :]]
        core.calls[f"{name}_backward"](*_arguments(core, inputs, settings), core.pointers(given), core.pointers(made))
        return tuple(made)

    grads = ", ".join(f"Tensor? grad_{output}" for output in outputs)
    backward_op = register(
        f"{name}_backward({_TENSORS}, {grads}) -> ({', '.join(['Tensor'] * _INPUTS)})",
        kernel=backward_kernel,
        fake=lambda *args: tuple(torch.empty_like(tensor) for tensor in args[:_INPUTS]),
        any_core=True,
    )
    return register(
        f"{name}({_TENSORS}) -> ({', '.join(['Tensor'] * len(outputs))})",
        kernel=kernel,
        fake=fake,
        setup=setup,
        backward=grad,
        any_core=True,
    )
