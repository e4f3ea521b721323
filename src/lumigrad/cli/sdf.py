"""`lumigrad sdf`: a closed surface from the masks of posed photographs, by a grid of signed distances."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from lumigrad.cli.arguments import number
from lumigrad.cli.photo_fit import add_fit_options, run_fit
from lumigrad.cli.shared import read_mesh
from lumigrad.cli.surface import FILM, add_reading_options, masked
from lumigrad.fit.sdf.state import SDFState
from lumigrad.fit.silhouettes import SilhouetteJob, SilhouetteOptions
from lumigrad.fit.silhouettes.job import STEPS, VOXELS
from lumigrad.io.photos import PosedPhotos

FILES = ", mesh.glb, grid.npz, report.html"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's options."""
    parser = commands.add_parser("sdf", help="recover a closed surface from the masks of posed photographs")
    add_fit_options(parser, "sdf-out", STEPS, evaluate_every=100, frames=48, film="turntable")
    add_reading_options(parser)
    parser.add_argument(
        "--voxels", type=number(int, 16, 1024), default=VOXELS, help=f"along a side of the grid, at the end ({VOXELS})"
    )
    parser.add_argument("--truth", type=Path, metavar="MESH", help="what the surface should be, to be measured against")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    truth = None if arguments.truth is None else read_mesh(arguments.truth, None)
    names = ("iterations", "minutes", "voxels", "axes", "poses", "seed")
    options = SilhouetteOptions(**{name: getattr(arguments, name) for name in names})

    def prepare(data: PosedPhotos, device: torch.device) -> SilhouetteJob:
        return SilhouetteJob.prepare(masked(data, arguments), options, device, truth)

    def size(state: SDFState) -> str:
        return "no voxels yet" if state.values is None else f"{state.values.shape[0]}^3 voxels"

    return run_fit(arguments, prepare, size, "--downscale or --voxels", FILES, FILM)
