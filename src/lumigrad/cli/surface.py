"""Shared by the commands that fit surfaces to photographs of an object."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.photo_fit import add_fit_options
from lumigrad.cli.shared import read_mesh
from lumigrad.fit.reconstruct import ReconstructOptions
from lumigrad.fit.reconstruct.conventions import AXES, POSES
from lumigrad.fit.reconstruct.schedule import CAMERAS
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.shapes.mesh import Mesh

FILES = ", mesh.glb, report.html"
FILM = "turntable.gif"


def add_surface_options(parser: argparse.ArgumentParser, out: str, iterations: int) -> None:
    """The options of the commands that make coloured meshes, and the data set."""
    add_object_options(parser, out, iterations)
    default = ReconstructOptions.batch
    parser.add_argument("--batch", type=positive, default=default, help=f"photographs per step ({default})")
    parser.add_argument(
        "--no-exposure",
        dest="exposure",
        action="store_false",
        help="all photographs have the same exposure and white balance",
    )
    parser.add_argument(
        "--refine-cameras",
        nargs="?",
        dest="cameras",
        choices=CAMERAS[1:],
        const=CAMERAS[1],
        default=CAMERAS[0],
        metavar="focal",
        help="correct the poses of the photographs, and with 'focal' the focal length that they share, too",
    )


def add_object_options(parser: argparse.ArgumentParser, out: str, iterations: int) -> None:
    """The options of all commands that fit an object's texture, and the data set."""
    add_fit_options(parser, out, iterations, evaluate_every=100, frames=48, film="turntable")
    parser.add_argument(
        "--texture-size",
        type=number(int, 64, 8192),
        help="rows and columns of the texture, about (default: what the photographs can show)",
    )
    add_reading_options(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Options for masks and for the meaning of the cameras' matrices."""
    parser.add_argument(
        "--masks",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="the masks of the data set, or those in FOLDER, show the object (not needed with an alpha channel)",
    )
    parser.add_argument(
        "--axes", choices=AXES, default=AXES[0], help="what the axes of the cameras' matrices mean (opengl)"
    )
    parser.add_argument("--poses", choices=POSES, default=POSES[0], help="what their matrices do (camera-to-world)")


def add_mesh_options(parser: argparse.ArgumentParser) -> None:
    """A known mesh, and whether to keep its texture coordinates."""
    parser.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF, in the coordinates of the cameras")
    parser.add_argument(
        "--keep-uvs", action="store_true", help="use the mesh's own texture coordinates, of which none may overlap"
    )


def known_mesh(arguments: argparse.Namespace) -> Mesh:
    """The mesh that `add_mesh_options` asks for: with texture coordinates only where they are to be kept."""
    mesh = read_mesh(arguments.mesh, None)
    if arguments.keep_uvs and mesh.uvs is None:
        raise UserError(f"--keep-uvs: {arguments.mesh} has no texture coordinates")
    return mesh if arguments.keep_uvs else replace(mesh, uvs=None, uv_faces=None, texture=None)


def surface_options(arguments: argparse.Namespace, **others: float) -> ReconstructOptions:
    """The options of the fit, as far as both commands have them."""
    names = ("iterations", "minutes", "texture_size", "exposure", "cameras", "axes", "poses", "seed", "batch")
    return replace(ReconstructOptions(**{name: getattr(arguments, name) for name in names}), **others)  # type: ignore[arg-type]


def masked(data: PosedPhotos, arguments: argparse.Namespace) -> PosedPhotos:
    """The photographs, with their masks as alpha channels where the options say so."""
    if arguments.masks is None:
        return data
    return data.with_masks(Path(arguments.masks) if arguments.masks else None)
