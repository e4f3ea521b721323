"""`lumigrad materials`: the materials of a known mesh, and the light around it, from posed photographs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.photo_fit import of_photographs, run_fit
from lumigrad.cli.shared import read_mesh
from lumigrad.cli.surface import FILM, add_mesh_options, add_object_options, known_mesh, masked
from lumigrad.fit.materials import MaterialsJob, MaterialsOptions, load_relit
from lumigrad.fit.materials.job import STEPS
from lumigrad.fit.materials.schedule import LIGHTS
from lumigrad.io.photos import PosedPhotos

_DEFAULT = MaterialsOptions()
_FILES = ", mesh.glb, environment.exr (or .pfm without OpenImageIO), environment.png, relit.png, report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_mesh_options(parser)
    add_object_options(parser, "materials-out", STEPS)
    parser.add_argument(
        "--light",
        choices=LIGHTS,
        default=_DEFAULT.light,
        help="fast: an environment filtered in advance, without cast shadows; traced: with shadows by rays, after the "
        f"former as its start ({_DEFAULT.light})",
    )
    parser.add_argument(
        "--samples", type=positive, help=f"rays of each pixel, with --light traced ({_DEFAULT.samples})"
    )
    parser.add_argument(
        "--bounces",
        type=number(int, 1, 64),
        help="reflections of light, with --light traced: 1 is direct light, more go from surface to surface "
        f"({_DEFAULT.bounces})",
    )
    parser.add_argument(
        "--normal-map",
        action="store_true",
        help="fit a normal map, too; it is kept if photographs that are held out look better with it",
    )
    parser.add_argument("--exposure", action="store_true", help="photographs differ in exposure and white balance")
    parser.add_argument(
        "--albedo",
        type=number(float, 0.01, 0.99),
        default=_DEFAULT.albedo,
        help=f"mean base colour that is expected, linear: what is not paint is light ({_DEFAULT.albedo})",
    )
    parser.add_argument(
        "--light-size",
        type=number(int, 4, 256),
        default=_DEFAULT.light_size,
        help=f"texels along a side of the six faces of the light's map ({_DEFAULT.light_size})",
    )
    parser.add_argument(
        "--truth", type=Path, metavar="MESH", help="a mesh whose materials are right, to be measured against"
    )
    parser.add_argument(
        "--relit",
        type=Path,
        metavar="FOLDER",
        help="data set of the object in another light, with that light as environment.exr, to be measured against",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    for name in ("samples", "bounces"):
        if getattr(arguments, name) is not None and arguments.light != "traced":
            raise UserError(f"--{name}: has no effect with --light {arguments.light}; give --light traced")
    mesh, options = known_mesh(arguments), options_of(arguments)
    truth = None if arguments.truth is None else read_mesh(arguments.truth, None, materials=True)

    def prepare(data: PosedPhotos, device: torch.device) -> MaterialsJob:
        relit = None if arguments.relit is None else load_relit(arguments.relit, options, arguments.downscale)
        return MaterialsJob.of(mesh, masked(data, arguments), options, device, truth, relit)

    return run_fit(arguments, prepare, size, "--downscale", _FILES, FILM, summary)


def options_of(arguments: argparse.Namespace) -> MaterialsOptions:
    """The options of the fit."""
    names = ("iterations", "minutes", "texture_size", "exposure", "axes", "poses", "seed", "light", "light_size")
    given = {name: getattr(arguments, name) for name in (*names, "albedo")}
    given |= {name: getattr(arguments, name) or getattr(_DEFAULT, name) for name in ("samples", "bounces")}
    return MaterialsOptions(**given, normals=arguments.normal_map)


def summary(numbers: dict[str, Any]) -> str:
    """The most important metrics, and what was decided about the normal map."""
    words = of_photographs(numbers)
    if "normal_map" not in numbers:
        return words
    bent, flat = (numbers[f"psnr_{name}_normal_map_db"] for name in ("with", "without"))
    said = "kept" if numbers["normal_map"] else "left out, as it does not help"
    return f"{words}; normal map {said} ({bent:.2f} dB with it, {flat:.2f} dB without)"


def size(state: Any) -> str:
    """What is fitted, in words."""
    height, width = state.size
    return f"{len(state.uv_faces)} faces, {width} x {height} texels"
