"""Fits in several processes, which are started as users start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import divided_fits
import pytest
import torch
from dataset_common import ring, write_transforms

import lumigrad
from lumigrad.cli import main
from lumigrad.fit.distributed import ALONE, Group, group_size, join

SPLAT = ["--points", "120", "--degree", "1", "--frames", "2", "--evaluate-every", "8", "--batch", "3"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transforms(tmp_path_factory.mktemp("data"), ring(9, (40, 48)))


def launch(processes: int, *arguments: str) -> subprocess.Popen[str]:
    """torchrun, in a process group of its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    source = str(Path(lumigrad.__file__).parents[1])
    paths = os.pathsep.join([source, str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [*launcher, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def process_of(rank: int, launcher: int) -> int:
    """The process id of a process that a launcher has started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if int(parent) == launcher and f"RANK={rank}".encode() in variables:
                return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


def saved(folder: Path) -> dict[str, object]:
    return dict(torch.load(folder / "state.pt", weights_only=True)["state"])


def assert_same_losses(folder: Path, other: Path) -> None:
    one, two = (torch.tensor(saved(path)["losses"], dtype=torch.float64) for path in (folder, other))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=0)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize("divide", ["photographs", "primitives"])
def test_a_killed_process_ends_the_fit_which_goes_on_in_one(dataset: Path, tmp_path: Path, divide: str) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    command = ["splat", str(dataset), *SPLAT, "--iterations", "40", "--divide", divide]
    # The first process waits before its tenth step until the other one is gone.
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import os, sys, time\n"
        "from lumigrad.cli import main\n"
        "from lumigrad.fit import checkpoints\n"
        "from lumigrad.fit.splats import loop\n"
        "saving = checkpoints._Saving\n"
        "checkpoints._Saving = lambda *more: saving(*more[:3], interval=0.0)\n"
        "step = loop._step\n"
        "def waiting(state, *more):\n"
        "    if state.iteration == 10:\n"
        f"        open({str(tmp_path)!r} + '/ready' + os.environ['RANK'], 'w').close()\n"
        "        time.sleep(0 if os.environ['RANK'] == '0' else 60)\n"
        "    return step(state, *more)\n"
        "loop._step = waiting\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    launcher = launch(2, str(slow), *command, "--out", str(out))
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready1").exists() and time.monotonic() < deadline and launcher.poll() is None:
        time.sleep(0.1)
    os.kill(process_of(1, launcher.pid), signal.SIGKILL)
    text, _ = launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    told = f"another process has ended, or cannot be reached; the state after 10 iterations is in {out}. "
    assert text.count(told) == 1, text
    assert len(saved(out)["losses"]) == 10  # type: ignore[arg-type]
    assert main([*command, "--out", str(out), "--resume"]) == 0
    assert main([*command, "--out", str(whole)]) == 0
    assert_same_losses(out, whole)


def test_three_processes_fit_as_one_does(tmp_path: Path) -> None:
    """Every kind of fit: losses and measurements to rounding, and the same bits in all processes."""
    divided_fits.prepare(tmp_path)
    launcher = launch(3, divided_fits.__file__, str(tmp_path))
    text, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, text
    found = json.loads((tmp_path / "losses-3.json").read_text())
    assert found["exchange"] == {"rows": 0, "counts": 0, "gradients": 0}
    assert found["rows"] == 0
    for name, job in divided_fits.jobs(tmp_path).items():
        state, divided = divided_fits.run(job, ALONE), found[name]
        assert divided["same"], name
        one, three = (
            torch.tensor(losses, dtype=torch.float64) for losses in (divided_fits.losses(state), divided["losses"])
        )
        torch.testing.assert_close(three, one, rtol=1e-6, atol=0, msg=lambda text, name=name: f"{name}: {text}")
        assert len(state.curve) == len(divided["curve"]) > 0
        for mine, theirs in zip(state.curve, divided["curve"], strict=True):
            assert theirs["psnr_db"] == pytest.approx(mine["psnr_db"], abs=1e-4), name
        if "counts" in divided:  # processes have as many primitives, which are those of one process
            means = state.rows.parameters["means"]
            assert sum(divided["counts"]) == len(means) != 150
            assert max(divided["counts"]) - min(divided["counts"]) <= 1
            torch.testing.assert_close(torch.tensor(divided["means"]), means, rtol=1e-4, atol=1e-4)


def test_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert join() is ALONE
    values = [torch.ones(2), torch.zeros(3)]
    assert all(one is other for one, other in zip(ALONE.sum(values), values, strict=True))
    assert (ALONE.first(3.5), ALONE.any(True), ALONE.any(False), ALONE.saves()) == (3.5, True, False, True)
    assert ALONE.copied(lambda: {"a": 1}) == {"a": 1}
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert group_size() == 1  # other programs set this, too
    monkeypatch.setenv("RANK", "2")
    assert group_size() == 4


@pytest.mark.parametrize(("count", "size"), [(3, 3), (8, 3), (7, 2), (1024, 5)])
def test_shares_are_whole_and_even(count: int, size: int) -> None:
    parts = []
    for rank in range(size):
        group = Group()
        group.rank, group.size = rank, size
        parts.append(range(count)[group.share(count)])
    assert [number for part in parts for number in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(ValueError, match=f"batch: expected at least one for each of {size} processes, got {size - 1}"):
        group.share(size - 1, "batch")


def test_commands_for_one_process_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["doctor"]) == 2
    assert "doctor: it runs in one process, and 2 were started" in capsys.readouterr().err
