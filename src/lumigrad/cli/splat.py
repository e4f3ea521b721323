"""`lumigrad splat`: Gaussians or spheres from posed photographs."""

from __future__ import annotations

import argparse

import torch

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.photo_fit import add_fit_options, run_fit
from lumigrad.cli.processes import in_group
from lumigrad.fit.splats.job import SplatJob, SplatOptions
from lumigrad.io.photos import PosedPhotos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_fit_options(parser, "splat-out", 4000)
    parser.add_argument("--spheres", action="store_true", help="soft spheres instead of Gaussians")
    parser.add_argument("--strategy", choices=("clone", "mcmc"), default="clone", help="how primitives are added")
    parser.add_argument("--limit", dest="max_primitives", type=positive, default=60_000, help="most primitives (60000)")
    parser.add_argument("--points", type=positive, default=12_000, help="to begin with, where there are none (12000)")
    parser.add_argument("--degree", type=number(int, 0, 4), default=2, help="of spherical harmonics (2)")
    parser.add_argument("--batch", type=positive, default=1, help="photographs per step (1)")
    parser.add_argument(
        "--divide",
        choices=("photographs", "primitives"),
        default="photographs",
        help="what several processes divide: the photographs of each step, each process having all primitives, or the "
        "primitives, too many for one (photographs)",
    )
    parser.set_defaults(run=in_group(run), divided=True)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    names = ("spheres", "iterations", "minutes", "strategy", "max_primitives", "points", "degree", "seed", "batch")
    options = SplatOptions(**{name: getattr(arguments, name) for name in names}, divide=arguments.divide)

    def prepare(data: PosedPhotos, device: torch.device) -> SplatJob:
        return SplatJob.prepare(data, options, device)

    if options.divide == "primitives" and arguments.live is not None:
        raise UserError("--live: it shows what one process has, not primitives that several divide")
    kind = "spheres" if options.spheres else "gaussians"
    return run_fit(
        arguments, prepare, lambda state: f"{len(state.rows)} primitives", "--reduce or --limit", f", {kind}.ply"
    )
