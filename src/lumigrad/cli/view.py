"""`lumigrad view`: files, results of fits and data sets in the browser."""

from __future__ import annotations

import argparse
import threading
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lumigrad.cli.arguments import number
from lumigrad.cli.errors import UserError
from lumigrad.cli.render import add_light_options, add_surface_options
from lumigrad.cli.shown import Shown, shown_of
from lumigrad.cli.viewpoints import UPRIGHT
from lumigrad.io.dataset import load_dataset
from lumigrad.io.photos import PosedPhotos
from lumigrad.view import Viewer

# Results of fits in their folders; the first one that exists is shown.
_RESULTS = ("mesh.glb", "gaussians.ply", "spheres.ply", "field.npz")
_LOOK_AGAIN = 1.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="FILE|FOLDER",
        help="what `lumigrad render` takes, a folder with the results of a fit, or a data set of photographs; "
        "files that change are read again",
    )
    parser.add_argument("--photos", type=Path, help="a data set whose photographs to show where they were taken")
    parser.add_argument("--up", choices=tuple(UPRIGHT), default="y", help="axis that points up, or down (y)")
    add_surface_options(parser)
    add_light_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="whom to answer: this machine (127.0.0.1), all (0.0.0.0)")
    parser.add_argument("--port", type=number(int, 1, 65535), default=8080, help="of the page, or the next (8080)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    # What pictures of files have besides; see `style_of`.
    parser.set_defaults(
        run=run, supersampling=1, method="raster", samples=None, max_depth=None, error=None, ambient_occlusion=None
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until the program is interrupted."""
    files, photos = _found(arguments.paths, arguments.photos)
    shown = shown_of(arguments, files, photos)
    shown.try_first()
    viewer = Viewer(
        shown.draw, shown.ball.centre.tolist(), shown.ball.radius, shown.shadings, shown.up.tolist(), arguments.host,
        arguments.port,
    )  # fmt: skip
    if shown.first is not None:
        viewer.begin_at(shown.first)
    if photos is not None:
        viewer.add_photographs(photos.cameras, [_photograph(photos, i) for i in range(len(photos))])
    print(f"lumigrad: {', '.join(map(str, arguments.paths))} at {viewer.address} (Ctrl+C ends it)", flush=True)
    if not arguments.no_browser:
        webbrowser.open(viewer.address)
    threading.Thread(target=_follow, args=(viewer, shown), daemon=True).start()
    try:
        viewer.wait()
    finally:
        viewer.close()
    return 0


def _follow(viewer: Viewer, shown: Shown) -> None:
    """Show files again after a fit has rewritten them."""
    wait = threading.Event()
    while not wait.wait(_LOOK_AGAIN):
        if shown.changed():
            shown.read_again()
            viewer.show(shown.draw, shown.ball.centre.tolist(), shown.ball.radius)


def _found(paths: Sequence[Path], photos: Path | None) -> tuple[list[Path], PosedPhotos | None]:
    """The files to show, and the data set: the one asked for, or a folder that has no results."""
    files: list[Path] = []
    sets = [] if photos is None else [photos]
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        result = next((path / name for name in _RESULTS if (path / name).is_file()), None)
        if result is not None:
            files.append(result)
        else:
            sets.append(path)
    if len(sets) > 1:
        raise UserError(f"expected one data set, got {', '.join(map(str, sets))}")
    return files, _dataset(sets[0]) if sets else None


def _dataset(folder: Path) -> PosedPhotos:
    try:
        return load_dataset(folder)
    except (OSError, ValueError) as error:
        results = ", ".join(_RESULTS)
        raise UserError(f"{folder}: no results of a fit ({results}), and no data set: {error}") from error


def _photograph(photos: PosedPhotos, index: int) -> Tensor | None:
    try:
        image, _ = photos.load(index)
    except (OSError, ValueError) as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return image[..., :3]
