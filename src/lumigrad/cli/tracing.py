"""Ray-traced pictures: `lumigrad render --method direct` and `--method path`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lumigrad.cli.arguments import number
from lumigrad.cli.errors import UserError
from lumigrad.render import render_direct, render_path
from lumigrad.render.rendering import Rendering
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.scene import Scene

_SAMPLES = {"direct": 16, "path": 64, "error": 1024}


def add_tracing_options(parser: argparse.ArgumentParser) -> None:
    """The options of methods that trace rays."""
    parser.add_argument(
        "--method",
        choices=("raster", "direct", "path"),
        default="raster",
        help="of meshes: raster, no shadows; direct, traced shadows; path, all light between surfaces, too (raster)",
    )
    parser.add_argument(
        "--samples",
        type=number(int, 1, 1 << 20),
        help=f"of a pixel, for --method direct ({_SAMPLES['direct']}) and path ({_SAMPLES['path']}; with --error at "
        f"most, {_SAMPLES['error']})",
    )
    parser.add_argument("--max-depth", type=number(int, 1, 65535), help="segments of a path, for --method path (6)")
    parser.add_argument(
        "--error", type=number(float, 1e-6), help="noise at which --method path stops, over the brightness: 0.02"
    )
    parser.add_argument(
        "--ambient-occlusion",
        type=number(float, 1e-30),
        metavar="DISTANCE",
        help="how far surfaces block light from around, for --method direct (any distance)",
    )


@dataclass(frozen=True)
class Tracing:
    """How rays are traced.

    Attributes:
        method: "direct" or "path".
        samples, max_depth, error, ambient_occlusion: as `render_direct` and `render_path` have them.
        supersampling: of "direct".
        progress: whether "path" shows a bar.
    """

    method: str
    samples: int
    max_depth: int
    error: float | None
    ambient_occlusion: float | None
    supersampling: int
    progress: bool

    def shot(self, scene: Scene, camera: Camera, tone: str) -> Rendering:
        """The picture of a scene of meshes in its lights, before any background."""
        try:
            if self.method == "direct":
                return render_direct(
                    scene, camera, self.samples, ambient_occlusion=self.ambient_occlusion,
                    supersampling=self.supersampling, tone_mapping=tone,
                )  # fmt: skip
            return render_path(
                scene, camera, self.samples, self.max_depth, tone_mapping=tone, error=self.error, progress=self.progress
            )
        except NotImplementedError as error:
            raise UserError(f"--method {self.method}: {error}") from error


def tracing_of(arguments: argparse.Namespace, progress: bool) -> Tracing | None:
    """The tracing that the options ask for; None for --method raster."""
    method = arguments.method
    users = {
        "samples": ("direct", "path"),
        "max_depth": ("path",),
        "error": ("path",),
        "ambient_occlusion": ("direct",),
    }
    for name, methods in users.items():
        if getattr(arguments, name) is not None and method not in methods:
            raise UserError(f"--{name.replace('_', '-')}: it needs --method {' or '.join(methods)}")
    if method == "raster":
        return None
    if arguments.shading not in (None, "pbr") or arguments.unlit:
        raise UserError(f"--method {method}: it needs --shading pbr")
    if method == "path" and arguments.supersampling != 1:
        raise UserError("--supersampling: --method path has --samples")
    default = _SAMPLES["error" if arguments.error is not None else method]
    return Tracing(
        method, arguments.samples or default, arguments.max_depth or 6, arguments.error, arguments.ambient_occlusion,
        arguments.supersampling, progress,
    )  # fmt: skip
