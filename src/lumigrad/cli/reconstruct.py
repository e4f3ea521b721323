"""`lumigrad reconstruct`: a textured mesh from posed photographs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import number
from lumigrad.cli.photo_fit import Job, run_fit
from lumigrad.cli.processes import in_group
from lumigrad.cli.shared import read_mesh
from lumigrad.cli.surface import FILES, FILM, add_surface_options, masked, surface_options
from lumigrad.cli.texture import size
from lumigrad.fit.reconstruct import ReconstructJob, SceneJob, SceneState
from lumigrad.fit.reconstruct.job import SURFACE_STEPS
from lumigrad.io.photos import PosedPhotos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_surface_options(parser, "reconstruct-out", SURFACE_STEPS)
    parser.add_argument("--detail", type=number(float, 0.1, 8), default=1.0, help="scales mesh fineness (1)")
    parser.add_argument("--truth", type=Path, metavar="MESH", help="what the surface should be, to be measured against")
    parser.add_argument(
        "--sweep",
        action=argparse.BooleanOptionalAction,
        help="of photographs without masks: compare them to make depths more exact before they are fused (yes)",
    )
    parser.set_defaults(divided=True, run=in_group(run))


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    truth = None if arguments.truth is None else read_mesh(arguments.truth, None)
    options = surface_options(arguments, detail=arguments.detail, sweep=arguments.sweep is not False)

    def prepare(data: PosedPhotos, device: torch.device) -> Job:
        data = masked(data, arguments)
        opaque = data.load(data.split()[0][0])[0].shape[-1] == 3
        if arguments.sweep is not None and not opaque:
            named = "--sweep" if arguments.sweep else "--no-sweep"
            raise ValueError(f"{named}: expected photographs without masks; silhouettes show where an object is")
        make = SceneJob.prepare if opaque else ReconstructJob.of_object
        return make(data, options, device, truth)

    return run_fit(arguments, prepare, _size, "--downscale or --detail", FILES, FILM)


def _size(state: Any) -> str:
    """What is fitted, in words."""
    if not isinstance(state, SceneState):
        return size(state)
    return "field" if state.surface is None else size(state.surface)
