"""Finding the CUDA library, and saying in words why it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import lumigrad
from lumigrad import _core, _cuda
from lumigrad.ops import _registration

LIBRARY = _core._library_path("cuda")


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device() -> None:
    assert not _cuda.available()
    assert _cuda.status() == "not used: this torch finds no CUDA device"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.skipif(not LIBRARY.exists(), reason="this installation has no CUDA library")
def test_the_library_says_that_nothing_can_run_it() -> None:
    """It loads without a driver, and is not used then."""
    with pytest.raises(_core.CoreNotFoundError, match=r"cannot run here: .*(driver|device)"):
        _cuda.CudaCore(LIBRARY)


def test_missing_and_damaged_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_core, "_DIRECTORY", tmp_path)
    monkeypatch.setattr(_cuda, "_opened", None)
    assert _cuda.status().startswith("not used: this installation of lumigrad has no CUDA library")
    (tmp_path / LIBRARY.name).write_bytes(b"not a library")
    monkeypatch.setattr(_cuda, "_opened", None)
    assert "does not load" in _cuda.status()


def test_the_reference_serves_where_the_library_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda:
        device = torch.device("cuda")

    monkeypatch.setattr(_registration, "_warned", set())
    with pytest.warns(RuntimeWarning, match=r"lumigrad.peel on cuda: no kernel for this device"):
        assert _registration.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    monkeypatch.setattr(_cuda, "available", lambda: True)
    assert not _registration.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    assert not _registration.needs_reference("texture_cube", OnCuda(), "texture")  # type: ignore[arg-type]
    assert _registration.needs_reference("peel", OnCuda())  # type: ignore[arg-type]
