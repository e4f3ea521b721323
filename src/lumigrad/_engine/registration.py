"""Registration of an op with torch: schema, kernel, fake and autograd, in one call.

An op is registered once and then works eagerly, under ``torch.compile`` and in ``torch.export``. The layer is
thinner than ``torch.library.custom_op``: that one costs tens of microseconds a call, more than rendering a
small image.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lumigrad._engine import core as _core
from lumigrad._engine import cuda as _cuda

_library = torch.library.Library("lumigrad", "DEF")

Kernel = Callable[..., Any]
# The kernels that take a core as their first argument, by the name of their op.
kernels_for_any_core: dict[str, Kernel] = {}


def register(
    schema: str,
    kernel: Kernel,
    fake: Kernel,
    setup: Callable[[Any, tuple, Any], None] | None = None,
    backward: Kernel | None = None,
    any_core: bool = False,
) -> Any:
    """Register ``lumigrad::<schema>`` and return the callable op.

    kernel: the implementation on CPU tensors. fake: the same for tensors without data.
    any_core: the kernel's first argument is the core to call, `_core` or `_cuda.core()`, and it serves CUDA too;
    its next argument is a tensor.
    setup(ctx, inputs, output) saves what backward(ctx, *grads) needs; gradients that are not there arrive as
    None. backward returns one gradient per argument, lists of tensors flattened. Without a backward the op
    itself is a gradient: differentiating it again raises an error that says so.
    """
    name = schema.split("(", 1)[0]
    _library.define(schema)
    if any_core:
        kernels_for_any_core[name] = kernel
        _library.impl(name, _on_cuda(kernel), "CUDA")
        kernel = functools.partial(kernel, _core)
    _library.impl(name, kernel, "CPU")
    torch.library.register_fake(f"lumigrad::{name}", fake, lib=_library)
    op = getattr(torch.ops.lumigrad, name).default
    function = _make_function(name, op, setup, backward)
    below_autograd = torch._C._AutoDispatchBelowAutograd
    takes_lists = "Tensor[]" in schema

    def autograd(*args: Any) -> Any:
        flat, layout = _flatten(args) if takes_lists else (args, None)
        if torch.is_grad_enabled():
            for arg in flat:
                if isinstance(arg, torch.Tensor) and arg.requires_grad:
                    return function.apply(layout, *flat)
        with below_autograd():
            return op(*args)

    _library.impl(name, autograd, "Autograd")
    return op


def _on_cuda(kernel: Kernel) -> Kernel:
    """The kernel for CUDA tensors, run on the device of the first one."""

    def run(tensor: torch.Tensor, *args: Any) -> Any:
        with torch.cuda.device(tensor.device):
            return kernel(_cuda.core(), tensor, *args)

    return run


def _flatten(args: tuple) -> tuple[list, tuple]:
    """Spread lists of tensors into single arguments; autograd.Function does not look into lists."""
    flat: list = []
    layout: list = []
    for arg in args:
        is_tensors = isinstance(arg, (list, tuple)) and bool(arg) and isinstance(arg[0], torch.Tensor)
        flat.extend(arg if is_tensors else [arg])
        layout.append(len(arg) if is_tensors else None)
    return flat, tuple(layout)


def _unflatten(flat: Sequence, layout: tuple | None) -> tuple:
    if layout is None:
        return tuple(flat)
    values = iter(flat)
    return tuple(next(values) if size is None else [next(values) for _ in range(size)] for size in layout)


def _make_function(name: str, op: Any, setup: Callable | None, backward: Kernel | None) -> Any:
    """The autograd.Function around the op. Its first argument is the layout of the others."""
    below_autograd = torch._C._AutoDispatchBelowAutograd

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, layout: tuple | None, *flat: Any) -> Any:
            args = _unflatten(flat, layout)
            with below_autograd():
                output = op(*args)
            ctx.set_materialize_grads(False)
            if setup is not None:
                setup(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if backward is None:
                raise RuntimeError(
                    f"lumigrad.{name.removesuffix('_backward')}: second derivatives are not implemented; "
                    "the gradient of this op cannot be differentiated again"
                )
            return (None, *backward(ctx, *grads))

    Function.__name__ = Function.__qualname__ = f"lumigrad::{name}"
    return Function


_warned: set[str] = set()


def needs_reference(name: str, tensor: torch.Tensor, op: str | None = None) -> bool:
    """True where no kernel of ours serves the tensor's device; warns once per op and device type.

    op: the registered op behind the function `name`, where that is called otherwise.
    """
    device = tensor.device.type
    if device in ("cpu", "meta"):
        return False
    if device == "cuda" and (op or name) in kernels_for_any_core and _cuda.available(tensor.device):
        return False
    key = f"{name} on {device}"
    if key not in _warned:
        _warned.add(key)
        warnings.warn(
            f"lumigrad.{key}: no kernel for this device, the (slow) reference implementation is used",
            RuntimeWarning,
            stacklevel=3,
        )
    return True
