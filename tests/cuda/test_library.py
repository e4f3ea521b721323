"""Finding the CUDA library, and saying in words why it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import lumigrad
from lumigrad._engine import cuda, declare, devices, loading
from lumigrad._engine.core import Core, cpu
from lumigrad._engine.declare import DIRECTIONS

LIBRARY = loading.library_path("cuda")
NATIVE = Path(__file__).resolve().parents[2] / "native"


def test_every_op_can_be_dispatched() -> None:
    for name in DIRECTIONS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"lumigrad::{name}", "CUDA"), name


def test_ops_go_by_kernels_that_there_are() -> None:
    """Ops ask for the reference by a name for which CUDA has a kernel."""
    folder, asked = Path(lumigrad.__file__).parent, 0
    for source in folder.rglob("*.py"):
        for name, op in re.findall(r'needs_reference\("([\w.]+)", \w+(?:, "(\w+)")?\)', source.read_text()):
            assert (op or name) in DIRECTIONS, f"{source.name}: {name}"
            asked += 1
    assert asked > 15


@pytest.mark.skipif(not NATIVE.exists(), reason="needs the sources")
def test_launch_bounds_allow_the_blocks_that_are_launched() -> None:
    """A device refuses a launch of more threads than a kernel's bounds; the emulation does not know them."""
    kernel = re.compile(r"__global__ void (?:__launch_bounds__\(([^)]*)\)\s+)?(\w+)\(")
    sources = {path: path.read_text() for path in NATIVE.rglob("*") if path.suffix in (".cu", ".h")}
    bounds = {path: {name: bound for bound, name in kernel.findall(text)} for path, text in sources.items()}
    shared = {name: bound for path, of_file in bounds.items() if path.suffix == ".h" for name, bound in of_file.items()}
    launched = [(path, name) for path in sources for name in re.findall(r"\.launch_items\((\w+)", sources[path])]
    for path, name in launched:
        assert (shared | bounds[path])[name] in ("", "items_per_block"), f"{path.name}: {name}"
    assert len(launched) > 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device() -> None:
    assert not cuda.available()
    assert cuda.status() == "not used: this torch finds no CUDA device"


def forget_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there is a device, and that the library has not been requested yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "_cores", {})
    monkeypatch.setattr(cuda, "_missing", None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.skipif(not LIBRARY.exists(), reason="this installation has no CUDA library")
def test_the_library_says_that_nothing_can_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver, the library loads, reports that nothing can run it, and is not used."""
    forget_library(monkeypatch)
    assert re.match(r"not used: .* cannot run here: .*(driver|device)", cuda.status())


def test_missing_and_damaged_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_library(monkeypatch)
    monkeypatch.setattr(loading, "DIRECTORY", tmp_path)
    assert cuda.status().startswith("not used: this installation of lumigrad has no CUDA library")
    (tmp_path / LIBRARY.name).write_bytes(b"not a library")
    forget_library(monkeypatch)
    assert "does not load" in cuda.status()


def use_devices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replaces torch's switching of devices: records them, the last one being current."""

    class On:
        def __init__(self, index: int) -> None:
            self.index = index

        def __enter__(self) -> None:
            current.append(self.index)

        def __exit__(self, *_: object) -> None:
            current.pop()

    current = [0]
    monkeypatch.setattr(torch.cuda, "device", On)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    return current


class OnDevice:
    """A tensor of a device, as far as dispatching looks at it."""

    def __init__(self, index: int) -> None:
        self.get_device = lambda: index


def test_ops_run_on_the_device_of_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ops run on their tensors' device, which is made current only if necessary and has its own core."""

    class Op:
        def run(self, core: str, *args: object) -> tuple[object, ...]:
            return core, len(current), current[-1], *args

    current = use_devices(monkeypatch)
    monkeypatch.setattr(cuda, "_cores", {0: "core 0", 1: "core 1"})
    run, first, second = declare._on_cuda(Op()), OnDevice(0), OnDevice(1)  # type: ignore[arg-type]
    assert run(first, 5, None) == ("core 0", 1, 0, first, 5, None)
    assert run(second, 5, None) == ("core 1", 2, 1, second, 5, None)
    assert current == [0]
    current.append(1)
    assert run(second) == ("core 1", 2, 1, second)
    assert run(first) == ("core 0", 3, 0, first)


def test_cores_of_devices_share_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(cuda, "_cores", {})
    monkeypatch.setattr(cuda, "_missing", None)
    monkeypatch.setattr(cuda, "_load", lambda: opened.append("once") or cpu.library)
    assert cuda.core(1) is cuda.core(1)
    assert cuda.core(1) is not cuda.core(0)
    assert cuda.core(1).library is cuda.core(0).library
    assert opened == ["once"]


@pytest.mark.parametrize("raw", [True, False])
def test_how_a_call_runs(monkeypatch: pytest.MonkeyPatch, raw: bool) -> None:
    """On the current stream of the device, by the short way to ask for it or, where torch has none, the usual one."""

    class Stream:
        def __init__(self, device: int) -> None:
            self.cuda_stream = 1000 + device

    if raw:
        monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: 1000 + index, raising=False)
    else:
        monkeypatch.delattr(torch._C, "_cuda_getCurrentRawStream", raising=False)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    settings = cuda._settings_on(3)
    for deterministic in (True, False):
        torch.use_deterministic_algorithms(deterministic)
        try:
            how = settings()
        finally:
            torch.use_deterministic_algorithms(False)
        assert (how.stream, how.deterministic, how.workspace, how.workspace_bytes) == (1003, deterministic, None, 0)


def test_empty_tensors_are_made_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "empty", lambda *shape, dtype, device: made.append((shape, dtype, device)))
    for shape in ((2, 3), (0,), (), torch.Size((4, 5))):
        cuda._empty_on(3)(shape, torch.int32)
    assert made == [(shape, torch.int32, torch.device("cuda:3")) for shape in ((2, 3), (0,), ((),), (4, 5))]


def test_every_device_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that cannot run the kernels now is asked again, and says nothing about the others."""

    class Library(Core):
        def __init__(self) -> None:
            self.asked: list[int] = []

        def problem(self) -> str | None:
            self.asked.append(current[-1])
            return "out of memory" if current[-1] in full else None

    current, full, library = use_devices(monkeypatch), {0}, Library()
    monkeypatch.setattr(cuda, "_cores", {0: library})
    monkeypatch.setattr(cuda, "_runs_on", set())
    assert cuda.available(torch.device("cuda:1"))
    assert not cuda.available(torch.device("cuda:0"))
    assert not cuda.available()
    full.clear()
    assert cuda.available(torch.device("cuda"))
    assert cuda.available(torch.device("cuda:0"))
    assert library.asked == [1, 0, 0, 0]


def test_the_reference_serves_where_the_library_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda:
        device = torch.device("cuda")

    monkeypatch.setattr(devices, "_warned", set())
    monkeypatch.setattr(cuda, "available", lambda device: False)
    with pytest.warns(RuntimeWarning, match=r"lumigrad.peel on cuda: no kernel for this device"):
        assert devices.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    monkeypatch.setattr(cuda, "available", lambda device: True)
    assert not devices.needs_reference("peel", OnCuda(), "rasterize")  # type: ignore[arg-type]
    assert not devices.needs_reference("texture_cube", OnCuda(), "texture")  # type: ignore[arg-type]
    assert devices.needs_reference("peel", OnCuda())  # type: ignore[arg-type]
