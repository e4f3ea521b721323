"""Shared by the commands that fit to photographs: options, running with a progress bar, resuming, results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.errors import INTERRUPTED, UserError
from lumigrad.cli.live import add_live_option, live
from lumigrad.cli.photos import add_photo_options, read_photos
from lumigrad.cli.shared import make_folder, progress_bar, run_job
from lumigrad.fit.distributed import ALONE
from lumigrad.fit.photos.job import DividedJob, PhotoJob
from lumigrad.io.photos import PosedPhotos
from lumigrad.ops import installation

Job = PhotoJob[Any]
# A mesh that covers less of photographs than this leaves out what they show besides.
_WHOLE = 0.95


def add_fit_options(
    parser: argparse.ArgumentParser,
    out: str,
    iterations: int,
    evaluate_every: int = 250,
    frames: int = 60,
    film: str = "fly-through",
) -> None:
    """The data set, and how long and where to fit; see `add_run_options`."""
    add_photo_options(parser)
    add_run_options(parser, out, iterations, evaluate_every, frames, film)


def add_run_options(
    parser: argparse.ArgumentParser, out: str, iterations: int, evaluate_every: int, frames: int, film: str
) -> None:
    """How long and where to fit.

    Args:
        out: default folder for the results.
        iterations, evaluate_every, frames: by default.
        film: what the animation among the results is called.
    """
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for the results ({out})")
    parser.add_argument("--iterations", type=positive, default=iterations, help=f"gradient steps ({iterations})")
    parser.add_argument(
        "--minutes",
        type=number(float, 1e-3),
        help="fit no longer than this, with fewer steps if need be (no limit)",
    )
    parser.add_argument("--resume", action="store_true", help="resume from the state in the folder")
    parser.add_argument(
        "--evaluate-every",
        type=positive,
        default=evaluate_every,
        help=f"steps between points of the curve ({evaluate_every})",
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of all that is random (0)")
    parser.add_argument("--frames", type=positive, default=frames, help=f"of the {film} ({frames})")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where it can be")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: torch's choice)")
    add_live_option(parser)


def run_fit(
    arguments: argparse.Namespace,
    prepare: Callable[[PosedPhotos, torch.device], Job],
    size: Callable[[Any], str],
    cheaper: str,
    files: str = "",
    film: str = "fly_through.gif",
    summary: Callable[[dict[str, Any]], str] | None = None,
) -> int:
    """Fit to photographs, and write the results; see `fit_and_report`."""
    data, summary = read_photos(arguments), summary or of_photographs
    return fit_and_report(arguments, lambda device: prepare(data, device), size, summary, cheaper, files, film)


def fit_and_report(
    arguments: argparse.Namespace,
    prepare: Callable[[torch.device], Job],
    size: Callable[[Any], str],
    summary: Callable[[dict[str, Any]], str],
    cheaper: str,
    files: str,
    film: str,
) -> int:
    """Fit, and write the results.

    Args:
        prepare: makes the job.
        size: of what is fitted, in words, given the state: "1000 primitives".
        summary: the most important metrics, in words.
        cheaper: options that make steps cheaper.
        files: results besides those of every fit, each after a comma.
        film: the animation among the results.
    """
    folder = arguments.out
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.group.is_first:
        make_folder(folder)
    if (folder / "state.pt").exists() and not arguments.resume:
        print(f"lumigrad: replacing the fit in {folder}; --resume would continue it", file=sys.stderr)
    try:
        job = prepare(_device(arguments.device))
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    run = partial(_optimise, arguments, job, size=size)
    state = run_job(job, folder, arguments.resume, run, arguments.group)
    if state is None:
        return INTERRUPTED
    try:
        numbers = _results(job, state, arguments)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    if not arguments.group.is_first:
        return 0
    print(f"{summary(numbers)}, {size(state)}, {numbers['iterations']} steps in {numbers['seconds']:.1f} s")
    if state.iteration < arguments.iterations:
        print(
            f"lumigrad: warning: --minutes {arguments.minutes:g} ended the fit after {state.iteration} of "
            f"{arguments.iterations} steps. If the result is blurred, allow more minutes, or make steps cheaper with "
            f"{cheaper}.",
            file=sys.stderr,
        )
    print(f"results in {folder}: comparison.png, {film}, metrics.json{files}")
    return 0


def _results(job: Job, state: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the results by the first process, with the help of the others."""
    if isinstance(job, DividedJob):
        return job.write_results_together(state, arguments.out, arguments.frames, arguments.group)
    return job.write_results(state, arguments.out, arguments.frames)


def of_photographs(numbers: dict[str, Any]) -> str:
    """How like photographs that were held out the results are, in words."""
    words = f"held-out photographs {numbers['psnr_db']:.2f} dB, SSIM {numbers['ssim']:.3f}"
    if numbers.get("covered", 1.0) > _WHOLE:
        return words
    part = 100 * numbers["covered"]
    return f"{words} ({numbers['psnr_covered_db']:.2f} dB where the mesh is, {part:.0f} % of what they show)"


def _device(wanted: str) -> torch.device:
    """Where to fit: on a CUDA device where one and its kernels can be used."""
    if wanted == "cuda" and not installation.cuda_available():
        raise UserError(f"--device cuda: {installation.cuda_status().removeprefix('not used: ')}")
    return torch.device("cuda" if wanted != "cpu" and installation.cuda_available() else "cpu")


def _optimise(arguments: argparse.Namespace, job: Job, state: Any, size: Callable[[Any], str]) -> None:
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    begin = 1000 * job.schedule.progress(state)
    bar_options = {"total": 1000, "initial": begin, "desc": arguments.command, "bar_format": layout}
    with live(arguments, job, state) as page, progress_bar(**bar_options) as bar:

        def show(now: Any) -> None:
            page(now)
            measured = f", {now.curve[-1]['psnr_db']:.2f} dB" if now.curve else ""
            text = f"step {now.iteration}, {size(now)}, loss {now.losses[-1]:.4g}{measured}"
            bar.set_postfix_str(text, refresh=False)
            bar.update(1000 * job.schedule.progress(now) - bar.n)

        divided = {} if arguments.group is ALONE else {"group": arguments.group}
        job.run(state, arguments.out, show, arguments.evaluate_every, **divided)
