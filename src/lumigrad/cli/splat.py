"""`lumigrad splat`: Gaussians or spheres from posed photographs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.photos import add_photo_options, read_photos
from lumigrad.cli.shared import UserError, make_folder, progress_bar, report_interruption
from lumigrad.fit.checkpoints import CheckpointError
from lumigrad.fit.splats.job import SplatJob, SplatOptions
from lumigrad.fit.splats.loop import SplatState
from lumigrad.io.photos import PosedPhotos
from lumigrad.ops import installation


def add_parser(commands: Any) -> None:
    """The command's options."""
    parser = commands.add_parser("splat", help="recover Gaussians or spheres from posed photographs")
    add_photo_options(parser)
    parser.add_argument("--spheres", action="store_true", help="soft spheres instead of Gaussians")
    parser.add_argument("--out", type=Path, default=Path("splat-out"), help="folder for the results (splat-out)")
    parser.add_argument("--iterations", type=positive, default=4000, help="gradient steps (4000)")
    parser.add_argument(
        "--minutes",
        type=number(float, 1e-3),
        help="fit no longer than this, with fewer steps if need be (no limit)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the state kept in the folder")
    parser.add_argument("--strategy", choices=("clone", "mcmc"), default="clone", help="how primitives are added")
    parser.add_argument("--limit", dest="max_primitives", type=positive, default=60_000, help="most primitives (60000)")
    parser.add_argument("--points", type=positive, default=12_000, help="to begin with, where there are none (12000)")
    parser.add_argument("--degree", type=number(int, 0, 4), default=2, help="of spherical harmonics (2)")
    parser.add_argument("--evaluate-every", type=positive, default=250, help="steps between points of the curve (250)")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of all that is random (0)")
    parser.add_argument("--frames", type=positive, default=60, help="of the fly-through (60)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where it can be")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: torch's choice)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    folder = arguments.out
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data = read_photos(arguments)
    make_folder(folder)
    if (folder / "state.pt").exists() and not arguments.resume:
        print(f"lumigrad: replacing the fit in {folder}; --resume would go on from its state", file=sys.stderr)
    job = _job(arguments, data)
    try:
        state = job.resume(folder) if arguments.resume else job.begin()
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from error
    try:
        _optimise(job, state, folder, arguments.evaluate_every)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    if not job.complete(state):
        return report_interruption(state.iteration, folder)
    numbers = job.write_results(state, folder, arguments.frames)
    print(
        f"held-out photographs {numbers['psnr_db']:.2f} dB, SSIM {numbers['ssim']:.3f}, {numbers['primitives']} "
        f"primitives, {numbers['iterations']} steps in {numbers['seconds']:.1f} s"
    )
    if state.iteration < arguments.iterations:
        print(
            f"lumigrad: warning: --minutes {arguments.minutes:g} ended the fit after {state.iteration} of "
            f"{arguments.iterations} steps. If the result is blurred, allow more minutes, or make steps cheaper with "
            "--reduce or --limit.",
            file=sys.stderr,
        )
    print(f"results in {folder}: comparison.png, fly_through.gif, metrics.json, {job.kind}.ply")
    return 0


def _job(arguments: argparse.Namespace, data: PosedPhotos) -> SplatJob:
    names = ("spheres", "iterations", "minutes", "strategy", "max_primitives", "points", "degree", "seed")
    options = SplatOptions(**{name: getattr(arguments, name) for name in names})
    device = _device(arguments.device)
    try:
        return SplatJob.prepare(data, options, device)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _device(wanted: str) -> torch.device:
    """Where to fit: on a CUDA device where one and its kernels can be used."""
    if wanted == "cuda" and not installation.cuda_available():
        raise UserError(f"--device cuda: {installation.cuda_status().removeprefix('not used: ')}")
    return torch.device("cuda" if wanted != "cpu" and installation.cuda_available() else "cpu")


def _optimise(job: SplatJob, state: SplatState, folder: Path, evaluate_every: int) -> None:
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    begin = 1000 * job.schedule.progress(state)
    with progress_bar(total=1000, initial=begin, desc="splat", bar_format=layout) as bar:

        def show(now: SplatState) -> None:
            measured = f", held out {now.curve[-1]['psnr_db']:.2f} dB" if now.curve else ""
            text = f"step {now.iteration}, {len(now.rows)} primitives, loss {now.losses[-1]:.4f}{measured}"
            bar.set_postfix_str(text, refresh=False)
            bar.update(1000 * job.schedule.progress(now) - bar.n)

        job.run(state, folder, show, evaluate_every)
