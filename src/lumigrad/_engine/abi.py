"""The interface of the compiled libraries, read from their C header: ``lumigrad.h``, installed beside them.

The header is the only definition of a function's arguments. From it come the argument types of every call, the fields
of structures, the values of constants, and the version number of the interface, which a library must match.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any, NamedTuple

_SCALARS: dict[str, type[ctypes._SimpleCData[Any]]] = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "double": ctypes.c_double,
}
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^#define (LG_\w+) (\d+)$", re.MULTILINE)
_ENUM = re.compile(r"enum \{([^}]*)\};")
_STRUCT = re.compile(r"typedef struct \{([^}]*)\} (lg_\w+);")
_FUNCTION = re.compile(r"^(LG_API|LG_API_CPU) ([\w ]+?\*?) ?(lg_\w+)\(([^)]*)\);", re.MULTILINE)


class Parameter(NamedTuple):
    """A parameter of a function or a field of a structure."""

    name: str
    base: str  # its type without const and asterisks
    depth: int  # number of asterisks
    const: bool  # whether the pointed-to data is read-only

    @property
    def ctype(self) -> type[ctypes._SimpleCData[Any]]:
        """The ctypes type of the argument."""
        if self.depth:
            return ctypes.c_void_p
        return _SCALARS[self.base]


class Function(NamedTuple):
    name: str
    result: str
    parameters: tuple[Parameter, ...]
    cpu_only: bool

    @property
    def is_op(self) -> bool:
        """Whether the function runs kernels. The first argument of such a function is an lg_call."""
        return bool(self.parameters) and self.parameters[0].base == "lg_call"


class Header(NamedTuple):
    constants: dict[str, int]
    structs: dict[str, tuple[Parameter, ...]]
    functions: dict[str, Function]

    def structure(self, name: str) -> type[ctypes.Structure]:
        """The structure `name` for ctypes."""
        fields = [(field.name, field.ctype) for field in self.structs[name]]
        return type(name, (ctypes.Structure,), {"_fields_": fields})


def read_header(path: Path) -> Header:
    """Parse the header at `path`."""
    return parse_header(path.read_text(encoding="utf-8"))


def parse_header(text: str) -> Header:
    """The declarations of a header in the style of ``native/include/lumigrad.h``. ValueError for anything else."""
    text = _COMMENT.sub("", text)
    constants = {name: int(value) for name, value in _DEFINE.findall(text)}
    for body in _ENUM.findall(text):
        for item in filter(None, map(str.strip, body.split(","))):
            name, value = item.split("=")
            constants[name.strip()] = int(value)
    structs = {name: _fields(body) for body, name in _STRUCT.findall(text)}
    functions = {}
    for api, result, name, parameters in _FUNCTION.findall(text):
        functions[name] = Function(name, result, _parameters(parameters), api == "LG_API_CPU")
    missed = len(re.findall(r"^LG_API(?:_CPU)? ", text, re.MULTILINE)) - len(functions)
    if missed:
        raise ValueError(f"lumigrad.h: {missed} of its functions are not written in the expected form")
    header = Header(constants, structs, functions)
    _check_types(header)
    return header


def _fields(body: str) -> tuple[Parameter, ...]:
    fields = []
    for statement in filter(None, map(str.strip, body.split(";"))):
        first, *others = statement.split(",")
        field = _parameter(first)
        fields.append(field)
        fields += [field._replace(name=name.strip(" *")) for name in others]
    return tuple(fields)


def _parameters(text: str) -> tuple[Parameter, ...]:
    return () if text.strip() in ("", "void") else tuple(_parameter(part) for part in text.split(","))


def _parameter(text: str) -> Parameter:
    words = text.replace("*", " * ").split()
    *kind, name = words
    named = [word for word in kind if word not in ("const", "*")]
    if len(named) != 1 or not name.isidentifier():
        raise ValueError(f"lumigrad.h: expected a type and a name, got {text.strip()!r}")
    return Parameter(name, named[0], kind.count("*"), kind[0] == "const")


def _check_types(header: Header) -> None:
    groups = {name: function.parameters for name, function in header.functions.items()} | header.structs
    for group, members in groups.items():
        for member in members:
            if member.depth == 0 and member.base not in _SCALARS:
                raise ValueError(f"lumigrad.h: {group}: {member.name} has the unknown type {member.base}")
