"""`lumigrad texture`: a known mesh gets its texture from posed photographs."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from lumigrad.cli.photo_fit import run_fit
from lumigrad.cli.processes import in_group
from lumigrad.cli.surface import (
    FILES,
    FILM,
    add_mesh_options,
    add_surface_options,
    known_mesh,
    masked,
    surface_options,
)
from lumigrad.fit.reconstruct import ReconstructJob
from lumigrad.fit.reconstruct.job import TEXTURE_STEPS
from lumigrad.io.photos import PosedPhotos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_mesh_options(parser)
    add_surface_options(parser, "texture-out", TEXTURE_STEPS)
    parser.set_defaults(divided=True, run=in_group(run))


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    mesh = known_mesh(arguments)
    options = surface_options(arguments)

    def prepare(data: PosedPhotos, device: torch.device) -> ReconstructJob:
        return ReconstructJob.of_texture(mesh, masked(data, arguments), options, device)

    return run_fit(arguments, prepare, size, "--downscale", FILES, FILM)


def size(state: Any) -> str:
    """What is fitted, in words."""
    if state.uvs is None:
        return f"{len(state.faces)} faces"
    height, width = state.appearance.shape[:2]
    return f"{len(state.faces)} faces, {width} x {height} texels"
