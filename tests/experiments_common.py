"""Shared by the tests of the experiments: runs in a folder, and fits that stop half-way."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("experiments", reason="not part of source distributions")

from experiments import common


def run_in(folder: Path, resume: bool = False, seed: int = 0) -> common.Run:
    return common.Run("test", argparse.Namespace(out=folder, resume=resume, seed=seed))


class StoppedError(Exception):
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, module: ModuleType, count: int) -> None:
    """Make the next run of an experiment's fit stop after some steps, after a saved state."""
    complete = common.steps

    def stopped(*args: object, **options: object) -> object:
        for done, step in enumerate(complete(*args, **{**options, "every": 4})):  # type: ignore[arg-type]
            if done == count:
                raise StoppedError
            yield step

    monkeypatch.setattr(module, "steps", stopped)


def check_resuming(
    experiment: Callable[..., dict[str, Any]], module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment that is stopped and resumed ends as one that was not, and does not resume with other arguments.

    experiment(folder, *arguments) runs it.
    """
    whole = experiment(folder / "whole", "--iterations", "14")
    with monkeypatch.context() as patch:
        stop_after(patch, module, 10)
        with pytest.raises(StoppedError):
            experiment(folder / "parts", "--iterations", "14")
    for _ in range(2):  # the second time, there is nothing left to do
        assert experiment(folder / "parts", "--iterations", "14", "--resume") == whole
    with pytest.raises(ValueError, match="resume"):
        experiment(folder / "parts", "--iterations", "15", "--resume")
