"""Fixtures for all tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Workers of pytest-xdist share the cores: a thread that spins while it waits would hold up another worker's. OpenMP's
# runtime reads this when torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

TESTS = Path(__file__).resolve().parent
# Helper modules (`from meshes import ...`, `from cases import ...`), and the benchmarks.
for folder in (TESTS.parent, TESTS / "ops", TESTS):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# Before anything imports lumigrad. Where jaxtyping or beartype is missing, tests run without these checks, and
# tests/engine/test_shapes.py fails.
if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    import shape_checks  # found by the lines above

    shape_checks.install()

import cuda_kernels  # noqa: E402

# Tests in these folders say what the ops must do, whichever kernels run.
FOR_ALL_KERNELS = ("ops", "compat")
# Except those for the CPU's own threads, memory and instruction sets.
CPU_ONLY = ("test_core", "test_determinism")
KERNELS = ("cpu", "cuda", "emulated")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernels",
        default="cpu,cuda" if torch.cuda.is_available() else "cpu",
        help=f"whose kernels the tests of the ops run, of {', '.join(KERNELS)} (cuda: where there is a device; "
        "emulated: the CUDA kernels on this processor)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpu_only: not for kernels other than the CPU's")
    unknown = set(config.getoption("--kernels").split(",")) - set(KERNELS)
    if unknown:
        raise pytest.UsageError(f"--kernels: expected some of {', '.join(KERNELS)}, got {', '.join(unknown)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = metafunc.config.getoption("--kernels").split(",")
    module = Path(metafunc.module.__file__)
    if wanted == ["cpu"] or module.relative_to(TESTS).parts[0] not in FOR_ALL_KERNELS:
        return
    if module.stem in CPU_ONLY or metafunc.definition.get_closest_marker("cpu_only"):
        wanted = [name for name in wanted if name == "cpu"]
    metafunc.parametrize("kernels", wanted, indirect=True)


@pytest.fixture(autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whose kernels the ops of CPU tensors run in this test: those of the CPU, or CUDA's behind them."""
    name = getattr(request, "param", "cpu")
    if name == "cpu":
        yield name
    elif name == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
        with cuda_kernels.on_device():
            yield name
        cuda_kernels.leave_if_the_device_is_lost(request.node.nodeid)
    else:
        if cuda_kernels.library() is None:
            pytest.skip("needs the emulation of the CUDA kernels (see tests/cuda_kernels.py)")
        with cuda_kernels.emulated_cuda():
            yield name


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared meshes and reference numbers beside the checkout; skips where there is none."""
    folder = TESTS.parent.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared beside the checkout")
    return folder
