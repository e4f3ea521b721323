"""Puts an adapter where programs import the library that it imitates."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType


def install(name: str, package: str, private: Sequence[str] = ()) -> None:
    """Let `import <name>` and `import <name>.<module>` find an adapter and its modules.

    Args:
        name: what programs import, say "pytorch3d" or "nvdiffrast.torch".
        package: the adapter, say "lumigrad.compat.pytorch3d".
        private: modules whose names begin with an underscore, and which programs import all the same.

    Raises:
        RuntimeError: another library of that name has been imported already.
    """
    modules = {name: importlib.import_module(package)}
    for module in (*_public_modules(package), *(f"{package}.{module}" for module in private)):
        modules[name + module.removeprefix(package)] = importlib.import_module(module)
    for alias, adapter in modules.items():
        there = sys.modules.get(alias, adapter)
        if there is not adapter:
            raise RuntimeError(f"{alias}: {there} has been imported already; install the adapter before")
    _make_parents(name, modules[name])
    sys.modules.update(modules)


def _public_modules(package: str) -> list[str]:
    """The names of all modules below a package that do not begin with an underscore."""
    path = importlib.import_module(package).__path__
    names = [module.name for module in pkgutil.walk_packages(path, package + ".")]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def _make_parents(name: str, child: ModuleType) -> None:
    """Empty packages above a dotted name."""
    while "." in name:
        name, _, last = name.rpartition(".")
        parent = sys.modules.get(name)
        if parent is None:
            parent = ModuleType(name)
            parent.__path__ = []
            sys.modules[name] = parent
        setattr(parent, last, child)
        child = parent
