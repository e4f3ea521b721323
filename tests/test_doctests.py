"""The examples in docstrings run with the stated results, and every public function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lumigrad
import lumigrad.scene

# `compat` has the functions of other libraries, whose documentation has the examples; `cli` has commands.
LEFT_OUT = ("lumigrad.compat", "lumigrad.cli", "lumigrad.__main__")
# Where the public names are. `lumigrad.reference` defines functions whose examples are those of the ops.
PUBLIC = (
    "lumigrad",
    "lumigrad.fit",
    "lumigrad.fit.fields",
    "lumigrad.fit.photos",
    "lumigrad.fit.splats",
    "lumigrad.io",
    "lumigrad.memory",
    "lumigrad.ops.light",
    "lumigrad.ops.soft",
    "lumigrad.ops.splat",
    "lumigrad.ops.surface",
    "lumigrad.ops.texture",
    "lumigrad.render",
    "lumigrad.scene",
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FINDER = doctest.DocTestFinder(recurse=False, exclude_empty=True)

MODULES = [
    name
    for name in ("lumigrad", *(found.name for found in pkgutil.walk_packages(lumigrad.__path__, "lumigrad.")))
    if not name.startswith(LEFT_OUT)
]


def documented(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """A module, its functions and classes, and the members of these, by name."""
    yield module.__name__, module
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or not (
            inspect.isroutine(value) or inspect.isclass(value)
        ):
            continue
        yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for member, function in vars(value).items():
                if isinstance(function, (classmethod, staticmethod)):
                    function = function.__func__
                if inspect.isfunction(function) or isinstance(function, property):
                    yield f"{module.__name__}.{name}.{member}", function


def examples(module: ModuleType) -> list[doctest.DocTest]:
    found = []
    for name, value in documented(module):
        plain = inspect.unwrap(value) if inspect.isfunction(value) else value
        found += [test for test in FINDER.find(plain, name, module=False, globs={}) if test.examples]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_in(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read and written in an empty folder."""
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said: list[str] = []
    for test in examples(importlib.import_module(name)):
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def public_functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The public functions of a module, and of the modules among its public names."""
    for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
        value = getattr(module, name)
        own = hasattr(module, "__all__") or getattr(value, "__module__", None) == module.__name__
        if inspect.isfunction(value) and own:
            yield f"{module.__name__}.{name}", value
        elif inspect.ismodule(value) and value.__name__.startswith(module.__name__) and value is not lumigrad.reference:
            yield from public_functions(value)


def test_what_scenes_are_made_of_has_examples() -> None:
    """The classes of `lumigrad.scene`, but for those that only are bases of others."""
    classes = [value for value in map(lumigrad.scene.__dict__.get, lumigrad.scene.__all__) if inspect.isclass(value)]
    made = {value for value in classes if not any(value in other.__mro__[1:] for other in classes)}
    made.add(lumigrad.scene.PointLight)
    assert len(made) > 15
    assert not sorted(value.__name__ for value in made if ">>> " not in (vars(value)["__doc__"] or ""))


def test_public_functions_have_examples() -> None:
    functions = {name: f for module in PUBLIC for name, f in public_functions(importlib.import_module(module))}
    assert len(functions) > 90
    lacking = sorted(name for name, function in functions.items() if ">>> " not in (function.__doc__ or ""))
    assert not lacking
    run = {test.name for name in MODULES for test in examples(importlib.import_module(name))}
    assert {f"{function.__module__}.{function.__name__}" for function in functions.values()} <= run
