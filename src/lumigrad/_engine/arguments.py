"""Builds the arguments of a C function from named values.

Names are looked up once, when an op is declared; a call then picks values by their index in a row.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lumigrad._engine.abi import Function, Header, Parameter

# The formats of structures for the module struct, with C's alignment.
_PACKED = {ctypes.c_int32: "i", ctypes.c_int64: "q", ctypes.c_double: "d", ctypes.c_void_p: "P"}


class DeclarationError(Exception):
    """An op's declaration does not match its C functions."""


class Value(NamedTuple):
    """A value that an op knows by name."""

    kind: str  # number, numbers, tensor or tensors; the last three may be None
    written: bool = False  # whether the C function writes to it

    def fits(self, parameter: Parameter) -> bool:
        """Whether the parameter can take this value."""
        depth = {"number": 0, "numbers": 1, "tensor": 1, "tensors": 2}[self.kind]
        return parameter.depth == depth and (depth == 0 or parameter.const != self.written)


def picker(places: Iterable[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """A function that picks the values at these indices of a sequence."""
    places = tuple(places)
    if not places:
        return lambda values: ()
    if len(places) == 1:
        place = places[0]
        return lambda values: (values[place],)
    return operator.itemgetter(*places)


def leaves(function: Function, header: Header) -> Iterator[Parameter]:
    """The parameters of a function after its lg_call, with structures replaced by their fields."""
    for parameter in function.parameters[1:]:
        yield from header.structs.get(parameter.base, (parameter,))


class Arguments:
    """The arguments of `function`, each found among `values` by the name of its parameter.

    A row of values grows step by step: by the addresses of tensors, by C arrays, by structures. Finally, the function's
    arguments are picked from it.
    """

    def __init__(self, function: Function, values: Mapping[str, Value], header: Header) -> None:
        names = list(values)
        places: dict[str, int] = {}
        pointers: list[int] = []
        self._arrays: list[tuple[int, Callable[[Any], Any]]] = []
        for leaf in leaves(function, header):
            _check(function, leaf, values)
            kind, place = values[leaf.name].kind, names.index(leaf.name)
            if kind == "tensor":
                places[leaf.name] = len(names) + len(pointers)
                pointers.append(place)
            elif kind == "number":
                places[leaf.name] = place
        for leaf in leaves(function, header):
            if leaf.name not in places:
                places[leaf.name] = len(names) + len(pointers) + len(self._arrays)
                self._arrays.append((names.index(leaf.name), _array_of(leaf)))
        self._take_tensors = picker(pointers)
        self._structures: list[tuple[Callable[..., bytes], Callable[..., Any]]] = []
        arranged: list[int] = []
        for parameter in function.parameters[1:]:
            fields = header.structs.get(parameter.base)
            if fields is None:
                arranged.append(places[parameter.name])
            else:
                arranged.append(len(names) + len(pointers) + len(self._arrays) + len(self._structures))
                layout = struct.Struct("@" + "".join(_PACKED[field.ctype] for field in fields))
                self._structures.append((layout.pack, picker(places[field.name] for field in fields)))
        self._arrange = picker(arranged)

    def __call__(self, values: Sequence[Any]) -> tuple[Any, ...]:
        row = [*values, *[0 if tensor is None else tensor.data_ptr() for tensor in self._take_tensors(values)]]
        for place, array_of in self._arrays:
            row.append(array_of(values[place]))
        for pack, take in self._structures:
            row.append(pack(*take(row)))
        return self._arrange(row)


def _check(function: Function, parameter: Parameter, values: Mapping[str, Value]) -> None:
    if parameter.name not in values:
        raise DeclarationError(
            f"{function.name} takes {parameter.name}, and there is nothing of that name among {', '.join(values)}"
        )
    value = values[parameter.name]
    if not value.fits(parameter):
        use = "writes to" if parameter.depth and not parameter.const else "reads"
        asterisks = "*" * parameter.depth
        raise DeclarationError(
            f"{function.name} {use} {parameter.base}{asterisks} {parameter.name}, but that is "
            f"{'an output' if value.written else 'an input'} of kind {value.kind}"
        )


def _array_of(parameter: Parameter) -> Callable[[Any], Any]:
    """Makes a C array of the addresses of tensors, or of numbers; null if there are none."""
    if parameter.depth == 2:

        def addresses(tensors: Sequence[Any]) -> Any:
            if not tensors:
                return None
            return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])

        return addresses
    element = parameter._replace(depth=0).ctype
    return lambda numbers: None if numbers is None else (element * len(numbers))(*numbers)
