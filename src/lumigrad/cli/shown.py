"""The content of the page of `lumigrad view`: files, which are read again when they change."""

from __future__ import annotations

import argparse
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.cli.errors import UserError
from lumigrad.cli.lighting import file_lights
from lumigrad.cli.pictures import SHADINGS, Style, background_of, picture, shot_of, style_of
from lumigrad.cli.subjects import Ball, Subject, ball_of, read_subject
from lumigrad.cli.viewpoints import from_centre, upright
from lumigrad.fit.fields import load_field
from lumigrad.fit.fields.report import colored
from lumigrad.fit.preview import one_of
from lumigrad.io.photos import PosedPhotos
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud


class Shown(ABC):
    """The files, as last read.

    Attributes:
        ball: that holds what there is to see.
        up: the direction that points up, [3].
        shadings: names among which the page has a choice.
        first: where browsers begin; None for in front of everything.
    """

    ball: Ball
    up: Tensor
    shadings: tuple[str, ...]
    first: PerspectiveCamera | None = None

    def __init__(self, arguments: argparse.Namespace, files: Sequence[Path]) -> None:
        self._arguments, self._files, self._lock = arguments, files, threading.Lock()
        self._stamps = self._times()
        self.up = upright(arguments.up).T @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)

    @abstractmethod
    def _read(self) -> None:
        """Read the files."""

    @abstractmethod
    def draw(self, camera: PerspectiveCamera, shading: str) -> tuple[Tensor, Tensor | None]:
        """What `Viewer` asks for."""

    def try_first(self) -> None:
        """Draw a small picture, so that wrong options end the command rather than an open page."""
        centre, radius = self.ball.centre, self.ball.radius
        camera = PerspectiveCamera.orbit(
            torch.tensor(30.0, dtype=torch.float64), 20.0, 3 * radius, 45.0, (8, 8), target=centre, near=radius,
            far=5 * radius,
        )  # fmt: skip
        self.draw(camera, self.shadings[0])

    def changed(self) -> bool:
        """Whether a file has changed since it was read."""
        return self._times() != self._stamps

    def read_again(self) -> None:
        """Read the files if possible: one that is being written may be incomplete."""
        stamps = self._times()
        try:
            with self._lock:
                self._read()
            self._stamps = stamps
        except (UserError, OSError) as error:
            warnings.warn(f"not read again: {error}", stacklevel=2)

    def _times(self) -> list[float]:
        return [_written(file) for file in self._files]


def shown_of(arguments: argparse.Namespace, files: Sequence[Path], photos: PosedPhotos | None) -> Shown:
    """What the page shows: the field of a file, or the shapes of files.

    Raises:
        UserError: files that cannot be read or shown.
    """
    if not any(file.suffix == ".npz" for file in files):
        return ShownShapes(arguments, files, photos)
    if len(files) > 1:
        raise UserError(f"{', '.join(map(str, files))}: a field is shown alone")
    return ShownField(arguments, files)


class ShownField(Shown):
    """The field of a fit, from where its photographs were taken."""

    shadings = ("colors", "depth")

    def __init__(self, arguments: argparse.Namespace, files: Sequence[Path]) -> None:
        super().__init__(arguments, files)
        a = arguments
        if a.texture or a.unlit or a.shading or a.crease is not None or a.double_sided or _asked_of_light(a):
            raise UserError(f"{files[0]}: a field has colours of its own; options of surfaces and lights do not apply")
        self._read()

    def _read(self) -> None:
        try:
            field = load_field(self._files[0])
        except (OSError, ValueError) as error:
            raise UserError(str(error)) from error
        self._field, self.up, self.first = field, field.up.double(), field.cameras[0]
        self.ball = Ball(field.model.centre.double(), field.model.extent)

    def draw(self, camera: PerspectiveCamera, shading: str) -> tuple[Tensor, Tensor | None]:
        """What `Viewer` asks for."""
        with self._lock:
            field = self._field
        seen = field.picture(one_of(camera))
        depth = seen.depth[0]
        return colored(depth) if shading == "depth" else seen.color[0], torch.where(depth > 0, depth, torch.inf)


class ShownShapes(Shown):
    """Files of meshes and clouds, and the points of a data set."""

    def __init__(self, arguments: argparse.Namespace, files: Sequence[Path], photos: PosedPhotos | None) -> None:
        super().__init__(arguments, files)
        self._points = None if photos is None or files else _points_of(photos)
        self._styles: dict[str, Style] = {}
        self._backgrounds: dict[str, tuple[float, float, float]] = {}
        self._read()

    def _read(self) -> None:
        a = self._arguments
        subjects = [read_subject(file, a.texture, a.crease, a.double_sided) for file in self._files]
        subjects += [self._points] if self._points is not None else []
        ball = ball_of(subjects)
        self.shadings = _shadings(subjects, a)
        self._near, self.ball = [subject.around(ball.centre) for subject in subjects], ball
        self._backgrounds.clear()

    def draw(self, camera: PerspectiveCamera, shading: str) -> tuple[Tensor, Tensor | None]:
        """What `Viewer` asks for."""
        with self._lock:
            style, near, centre = self._style(shading), self._near, self.ball.centre
        seen = from_centre(camera, centre)
        shot = shot_of(near, seen, style, file_lights(near, shading, style.as_they_are))
        background = None if style.environment is not None else self._background(shading, shot, style)
        depth = None
        if shot.depth is not None:
            depth = torch.where(shot.mask > 0.5, shot.depth, torch.inf)[0, ..., 0]
        return picture(shot, seen, style, background, linear=False), depth

    def _background(self, shading: str, shot: Rendering, style: Style) -> tuple[float, float, float]:
        """The same for all views, until files change."""
        if shading not in self._backgrounds:
            self._backgrounds[shading] = background_of([shot], style)
        return self._backgrounds[shading]

    def _style(self, shading: str) -> Style:
        if shading not in self._styles:
            given = vars(self._arguments) | {"shading": shading, "unlit": False}
            if shading != "pbr":
                given |= {"exposure": None, "tone": "srgb"}
            if shading == "diffuse":
                given |= {"light": [], "environment": None, "show_environment": False}
            self._styles[shading] = style_of(argparse.Namespace(**given), lit=False)
        return self._styles[shading]


def _shadings(subjects: Sequence[Subject], a: argparse.Namespace) -> tuple[str, ...]:
    """The shadings of the page, with the requested or usual one first."""
    shapes = [subject.shape for subject in subjects]
    meshes = [isinstance(shape, Mesh) for shape in shapes]
    asked = _asked_of_light(a)
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


def _asked_of_light(a: argparse.Namespace) -> bool:
    """Whether an option affects the light or the way it is shown."""
    asked = bool(a.light or a.environment is not None or a.show_environment or a.exposure is not None)
    return asked or a.tone != "srgb" or bool(a.environment_rotation) or a.environment_strength != 1.0


def _written(file: Path) -> float:
    """When, or 0 where there is no such file now."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _points_of(photos: PosedPhotos) -> Subject:
    if photos.points is None:
        raise UserError(f"{photos.folder}: the data set has no points to show; give a FILE or a fit's folder, too")
    return Subject(photos.folder, photos.points)
