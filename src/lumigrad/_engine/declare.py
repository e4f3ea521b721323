"""Declares an op in one place: schema, sizes, and the shapes of outputs. Everything else follows from its C functions.

    op = declare(
        "shade(Tensor color, Tensor? light, int steps, bool shadows)",
        sizes=("pixels channels", lambda color: color.shape),
        outputs={"image": "pixels channels", "shadow": "pixels if shadows"},
    )

The C functions are ``lg_shade_forward`` and ``lg_shade_backward``, or ``lg_shade`` where there is no gradient. **Their
parameters' names are the contract**: each is that of an input, a size or an output of the declaration, or `dtype`, the
type of ``void`` buffers; a name that fits nothing is an error at import. ``lg_shade_backward`` says which inputs have
gradients (those whose ``grad_<input>`` it writes), what is kept for it (the inputs and outputs that it reads), and
which outputs have gradients (those whose ``grad_<output>`` it reads). The types of outputs are those of their pointers.

Each direction is then registered with torch: kernels for the CPU and for CUDA, shapes for tensors without data, and
autograd. An op takes contiguous tensors; gradients may come in any layout.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map_only

from lumigrad._engine import autograd, cuda
from lumigrad._engine.abi import Header
from lumigrad._engine.arguments import DeclarationError, leaves
from lumigrad._engine.core import cpu
from lumigrad._engine.direction import (
    Copy,
    Direction,
    Output,
    Sizes,
    kind_of,
    shape_in_words,
    shape_of_gradient,
    shapes_of_gradients,
)
from lumigrad._engine.loading import HEADER

_LIBRARY = torch.library.Library("lumigrad", "DEF")
# All registered ops, including those of backward passes, by name.
DIRECTIONS: dict[str, Direction | Copy] = {}


def declare(
    schema: str,
    sizes: tuple[str, Callable[..., Sequence[int]]],
    outputs: Mapping[str, str] | None = None,
    unchanged: str | None = None,
) -> Any:
    """Register an op and its gradient, and return it: a function of positional arguments.

    schema: as torch writes it, without what is returned.
    sizes: names in words, and the function that computes these numbers; it takes inputs by the names of its parameters.
    outputs: their shapes in words: numbers, sizes, inputs; "... if shadows" is empty where `shadows` is None or False,
    "... unless shadows" where it is anything else.
    unchanged: in the place of outputs: the op returns this input as it is, and passes its gradient on; the gradients of
    other inputs are those of ``lg_<op>_backward``, to which `sizes` belong, and which calls the output `out`.
    """
    op = plan(HEADER, schema, sizes, outputs, unchanged)
    forward = _register(op.forward)
    if op.backward is None:
        _on_autograd(op.forward, autograd.without_gradient(forward))
    else:
        backward = _register(op.backward)
        tensors = [i for i, type_ in enumerate(op.backward.inputs.values()) if kind_of(type_) == "tensor"]
        _on_autograd(op.backward, autograd.without_second_gradient(op.forward.name, backward, tensors))
        assert op.links is not None
        _on_autograd(op.forward, autograd.with_gradient(op.forward.name, forward, backward, op.links))
    return forward


def _register(direction: Direction | Copy) -> Any:
    _LIBRARY.define(direction.schema)
    _LIBRARY.impl(direction.name, functools.partial(direction.run, cpu), "CPU")
    _LIBRARY.impl(direction.name, _on_cuda(direction), "CUDA")
    torch.library.register_fake(f"lumigrad::{direction.name}", direction.fake, lib=_LIBRARY)
    DIRECTIONS[direction.name] = direction
    return getattr(torch.ops.lumigrad, direction.name).default


def _on_autograd(direction: Direction | Copy, run: Callable[..., Any]) -> None:
    _LIBRARY.impl(direction.name, run, "Autograd")


def _on_cuda(direction: Direction | Copy) -> Callable[..., Any]:
    """The CUDA kernel, run on the device of the first tensor, or on the CPU if CUDA has none."""

    def run(tensor: torch.Tensor, *args: Any) -> Any:
        index = tensor.get_device()
        core = cuda.core(index)
        if index == torch.cuda.current_device():
            return direction.run(core, tensor, *args)
        with torch.cuda.device(index):
            return direction.run(core, tensor, *args)

    def run_on_host(tensor: torch.Tensor, *args: Any) -> Any:
        made = direction.run(cpu, *tree_map_only(torch.Tensor, torch.Tensor.cpu, (tensor, *args)))
        return tree_map_only(torch.Tensor, lambda out: out.to(tensor.device), made)

    return run_on_host if isinstance(direction, Direction) and direction.function.cpu_only else run


# ---- Derived from a declaration ------------------------------------------------------------------------------


class Op(NamedTuple):
    forward: Direction | Copy
    backward: Direction | None
    links: autograd.Links | None


def plan(
    header: Header,
    schema: str,
    sizes: tuple[str, Callable[..., Sequence[int]]],
    outputs: Mapping[str, str] | None = None,
    unchanged: str | None = None,
) -> Op:
    """The ops that `declare` registers, given the functions of a header. DeclarationError if these do not match."""
    name, inputs = _parse(schema)
    sized = Sizes(*sizes)
    if unchanged is None:
        forward: Direction | Copy = _forward(header, name, inputs, sized, outputs or {})
    else:
        forward = Copy(name, inputs, unchanged)
    backward = None
    if f"lg_{name}_backward" in header.functions:
        backward = _backward(header, forward, sized)
    _check_all_is_used(header, forward, backward, sized, _words(outputs or {}))
    links = None if backward is None else _links(header, forward, backward, unchanged)
    return Op(forward, backward, links)


def _parse(schema: str) -> tuple[str, dict[str, str]]:
    """An op's name, and the types of its inputs by name."""
    match = re.fullmatch(r"(\w+)\((.+)\)", schema)
    if match is None:
        raise DeclarationError(f"expected a schema such as 'op(Tensor a, int b)', got {schema!r}")
    types_and_names = [parameter.split() for parameter in match[2].split(",")]
    return match[1], {name: type_ for type_, name in types_and_names}


def _forward(header: Header, name: str, inputs: dict[str, str], sizes: Sizes, outputs: Mapping[str, str]) -> Direction:
    function = header.functions.get(f"lg_{name}_forward") or header.functions.get(f"lg_{name}")
    if function is None:
        raise DeclarationError(f"lumigrad.h has neither lg_{name}_forward nor lg_{name}")
    both = sorted(inputs.keys() & outputs.keys())
    if both:
        raise DeclarationError(f"{name}: {', '.join(both)} is declared as an input and as an output")
    words = _words(outputs)
    constants = sorted({int(word) for word in words if word.isdigit()})
    places = {word: place for place, word in enumerate((*inputs, *sizes.names, *map(str, constants)))}
    unknown = sorted(words - places.keys())
    if unknown:
        raise DeclarationError(f"{name}: {', '.join(unknown)} in the shape of an output is no size and no input")
    made = [Output(output, shape_in_words(text, places)) for output, text in outputs.items()]
    return Direction(name, inputs, sizes, constants, made, function, header)


def _backward(header: Header, forward: Direction | Copy, sizes: Sizes) -> Direction:
    function = header.functions[f"lg_{forward.name}_backward"]
    parameters = list(leaves(function, header))
    written = {leaf.name for leaf in parameters if leaf.depth and not leaf.const}
    read = {leaf.name for leaf in parameters} - written | set(sizes.inputs)
    outputs = [output.name for output in forward.outputs]
    wanted = [name for name in forward.inputs if f"grad_{name}" in written]
    kept = {name: type_ for name, type_ in forward.inputs.items() if name in read or name in wanted}
    inputs = {
        **{name: kept[name] for name in _of_kind(kept, "tensor")},
        **{name: "Tensor" for name in outputs if name in read},
        **{name: kept[name] for name in _of_kind(kept, "tensors")},
        **{name: kept[name] for name in _of_kind(kept, "number", "numbers")},
        **{f"grad_{name}": "Tensor?" for name in outputs if f"grad_{name}" in read},
        **{f"want_{name}": "bool" for name in wanted},
    }
    places = {name: place for place, name in enumerate(inputs)}
    made = []
    for name in wanted:
        many = kind_of(kept[name]) == "tensors"
        shape = shapes_of_gradients if many else shape_of_gradient
        made.append(Output(f"grad_{name}", shape(places[name], places[f"want_{name}"]), many))
    return Direction(f"{forward.name}_backward", inputs, sizes, (), made, function, header)


def _links(header: Header, forward: Direction | Copy, backward: Direction, unchanged: str | None) -> autograd.Links:
    inputs, outputs = list(forward.inputs), [output.name for output in forward.outputs]
    kept = {name: type_ for name, type_ in forward.inputs.items() if name in backward.inputs}
    lists = _of_kind(forward.inputs, "tensors")
    if len(lists) > 1:
        raise DeclarationError(f"{forward.name}: only one of {', '.join(lists)} can be a list of tensors")
    given = [i for i, name in enumerate(outputs) if f"grad_{name}" in backward.inputs]
    read = {leaf.name for leaf in leaves(backward.function, header)}
    return autograd.Links(
        inputs=len(inputs),
        tensors=[inputs.index(name) for name in _of_kind(forward.inputs, "tensor")],
        list=inputs.index(lists[0]) if lists else None,
        kept_tensors=[inputs.index(name) for name in _of_kind(kept, "tensor")],
        kept_outputs=[i for i, name in enumerate(outputs) if name in backward.inputs],
        kept_numbers=[inputs.index(name) for name in _of_kind(kept, "number", "numbers")],
        fixed_outputs=[i for i in range(len(outputs)) if i not in given],
        given=given,
        wanted=[i for i, name in enumerate(inputs) if f"want_{name}" in backward.inputs],
        unchanged=None if unchanged is None else inputs.index(unchanged),
        shapes_only=not read & {*_of_kind(kept, "tensor"), *lists, *outputs},
    )


def _check_all_is_used(
    header: Header, forward: Direction | Copy, backward: Direction | None, sizes: Sizes, words: set[str]
) -> None:
    """Raise if an input or a size is unused, as a misspelt name would be."""
    used = words | set(sizes.inputs)
    for direction in (forward, backward):
        if isinstance(direction, Direction):
            used |= {leaf.name for leaf in leaves(direction.function, header)}
    if isinstance(forward, Copy):
        used.add(forward.unchanged)
    unused = [name for name in (*forward.inputs, *sizes.names) if name not in used]
    if unused:
        raise DeclarationError(f"{forward.name}: nothing uses {', '.join(unused)}")


def _of_kind(inputs: Mapping[str, str], *kinds: str) -> list[str]:
    return [name for name, type_ in inputs.items() if kind_of(type_) in kinds]


def _words(outputs: Mapping[str, str]) -> set[str]:
    """The words that shapes of outputs consist of."""
    return set(" ".join(outputs.values()).split()) - {"if", "unless"}
