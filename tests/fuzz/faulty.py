"""Cases with every kind of fault, to test that each is reported."""

from __future__ import annotations

import os
import signal
import time


def check(op: str, seed: int) -> None:
    if op == "wrong":
        raise AssertionError("values differ")
    if op == "raise":
        raise KeyError(seed)
    if op == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if op == "sleep":
        time.sleep(600)
