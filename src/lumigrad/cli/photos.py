"""Photographs as input of commands: options, reading, and their announcement."""

from __future__ import annotations

import argparse
from pathlib import Path

from lumigrad.cli.arguments import positive
from lumigrad.cli.errors import UserError
from lumigrad.io.dataset import load_dataset
from lumigrad.io.photos import PosedPhotos


def add_photo_options(parser: argparse.ArgumentParser) -> None:
    """The data set, and the options that select its photographs and their size."""
    parser.add_argument(
        "dataset",
        type=Path,
        help="folder with transforms.json, a COLMAP model, or cameras of LLFF, NeuS, Polycam or Record3D",
    )
    parser.add_argument("--images", metavar="FOLDER", help="folder of the photographs, in place of the data set's own")
    parser.add_argument(
        "--test",
        type=_test,
        metavar="N|FILE|val",
        help="hold out every N-th photograph, those named in FILE, or those of transforms_val.json "
        "(default: what the data set says, or every 8th)",
    )
    parser.add_argument(
        "--downscale",
        "--reduce",
        type=positive,
        default=1,
        metavar="N",
        help="use photographs at 1/N of their size: from images_N if there, else by averaging (1)",
    )


def read_photos(arguments: argparse.Namespace) -> PosedPhotos:
    """The data set, checked, and announced before anything is written."""
    try:
        data = load_dataset(arguments.dataset, arguments.images, arguments.test, arguments.downscale)
        train, held_out = data.split()
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    print(f"{len(data)} photographs in {arguments.dataset}: {len(train)} to fit, {len(held_out)} held out")
    return data


def _test(text: str) -> int | str:
    """A number of at least 2, or anything else as it is."""
    if not text.lstrip("-").isdigit():
        return text
    if int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a number of at least 2, got {text}")
    return int(text)
