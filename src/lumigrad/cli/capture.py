"""`lumigrad capture`: shapes of a face over time from several synchronised cameras."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import color, number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.photo_fit import add_run_options, fit_and_report
from lumigrad.cli.processes import in_group
from lumigrad.fit.capture import CaptureJob, CaptureOptions, CaptureRig, load_rig
from lumigrad.fit.capture.job import QUICK, STEPS
from lumigrad.fit.capture.truth import load_truth

_DEFAULTS = CaptureOptions()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("rig", type=Path, help="folder with cameras.json, base.obj, and a folder of images per camera")
    parser.add_argument(
        "--downscale", type=positive, default=1, metavar="N", help="use images at 1/N of their size, by averaging (1)"
    )
    parser.add_argument("--background", type=color, default=(0.0, 0.0, 0.0), help="what is seen past the head (black)")
    parser.add_argument("--truth", type=Path, metavar="FOLDER", help="SEQUENCE.npy: known positions, to be measured by")
    parser.add_argument(
        "--millimetres", type=number(float, 1e-9), metavar="L", help="of a unit of the mesh, with --truth (1)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="other defaults: 500 steps, maps of 32, a texture of 256 (minutes)"
    )
    parser.add_argument("--batch", type=positive, default=_DEFAULTS.batch, help=f"images per step ({_DEFAULTS.batch})")
    parser.add_argument("--widths", type=_widths, metavar="N,N,N", help="of the three linear maps (64,64,64)")
    parser.add_argument(
        "--no-maps", dest="decompose", action="store_false", help="an offset of each vertex in each frame instead"
    )
    parser.add_argument(
        "--laplacian", type=number(float, 0), default=_DEFAULTS.laplacian, help="weight of the smoothness (3)"
    )
    parser.add_argument(
        "--high-pass", type=number(float, 0, 1), default=_DEFAULTS.high_pass, help="part of the blur left out (0.3)"
    )
    parser.add_argument("--blur-factor", type=positive, help=f"pixels of the blur's blocks ({_DEFAULTS.blur_factor})")
    parser.add_argument(
        "--rigid", choices=("sequence", "frame", "none"), default="sequence", help="what moves as a whole (sequence)"
    )
    parser.add_argument("--texture-size", type=number(int, 16, 8192), help="rows and columns (1024)")
    add_run_options(parser, "capture-out", STEPS, evaluate_every=100, frames=96, film="animation")
    parser.set_defaults(divided=True, run=in_group(run), iterations=None)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and write the results."""
    _check_effects(arguments)
    try:
        rig = load_rig(arguments.rig, arguments.downscale, arguments.background)
        truth = None if arguments.truth is None else load_truth(arguments.truth, rig)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    print(f"{rig.frames} frames of {len(rig.takes)} sequences from {len(rig.names)} cameras in {arguments.rig}")
    options = _options(arguments)
    arguments.iterations = options.iterations

    def prepare(device: torch.device) -> CaptureJob:
        return CaptureJob.of_rig(rig, options, truth, arguments.millimetres or 1.0, device)

    return fit_and_report(
        arguments,
        prepare,
        lambda state: _size(rig, options),
        _summary,
        "--downscale or --batch",
        ", mesh.glb, meshes, report.html",
        "capture.gif",
    )


def _check_effects(arguments: argparse.Namespace) -> None:
    """Raise an error for options without effect."""
    for name, idle, reason in (
        ("widths", not arguments.decompose, "with --no-maps"),
        ("blur_factor", arguments.high_pass == 0, "with --high-pass 0"),
        ("millimetres", arguments.truth is None, "without --truth"),
    ):
        if getattr(arguments, name) is not None and idle:
            raise UserError(f"--{name.replace('_', '-')}: has no effect {reason}")


def _options(arguments: argparse.Namespace) -> CaptureOptions:
    names = (
        "iterations", "minutes", "batch", "widths", "decompose", "laplacian", "high_pass", "blur_factor", "rigid",
        "texture_size", "seed",
    )  # fmt: skip
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return replace(QUICK if arguments.quick else _DEFAULTS, **given)


def _size(rig: CaptureRig, options: CaptureOptions) -> str:
    return f"{rig.frames} x {len(rig.base.positions)} vertices, {options.texture_size} x {options.texture_size} texels"


def _summary(numbers: dict[str, Any]) -> str:
    text = f"recorded images {numbers['psnr_db']:.2f} dB"
    if "vertex_mm" in numbers:
        text += f", error of vertices {numbers['vertex_mm']:.2f} mm, of motion {numbers['motion_mm']:.2f} mm"
    return text


def _widths(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected three numbers of at least 1 such as 64,64,64, got '{text}'")
    one, two, three = (int(part) for part in parts)
    return one, two, three
