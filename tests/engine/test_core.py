"""The compiled libraries: loading, settings, memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from ops_common import own_pool, run_python

import lumigrad as lg
import lumigrad.memory
from lumigrad._engine import loading
from lumigrad._engine.loading import ISAS, CoreNotFoundError, library_path, open_library
from lumigrad._engine.memory import empty
from lumigrad.ops import installation

LARGE = (300, 400)  # enough elements for recycled memory
LEAST = installation.available_isas()[0]  # portable, where the installation is for all machines


def copy_least(folder: Path) -> Path:
    """Copy the library of the least instruction set, and the one that tells which of them the processor runs."""
    for isa in {LEAST, "portable", "probe"}:
        if library_path(isa).exists():
            shutil.copy(library_path(isa), folder)
    return folder / library_path(LEAST).name


@pytest.fixture
def clean_memory() -> None:
    lumigrad.memory.empty_cache()
    lumigrad.memory.reset_peak_memory()


# ---- Loading -----------------------------------------------------------------------------------------------


def test_instruction_sets() -> None:
    usable = installation.available_isas()
    assert usable == [isa for isa in ISAS if isa in usable]
    assert installation.isa() in usable
    for isa in usable:
        assert open_library(library_path(isa), of_cpu=True).lg_isa().decode() == isa


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump")
@pytest.mark.parametrize("isa", installation.available_isas())
def test_no_fused_instructions(isa: str) -> None:
    """No library contains fused instructions: contraction is off, but compilers have fused products and sums
    nevertheless."""
    library = library_path(isa)
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True)
    assert "ret" in code.stdout
    x86, arm = r"vfn?m(?:add|sub)\w+", r"fn?m(?:add|sub|la|ls)"
    assert not set(re.findall(rf"\t({x86}|{arm})\s", code.stdout))


def test_isa_can_be_chosen() -> None:
    code = "from lumigrad.ops import installation; print(installation.isa())"
    assert run_python(code, LUMIGRAD_ISA=LEAST).split() == [LEAST]


def refused(**environment: str) -> str:
    code = """
try:
    import lumigrad
except ImportError as error:
    print(type(error).__name__, error)
"""
    return run_python(code, **environment)


def test_unknown_isa() -> None:
    assert f"CoreNotFoundError LUMIGRAD_ISA='sse9': this machine has {LEAST}" in refused(LUMIGRAD_ISA="sse9")


def test_missing_core(tmp_path: Path) -> None:
    message = refused(LUMIGRAD_NATIVE_DIR=str(tmp_path))
    assert f"CoreNotFoundError lumigrad's compiled core is not at {tmp_path}" in message
    assert "pip" in message


def test_core_of_another_version(tmp_path: Path) -> None:
    copy_least(tmp_path)
    header = (Path(lg.__file__).parent / "_native" / "lumigrad.h").read_text()
    (tmp_path / "lumigrad.h").write_text(re.sub(r"(#define LG_ABI_VERSION) \d+", r"\1 999", header))
    assert "belongs to another version of lumigrad" in refused(LUMIGRAD_NATIVE_DIR=str(tmp_path))


def test_damaged_core(tmp_path: Path) -> None:
    copy_least(tmp_path).write_bytes(b"not a library")
    assert "does not load" in refused(LUMIGRAD_NATIVE_DIR=str(tmp_path))


def test_only_what_is_installed_is_used(tmp_path: Path) -> None:
    copy_least(tmp_path)
    code = "from lumigrad.ops import installation as i; print(i.isa(), *i.available_isas())"
    assert run_python(code, LUMIGRAD_NATIVE_DIR=str(tmp_path)).split() == [LEAST, LEAST]


def test_an_installation_for_better_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation for better processors is handled, as in a container image made on another machine."""
    monkeypatch.setattr(loading, "DIRECTORY", tmp_path)
    monkeypatch.setattr(loading, "best_isa", lambda: "portable")
    library_path("avx2").touch()
    with pytest.raises(CoreNotFoundError, match="for processors that run avx2, and this one does not"):
        loading._choose_isa()


@pytest.mark.skipif(installation.best_isa() == LEAST, reason="the best library for this processor is the only one here")
def test_slower_library_than_need_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUMIGRAD_ISA", raising=False)  # a library that is asked for is slow without a word
    copy_least(tmp_path)
    code = "import warnings; warnings.simplefilter('error'); import lumigrad"
    assert run_python(code, LUMIGRAD_NATIVE_DIR=str(tmp_path), LUMIGRAD_ISA=LEAST) == ""
    told = f"try:\n    exec({code!r})\nexcept UserWarning as warning:\n    print(warning)"
    message = run_python(told, LUMIGRAD_NATIVE_DIR=str(tmp_path))
    assert f"slower than the one for {installation.best_isa()}" in message
    assert "LUMIGRAD_ISAS=ALL" in message


def test_threads_of_our_own() -> None:
    code = "from lumigrad.ops import installation; print(installation.thread_source())"
    assert run_python(code, LUMIGRAD_THREADS="own").strip() == "own pool"
    assert installation.thread_source() in ("own pool", "torch's OpenMP team")


def test_cuda_status_is_said_in_words() -> None:
    assert installation.cuda_status().startswith(("not used", "used"))


# ---- Memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(0,), (), (3, 4), (7, *LARGE), (1, *LARGE, 2, 2), (0, 5)])
def test_empty_is_like_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = empty(shape, dtype), torch.empty(shape, dtype=dtype)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.is_contiguous()
    assert ours.device.type == "cpu"
    ours.fill_(1)
    assert (ours == 1).all()


def test_alignment() -> None:
    assert all(empty((n, 1000), torch.float32).data_ptr() % 64 == 0 for n in (100, 333, 3000))


def test_memory_is_used_again(clean_memory: None) -> None:
    first = empty(LARGE, torch.float64)
    place = first.data_ptr()
    other = empty(LARGE, torch.float64)
    assert other.data_ptr() != place
    view = first[10:20]
    del first
    assert empty(LARGE, torch.float64).data_ptr() != place  # the view holds it
    del view
    assert empty(LARGE, torch.float64).data_ptr() == place


def test_statistics(clean_memory: None) -> None:
    start = lumigrad.memory.stats()["in_use"]
    size = 300 * 400 * 8
    tensors = [empty(LARGE, torch.float64) for _ in range(3)]
    stats = lumigrad.memory.stats()
    assert 3 * size <= stats["in_use"] - start <= 3 * 1.2 * size
    del tensors
    stats = lumigrad.memory.stats()
    assert stats["in_use"] == start
    assert stats["cached"] >= 3 * size
    assert stats["peak"] >= start + 3 * size
    lumigrad.memory.empty_cache()
    lumigrad.memory.reset_peak_memory()
    stats = lumigrad.memory.stats()
    assert stats["cached"] == 0
    assert stats["peak"] == stats["in_use"]


def test_cache_limit(clean_memory: None) -> None:
    try:
        lumigrad.memory.set_cache_limit(1)
        tensors = [empty(LARGE, torch.float32) for _ in range(5)]
        del tensors
        assert 0 < lumigrad.memory.stats()["cached"] <= 1 << 20
        lumigrad.memory.set_cache_limit(0)
        assert lumigrad.memory.stats()["cached"] == 0
        with pytest.raises(ValueError, match="megabytes"):
            lumigrad.memory.set_cache_limit(-1)
    finally:
        lumigrad.memory.set_cache_limit(1024)


def test_cache_limit_from_the_environment() -> None:
    code = f"""
from lumigrad import memory
from lumigrad._engine.memory import empty
import torch
empty({LARGE}, torch.float32)
print(memory.stats()["cached"])
"""
    assert run_python(code, LUMIGRAD_CACHE_MB="0").split() == ["0"]


def test_tensors_may_be_freed_in_other_threads(clean_memory: None) -> None:
    start = lumigrad.memory.stats()["in_use"]

    def work(tensors: list[torch.Tensor]) -> None:
        for _ in range(20):
            tensors.append(empty(LARGE, torch.float32).fill_(1))
            tensors.pop(0)

    lists = [[empty(LARGE, torch.float32)] for _ in range(4)]
    workers = [threading.Thread(target=work, args=(tensors,)) for tensors in lists]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((tensors[0] == 1).all() for tensors in lists)
    lists.clear()
    del work, workers
    assert lumigrad.memory.stats()["in_use"] == start


def test_outputs_live_on_without_the_op() -> None:
    """A tensor with recycled memory behaves as any other: views, in-place changes, numpy, pickling."""
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]])
    frags = lg.rasterize(pos, torch.tensor([[0, 1, 2]]), LARGE)
    array = frags.depth.numpy()
    array += 1
    assert (frags.depth == 1).all()
    assert torch.equal(torch.clone(frags.bary), frags.bary)
    assert frags.bary.permute(3, 0, 1, 2).contiguous().shape == (2, 1, *LARGE)
    frags.bary.resize_(1, 10, 10, 2)
    assert frags.bary.numel() == 200


def test_absurd_sizes_are_a_memory_error() -> None:
    for shape in ((2**45,), (2**62, 8), (2**32, 2**30)):
        with pytest.raises((MemoryError, RuntimeError), match="memory"):
            empty(shape, torch.float64)


def test_errors_in_tasks_reach_the_caller() -> None:
    """From whichever thread they come, with the pool working afterwards."""
    pos = torch.rand(100, 4)
    tri = torch.randint(0, 100, (50000, 3))
    bad = tri.clone()
    bad[33333, 1] = 100

    def check() -> None:
        for _ in range(5):
            with pytest.raises(ValueError, match=r"tri\[33333, 1\] is 100, but pos has 100 vertices"):
                lg.rasterize(pos, bad, (64, 64))
            lg.rasterize(pos, tri, (64, 64))

    check()
    with own_pool():
        check()
