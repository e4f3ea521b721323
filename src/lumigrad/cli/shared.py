"""What several commands have in common: files, progress, fits that resume."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lumigrad._optional import require
from lumigrad.cli.errors import INTERRUPTED, UserError
from lumigrad.fit.checkpoints import CheckpointError
from lumigrad.fit.distributed import ALONE, Group, LostProcessError
from lumigrad.fit.interruption import Interruption
from lumigrad.fit.job import Job
from lumigrad.fit.photos.job import DividedJob
from lumigrad.io.image import load_image
from lumigrad.io.mesh import load_mesh
from lumigrad.scene.shapes.mesh import Mesh


def read_mesh(path: Path, texture: Path | None, materials: bool = False) -> Mesh:
    """The mesh of a file, with an image as its texture where one is given."""
    try:
        mesh = load_mesh(path, materials=materials and texture is None)
        if texture is None:
            return mesh
        if mesh.uvs is None:
            raise UserError(f"--texture: {path} has no texture coordinates")
        return replace(mesh, texture=load_image(texture)[..., :3], colors=None)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def make_folder(path: Path) -> None:
    """Create the folder of `--out`, and make sure that files can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot create {path}: {error.strerror}") from error
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"--out: cannot write to {path}: {error.strerror}") from error


def progress_bar(**options: Any) -> Any:
    """A bar on stderr: a context manager with `update`."""
    # No animation in a log file.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return require("tqdm", "the progress bar").tqdm(dynamic_ncols=True, mininterval=interval, **options)


def run_job(job: Job[Any], folder: Path, resume: bool, run: Callable[[Any], None], group: Group = ALONE) -> Any:
    """Begin a job, or resume it, and run it.

    Args:
        folder: that keeps its state.
        run: runs the job from a state on, which it changes in place.
        group: the processes that do this together, each with the same state.

    Returns:
        The state at the end; None if the job was interrupted, after telling the user how to resume it.
    """
    try:
        if isinstance(job, DividedJob):
            state = job.begin_together(group, folder if resume else None)
        else:
            state = job.resume(folder) if resume else job.begin()
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from error
    except ValueError as error:  # an option that prevents the start
        raise UserError(str(error)) from error
    try:
        if group is ALONE:
            run(state)
        else:
            _run_in_group(run, state)
    except LostProcessError as error:
        if error.saved:
            error.args = (f"{error}; {_what_is_left(error, state.iteration, folder)}",)
        raise
    except ValueError as error:  # a state that cannot be written, an option that turns out to be unsuitable
        raise UserError(str(error)) from error
    if job.complete(state):
        return state
    report_interruption(state.iteration, folder)
    return None


def _run_in_group(run: Callable[[Any], None], state: Any) -> None:
    """Where a process is lost, the launcher ends the others by signals, which must not cut their last words short."""
    with Interruption() as interruption:
        try:
            run(state)
        except LostProcessError:
            interruption.stay()
            raise


def _what_is_left(error: LostProcessError, iteration: int, folder: Path) -> str:
    """After a process was lost: from where the fit can go on."""
    if error.lost_with_it and error.kept is None:
        return f"its part of the state is lost, and nothing has been saved in {folder} since the command began."
    kept = error.kept if error.lost_with_it else iteration
    return (
        f"the state after {kept} iterations is in {folder}. "
        "The same command with --resume continues, with any number of processes."
    )


def report_interruption(iterations: int, folder: Path) -> int:
    """Say how a stopped fit can be resumed; returns the exit code."""
    print(
        f"lumigrad: stopped after {iterations} iterations; the state is in {folder}. "
        "The same command with --resume continues.",
        file=sys.stderr,
    )
    return INTERRUPTED
