"""`lumigrad render`: meshes, points and Gaussians to pictures and videos."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from lumigrad.cli.arguments import color_or_none, distant_light, number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.lighting import file_lights
from lumigrad.cli.pictures import SHADINGS, Style, background_of, picture, sheet, shot_of, style_of, warn_if_empty
from lumigrad.cli.shared import progress_bar
from lumigrad.cli.subjects import Subject, ball_of, read_subject
from lumigrad.cli.tracing import add_tracing_options
from lumigrad.cli.viewpoints import Viewpoint, add_view_options, from_centre, viewpoints
from lumigrad.io.image import LINEAR, save_image
from lumigrad.io.video import VIDEO_SUFFIXES, save_video
from lumigrad.render.color import TONE_MAPPINGS
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="mesh (OBJ, glTF/GLB, PLY, STL, OFF), point cloud (PLY) or Gaussians (PLY, .splat, .spz)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="picture to write, or video: .gif, .apng, .mp4, .webm, .mov, .mkv",
    )
    parser.add_argument("--together", action="store_true", help="show several files in one scene, not side by side")
    parser.add_argument("--columns", type=positive, help="pictures side by side in one row of a sheet")
    add_view_options(parser)
    add_surface_options(parser)
    add_light_options(parser)
    add_tracing_options(parser)
    parser.add_argument(
        "--background",
        type=_background,
        default="auto",
        help="colour, 'transparent', or 'auto': white, or dark grey behind bright things (auto)",
    )
    parser.add_argument(
        "--supersampling", type=number(int, 1, 16), default=1, help="samples of a pixel along each axis (1)"
    )
    parser.add_argument("--fps", type=number(float, 0.1, 240), default=24.0, help="frames a second of a video (24)")
    parser.set_defaults(run=run)


def add_surface_options(parser: argparse.ArgumentParser) -> None:
    """The options for the appearance of surfaces."""
    parser.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    parser.add_argument("--unlit", action="store_true", help="show colours as they are: the same as --shading unlit")
    parser.add_argument(
        "--shading", choices=SHADINGS, help="how surfaces are lit (diffuse, or pbr where a file brings lights)"
    )
    parser.add_argument(
        "--crease",
        type=number(float, 0, 180),
        metavar="DEGREES",
        help="angle from which faces have an edge between them: 0 flat, 180 smooth "
        "(default: the file's normals, or 40 where it has none)",
    )
    parser.add_argument("--double-sided", action="store_true", help="draw all faces from both sides")
    parser.add_argument(
        "--radius", type=number(float, 1e-3), help="of points, in pixels (default: their own, or one that suits them)"
    )
    parser.add_argument("--antialiased", action="store_true", help="Gaussians were fitted with antialiasing")


def add_light_options(parser: argparse.ArgumentParser) -> None:
    """The options for lighting."""
    parser.add_argument(
        "--environment",
        help="what lights the scene: studio, sky, or an equirectangular image; pbr takes the studio by default",
    )
    parser.add_argument(
        "--environment-rotation", type=number(float, -1e6), default=0.0, help="degrees about the upward axis (0)"
    )
    parser.add_argument("--environment-strength", type=number(float, 0), default=1.0, help="factor of its light (1)")
    parser.add_argument("--show-environment", action="store_true", help="use the environment as background")
    parser.add_argument(
        "--light",
        type=distant_light,
        action="append",
        default=[],
        metavar="X,Y,Z[,STRENGTH]",
        help="a distant light in this direction; may be given several times",
    )
    parser.add_argument(
        "--exposure",
        type=number(float, -30, 30),
        help="stops by which pbr is brighter (0); where it is given, lights of files are as strong as the file says",
    )
    parser.add_argument("--tone", choices=tuple(TONE_MAPPINGS), default="srgb", help="tone mapping of pbr (srgb)")


def run(arguments: argparse.Namespace) -> int:
    """Render, and write the picture or video."""
    suffix = arguments.output.suffix.lower()
    video = suffix in VIDEO_SUFFIXES and suffix != ".webp"
    if video and arguments.background is None:
        raise UserError("--background transparent: videos have no transparency")
    views = viewpoints(arguments, video)
    subjects = [read_subject(f, arguments.texture, arguments.crease, arguments.double_sided) for f in arguments.files]
    style = style_of(arguments, lit=any(subject.lights for subject in subjects), progress=not video)
    groups = [subjects] if arguments.together else [[subject] for subject in subjects]
    cells = _drawn(groups, views, style, video)
    background = _chosen(arguments.background, cells, style)
    linear = suffix in LINEAR
    pictures = [[picture(shot, camera, style, background, linear) for shot, camera in row] for row in cells]
    try:
        if video:
            frames = [sheet(_arranged(list(column), arguments.columns)) for column in zip(*pictures)]
            save_video(frames, arguments.output, arguments.fps)
        else:
            save_image(sheet(_grid(pictures, arguments.columns)), arguments.output)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    return 0


def _drawn(
    groups: Sequence[Sequence[Subject]], views: Sequence[Viewpoint], style: Style, video: bool
) -> list[list[tuple[Rendering, Camera]]]:
    """What each view shows of each group of files, and the camera."""
    cells = []
    shown = progress_bar(total=len(groups) * len(views), desc="render", unit="view") if video else nullcontext()
    with shown as bar:
        for group in groups:
            ball, row = ball_of(group), []
            near = [subject.around(ball.centre) for subject in group]
            own = file_lights(near, style.shading, style.as_they_are)
            for view in views:
                camera = from_centre(view(ball), ball.centre)
                row.append((shot_of(near, camera, style, own), camera))
                if bar is not None:
                    bar.update()
            warn_if_empty([shot for shot, _ in row], ", ".join(str(subject.path) for subject in group))
            cells.append(row)
    return cells


def _chosen(
    background: Any, cells: Sequence[Sequence[tuple[Rendering, Camera]]], style: Style
) -> tuple[float, ...] | None:
    """The background's colour, None for transparent."""
    if background != "auto":
        return background  # type: ignore[no-any-return]
    return background_of([shot for row in cells for shot, _ in row], style)


def _grid(pictures: Sequence[Sequence[Tensor]], columns: int | None) -> Sequence[Sequence[Tensor]]:
    """A row for each file; where each has one view, or there is one file, as many rows as look best."""
    if columns is None and len(pictures) > 1 and len(pictures[0]) > 1:
        return pictures
    return _arranged([one for row in pictures for one in row], columns)


def _arranged(pictures: list[Tensor], columns: int | None) -> list[list[Tensor]]:
    """Rows of at most `columns` pictures, by default so many that the sheet is about square."""
    count = columns or (len(pictures) if len(pictures) <= 4 else math.ceil(math.sqrt(len(pictures))))
    return [pictures[i : i + count] for i in range(0, len(pictures), count)]


def _background(text: str) -> Any:
    return "auto" if text == "auto" else color_or_none(text)
