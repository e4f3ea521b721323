"""The shapes in signatures: public functions have them, they have no effect at run time, and tests check them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import shape_checks
import torch
from ops_common import SOURCE
from shape_checks import ShapeError
from torch import Tensor

import lumigrad as lg
from lumigrad.types import shapes

FAMILIES = ("surface", "texture", "soft", "splat")
RESULTS = (lg.Fragments, lg.SoftFragments, lg.Splats, lg.ProjectedGaussians, lg.Surfels, lg.View)


def ops() -> Iterator[Any]:
    for family in FAMILIES:
        module = importlib.import_module(f"lumigrad.ops.{family}")
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=name)


@pytest.mark.parametrize("op", list(ops()))
def test_ops_tell_their_shapes(op: Callable[..., Any]) -> None:
    """No parameter and no result is merely a tensor, and every call in a test is checked."""
    assert hasattr(op, "__wrapped__")
    for name, annotation in inspect.get_annotations(op).items():
        bare = annotation.replace("[Tensor, ", "")
        assert "Tensor" not in bare, name


@pytest.mark.parametrize("result", RESULTS)
def test_named_tuples_tell_their_shapes(result: type) -> None:
    fields = shape_checks.NAMED_TUPLES[result]
    tensors = {name for name, hint in typing.get_type_hints(result).items() if "Tensor" in str(hint)}
    assert tensors == {name for name, text in fields.items() if any(word in text for word in shapes.__all__)}


def test_the_words_are_those_of_jaxtyping() -> None:
    assert set(shapes.__all__) == set(shape_checks.WORDS)


def test_shapes_are_tensors_at_run_time() -> None:
    """Nothing but torch is needed, and what reads annotations finds tensors."""
    code = """
import sys, typing
sys.modules["jaxtyping"] = sys.modules["beartype"] = None
import lumigrad, torch
hints = typing.get_type_hints(lumigrad.interpolate)
assert hints["attr"] is hints["tri"] is torch.Tensor
assert not hasattr(lumigrad.interpolate, "__wrapped__")
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(SOURCE)}
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_reads_named_tuples() -> None:
    class Shader(torch.nn.Module):
        def forward(self, frags: lg.Fragments) -> Tensor:
            slope = frags.bary_d
            return frags.depth if slope is None else frags.depth + slope[..., 0, 0]

    frags = lg.Fragments(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3, 2), torch.ones(1, 2, 3))
    scripted = torch.jit.script(Shader())
    assert torch.equal(scripted(frags), frags.depth)
    assert torch.equal(scripted(frags._replace(bary_d=torch.ones(1, 2, 3, 2, 2))), frags.depth + 1)


# ---- The checks can fail -------------------------------------------------------------------------------------------

PACKAGE = '''
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass
import torch
from torch import Tensor
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Float, Int

def thirds(image: Float[Tensor, "height width channels"]) -> Float[Tensor, "height width 3"]:
    """Wrong where there are other channels."""
    if image.dim() != 3:
        raise ValueError("image: expected three dimensions")
    return image

def count(image: Float[Tensor, "height width"]) -> Int[Tensor, ""]:
    return image.sum()

def total(images: Sequence[Float[Tensor, " size"]], weight: Float[Tensor, " size"] | float = 1) -> Float[Tensor, ""]:
    return torch.stack(images).sum()

def rows(a: Float[Tensor, "rows 2"] | Float[Tensor, " rows"] | float, b: Float[Tensor, " #rows"]) -> Tensor:
    return b

def of(frags: Fragments, color: Float[Tensor, "views height width channels"] | None = None) -> Fragments:
    return frags

@dataclass
class Mesh:
    positions: Float[Tensor, "vertices 3"]
    colors: Float[Tensor, "vertices 3"] | None = None

    def moved(self, by: Float[Tensor, "3"]) -> Mesh:
        return Mesh(self.positions + by)
'''


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of functions that do not always match their signatures."""
    (tmp_path / "wrongly_annotated.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    shape_checks.install("wrongly_annotated")
    yield importlib.import_module("wrongly_annotated")
    del sys.modules["wrongly_annotated"]


def test_a_wrong_result_is_found(wrong: ModuleType) -> None:
    assert wrong.thirds(torch.zeros(2, 4, 3)).shape == (2, 4, 3)
    with pytest.raises(ShapeError, match=r"thirds: return: expected .*height width 3.*, got float32 \[2, 4, 5\]"):
        wrong.thirds(torch.zeros(2, 4, 5))


def test_what_passed_once_does_not_hide_another_call(wrong: ModuleType) -> None:
    """Calls are told apart by shapes and types, in named tuples and sequences too."""
    wrong.total([torch.zeros(2), torch.zeros(2)])
    with pytest.raises(ShapeError, match="total: images"):
        wrong.total([torch.zeros(2, 2), torch.zeros(2, 2)])
    with pytest.raises(ShapeError, match="total: images"):
        wrong.total([torch.zeros(2, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)])
    with pytest.raises(ShapeError, match="total: weight"):
        wrong.total([torch.zeros(2)], weight=torch.zeros(3))


def test_a_wrong_type_is_found(wrong: ModuleType) -> None:
    with pytest.raises(ShapeError, match=r"count: return: expected .*Int.*, got float32"):
        wrong.count(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"count: image: expected .*Float.*, got int64"):
        wrong.count(torch.zeros(2, 4, dtype=torch.int64))


def test_one_name_is_one_size(wrong: ModuleType) -> None:
    for a in (torch.zeros(3, 2), torch.zeros(3), 1):
        wrong.rows(a, torch.zeros(3))
    wrong.rows(torch.zeros(3, 2), torch.zeros(1))
    with pytest.raises(ShapeError, match=r"rows: b: expected .*#rows.*, got float32 \[4\]"):
        wrong.rows(torch.zeros(3, 2), torch.zeros(4))


def test_fields_of_named_tuples_are_arguments(wrong: ModuleType) -> None:
    tri = torch.zeros(1, 2, 4, dtype=torch.int32)
    frags = lg.Fragments(tri, torch.zeros(1, 2, 4, 2), torch.zeros(1, 2, 4))
    assert wrong.of(frags, torch.zeros(1, 2, 4, 3)) is frags
    with pytest.raises(ShapeError, match="of: color: expected"):
        wrong.of(frags, torch.zeros(1, 3, 4, 3))
    with pytest.raises(ShapeError, match=r"of: frags.depth: expected .*, got float32 \[1, 2, 5\]"):
        wrong.of(frags._replace(depth=torch.zeros(1, 2, 5)))


def test_dataclasses_and_methods_are_checked(wrong: ModuleType) -> None:
    mesh = wrong.Mesh(torch.zeros(4, 3), colors=torch.zeros(4, 3)).moved(torch.ones(3))
    assert torch.equal(mesh.positions, torch.ones(4, 3))
    with pytest.raises(ShapeError, match=r"\.Mesh: colors: expected"):
        wrong.Mesh(torch.zeros(4, 3), torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"\.Mesh\.moved: by"):
        mesh.moved(torch.ones(1, 3))


def test_errors_come_from_the_function(wrong: ModuleType) -> None:
    with pytest.raises(ValueError, match="image: expected three dimensions"):
        wrong.thirds(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        wrong.thirds()


def test_what_is_imported_cannot_be_checked_any_more() -> None:
    with pytest.raises(RuntimeError, match="lumigrad was imported before"):
        shape_checks.install()
