"""`lumigrad texture`: a known mesh gets its texture from posed photographs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.photo_fit import run_fit
from lumigrad.cli.shared import UserError, read_mesh
from lumigrad.cli.surface import FILES, FILM, add_surface_options, masked, surface_options
from lumigrad.fit.reconstruct import ReconstructJob
from lumigrad.fit.reconstruct.job import TEXTURE_STEPS
from lumigrad.io.photos import PosedPhotos


def add_parser(commands: Any) -> None:
    """The command's options."""
    parser = commands.add_parser("texture", help="recover the texture of a mesh from posed photographs")
    parser.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF, in the coordinates of the cameras")
    add_surface_options(parser, "texture-out", TEXTURE_STEPS)
    parser.add_argument(
        "--keep-uvs", action="store_true", help="use the mesh's own texture coordinates, of which none may overlap"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    mesh = read_mesh(arguments.mesh, None)
    if arguments.keep_uvs and mesh.uvs is None:
        raise UserError(f"--keep-uvs: {arguments.mesh} has no texture coordinates")
    if not arguments.keep_uvs:
        mesh = replace(mesh, uvs=None, uv_faces=None, texture=None)
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
