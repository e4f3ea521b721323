"""The same bits for any number of threads, any instruction set, and any source of threads."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest
from cases import evaluate_all
from ops_common import TESTS, all_outputs, digests, mesh_outputs, own_pool, run_python, sphere_views, threads

import lumigrad.memory
from lumigrad.ops import installation


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """Every output and gradient of every op, computed by a single thread."""
    with threads(1):
        return digests(evaluate_all(large=True))


def differing(actual: dict[str, str], expected: dict[str, str]) -> list[str]:
    assert actual.keys() == expected.keys()
    return [name for name in expected if actual[name] != expected[name]]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_number_of_threads(expected: dict[str, str], count: int) -> None:
    with threads(count):
        assert differing(digests(evaluate_all(large=True)), expected) == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_own_pool(expected: dict[str, str], count: int) -> None:
    with own_pool(), threads(count):
        assert differing(digests(evaluate_all(large=True)), expected) == []


@pytest.mark.parametrize("isa", installation.available_isas())
def test_instruction_sets(expected: dict[str, str], isa: str) -> None:
    code = f"""
import json, sys
sys.path.insert(0, {str(TESTS / "ops")!r})
import cases, ops_common
from lumigrad.ops import installation
print(json.dumps([installation.isa(), ops_common.digests(cases.evaluate_all(large=True))]))
"""
    used, actual = json.loads(run_python(code, LUMIGRAD_ISA=isa).splitlines()[-1])
    assert used == isa
    assert differing(actual, expected) == []


@pytest.mark.parametrize("pool", ["torch's team", "own pool"])
def test_calls_from_several_python_threads(pool: str) -> None:
    pos, tri = sphere_views(3, 2)
    expected = digests(mesh_outputs(pos, tri, (150, 160)))
    results: list[dict[str, str]] = []

    def work() -> None:
        results.extend(digests(mesh_outputs(pos, tri, (150, 160))) for _ in range(3))

    def run() -> None:
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    with threads(2):
        if pool == "own pool":
            with own_pool():
                run()
        else:
            run()
    assert len(results) == 9
    assert all(result == expected for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="libraries of macOS do not survive a fork")
@pytest.mark.parametrize("pool", ["own pool", "torch's team"])
def test_fork(pool: str) -> None:
    """The child of a process that has rendered already renders too.

    (tests/engine/test_threads.py says more about torch's team.)
    """
    code = f"""
import os, torch, ops_common
from ops_common import *
pos, tri = sphere_views(3, 2)
own = {pool == "own pool"}
torch.ones(2048, 2048).mul_(2)  # torch's team exists
from lumigrad._engine import threads as engine_threads
if own:
    engine_threads.use_own_pool()
torch.set_num_threads(2)
before = digests(mesh_outputs(pos, tri, (150, 160)))
child = os.fork()
if child == 0:
    if own:
        engine_threads.use_own_pool()
    torch.ones(2048, 2048).mul_(2).sum()
    same = digests(mesh_outputs(pos, tri, (150, 160))) == before
    os._exit(0 if same else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
again = digests(mesh_outputs(pos, tri, (150, 160))) == before
print("again", again)
"""
    assert run_python(code, timeout=60).split() == ["0", "again", "True"]


def test_the_same_call_twice() -> None:
    """Repeated calls give the same bits: leftovers such as recycled memory have no effect."""
    first = digests(all_outputs())
    lumigrad.memory.empty_cache()
    assert differing(digests(all_outputs()), first) == []
