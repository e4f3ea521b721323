"""Cases in a process of their own, so that a crash or an endless loop is a finding of the case that caused it."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

TESTS = Path(__file__).resolve().parent.parent
LIMIT = 120.0  # seconds a case may take, on a busy machine


class Name(NamedTuple):
    """The name by which a case is replayed."""

    op: str
    seed: int

    def __str__(self) -> str:
        return f"{self.op}:{self.seed}"

    @classmethod
    def read(cls, text: str) -> Name:
        op, _, seed = text.rpartition(":")
        return cls(op, int(seed))


class Outcome(NamedTuple):
    name: Name
    fault: str | None  # None: no fault


def run(names: Iterable[Name], limit: float = LIMIT, module: str = "fuzz.check") -> Iterator[Outcome]:
    """Run cases one after another in a process that is started again after each crash.

    module: the one whose `check` makes a case of a name.
    """
    names = iter(names)
    worker = None
    try:
        for name in names:
            worker = worker or _Worker(module)
            fault, alive = worker.ask(name, limit)
            if not alive:
                worker.end()
                worker = None
            yield Outcome(name, fault)
    finally:
        if worker:
            worker.end()


class _Worker:
    def __init__(self, module: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        paths = [str(TESTS), str(TESTS / "ops"), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from fuzz.isolate import work; work({module!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self._answers: queue.Queue[str] = queue.Queue()
        assert self._process.stdout
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, name: Name, limit: float) -> tuple[str | None, bool]:
        """The fault of a case, or None, and whether the process has survived it."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(name) + "\n")
            self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=limit)
        except queue.Empty:
            return f"no answer after {limit:g} s", False
        if answer:
            return json.loads(answer), True
        code = self._process.wait()
        self._errors.seek(0)
        return f"the process ended with {code}:\n{self._errors.read().decode(errors='replace')[-4000:]}", False

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def work(module: str) -> None:
    """The process: a case a line in, a fault or null a line out."""
    faulthandler.enable()
    answers, sys.stdout = sys.stdout, sys.stderr
    check = importlib.import_module(module).check
    for line in sys.stdin:
        fault = None
        try:
            check(*json.loads(line))
        except AssertionError as error:
            fault = str(error)
        except Exception:
            fault = traceback.format_exc(limit=-3)
        print(json.dumps(fault), file=answers, flush=True)
