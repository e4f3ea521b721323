"""Imports go downwards only, without circles, and need no optional package."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import lumigrad
from lumigrad._optional import require

ROOT = Path(lumigrad.__file__).parent

# From the lowest layer up. Packages of one layer do not import one another. The package itself, which exports the ops'
# public names, lies above them, and the command line may import its version.
FLOORS = (
    ("types", "_optional", "_launcher"),
    ("_diagnosis",),
    ("_startup",),
    ("_engine",),
    ("reference",),
    ("ops",),
    ("gradients",),
    ("lumigrad", "memory"),
    ("scene",),
    ("io", "render"),
    ("fit", "view"),
    ("compat", "cli"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Only these packages know the compiled libraries; `lumigrad.memory` exports the controls of their memory.
KNOW_THE_ENGINE = ("_engine", "ops", "memory")

OPTIONAL_PACKAGES = (
    "scipy",
    "mapbox_earcut",
    "DracoPy",
    "PIL",
    "matplotlib",
    "tqdm",
    "imageio",
    "imageio_ffmpeg",
    "xatlas",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(module: str) -> Iterator[str]:
    """The modules of lumigrad that a module imports anywhere: at its top, in functions, for type checking."""
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lumigrad")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            if base.split(".")[0] == "lumigrad":
                for alias in node.names:
                    submodule = f"{base}.{alias.name}"
                    yield submodule if submodule in FILES else base


@functools.cache
def all_imports() -> dict[str, set[str]]:
    """The modules that each module imports; not found when tests are collected, which every worker does."""
    return {module: set(imported(module)) for module in FILES}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in FILES} <= set(FLOOR)


def test_imports_go_downwards() -> None:
    upwards = [
        f"{module} imports {other}"
        for module, others in all_imports().items()
        for other in sorted(others)
        if room(module) != room(other) and FLOOR[room(other)] >= FLOOR[room(module)]
    ]
    assert not upwards


def test_no_circles() -> None:
    try:
        graphlib.TopologicalSorter(all_imports()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_few_know_the_engine() -> None:
    know = {
        module
        for module, others in all_imports().items()
        if room(module) not in KNOW_THE_ENGINE and "_engine" in map(room, others)
    }
    assert know == set()


def test_no_module_hides_behind_a_name() -> None:
    """`package.module` is the module, and no function of the same name that the package exports."""
    hidden = set()
    for module in FILES:
        package, _, name = module.rpartition(".")
        if package and name != "__main__":
            importlib.import_module(module)
            if not isinstance(getattr(sys.modules[package], name), ModuleType):
                hidden.add(module)
    # Modules of other libraries have the names of their functions, and their interfaces have their module paths.
    hidden = {module for module in hidden if not module.startswith("lumigrad.compat.")}
    # These families are named after one of their functions, and `lumigrad.reference` exports all functions.
    assert hidden <= {"lumigrad.reference.splat", "lumigrad.reference.texture"}


WITHOUT_OPTIONAL_PACKAGES = f"""
import importlib, sys
for package in {OPTIONAL_PACKAGES}:
    sys.modules[package] = None
for module in {[module for module in FILES if not module.endswith("__main__")]}:
    importlib.import_module(module)
"""


def run_without_optional_packages(code: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_OPTIONAL_PACKAGES + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_torch_and_numpy_are_enough_to_import_everything(tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
    star = "v 0 0 0\nv 2 0 0\nv 1 1 0\nv 2 2 0\nv 0 2 0\nf 1 2 3 4 5\n"  # concave, which needs ear clipping
    (tmp_path / "mesh.obj").write_text(star, encoding="utf-8")
    run = run_without_optional_packages(f"""
import torch, lumigrad
from lumigrad.cli import main
calls = {{
    "image": lambda: lumigrad.io.load_image(r"{tmp_path / "image.png"}"),
    "mesh": lambda: lumigrad.io.load_mesh(r"{tmp_path / "mesh.obj"}"),
    "steps": lambda: lumigrad.fit.LargeSteps(lumigrad.scene.icosphere(0).faces, 12, 1.0),
}}
for call in calls.values():
    try:
        call()
    except ImportError as error:
        print(error)
print(main(["doctor"]), main(["render", r"{tmp_path / "mesh.obj"}", "-o", r"{tmp_path / "out.png"}"]))
""")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[:3] == [
        "lumigrad.io.load_image needs Pillow: pip install 'lumigrad[files]'",
        "lumigrad.io.load_mesh, for concave polygons, needs mapbox_earcut: pip install 'lumigrad[files]'",
        "lumigrad.fit.LargeSteps needs SciPy: pip install 'lumigrad[fit]'",
    ]
    assert lines[-1] == "0 2"
    assert run.stderr == f"lumigrad: error: {lines[1]}\n"


def test_a_package_that_lacks_something_itself_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mapbox_earcut.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mapbox_earcut", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        require("mapbox_earcut", "a test")
