"""`lumigrad field`: a radiance field from posed photographs."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.photo_fit import add_fit_options, run_fit
from lumigrad.cli.processes import in_group
from lumigrad.fit.fields import FieldJob, FieldOptions
from lumigrad.fit.fields.job import RAYS
from lumigrad.io.photos import PosedPhotos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    # Pictures of fields take seconds.
    add_fit_options(parser, "field-out", FieldOptions.iterations, evaluate_every=1000, frames=30)
    parser.add_argument("--kind", choices=tuple(RAYS), default="hash", help="what the field is made of (hash)")
    parser.add_argument(
        "--voxels",
        type=number(int, 8, 1024),
        default=FieldOptions.voxels,
        help=f"of --kind voxels, along a side of the innermost box, at the end ({FieldOptions.voxels})",
    )
    parser.add_argument(
        "--boxes",
        type=number(int, 1, 8),
        default=FieldOptions.boxes,
        help=f"of voxels, one within the other, each half the size of the next ({FieldOptions.boxes})",
    )
    parser.add_argument("--degree", type=number(int, 0, 3), default=0, help="of the voxels' spherical harmonics (0)")
    rays = ", ".join(f"{kind} {count}" for kind, count in RAYS.items())
    parser.add_argument("--rays", type=positive, help=f"in each step ({rays})")
    parser.add_argument(
        "--smoothness",
        type=number(float, 0),
        default=FieldOptions.smoothness,
        help=f"weight of the total variation of the voxels' densities ({FieldOptions.smoothness:g})",
    )
    parser.add_argument(
        "--transparent",
        dest="opaque",
        action="store_false",
        help="black pixels may be nothing, as in renders of objects (not needed where there is an alpha channel)",
    )
    parser.set_defaults(divided=True, run=in_group(run))


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    names = ("kind", "iterations", "minutes", "voxels", "boxes", "degree", "rays", "smoothness", "opaque", "seed")
    options = FieldOptions(**{name: getattr(arguments, name) for name in names})

    def prepare(data: PosedPhotos, device: torch.device) -> FieldJob:
        return FieldJob.prepare(data, options, device)

    def size(state: Any) -> str:
        if arguments.kind == "hash":
            return f"{sum(values.numel() for values in state.parameters)} parameters"
        return f"{sum(grid[..., 0].numel() for grid in state.parameters)} voxels"

    cheaper = "--downscale or --rays" if arguments.kind == "hash" else "--downscale, --voxels or --rays"
    return run_fit(arguments, prepare, size, cheaper, ", field.npz")
