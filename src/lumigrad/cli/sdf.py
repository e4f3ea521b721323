"""`lumigrad sdf`: a closed surface from the masks of posed photographs, or of a mesh, by a grid of signed distances."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from lumigrad.cli.arguments import number
from lumigrad.cli.errors import UserError
from lumigrad.cli.photo_fit import add_fit_options, run_fit
from lumigrad.cli.shared import make_folder, read_mesh
from lumigrad.cli.surface import FILM, add_reading_options, masked
from lumigrad.fit.sdf.state import SDFState
from lumigrad.fit.silhouettes import SilhouetteJob, SilhouetteOptions, solid_of, write_solid
from lumigrad.fit.silhouettes.job import STEPS, VOXELS
from lumigrad.io.photos import PosedPhotos

FILES = ", mesh.glb, grid.npz, report.html"
# What a mesh needs of the options; no other one has an effect on it.
_OF_MESHES = {"command", "dataset", "out", "voxels", "truth", "largest", "threads", "group"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = "dataset may also be a mesh: OBJ, glTF/GLB, PLY, STL or OFF"
    add_fit_options(parser, "sdf-out", STEPS, evaluate_every=100, frames=48, film="turntable")
    add_reading_options(parser)
    parser.add_argument(
        "--voxels", type=number(int, 16, 1024), default=VOXELS, help=f"along a side of the grid, at the end ({VOXELS})"
    )
    parser.add_argument("--truth", type=Path, metavar="MESH", help="what the surface should be, to be measured against")
    parser.add_argument(
        "--largest", action="store_true", help="of a mesh: keep the largest piece alone, and fill cavities"
    )
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Make a solid of a mesh, or fit one to photographs, and write the results."""
    if arguments.dataset.is_dir():
        if arguments.largest:
            raise UserError("--largest: expected a mesh; what is fitted to photographs is one piece in any case")
        return fit(arguments)
    without = [
        "--" + name.replace("_", "-")
        for name, value in vars(arguments).items()
        if name not in _OF_MESHES and value != parser.get_default(name)
    ]
    if without and arguments.dataset.exists():
        raise UserError(f"{', '.join(without)}: expected a folder of photographs; a mesh needs no fit")
    return convert(arguments)


def convert(arguments: argparse.Namespace) -> int:
    """A solid of a mesh."""
    if not arguments.dataset.exists():
        raise UserError(f"{arguments.dataset}: expected a mesh, or a folder of photographs; there is no such file")
    mesh = read_mesh(arguments.dataset, None)
    truth = None if arguments.truth is None else read_mesh(arguments.truth, None)
    make_folder(arguments.out)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        numbers = write_solid(mesh, solid_of(mesh, arguments.voxels, not arguments.largest), arguments.out, truth)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{arguments.dataset}: {error}") from error
    named = "the mesh" if truth is None else "--truth"
    print(
        f"{numbers['faces']} triangles, {100 * numbers['completeness']:.3f} % of the diagonal from {named} on average"
    )
    print(f"results in {arguments.out}: comparison.png, mesh.glb, grid.npz, metrics.json")
    return 0


def fit(arguments: argparse.Namespace) -> int:
    """Fit to photographs, and write the results."""
    truth = None if arguments.truth is None else read_mesh(arguments.truth, None)
    names = ("iterations", "minutes", "voxels", "axes", "poses", "seed")
    options = SilhouetteOptions(**{name: getattr(arguments, name) for name in names})

    def prepare(data: PosedPhotos, device: torch.device) -> SilhouetteJob:
        return SilhouetteJob.prepare(masked(data, arguments), options, device, truth)

    def size(state: SDFState) -> str:
        return "no voxels yet" if state.values is None else f"{state.values.shape[0]}^3 voxels"

    return run_fit(arguments, prepare, size, "--downscale or --voxels", FILES, FILM)
