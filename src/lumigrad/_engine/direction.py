"""One direction of an op: its inputs, the outputs that it allocates, and the C function that fills them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from lumigrad._engine.abi import Function, Header
from lumigrad._engine.arguments import Arguments, DeclarationError, Value, leaves, picker
from lumigrad._engine.core import Core
from lumigrad._engine.loading import HEADER

_FLOATS = {torch.float32: HEADER.constants["LG_FLOAT32"], torch.float64: HEADER.constants["LG_FLOAT64"]}
# dtypes of outputs, by their C types. None: the op's own dtype.
_DTYPES = {
    "void": None,
    "float": torch.float32,
    "double": torch.float64,
    "int32_t": torch.int32,
    "int64_t": torch.int64,
    "uint8_t": torch.uint8,
}
_KINDS = {"Tensor": "tensor", "Tensor?": "tensor", "Tensor[]": "tensors"}
_NUMBERS = ("int[]", "int[]?", "float[]", "float[]?")

Empty = Callable[[Sequence[int], torch.dtype], torch.Tensor]


def kind_of(type_: str) -> str:
    """The kind of `Value` for an input of this schema type."""
    return "numbers" if type_ in _NUMBERS else _KINDS.get(type_, "number")


class Sizes:
    """Numbers computed from an op's inputs."""

    def __init__(self, names: str, compute: Callable[..., Sequence[int]]) -> None:
        """names: of what `compute` returns, in words; it takes inputs by the names of its parameters."""
        self.names = names.split()
        self.compute = compute
        self.inputs = list(inspect.signature(compute).parameters)


class Output(NamedTuple):
    name: str
    shape: Callable[[Sequence[Any]], Any]  # from a row of inputs, sizes and constants; for lists of tensors, shapes
    many: bool = False


def returned(outputs: Sequence[Any]) -> Any:
    """Return values in the form that torch expects: a single one, or a tuple."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


class Direction:
    """A C function as a torch op: `run` is its kernel, `fake` the counterpart for tensors without data."""

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, str],
        sizes: Sizes,
        constants: Sequence[int],
        outputs: Sequence[Output],
        function: Function,
        header: Header,
    ) -> None:
        """inputs: their types in the schema. constants: literal numbers in shapes, which are appended to the row."""
        self.name, self.inputs, self.outputs, self.function = name, dict(inputs), list(outputs), function
        values = {name: Value(kind_of(type_)) for name, type_ in inputs.items()}
        values |= {name: Value("number") for name in (*sizes.names, *map(str, constants))}
        values |= {output.name: Value("tensors" if output.many else "tensor", written=True) for output in outputs}
        self._arguments = Arguments(function, {**values, "dtype": Value("number")}, header)
        self._symbol = function.name.removeprefix("lg_")
        self._compute_sizes, self._constants = sizes.compute, tuple(constants)
        names = list(inputs)
        missing = [name for name in sizes.inputs if name not in inputs]
        if missing:
            raise DeclarationError(f"{self.name}: sizes are computed from {', '.join(missing)}, which is no input")
        self._take_sized = picker(names.index(name) for name in sizes.inputs)
        in_c = {leaf.name: leaf for leaf in leaves(function, header)}
        self._made = [(output.shape, _dtype(output, function, header), output.many) for output in outputs]
        tensors = [name for name in names if kind_of(inputs[name]) == "tensor"]
        typed = [name for name in tensors if name in in_c and in_c[name].base == "void"]
        self._like = names.index((typed or tensors)[0])
        self._wants = [i for i, name in enumerate(names) if name.startswith("want_")]
        self._loose = [i for i, name in enumerate(names) if name.startswith("grad_")]

    @property
    def schema(self) -> str:
        """The schema in torch's notation."""
        inputs = ", ".join(f"{type_} {name}" for name, type_ in self.inputs.items())
        outputs = ", ".join("Tensor[]" if output.many else "Tensor" for output in self.outputs)
        return f"{self.name}({inputs}) -> ({outputs})"

    def run(self, core: Core, *args: Any) -> Any:
        row = list(args)
        given = not self._loose
        for i in self._loose:
            if row[i] is not None:
                row[i] = row[i].contiguous()
                given = True
        outputs = self._allocate(row, core.empty)
        if not given:
            for output in outputs:
                for tensor in output if isinstance(output, list) else (output,):
                    tensor.zero_()
        elif not self._wants or any(row[i] for i in self._wants):
            core.calls[self._symbol](*self._arguments([*row, *outputs, _FLOATS.get(row[self._like].dtype)]))
        return returned(outputs)

    def fake(self, *args: Any) -> Any:
        like = args[self._like]
        return returned(self._allocate(list(args), lambda shape, dtype: like.new_empty(shape, dtype=dtype)))

    def _allocate(self, row: list[Any], empty: Empty) -> list[Any]:
        """Allocate the outputs, not yet filled. Sizes and constants are appended to the row of inputs."""
        row += self._compute_sizes(*self._take_sized(row))
        row += self._constants
        floating = row[self._like].dtype
        return [
            [empty(each, floating) for each in shape(row)] if many else empty(shape(row), dtype or floating)
            for shape, dtype, many in self._made
        ]


class Copy:
    """An op that returns its input `unchanged`; used instead of a `Direction`."""

    def __init__(self, name: str, inputs: Mapping[str, str], unchanged: str) -> None:
        if unchanged not in inputs:
            raise DeclarationError(f"{name}: {unchanged} is to be unchanged, but is no input")
        self.name, self.inputs, self.unchanged = name, dict(inputs), unchanged
        self.outputs = [Output("out", lambda row: ())]
        self._place = list(inputs).index(unchanged)

    @property
    def schema(self) -> str:
        return f"{self.name}({', '.join(f'{type_} {name}' for name, type_ in self.inputs.items())}) -> Tensor"

    def run(self, core: Core, *args: Any) -> torch.Tensor:
        tensor: torch.Tensor = args[self._place]
        return tensor.clone()

    def fake(self, *args: Any) -> torch.Tensor:
        return torch.empty_like(args[self._place])


def _dtype(output: Output, function: Function, header: Header) -> torch.dtype | None:
    for leaf in leaves(function, header):
        if leaf.name == output.name:
            return _DTYPES[leaf.base]
    raise DeclarationError(f"{function.name} does not write to {output.name}, which is declared as an output")


# ---- Shapes --------------------------------------------------------------------------------------------------


def shape_in_words(text: str, places: Mapping[str, int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The shape that `text` describes for a row whose values have these indices: "views height 2 if shadows"."""
    for conjunction, wanted in ((" if ", True), (" unless ", False)):
        words, _, condition = text.partition(conjunction)
        if condition:
            take, place = picker(places[word] for word in words.split()), places[condition]
            return lambda row: take(row) if (row[place] is not None and row[place] is not False) is wanted else (0,)
    return picker(places[word] for word in text.split())


def shape_of_gradient(place: int, wanted: int) -> Callable[[Sequence[Any]], Sequence[int]]:
    """The shape of the input at index `place` of a row, if its gradient is wanted and it exists."""
    return lambda row: row[place].shape if row[wanted] and row[place] is not None else (0,)


def shapes_of_gradients(place: int, wanted: int) -> Callable[[Sequence[Any]], list[Any]]:
    """The same for a list of tensors."""
    return lambda row: [tensor.shape for tensor in row[place]] if row[wanted] else []
