"""Autograd for declared ops, with less overhead than ``torch.library.custom_op`` (tens of microseconds per call)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.autograd import forward_ad

from lumigrad._engine.arguments import picker

_below_autograd = torch._C._AutoDispatchBelowAutograd


def forward_mode() -> bool:
    """Whether forward-mode derivatives are being computed, as by `torch.func.jvp`."""
    return forward_ad._current_level >= 0


class Links(NamedTuple):
    """How an op's backward pass is linked to its forward pass, by indices of inputs and outputs.

    The backward op takes the kept inputs that are tensors, then the kept outputs, the list of tensors, if any, the kept
    inputs that are numbers, the gradients of outputs, and for each input with a gradient, whether it is wanted.
    """

    inputs: int  # their number
    tensors: Sequence[int]  # inputs that are single tensors
    list: int | None  # the input that is a list of tensors
    kept_tensors: Sequence[int]
    kept_outputs: Sequence[int]
    kept_numbers: Sequence[int]
    fixed_outputs: Sequence[int]  # outputs without a gradient
    given: Sequence[int]  # outputs with a gradient
    wanted: Sequence[int]  # inputs with a gradient
    unchanged: int | None  # the input that is the output, gradient included
    shapes_only: bool  # whether the backward pass needs only the shapes of what is kept


def without_gradient(op: Any) -> Callable[..., Any]:
    """The autograd of an op that has no gradient."""

    def run(*args: Any) -> Any:
        with _below_autograd():
            return op(*args)

    return run


def without_second_gradient(name: str, op: Any, tensors: Sequence[int]) -> Callable[..., Any]:
    """The autograd of the backward op of the op `name`; `tensors`: its inputs that are single tensors."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            with _below_autograd():
                return op(*args)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise RuntimeError(
                f"lumigrad.{name}: second derivatives are not implemented; "
                "the gradient of this op cannot be differentiated again"
            )

    return _recorded_if_needed(name, op, Function, tensors, None)


def with_gradient(name: str, op: Any, backward_op: Any, links: Links) -> Callable[..., Any]:
    """The autograd of an op whose gradient `backward_op` computes."""
    take_tensors, take_outputs, take_numbers, take_fixed, take_given = map(
        picker, (links.kept_tensors, links.kept_outputs, links.kept_numbers, links.fixed_outputs, links.given)
    )
    inputs, list_at, unchanged = links.inputs, links.list, links.unchanged
    singles = len(links.kept_tensors) + len(links.kept_outputs)

    class Function(torch.autograd.Function):
        """Takes the tensors of a list after all other inputs, because autograd does not look into lists."""

        @staticmethod
        def forward(ctx: Any, *flat: Any) -> Any:
            args = flat
            if list_at is not None:
                args = (*flat[:list_at], list(flat[inputs:]), *flat[list_at + 1 : inputs])
            with _below_autograd():
                output = op(*args)
            outputs = output if isinstance(output, tuple) else (output,)
            ctx.set_materialize_grads(False)
            ctx.mark_non_differentiable(*take_fixed(outputs))
            kept = (*take_tensors(args), *take_outputs(outputs), *flat[inputs:])
            if links.shapes_only:  # autograd frees saved tensors, and such a graph can serve many backward passes
                ctx.shapes = tuple(tensor.detach() for tensor in kept)
            else:
                ctx.save_for_backward(*kept)
            ctx.numbers = take_numbers(args)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            given, needed = take_given(grads), ctx.needs_input_grad
            wanted = [any(needed[inputs:]) if place == list_at else needed[place] for place in links.wanted]
            result = [None] * len(needed)
            if any(wanted) and any(grad is not None for grad in given):
                saved = ctx.shapes if links.shapes_only else ctx.saved_tensors
                many = () if list_at is None else (list(saved[singles:]),)
                found = backward_op(*saved[:singles], *many, *ctx.numbers, *given, *wanted)
                for place, want, grad in zip(links.wanted, wanted, found if len(wanted) > 1 else (found,)):
                    if want and place == list_at:
                        result[inputs:] = grad
                    elif want:
                        result[place] = grad
            if unchanged is not None:
                result[unchanged] = grads[0]
            return tuple(result)

    return _recorded_if_needed(name, op, Function, links.tensors, list_at)


def _recorded_if_needed(
    name: str, op: Any, function: Any, tensors: Sequence[int], list_at: int | None
) -> Callable[..., Any]:
    """Call `function`, which autograd records, if an input requires a gradient; otherwise call the op alone."""
    take = picker(tensors)

    def run(*args: Any) -> Any:
        if forward_mode() and any(map(_has_tangent, take(args))):
            raise NotImplementedError(
                f"lumigrad::{name}: forward-mode derivatives are not implemented; use reverse mode (torch.func.vjp, "
                "jacrev, backward) or the function of the same name in lumigrad.reference"
            )
        if torch.is_grad_enabled():
            for tensor in take(args):
                if tensor is not None and tensor.requires_grad:
                    return function.apply(*spread(args))
            if list_at is not None and any(tensor.requires_grad for tensor in args[list_at]):
                return function.apply(*spread(args))
        with _below_autograd():
            return op(*args)

    def spread(args: tuple[Any, ...]) -> tuple[Any, ...]:
        return args if list_at is None else (*args[:list_at], None, *args[list_at + 1 :], *args[list_at])

    return run


def _has_tangent(tensor: torch.Tensor | None) -> bool:
    return tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None
