"""The viewpoints of `lumigrad render`: an orbit, several views, a turntable, or the cameras of a file."""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.arguments import image_size, number, positive
from lumigrad.cli.errors import UserError
from lumigrad.cli.subjects import Ball
from lumigrad.io._camera_files import named_cameras
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.cameras.orthographic import OrthographicCamera

SIZE = (512, 512)
# Azimuth and elevation in degrees of the views that have a name.
_NAMED = {
    "front": (0.0, 0.0), "right": (90.0, 0.0), "back": (180.0, 0.0), "left": (-90.0, 0.0), "top": (0.0, 90.0),
    "bottom": (0.0, -90.0), "iso": (45.0, 35.264),
}  # fmt: skip
# For each axis that points up (or down) in a file, the rows of the rotation that turns upwards to +y.
UPRIGHT = {
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "y-down": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "z-down": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "x-down": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}

Viewpoint = Callable[[Ball], Camera]


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """The options for viewpoint and size."""
    parser.add_argument("--size", type=image_size, help="pixels: 512 or 640x480 (512, or the size of --camera)")
    parser.add_argument("--azimuth", type=number(float, -1e6), default=30.0, help="degrees; 0 looks from +z (30)")
    parser.add_argument("--elevation", type=number(float, -90, 90), default=20.0, help="degrees upwards (20)")
    parser.add_argument("--distance", type=number(float, 0), help="from the middle of what is shown; default: frame it")
    parser.add_argument("--fov", type=number(float, 1, 170), default=35.0, help="vertical field of view, degrees (35)")
    parser.add_argument("--orthographic", action="store_true", help="parallel projection")
    parser.add_argument("--up", choices=tuple(UPRIGHT), default="y", help="axis that points up, or down (y)")
    parser.add_argument(
        "--views",
        type=_views,
        metavar="N|NAME,...",
        help="several views in one picture: N around, or names (front, right, back, left, top, bottom, iso) or "
        "AZIMUTH:ELEVATION, separated by commas",
    )
    parser.add_argument("--frames", type=positive, default=48, help="of a turntable, where the output is a video (48)")
    parser.add_argument(
        "--camera", type=Path, help="cameras of a file instead: transforms.json, a COLMAP model, or glTF (.gltf, .glb)"
    )
    parser.add_argument(
        "--camera-index",
        type=_indices,
        metavar="I,...|all",
        help="which of its cameras, counted from 0 (0; all of them where the output is a video)",
    )


def upright(axis: str) -> Tensor:
    """The rotation [3, 3] that turns the upward axis of a file to +y."""
    return torch.tensor(UPRIGHT[axis], dtype=torch.float64)


def from_centre(camera: Camera, centre: Tensor) -> Camera:
    """The camera, float32, of a scene that was moved by -`centre`; see `Subject.around`."""
    back = torch.eye(4, dtype=torch.float64)
    back[:3, 3] = centre
    return replace(camera, world_to_camera=camera.world_to_camera @ back).to(torch.float32)


def viewpoints(arguments: argparse.Namespace, video: bool) -> list[Viewpoint]:
    """A function that makes the cameras, float64, one per view or frame, for the subject shown."""
    if arguments.camera is not None:
        return _of_file(arguments, video)
    angles = [(arguments.azimuth, arguments.elevation)]
    if video:
        angles = _around(arguments, arguments.frames)
    elif isinstance(arguments.views, int):
        angles = _around(arguments, arguments.views)
    elif arguments.views is not None:
        angles = arguments.views
    return [_orbit(arguments, azimuth, elevation) for azimuth, elevation in angles]


def _around(arguments: argparse.Namespace, count: int) -> list[tuple[float, float]]:
    return [(arguments.azimuth + 360 * i / count, arguments.elevation) for i in range(count)]


def _orbit(arguments: argparse.Namespace, azimuth: float, elevation: float) -> Viewpoint:
    """A camera that looks at the middle; at a distance from which it sees the whole ball, if none is given."""
    height, width = size = arguments.size or SIZE
    half = math.radians(arguments.fov / 2)
    narrow = min(half, math.atan(math.tan(half) * width / height))
    rotation = upright(arguments.up)

    def camera(ball: Ball) -> Camera:
        distance = 1.02 * ball.radius / math.sin(narrow) if arguments.distance is None else arguments.distance
        if not distance > 0:
            raise UserError("--distance: expected a number above 0")
        planes = {"near": max(0.9 * (distance - ball.radius), 1e-3 * ball.radius), "far": distance + 1.1 * ball.radius}
        angles = torch.tensor([azimuth, elevation], dtype=torch.float64)
        target = rotation @ ball.centre
        found: Camera
        if arguments.orthographic:
            rows = 2.04 * ball.radius * max(1, height / width)
            planes["near"] = distance - 1.1 * ball.radius
            found = OrthographicCamera.orbit(angles[0], angles[1], distance, rows, size, target=target, **planes)
        else:
            found = PerspectiveCamera.orbit(
                angles[0], angles[1], distance, arguments.fov, size, target=target, **planes
            )
        turned = torch.eye(4, dtype=torch.float64)
        turned[:3, :3] = rotation
        return replace(found, world_to_camera=found.world_to_camera @ turned)

    return camera


def _of_file(arguments: argparse.Namespace, video: bool) -> list[Viewpoint]:
    try:
        names, cameras = named_cameras(arguments.camera, arguments.size or SIZE)
    except (OSError, ValueError) as error:
        raise UserError(f"--camera: {error}") from error
    chosen: Any = arguments.camera_index
    if chosen is None:
        chosen = range(len(cameras)) if video else [0]
    elif chosen == "all":
        chosen = range(len(cameras))
    outside = next((i for i in chosen if not i < len(cameras)), None)
    if outside is not None:
        raise UserError(f"--camera-index: expected 0 to {len(cameras) - 1}, got {outside}")
    return [_fixed(cameras[i], names[i], arguments.size) for i in chosen]


def _fixed(camera: PerspectiveCamera | OrthographicCamera, name: str, size: tuple[int, int] | None) -> Viewpoint:
    """A camera of a file, with clip planes that suit what is shown."""
    if size is not None:
        camera = camera.resized(size)
        if abs(float(camera.fx / camera.fy) - 1) > 0.02:
            given = f"{size[1]} x {size[0]}"
            raise UserError(f"--size: {given} pixels have another aspect ratio than the camera {name}")
    if isinstance(camera, PerspectiveCamera) and camera.distortion is not None:
        warnings.warn(f"the camera {name} is used without the distortion of its lens", stacklevel=2)
        camera = replace(camera, distortion=None)

    def placed(ball: Ball) -> Camera:
        depth = float(camera.depth(ball.centre[None].to(camera.world_to_camera))[0])
        far = max(depth + 1.1 * ball.radius, 0.1 * ball.radius)
        near = depth - 1.1 * ball.radius
        if isinstance(camera, PerspectiveCamera):
            near = max(near, 1e-3 * far)
        return replace(camera, near=near, far=far).to(torch.float64)

    return placed


def _views(text: str) -> int | list[tuple[float, float]]:
    """A number of views, or their angles."""
    if text.isdigit():
        return int(positive(text))
    found = []
    for word in text.split(","):
        try:
            azimuth, elevation = _NAMED[word] if word in _NAMED else map(float, word.split(":"))
        except ValueError:
            wanted = ", ".join(_NAMED)
            raise argparse.ArgumentTypeError(
                f"expected a number, or some of {wanted} or AZIMUTH:ELEVATION, got '{word}'"
            ) from None
        if not (math.isfinite(azimuth) and -90 <= elevation <= 90):
            raise argparse.ArgumentTypeError(f"expected an elevation from -90 to 90, got '{word}'")
        found.append((azimuth, elevation))
    return found


def _indices(text: str) -> list[int] | str:
    if text == "all":
        return text
    if not all(part.isdigit() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected numbers from 0, separated by commas, or 'all', got '{text}'")
    return [int(part) for part in text.split(",")]
