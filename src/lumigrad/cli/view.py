"""`lumigrad view`: files, results of fits and data sets in the browser."""

from __future__ import annotations

import argparse
import threading
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.arguments import number
from lumigrad.cli.lighting import file_lights
from lumigrad.cli.pictures import SHADINGS, Look, background_of, look_of, picture, shot_of
from lumigrad.cli.render import add_light_options, add_surface_options
from lumigrad.cli.shared import UserError
from lumigrad.cli.subjects import Subject, ball_of, read_subject
from lumigrad.cli.viewpoints import UPRIGHT, from_centre, upright
from lumigrad.io.dataset import load_dataset
from lumigrad.io.photos import PosedPhotos
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.view import Viewer

# What fits leave in their folders, the first that is there being shown.
_RESULTS = ("mesh.glb", "gaussians.ply", "spheres.ply")
_LOOK_AGAIN = 1.0  # seconds


def add_parser(commands: Any) -> None:
    """The command's options."""
    parser = commands.add_parser("view", help="look at meshes, points, Gaussians and data sets in the browser")
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
    # What pictures of files have besides; see `look_of`.
    parser.set_defaults(
        run=run, supersampling=1, method="raster", samples=None, max_depth=None, error=None, ambient_occlusion=None
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until the program is interrupted."""
    files, photos = _found(arguments.paths, arguments.photos)
    shown = Shown(arguments, files, photos)
    shown.try_first()
    up = upright(arguments.up).T @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    viewer = Viewer(
        shown.draw, shown.ball.centre.tolist(), shown.ball.radius, shown.shadings, up.tolist(), arguments.host,
        arguments.port,
    )  # fmt: skip
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


class Shown:
    """The files, as they were when they were read last."""

    def __init__(self, arguments: argparse.Namespace, files: Sequence[Path], photos: PosedPhotos | None) -> None:
        self._arguments, self._files = arguments, files
        self._points = None if photos is None or files else _points_of(photos)
        self._looks: dict[str, Look] = {}
        self._backgrounds: dict[str, tuple[float, float, float]] = {}
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        stamps, a = self._times(), self._arguments
        subjects = [read_subject(file, a.texture, a.crease, a.double_sided) for file in self._files]
        subjects += [self._points] if self._points is not None else []
        ball = ball_of(subjects)
        self.shadings = _shadings(subjects, a)
        self._near, self.ball, self._stamps = [subject.around(ball.centre) for subject in subjects], ball, stamps
        self._backgrounds.clear()

    def try_first(self) -> None:
        """Draw a small picture, so that wrong options end the command and not a page that is open."""
        centre, radius = self.ball.centre, self.ball.radius
        camera = PerspectiveCamera.orbit(
            torch.tensor(30.0, dtype=torch.float64), 20.0, 3 * radius, 45.0, (8, 8), target=centre, near=radius,
            far=5 * radius,
        )  # fmt: skip
        self.draw(camera, self.shadings[0])

    def changed(self) -> bool:
        """Whether a file is another one than that which was read."""
        return self._times() != self._stamps

    def read_again(self) -> None:
        """Read the files, if they can be read: one that is being written may be cut short."""
        try:
            with self._lock:
                self._read()
        except (UserError, OSError) as error:
            warnings.warn(f"not read again: {error}", stacklevel=2)

    def draw(self, camera: PerspectiveCamera, shading: str) -> tuple[Tensor, Tensor | None]:
        """What `Viewer` asks for."""
        with self._lock:
            look, near, centre = self._look(shading), self._near, self.ball.centre
        seen = from_centre(camera, centre)
        shot = shot_of(near, seen, look, file_lights(near, shading, look.as_they_are))
        background = None if look.environment is not None else self._background(shading, shot, look)
        depth = None
        if shot.depth is not None:
            depth = torch.where(shot.mask > 0.5, shot.depth, torch.inf)[0, ..., 0]
        return picture(shot, seen, look, background, linear=False), depth

    def _background(self, shading: str, shot: Rendering, look: Look) -> tuple[float, float, float]:
        """The same for all views, until files change."""
        if shading not in self._backgrounds:
            self._backgrounds[shading] = background_of([shot], look)
        return self._backgrounds[shading]

    def _look(self, shading: str) -> Look:
        if shading not in self._looks:
            given = vars(self._arguments) | {"shading": shading, "unlit": False}
            if shading != "pbr":
                given |= {"exposure": None, "tone": "srgb"}
            if shading == "diffuse":
                given |= {"light": [], "environment": None, "show_environment": False}
            self._looks[shading] = look_of(argparse.Namespace(**given), lit=False)
        return self._looks[shading]

    def _times(self) -> list[float]:
        return [_written(file) for file in self._files]


def _written(file: Path) -> float:
    """When, or 0 where there is no such file now."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _shadings(subjects: Sequence[Subject], a: argparse.Namespace) -> tuple[str, ...]:
    """Those of the page, the one that is asked for or usual being the first."""
    shapes = [subject.shape for subject in subjects]
    meshes = [isinstance(shape, Mesh) for shape in shapes]
    asked = bool(a.light or a.environment is not None or a.show_environment or a.exposure is not None)
    asked |= a.tone != "srgb" or bool(a.environment_rotation) or a.environment_strength != 1.0
    if asked and not any(meshes):
        raise UserError("--light, --environment, --exposure, --tone: only meshes are lit, and the files hold none")
    lit = asked or any(subject.lights for subject in subjects)
    usual = "unlit" if a.unlit else a.shading or ("pbr" if lit else "diffuse")
    if asked and usual != "pbr":
        raise UserError("--light, --environment, --exposure, --tone: they need --shading pbr")
    others: tuple[str, ...] = SHADINGS if all(meshes) else ("depth",)
    if len(shapes) == 1 and isinstance(shapes[0], SurfelCloud):
        others = ("normals", "depth")
    if len({type(shape) for shape in shapes}) > 1:
        others = ("pbr", "unlit") if any(meshes) else ()  # buffers of mixtures are not pictures of all of them
    return (usual, *(name for name in others if name != usual))


def _follow(viewer: Viewer, shown: Shown) -> None:
    """Show files anew that a fit has written anew."""
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


def _points_of(photos: PosedPhotos) -> Subject:
    if photos.points is None:
        raise UserError(f"{photos.folder}: the data set has no points to show; give a FILE or a fit's folder, too")
    return Subject(photos.folder, photos.points)


def _photograph(photos: PosedPhotos, index: int) -> Tensor | None:
    try:
        image, _ = photos.load(index)
    except (OSError, ValueError) as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return image[..., :3]
