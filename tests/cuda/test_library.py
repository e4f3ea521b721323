"""Finding the CUDA library, and saying in words why it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import lumigrad
from lumigrad._engine import core as _core
from lumigrad._engine import cuda as _cuda
from lumigrad._engine import registration as _registration

LIBRARY = _core._library_path("cuda")
NATIVE = Path(__file__).resolve().parents[2] / "native"


def test_every_op_can_be_dispatched() -> None:
    for name in _registration.kernels_for_any_core:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"lumigrad::{name}", "CUDA"), name


def test_ops_go_by_kernels_that_there_are() -> None:
    """Where an op asks for the reference, the name it goes by is one that CUDA has a kernel for."""
    folder, asked = Path(lumigrad.__file__).parent, 0
    for source in folder.rglob("*.py"):
        for name, op in re.findall(r'needs_reference\("([\w.]+)", \w+(?:, "(\w+)")?\)', source.read_text()):
            assert (op or name) in _registration.kernels_for_any_core, f"{source.name}: {name}"
            asked += 1
    assert asked > 15


@pytest.mark.skipif(not NATIVE.exists(), reason="needs the sources")
def test_launch_bounds_allow_the_blocks_that_are_launched() -> None:
    """A device refuses a launch of more threads than a kernel's bounds; the emulation does not know them."""
    launched = 0
    for source in (*NATIVE.rglob("*.cu"), *NATIVE.rglob("*_cuda.h"), NATIVE / "parallel" / "gradients_cuda.h"):
        text = source.read_text()
        bounds = {name: bound for bound, name in re.findall(r"__launch_bounds__\(([^)]*)\)\s+(\w+)\(", text)}
        for name in re.findall(r"\.launch_items\((\w+)", text):
            assert f" {name}(" in text, f"{source.name}: {name} is not here"
            assert bounds.get(name, "items_per_block") == "items_per_block", name
            launched += 1
    assert launched > 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device() -> None:
    assert not _cuda.available()
    assert _cuda.status() == "not used: this torch finds no CUDA device"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.skipif(not LIBRARY.exists(), reason="this installation has no CUDA library")
def test_the_library_says_that_nothing_can_run_it() -> None:
    """It loads without a driver, and is not used then."""
    library = _cuda.CudaCore(LIBRARY)
    with pytest.raises(_core.CoreNotFoundError, match=r"cannot run here: .*(driver|device)"):
        library.check()


def test_missing_and_damaged_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_core, "_DIRECTORY", tmp_path)
    monkeypatch.setattr(_cuda, "_opened", None)
    assert _cuda.status().startswith("not used: this installation of lumigrad has no CUDA library")
    (tmp_path / LIBRARY.name).write_bytes(b"not a library")
    monkeypatch.setattr(_cuda, "_opened", None)
    assert "does not load" in _cuda.status()


def test_every_device_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that cannot run the kernels now is asked again, and says nothing about the others."""

    class Library(_cuda.CudaCore):
        def __init__(self) -> None:
            self._runs_on, self.asked = set(), []

        def check(self) -> None:
            self.asked.append(current[-1])
            if current[-1] in full:
                raise _core.CoreNotFoundError("out of memory")

    class On:
        def __init__(self, index: int) -> None:
            self.index = index

        def __enter__(self) -> None:
            current.append(self.index)

        def __exit__(self, *_: object) -> None:
            current.pop()

    current, full, library = [0], {0}, Library()
    monkeypatch.setattr(_cuda, "_opened", library)
    monkeypatch.setattr(torch.cuda, "device", On)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    assert _cuda.available(torch.device("cuda:1"))
    assert not _cuda.available(torch.device("cuda:0"))
    assert not _cuda.available()
    full.clear()
    assert _cuda.available(torch.device("cuda"))
    assert _cuda.available(torch.device("cuda:0"))
    assert library.asked == [1, 0, 0, 0]


def test_the_reference_serves_where_the_library_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda:
        device = torch.device("cuda")

    monkeypatch.setattr(_registration, "_warned", set())
    with pytest.warns(RuntimeWarning, match=r"lumigrad.peel on cuda: no kernel for this device"):
        assert _registration.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    monkeypatch.setattr(_cuda, "available", lambda device: True)
    assert not _registration.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    assert not _registration.needs_reference("texture_cube", OnCuda(), "texture")  # type: ignore[arg-type]
    assert _registration.needs_reference("peel", OnCuda())  # type: ignore[arg-type]
