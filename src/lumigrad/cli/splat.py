"""The command `lumigrad splat`: Gaussians or spheres from posed photographs."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumigrad.cli import main as cli

if TYPE_CHECKING:
    import torch

    from lumigrad.fit.splats import Model, Photo, Schedule, SplatState, Strategy
    from lumigrad.io import PosedPhotos


def add_parser(commands: Any) -> None:
    """The command's options."""
    whole = cli._number(int, 1)
    parser = commands.add_parser("splat", help="recover Gaussians or spheres from posed photographs")
    parser.add_argument("dataset", type=Path, help="folder with transforms.json or a COLMAP model")
    parser.add_argument("--spheres", action="store_true", help="soft spheres instead of Gaussians")
    parser.add_argument("--out", type=Path, default=Path("splat-out"), help="folder for the results (splat-out)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=cli._number(float, 1e-3), help="of fitting (10)")
    length.add_argument("--iterations", type=whole, help="gradient steps instead of minutes: can be repeated exactly")
    parser.add_argument("--resume", action="store_true", help="go on from the state kept in the folder")
    parser.add_argument("--strategy", choices=("clone", "mcmc"), default="clone", help="how primitives are added")
    parser.add_argument("--limit", type=whole, default=60_000, help="most primitives (60000)")
    parser.add_argument("--points", type=whole, default=12_000, help="to begin with, where there are none (12000)")
    parser.add_argument("--degree", type=cli._number(int, 0, 4), default=2, help="of spherical harmonics (2)")
    parser.add_argument("--reduce", type=whole, default=1, help="average photographs down by this factor (1)")
    parser.add_argument("--evaluate-every", type=whole, default=250, help="steps between points of the curve (250)")
    parser.add_argument("--seed", type=cli._number(int, 0), default=0, help="of all that is random (0)")
    parser.add_argument("--frames", type=whole, default=60, help="of the fly-through (60)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where it can be")
    parser.add_argument("--threads", type=whole, help="CPU threads (default: torch's choice)")
    parser.set_defaults(run=run)


@dataclass
class _Job:
    photos: list[Photo]
    held_out: list[Photo]
    model: Model
    strategy: Strategy
    schedule: Schedule
    settings: dict[str, Any]
    state: SplatState


def _device(wanted: str) -> torch.device:
    """Where to fit: on a CUDA device where one and its kernels can be used."""
    import torch

    from lumigrad._engine import cuda as _cuda

    if wanted == "cuda" and not _cuda.available():
        raise cli.UserError(f"--device cuda: {_cuda.status().removeprefix('not used: ')}")
    return torch.device("cuda" if wanted != "cpu" and _cuda.available() else "cpu")


def _cameras(arguments: argparse.Namespace) -> PosedPhotos:
    """What the data set says, before anything is written."""
    from lumigrad.io import load_dataset

    try:
        data = load_dataset(arguments.dataset)
        train, held_out = data.split()
    except (OSError, ValueError) as error:
        raise cli.UserError(str(error)) from error
    print(f"{len(data)} photographs in {arguments.dataset}: {len(train)} to fit, {len(held_out)} held out")
    return data


def _job(arguments: argparse.Namespace, data: PosedPhotos) -> _Job:
    import torch

    from lumigrad.fit.splats import (
        MCMC,
        CloneSplitPrune,
        Gaussians,
        Schedule,
        Spheres,
        SplatState,
        first_points,
        focus,
        load_photos,
    )

    device = _device(arguments.device)
    train, held_out = data.split()
    try:
        photos = load_photos(data, train, reduce=arguments.reduce)
        kept = load_photos(data, held_out, reduce=arguments.reduce)
    except (OSError, ValueError) as error:
        raise cli.UserError(str(error)) from error
    extent = focus(photos)[1]
    model = Spheres(extent) if arguments.spheres else Gaussians(arguments.degree, extent)
    limit = arguments.limit
    strategy = MCMC(limit) if arguments.strategy == "mcmc" else CloneSplitPrune(extent, limit)
    minutes = None if arguments.iterations else arguments.minutes or 10.0
    schedule = Schedule(arguments.iterations, minutes, seed=arguments.seed)
    names = ("spheres", "iterations", "strategy", "limit", "points", "degree", "reduce", "seed")
    settings = {name: getattr(arguments, name) for name in names}
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(photo.image.numpy().tobytes() + photo.camera.view.numpy().tobytes())
    settings |= {"minutes": minutes, "device": device.type, "photographs": digest.hexdigest()}
    if arguments.resume:
        state = SplatState.from_dict(cli._load_state(arguments.out, settings))
        state.rows = state.rows.to(device)
    else:
        generator = torch.Generator().manual_seed(arguments.seed)
        parameters = model.start(first_points(data, photos, arguments.points, generator))
        state = SplatState.start({name: value.to(device) for name, value in parameters.items()}, arguments.seed)
    photos, kept = ([photo.to(device) for photo in some] for some in (photos, kept))
    return _Job(photos, kept, model, strategy, schedule, settings, state)


def _optimise(arguments: argparse.Namespace, job: _Job) -> bool:
    """Run the fit with a progress bar and checkpoints; False when it was interrupted."""
    from tqdm import tqdm

    from lumigrad.fit.splats import fit_splats

    checkpoint = time.monotonic()
    pause = 0.2 if sys.stderr.isatty() else 10.0
    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    begin = 1000 * job.schedule.progress(job.state)
    with (
        cli._Interrupts() as interrupts,
        tqdm(total=1000, initial=begin, desc="splat", bar_format=layout, dynamic_ncols=True, mininterval=pause) as bar,
    ):

        def on_step(now: SplatState) -> bool:
            nonlocal checkpoint
            measured = f", held out {now.curve[-1]['psnr_db']:.2f} dB" if now.curve else ""
            text = f"step {now.iteration}, {len(now.rows)} primitives, loss {now.losses[-1]:.4f}{measured}"
            bar.set_postfix_str(text, refresh=False)
            bar.update(1000 * job.schedule.progress(now) - bar.n)
            if time.monotonic() - checkpoint > 30:
                cli._save_state(arguments.out, job.settings, now)
                checkpoint = time.monotonic()
            return not interrupts.requested

        fit_splats(
            job.photos, job.state, job.model, job.strategy, job.schedule, job.held_out, arguments.evaluate_every,
            on_step,
        )  # fmt: skip
        cli._save_state(arguments.out, job.settings, job.state)
    return job.schedule.progress(job.state) >= 1


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data = _cameras(arguments)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cli.UserError(f"--out: cannot create {arguments.out}: {error.strerror}") from error
    if (arguments.out / "state.pt").exists() and not arguments.resume:
        print(f"lumigrad: replacing the fit in {arguments.out}; --resume would go on from its state", file=sys.stderr)
    job = _job(arguments, data)
    if not _optimise(arguments, job):
        print(
            f"lumigrad: stopped after {job.state.iteration} iterations; the state is in {arguments.out}. "
            "The same command with --resume goes on.",
            file=sys.stderr,
        )
        return cli.INTERRUPTED
    numbers = _write_results(arguments, job)
    print(
        f"held-out photographs {numbers['psnr_db']:.2f} dB, SSIM {numbers['ssim']:.3f}, {numbers['primitives']} "
        f"primitives, {numbers['seconds']:.1f} s of fitting"
    )
    print(f"results in {arguments.out}: comparison.png, fly_through.gif, metrics.json, {_kind(arguments)}.ply")
    return 0


def _kind(arguments: argparse.Namespace) -> str:
    return "spheres" if arguments.spheres else "gaussians"


def _write_results(arguments: argparse.Namespace, job: _Job) -> dict[str, Any]:
    from lumigrad.fit.report import write_metrics
    from lumigrad.fit.splats import Gaussians, Spheres, report
    from lumigrad.io import save_gaussians, save_points

    folder, parameters = arguments.out, job.state.rows.parameters
    numbers = report.metrics(job.state, job.model, job.held_out, job.schedule)
    write_metrics(numbers, folder / "metrics.json")
    path = folder / f"{_kind(arguments)}.ply"
    if arguments.spheres:
        save_points(Spheres.cloud(parameters), path)
    else:
        save_gaussians(Gaussians.cloud(parameters), path)
    report.comparison(job.state, job.model, job.held_out[:4], job.schedule, folder / "comparison.png")
    photos = job.photos
    report.fly_through(job.state, job.model, photos, job.schedule, folder / "fly_through.gif", arguments.frames)
    return numbers
