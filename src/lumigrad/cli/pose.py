"""`lumigrad pose`: where a known mesh is in a photograph, or along a video."""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.arguments import number
from lumigrad.cli.errors import UserError
from lumigrad.cli.shared import make_folder, read_mesh
from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.pose.estimate import PoseEstimate, PoseWarning
from lumigrad.fit.pose.job import fit_pose, track_pose
from lumigrad.fit.pose.report import CONVENTION, overlay, pose_metrics, pose_values
from lumigrad.io.image import LINEAR, load_image, save_gif, save_image
from lumigrad.render.color import srgb_encode
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh

_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".exr", ".hdr", ".npy")
_FRAME_WIDTH = 480  # of the overlay of a video


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF")
    parser.add_argument("photo", type=Path, nargs="?", help="photograph; its alpha channel is a mask")
    parser.add_argument(
        "--video", type=Path, metavar="FOLDER", help="track the mesh along the images of a folder, by name"
    )
    parser.add_argument(
        "--mask", type=Path, help="mask image, white where the object is seen; of a video, their folder"
    )
    parser.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    optics = parser.add_mutually_exclusive_group(required=True)
    optics.add_argument("--intrinsics", type=_intrinsics, metavar="FX,FY,CX,CY", help="of the camera, in pixels")
    optics.add_argument("--fov", type=number(float, 0.1, 179), metavar="DEGREES", help="vertical field of view")
    parser.add_argument("--start", type=Path, metavar="JSON", help="a pose.json: search only around its pose")
    parser.add_argument(
        "--within", type=number(float, 1, 180), metavar="DEGREES", help="of the rotation of --start (75)"
    )
    parser.add_argument("--views", type=number(int, 12, 10_000), default=200, help="directions that are searched (200)")
    compared = parser.add_mutually_exclusive_group()
    compared.add_argument("--outline", action="store_true", help="compare outlines alone, not colours")
    compared.add_argument("--shaded", action="store_true", help="compare the shading of a mesh without colours, too")
    parser.add_argument("--out", type=Path, default=Path("pose-out"), help="folder for the results (pose-out)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Find the pose, and write the results."""
    if (arguments.photo is None) == (arguments.video is None):
        raise UserError("expected a photograph, or --video FOLDER")
    if arguments.within is not None and (arguments.start is None or arguments.video is not None):
        raise UserError("--within: says how far from --start to look in one photograph")
    mesh = read_mesh(arguments.mesh, arguments.texture)
    paths = [arguments.photo] if arguments.video is None else _images_of(arguments.video, "--video")
    masks = _masks(arguments, paths)
    start = None if arguments.start is None else _start(arguments.start)
    make_folder(arguments.out)
    begin = time.perf_counter()
    try:
        first = _photo(paths[0])
        camera = _camera(arguments, first)
        colors = False if arguments.outline else None
        lighting = Lighting() if arguments.shaded else None
        if arguments.video is None:
            mask = None if masks is None else _mask(masks[0])
            within = 75.0 if arguments.within is None else arguments.within
            options = {"within": within, "views": arguments.views, "colors": colors, "lighting": lighting}
            found = [fit_pose(mesh, first, camera, mask, start, **options)]
        else:
            frames = (_photo(path) for path in paths)
            covered = None if masks is None else (_mask(path) for path in masks)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PoseWarning)  # said below, with the names of files
                found = track_pose(mesh, frames, camera, covered, start, arguments.views, colors, lighting)
            for path, one in zip(paths, found):
                for doubt in one.doubts:
                    warnings.warn(f"{path.name}: {doubt}", PoseWarning, stacklevel=2)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    _write(arguments, mesh, paths, found, time.perf_counter() - begin)
    return 0


def _write(
    arguments: argparse.Namespace, mesh: Mesh, paths: list[Path], found: list[PoseEstimate], seconds: float
) -> None:
    folder = arguments.out
    poses = [{"image": str(path)} | pose_values(one) for path, one in zip(paths, found)]
    metrics = [pose_metrics(one) for one in found]
    if arguments.video is None:
        _write_json({"convention": CONVENTION} | poses[0], folder / "pose.json")
        write_metrics(metrics[0] | {"seconds": seconds}, folder / "metrics.json")
        save_image(overlay(mesh, _photo(paths[0]), found[0].camera), folder / "overlay.png")
    else:
        _write_json({"convention": CONVENTION, "frames": poses}, folder / "pose.json")
        write_metrics({"frames": metrics, "seconds": seconds}, folder / "metrics.json")
        save_gif(list(_overlays(mesh, paths, found)), folder / "overlay.gif")
    sure = "no doubts" if not any(one.doubts for one in found) else "see the warnings"
    print(f"{len(found)} pose{'s' * (len(found) > 1)} in {seconds:.1f} s, {sure}; results in {folder}")


def _overlays(mesh: Mesh, paths: list[Path], found: list[PoseEstimate]) -> Iterator[Tensor]:
    for path, one in zip(paths, found):
        height, width = one.camera.size
        scale = min(1.0, _FRAME_WIDTH / width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        image = _photo(path)[..., :3].permute(2, 0, 1)[None]
        small = torch.nn.functional.interpolate(image, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
        yield overlay(mesh, small, one.camera.resized(size))


def _write_json(values: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _camera(arguments: argparse.Namespace, image: Tensor) -> PerspectiveCamera:
    size = (image.shape[0], image.shape[1])
    if arguments.fov is not None:
        return PerspectiveCamera.from_fov(arguments.fov, size)
    fx, fy, cx, cy = (torch.tensor(value) for value in arguments.intrinsics)
    return PerspectiveCamera(torch.eye(4), fx, fy, cx, cy, size)


def _photo(path: Path) -> Tensor:
    image = load_image(path)
    if path.suffix.lower() not in LINEAR:
        return image
    return torch.cat([srgb_encode(image[..., :3]).clamp(0, 1), image[..., 3:]], -1)


def _mask(path: Path) -> Tensor:
    """The alpha channel of an image where it says something, else its brightness."""
    image = load_image(path)
    if image.shape[-1] == 4 and bool((image[..., 3] < 1).any()):
        return image[..., 3]
    return image[..., :3].mean(-1)


def _masks(arguments: argparse.Namespace, paths: list[Path]) -> list[Path] | None:
    """A mask for each photograph."""
    if arguments.mask is None or arguments.video is None:
        return None if arguments.mask is None else [arguments.mask]
    by_name = {path.stem: path for path in _images_of(arguments.mask, "--mask")}
    missing = [path.name for path in paths if path.stem not in by_name]
    if missing:
        raise UserError(f"--mask: {arguments.mask} has no mask for {missing[0]}")
    return [by_name[path.stem] for path in paths]


def _images_of(folder: Path, option: str) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{option}: no such folder: {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
    if not paths:
        raise UserError(f"{option}: no images in {folder}")
    return paths


def _start(path: Path) -> Tensor:
    """Object to camera, of a file as this command writes it; of a video, its first frame's."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        matrix = torch.tensor(values.get("frames", [values])[0]["object_to_camera"], dtype=torch.float32)
    except OSError as error:
        raise UserError(f"--start: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"--start: expected a pose.json with object_to_camera, got {path}") from error
    if matrix.shape != (4, 4) or not bool(matrix.isfinite().all()):
        raise UserError(f"--start: expected object_to_camera of 4 x 4 finite numbers in {path}")
    return matrix


def _intrinsics(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(math.isfinite(value) for value in values) or min(values[:2]) <= 0:
        raise argparse.ArgumentTypeError(f"expected fx,fy,cx,cy in pixels, got '{text}'")
    return values
