"""Holds every call of lumigrad, while the tests run, to the shapes in its signature.

`install` makes lumigrad be imported with a decorator on each function whose signature has shapes, and on each
dataclass. The function is called first, so that its own errors are what a wrong argument raises; if it returns, the
arguments and the result must fit their annotations, one size for each name. The fields of a named tuple count as
arguments. What torch traces is left as it is.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

import jaxtyping
import torch
from beartype import BeartypeConf
from beartype.door import is_bearable

# What `lumigrad.types.shapes` has in their place.
WORDS: dict[str, Any] = {name: getattr(jaxtyping, name) for name in ("Bool", "Float", "Int", "Int32", "Shaped")}
# By named tuple: its fields, as they are written.
NAMED_TUPLES: dict[type, dict[str, str]] = {}
INTEGERS_ARE_FLOATS = BeartypeConf(is_pep484_tower=True)


class ShapeError(AssertionError):
    """An argument or a result is not what the signature says."""


# ---- The decorators ------------------------------------------------------------------------------------------------


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its calls checked against its annotations."""
    signature = inspect.signature(function)
    passed: set[Any] = set()  # calls with the same shapes and types are checked once

    @functools.lru_cache(maxsize=1)
    def hints() -> dict[str, Any]:
        return _evaluated(function.__annotations__, function.__globals__)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            call = _shapes_of((args, *kwargs.values(), result)), *kwargs
            if call not in passed:
                values = {**signature.bind(*args, **kwargs).arguments, "return": result}
                _check(f"{function.__module__}.{function.__qualname__}", values, hints())
                passed.add(call)
        return result

    return wrapper


def checked_class(fields: Mapping[str, str]) -> Callable[[type], type]:
    """For a class with these fields: named tuples are remembered, dataclasses checked where they are made."""

    def decorate(cls: type) -> type:
        if issubclass(cls, tuple):
            NAMED_TUPLES[cls] = dict(fields)
        elif dataclasses.is_dataclass(cls) and "__init__" in vars(cls) and hasattr(cls.__init__, "__annotations__"):
            cls.__init__ = _checked_fields(cls)  # type: ignore[misc]
        return cls

    return decorate


def _checked_fields(cls: type) -> Callable[..., None]:
    """Check a dataclass's fields against their annotations after they have been converted."""
    make = cls.__init__
    passed: set[Any] = set()

    @functools.lru_cache(maxsize=1)
    def hints() -> dict[str, Any]:
        return _evaluated(make.__annotations__, vars(sys.modules[cls.__module__]))

    @functools.wraps(make)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        if not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            values = {name: getattr(self, name) for name in hints()}
            if (made := _shapes_of(values.values())) not in passed:
                _check(f"{cls.__module__}.{cls.__qualname__}", values, hints())
                passed.add(made)

    return wrapper


def _evaluated(annotations: Mapping[str, str], names: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations that have shapes."""
    known = {**names, **WORDS, "Tensor": torch.Tensor}
    return {name: eval(text, known) for name, text in annotations.items() if _has_shapes(text)}


@functools.cache
def _hints_of_fields(cls: type) -> dict[str, Any]:
    return _evaluated(NAMED_TUPLES[cls], vars(sys.modules[cls.__module__]))


def _has_shapes(text: Any) -> bool:
    return isinstance(text, str) and any(f"{word}[" in text for word in WORDS)


# ---- The check -----------------------------------------------------------------------------------------------------


def _check(function: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for group in _groups(values):
        with jaxtyping.jaxtyped("context"):
            for name, value, hint in _parts(group, hints):
                if not is_bearable(value, hint, conf=INTEGERS_ARE_FLOATS):
                    raise ShapeError(f"{function}: {name}: expected {_in_words(hint)}, got {_in_words(value)}")


def _groups(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What words are to mean the same in. A named tuple that takes the place of one of its kind has its own sizes."""
    given = {name: value for name, value in values.items() if name != "return"}
    replaced = NAMED_TUPLES.keys() & {type(value) for value in given.values()}
    return [given, {"return": values["return"]}] if type(values.get("return")) in replaced else [values]


def _shapes_of(values: Iterable[Any]) -> tuple[Any, ...]:
    """Everything that a check depends on."""
    return tuple(
        (value.dtype, value.shape)
        if isinstance(value, torch.Tensor)
        else (type(value), *_shapes_of(value))
        if isinstance(value, (tuple, list))
        else type(value)
        for value in values
    )


def _parts(values: Mapping[str, Any], hints: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Names, values and hints: of arguments and results, and of the fields of those that are named tuples."""
    for name, value in values.items():
        if name in hints:
            yield name, value, hints[name]
        if type(value) in NAMED_TUPLES:
            for field, hint in _hints_of_fields(type(value)).items():
                yield f"{name}.{field}", getattr(value, field), hint


def _in_words(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_in_words, value))})"
    return getattr(value, "__name__", None) or str(value)


# ---- The import hook -----------------------------------------------------------------------------------------------


def install(package: str = "lumigrad") -> None:
    """Check the calls of a package that is not imported yet."""
    if package in sys.modules:
        raise RuntimeError(f"{package} was imported before the checks of its shapes were installed")
    sys.meta_path.insert(0, _Finder(package))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != self.package:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles decorated source, past the cache of compiled files."""

    def get_code(self, fullname: str) -> CodeType:
        tree = _Decorating().visit(ast.parse(self.get_data(self.path), self.path))
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(_checked=checked, _checked_class=checked_class)
        super().exec_module(module)


class _Decorating(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        annotations = [argument.annotation for argument in arguments] + [node.returns]
        overload = any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
        if not overload and any(_has_shapes(ast.unparse(a)) for a in annotations if a is not None):
            node.decorator_list.append(ast.copy_location(ast.Name("_checked", ast.Load()), node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        fields = {ast.unparse(n.target): ast.unparse(n.annotation) for n in node.body if isinstance(n, ast.AnnAssign)}
        if fields:
            decorator = ast.parse(f"_checked_class({fields!r})", mode="eval").body
            node.decorator_list.insert(0, ast.copy_location(decorator, node))
        return node
