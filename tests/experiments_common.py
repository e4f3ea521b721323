"""What the tests of the experiments share: runs in a folder, and fits that stop half-way."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest

from experiments import common


def run_in(folder: Path, resume: bool = False, seed: int = 0) -> common.Run:
    return common.Run("test", argparse.Namespace(out=folder, resume=resume, seed=seed))


class StoppedError(Exception):
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, module: ModuleType, count: int) -> None:
    """Let the next steps of a fit of an experiment stop after some of them, past a saved state."""
    complete = common.steps

    def stopped(*args: object, **options: object) -> object:
        for done, step in enumerate(complete(*args, **{**options, "every": 4})):  # type: ignore[arg-type]
            if done == count:
                raise StoppedError
            yield step

    monkeypatch.setattr(module, "steps", stopped)
