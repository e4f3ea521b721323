"""`lumigrad render`: a mesh to an image."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.arguments import color_or_none, distant_light, image_size, number
from lumigrad.cli.shared import UserError, read_mesh
from lumigrad.io.image import LINEAR, load_image, save_image
from lumigrad.render import render, render_mesh
from lumigrad.render.color import srgb_decode
from lumigrad.scene import AmbientLight, DirectionalLight, EnvironmentLight, Light, PerspectiveCamera, sky, studio
from lumigrad.scene.shapes.mesh import Mesh


def add_parser(commands: Any) -> None:
    """The command's options."""
    parser = commands.add_parser("render", help="render a mesh to an image")
    parser.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF")
    parser.add_argument("-o", "--output", type=Path, required=True, help="image to write")
    parser.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    parser.add_argument("--size", type=image_size, default=(512, 512), help="pixels: 512 or 640x480")
    parser.add_argument("--azimuth", type=number(float, -1e6), default=30.0, help="degrees; 0 looks from +z")
    parser.add_argument("--elevation", type=number(float, -90, 90), default=20.0, help="degrees upwards")
    parser.add_argument("--distance", type=number(float, 0), help="from the mesh's centre; default: frame it")
    parser.add_argument("--fov", type=number(float, 1, 170), default=35.0, help="vertical field of view, degrees")
    parser.add_argument("--background", type=color_or_none, default=(1.0, 1.0, 1.0), help="colour or transparent")
    parser.add_argument("--unlit", action="store_true", help="show colours as they are: the same as --shading unlit")
    parser.add_argument(
        "--shading",
        choices=("diffuse", "pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth"),
        default="diffuse",
        help="how surfaces are lit (diffuse)",
    )
    parser.add_argument(
        "--environment",
        help="what lights the scene: studio, sky, or an equirectangular image; pbr takes the studio by default",
    )
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
        "--supersampling", type=number(int, 1, 16), default=1, help="samples a pixel along each axis (1)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Render, and write the image."""
    mesh = read_mesh(arguments.mesh, arguments.texture, materials=arguments.shading != "diffuse")
    camera = _framing(arguments, mesh)
    with torch.no_grad():
        image = _picture(arguments, mesh, camera)
    try:
        save_image(image, arguments.output)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    return 0


def _framing(arguments: argparse.Namespace, mesh: Mesh) -> PerspectiveCamera:
    """The camera asked for; at a distance from which it sees the whole mesh, if none is given."""
    low, high = mesh.bounds()
    centre = 0.5 * (low + high)
    radius = float((mesh.positions[mesh.faces.reshape(-1)] - centre).norm(dim=-1).max())
    if not (math.isfinite(radius) and radius > 0):
        raise UserError(f"{arguments.mesh} has no extent, or positions that are not finite")
    height, width = arguments.size
    half = math.radians(arguments.fov / 2)
    narrow = min(half, math.atan(math.tan(half) * width / height))
    distance = 1.02 * radius / math.sin(narrow) if arguments.distance is None else arguments.distance
    if not distance > 0:
        raise UserError("--distance: expected a number above 0")
    return PerspectiveCamera.orbit(
        arguments.azimuth,
        arguments.elevation,
        distance,
        arguments.fov,
        arguments.size,
        target=centre,
        near=max(0.9 * (distance - radius), 0.001 * radius),
        far=distance + 1.1 * radius,
    )


def _picture(arguments: argparse.Namespace, mesh: Mesh, camera: PerspectiveCamera) -> Tensor:
    """The image [H, W, 3], or [H, W, 4] where the background is transparent."""
    shading = "unlit" if arguments.unlit else arguments.shading
    lights: list[Light] = [DirectionalLight(light[:3], intensity=light[3]) for light in arguments.light]
    environment = _environment(arguments, shading)
    if shading == "diffuse":
        if lights or environment is not None or arguments.supersampling > 1 or arguments.show_environment:
            raise UserError("--light, --environment, --supersampling: choose a --shading other than diffuse")
        shot = render_mesh(mesh, camera)
    else:
        # Without anything around it, the side away from distant lights would be black.
        around: list[Light] = [environment] if environment is not None else [AmbientLight(intensity=0.3)] * bool(lights)
        shot = render(
            mesh,
            camera,
            shading=shading,
            lights=[*lights, *around] or None,
            background=environment if arguments.show_environment else None,
            supersampling=arguments.supersampling,
            buffers=False,
        )
    if shading == "depth":
        # White is near, black is far.
        near, far = camera.near, camera.far
        shot = replace(shot, color=((far * shot.mask - shot.color) / (far - near)).expand(-1, -1, -1, 3))
    if arguments.show_environment:
        return shot.image[0]
    if arguments.background is None:
        return shot.straight()[0]
    return shot.over(torch.tensor(arguments.background))[0]


def _environment(arguments: argparse.Namespace, shading: str) -> EnvironmentLight | None:
    name = arguments.environment
    if name is None:
        if not arguments.show_environment:
            return EnvironmentLight(studio()) if shading == "pbr" and arguments.light else None
        name = "studio"
    if name in ("studio", "sky"):
        return EnvironmentLight(studio() if name == "studio" else sky())
    try:
        image = load_image(name)[..., :3]
        return EnvironmentLight.from_equirect(image if Path(name).suffix.lower() in LINEAR else srgb_decode(image))
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
