"""Threads: how idle ones wait while other processes compete for the cores."""

from __future__ import annotations

import os

import pytest
from ops_common import run_python

from lumigrad._engine import threads as engine_threads

pytestmark = pytest.mark.skipif(engine_threads.thread_source() == "own pool", reason="needs GNU's OpenMP runtime")

_render = """
import os, time, torch
from lumigrad._engine import threads
from ops_common import mesh_outputs, sphere_views
pos, tri = sphere_views(3, 2)
torch.set_num_threads(2)

def threads_of_process():
    return len(os.listdir("/proc/self/task"))

def render_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        mesh_outputs(pos, tri, (150, 160))
    return condition()
"""


# Processes that compete for the cores, and end by themselves if nothing else ends them.
_spin = f"""
import subprocess, sys
spin = "import time; end = time.monotonic() + 60\\nwhile time.monotonic() < end: pass"
spinning = [subprocess.Popen([sys.executable, "-S", "-c", spin]) for _ in range({4 * (os.cpu_count() or 1)})]
"""


def _with_spinning_processes(code: str, **environment: str) -> list[str]:
    end = "\nfor process in spinning: process.kill(); process.wait()"
    return run_python(_render + _spin + code + end, timeout=120, **environment).split()


def test_idle_threads_sleep_on_a_busy_machine() -> None:
    """On a busy machine, the additional team that makes GNU's runtime spin less exists; it ends when no longer
    needed."""
    output = _with_spinning_processes("""
print(render_until(threads.contended, 60))
render_until(lambda: False, 0.2)  # the further team comes with the next call
before = threads_of_process()
threads.adapt_waiting(False)
end = time.monotonic() + 20
while before - threads_of_process() < 2 and time.monotonic() < end:
    time.sleep(0.1)
print(threads.contended(), before - threads_of_process() >= 2)
""")
    assert output == ["True", "False", "True"]


def test_a_wait_policy_that_is_chosen_is_left_alone() -> None:
    output = _with_spinning_processes(
        "print(render_until(threads.contended, 2), threads.wait_policy())", OMP_WAIT_POLICY="passive"
    )
    assert output == ["False", *["as", "OMP_WAIT_POLICY=passive", "says"]]


@pytest.mark.parametrize("runtime", ["as it is", "older than OpenMP 5"])
def test_fork(runtime: str) -> None:
    """A child of a process that has used its team renders, and runs torch's ops; on one thread where need be."""
    output = run_python(
        _render
        + f"""
class Older:
    pass
if {runtime != "as it is"}:
    threads._openmp = Older()
result = mesh_outputs(pos, tri, (150, 160))
torch.ones(2048, 2048).mul_(2)
for _ in range(3):
    child = os.fork()
    if child == 0:
        count = torch.get_num_threads()
        same = all(torch.equal(a, b) for a, b in zip(mesh_outputs(pos, tri, (150, 160)).values(), result.values()))
        total = torch.ones(2048, 2048).mul_(2).sum().item()
        os._exit(count if same and total == 2**23 else 77)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    again = mesh_outputs(pos, tri, (150, 160))
    print(all(torch.equal(a, b) for a, b in zip(again.values(), result.values())), torch.get_num_threads())
""",
        timeout=60,
    )
    child = "2" if runtime == "as it is" else "1"
    assert output.split() == [child, "True", "2"] * 3
