"""The command `lumigrad`: fit, demo, splat, render, doctor."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from lumigrad.fit.loop import FitState, Stage
    from lumigrad.fit.splats import SplatState
    from lumigrad.scene import EnvironmentLight, PerspectiveCamera
    from lumigrad.scene.shapes.mesh import Mesh

Color = tuple[float, float, float]
STATE_VERSION = 1
INTERRUPTED = 130


class UserError(Exception):
    """A mistake in the arguments or inputs: one line on stderr, exit code 2."""


# ---- arguments ---------------------------------------------------------------------------------------------


def _number(kind: type, low: float, high: float = math.inf) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got '{text}'") from None
        if not low <= value <= high:
            limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text}")
        return value

    return parse


def _color(text: str) -> Color:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a colour such as 'white' or '#405060', got '{text}'") from None
    return red / 255, green / 255, blue / 255


def _color_or_none(text: str) -> Color | None:
    return None if text == "transparent" else _color(text)


def _light(text: str) -> tuple[float, ...]:
    """x, y, z and strength of a distant light."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (3, 4) or not all(math.isfinite(v) for v in values) or not any(values[:3]):
        raise argparse.ArgumentTypeError(f"expected a direction x,y,z and perhaps a strength, got '{text}'")
    return values if len(values) == 4 else (*values, 1.0)


def _image_size(text: str) -> tuple[int, int]:
    """(height, width) from '512' or '640x480' (width x height)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 1 <= int(part) <= 16384 for part in parts):
        raise argparse.ArgumentTypeError(f"expected pixels such as 512 or 640x480, got '{text}'")
    return int(parts[-1]), int(parts[0])


def _parser() -> argparse.ArgumentParser:
    from lumigrad import __version__
    from lumigrad.cli import splat as _cli_splat

    parser = argparse.ArgumentParser(prog="lumigrad", description="Differentiable rendering: fit, render, examine.")
    parser.add_argument("--version", action="version", version=f"lumigrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="recover a mesh and its texture from images of it")
    fit.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF to take reference images of")
    fit.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    fit.add_argument("--start", choices=("sphere", "perturbed"), default="sphere", help="what to begin from")
    _fit_options(fit, size=512, views=40, texture=1024, out="fit-out")
    fit.set_defaults(run=_run_fit)

    demo = commands.add_parser("demo", help="the same on a built-in mesh, in under a minute")
    _fit_options(demo, size=256, views=24, texture=512, out="demo-out")
    demo.set_defaults(run=_run_demo)

    _cli_splat.add_parser(commands)

    render = commands.add_parser("render", help="render a mesh to an image")
    render.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF")
    render.add_argument("-o", "--output", type=Path, required=True, help="image to write")
    render.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    render.add_argument("--size", type=_image_size, default=(512, 512), help="pixels: 512 or 640x480")
    render.add_argument("--azimuth", type=_number(float, -1e6), default=30.0, help="degrees; 0 looks from +z")
    render.add_argument("--elevation", type=_number(float, -90, 90), default=20.0, help="degrees upwards")
    render.add_argument("--distance", type=_number(float, 0), help="from the mesh's centre; default: frame it")
    render.add_argument("--fov", type=_number(float, 1, 170), default=35.0, help="vertical field of view, degrees")
    render.add_argument("--background", type=_color_or_none, default=(1.0, 1.0, 1.0), help="colour or transparent")
    render.add_argument("--unlit", action="store_true", help="show colours as they are: the same as --shading unlit")
    render.add_argument(
        "--shading",
        choices=("diffuse", "pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth"),
        default="diffuse",
        help="how surfaces are lit (diffuse)",
    )
    render.add_argument(
        "--environment",
        help="what lights the scene: studio, sky, or an equirectangular image; pbr takes the studio by default",
    )
    render.add_argument("--show-environment", action="store_true", help="use the environment as background")
    render.add_argument(
        "--light",
        type=_light,
        action="append",
        default=[],
        metavar="X,Y,Z[,STRENGTH]",
        help="a distant light in this direction; may be given several times",
    )
    render.add_argument(
        "--supersampling", type=_number(int, 1, 16), default=1, help="samples a pixel along each axis (1)"
    )
    render.set_defaults(run=_run_render)

    doctor = commands.add_parser("doctor", help="report versions, threads, instruction sets, CUDA")
    doctor.set_defaults(run=_run_doctor)
    return parser


def _fit_options(parser: argparse.ArgumentParser, size: int, views: int, texture: int, out: str) -> None:
    whole = _number(int, 1)
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for the results ({out})")
    parser.add_argument("--resume", action="store_true", help="go on from the state kept in the folder")
    parser.add_argument("--size", type=_number(int, 16, 4096), default=size, help=f"reference image rows ({size})")
    parser.add_argument("--views", type=whole, default=views, help=f"reference images to fit ({views})")
    parser.add_argument("--test-views", type=whole, default=8, help="images held back for the metrics (8)")
    parser.add_argument(
        "--texture-size", type=_number(int, 64, 8192), default=texture, help=f"texture rows ({texture})"
    )
    parser.add_argument("--effort", type=_number(float, 1e-3), default=1.0, help="scales all iterations (1)")
    parser.add_argument("--detail", type=_number(float, 0.1, 8), default=1.0, help="scales mesh fineness (1)")
    parser.add_argument("--seed", type=_number(int, 0), default=0, help="of the order of views (0)")
    parser.add_argument("--frames", type=whole, default=48, help="of the turntable (48)")
    parser.add_argument("--threads", type=whole, help="CPU threads (default: torch's choice)")
    parser.add_argument("--background", type=_color, default=_color("#404a56"), help="colour behind images")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 2 wrong input, 130 interrupted)."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except UserError as error:
        print(f"lumigrad: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lumigrad: interrupted", file=sys.stderr)
        return INTERRUPTED


# ---- fit and demo ------------------------------------------------------------------------------------------


@dataclass
class _Job:
    """A target in the unit ball, its way back to where it was, and what was asked for."""

    target: Mesh
    start: Mesh
    stages: list[Stage]
    settings: dict[str, Any]
    centre: Any
    scale: float


def _load(path: Path, texture: Path | None, materials: bool = False) -> Mesh:
    from lumigrad.io import load_image, load_mesh

    try:
        mesh = load_mesh(path, materials=materials and texture is None)
        if texture is None:
            return mesh
        if mesh.uvs is None:
            raise UserError(f"--texture: {path} has no texture coordinates")
        return replace(mesh, texture=load_image(texture)[..., :3], colors=None)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _run_fit(arguments: argparse.Namespace) -> int:
    return _fit(arguments, _load(arguments.mesh, arguments.texture))


def _run_demo(arguments: argparse.Namespace) -> int:
    from lumigrad.scene.shapes.procedural import creature

    arguments.start = "sphere"
    arguments.effort, arguments.detail = 0.5 * arguments.effort, 0.7 * arguments.detail
    return _fit(arguments, creature())


def _perturbed(mesh: Mesh) -> Mesh:
    """A copy bent by smooth waves, unpainted."""
    import torch

    from lumigrad.scene import Mesh

    waves = torch.sin(5 * mesh.positions.roll(1, dims=1) + 1) + torch.sin(7 * mesh.positions.roll(2, dims=1))
    return Mesh(mesh.positions + 0.04 * waves, mesh.faces)


def _job(arguments: argparse.Namespace, mesh: Mesh) -> _Job:
    import torch

    from lumigrad.fit import default_stages
    from lumigrad.fit.loop import stages_to_dict
    from lumigrad.scene.shapes.procedural import icosphere

    low, high = mesh.bounds()
    centre = 0.5 * (low + high)
    scale = float((mesh.positions[mesh.faces.reshape(-1)] - centre).norm(dim=-1).max())
    if not (math.isfinite(scale) and scale > 0):
        raise UserError("the mesh has no extent, or positions that are not finite")
    target = replace(mesh, positions=(mesh.positions - centre) / scale)
    stages = default_stages(arguments.size, arguments.texture_size, arguments.effort, arguments.detail)
    start = icosphere(3, 0.5)
    if arguments.start == "perturbed":
        start = _perturbed(target)
        stages = [replace(stage, edge_length=0.0, smoothness=8.0) for stage in stages]
    digest = hashlib.sha256()
    for value in vars(mesh).values():
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().numpy().tobytes())
    settings = {name: getattr(arguments, name) for name in ("start", "size", "views", "seed", "effort", "detail")}
    settings |= {
        "texture-size": arguments.texture_size,
        "mesh": digest.hexdigest(),
        "stages": stages_to_dict(stages),
    }
    return _Job(target, start, stages, settings, centre, scale)


def _load_state(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The state kept in the folder as plain data, after checking that it was made with these settings."""
    import torch

    path = folder / "state.pt"
    if not path.is_file():
        raise UserError(f"--resume: no state to go on from in {folder}")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version, before, state = saved["version"], saved["settings"], saved["state"]
    except Exception as error:  # a damaged file fails in any of several layers
        raise UserError(f"--resume: cannot read {path}: {str(error).splitlines()[0]}") from error
    if version != STATE_VERSION:
        raise UserError(f"--resume: {path} is of another version of lumigrad")
    different = [name for name in settings if before.get(name) != settings[name]]
    if "mesh" in different:
        raise UserError(f"--resume: {path} belongs to another mesh or texture")
    if "photographs" in different:
        raise UserError(f"--resume: {path} belongs to other photographs")
    if different:
        # Stages follow from the other options; they are worth a mention only when nothing else differs.
        told = [name for name in different if name != "stages"] or different
        detail = ", ".join(f"{name} was {before.get(name)}, now {settings[name]}" for name in told)
        raise UserError(f"--resume: {path} was made with other options: {detail}")
    return state


def _save_state(folder: Path, settings: dict[str, Any], state: FitState | SplatState) -> None:
    import torch

    # Written aside and renamed, so that there is always a whole state.
    aside = folder / "state.pt.part"
    torch.save({"version": STATE_VERSION, "settings": settings, "state": state.to_dict()}, aside)
    os.replace(aside, folder / "state.pt")


class _Interrupts:
    """While in use, SIGINT and SIGTERM ask to stop after the present step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def _optimise(arguments: argparse.Namespace, job: _Job, state: FitState, views: Any, lighting: Any) -> bool:
    """Run the fit with a progress bar and checkpoints; False when it was interrupted."""
    from tqdm import tqdm

    from lumigrad.fit import fit

    total = sum(stage.iterations for stage in job.stages)
    checkpoint = time.monotonic()
    # A log file needs no animation.
    pause = 0.2 if sys.stderr.isatty() else 10.0
    with (
        _Interrupts() as interrupts,
        tqdm(total=total, initial=state.iteration, desc="fit", unit="it", dynamic_ncols=True, mininterval=pause) as bar,
    ):

        def on_step(now: FitState) -> bool:
            nonlocal checkpoint
            bar.update()
            if now.iteration % 10 == 0:
                bar.set_postfix_str(f"{job.stages[now.stage].size} px, error {now.losses[-1]:.5f}", refresh=False)
            if time.monotonic() - checkpoint > 30:
                _save_state(arguments.out, job.settings, now)
                checkpoint = time.monotonic()
            return not interrupts.requested

        fit(views, state, job.stages, lighting, arguments.seed, on_step)
        _save_state(arguments.out, job.settings, state)
        stopped = interrupts.requested and state.iteration < total
    return not stopped


def _fit(arguments: argparse.Namespace, mesh: Mesh) -> int:
    import torch

    from lumigrad.fit import FitState, fibonacci_cameras, render_views
    from lumigrad.scene import Lighting

    begin = time.perf_counter()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    job = _job(arguments, mesh)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot create {arguments.out}: {error.strerror}") from error
    if arguments.resume:
        state = FitState.from_dict(_load_state(arguments.out, job.settings))
    else:
        state = FitState.start(job.start)

    lighting, size = Lighting(), (arguments.size, arguments.size)
    views = render_views(job.target, fibonacci_cameras(arguments.views, size), lighting)
    held_back = render_views(job.target, fibonacci_cameras(arguments.test_views, size, turn=77.0), lighting)
    if not _optimise(arguments, job, state, views, lighting):
        print(
            f"lumigrad: stopped after {state.iteration} iterations; the state is in {arguments.out}. "
            "The same command with --resume goes on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    numbers = _write_results(arguments, job, state, held_back, lighting)
    print(
        f"held-back views {numbers['psnr_db']:.2f} dB (inside the mask {numbers['psnr_mask_db']:.2f} dB), "
        f"Chamfer {numbers['chamfer']:.5f} (floor {numbers['chamfer_floor']:.5f}), "
        f"{numbers['seconds']:.1f} s of fitting, {time.perf_counter() - begin:.1f} s in all"
    )
    print(f"results in {arguments.out}")
    return 0


def _write_results(
    arguments: argparse.Namespace, job: _Job, state: FitState, held_back: Any, lighting: Any
) -> dict[str, Any]:
    import torch

    from lumigrad.fit import FitState, report
    from lumigrad.io import save_mesh

    folder, background = arguments.out, arguments.background
    result, start = report.detached(state.mesh()), FitState.start(job.start).mesh()
    numbers = report.metrics(state, job.target, held_back, lighting, background)
    report.write_metrics(numbers, folder / "metrics.json")
    save_mesh(replace(result, positions=result.positions * job.scale + job.centre), folder / "mesh.glb")
    picks = torch.linspace(0, len(held_back) - 1, min(4, len(held_back))).round().long()
    camera = held_back.camera[picks]
    report.comparison(start, job.target, result, camera, lighting, background, folder / "comparison.png")
    report.loss_plot(state, job.stages, folder / "loss.png")
    report.turntable(job.target, result, lighting, background, folder / "turntable.gif", arguments.frames)
    return numbers


# ---- render and doctor -------------------------------------------------------------------------------------


def _run_render(arguments: argparse.Namespace) -> int:
    import torch

    from lumigrad.io import save_image

    mesh = _load(arguments.mesh, arguments.texture, materials=arguments.shading != "diffuse")
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
    from lumigrad.scene import PerspectiveCamera

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
    import torch

    from lumigrad.render import render, render_mesh
    from lumigrad.scene import AmbientLight, DirectionalLight, Light

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
    from lumigrad.io import load_image
    from lumigrad.render.color import srgb_decode
    from lumigrad.scene import EnvironmentLight, sky, studio

    name = arguments.environment
    if name is None:
        if not arguments.show_environment:
            return EnvironmentLight(studio()) if shading == "pbr" and arguments.light else None
        name = "studio"
    if name in ("studio", "sky"):
        return EnvironmentLight(studio() if name == "studio" else sky())
    try:
        return EnvironmentLight.from_equirect(srgb_decode(load_image(name)[..., :3]))
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _run_doctor(arguments: argparse.Namespace) -> int:
    import numpy
    import torch

    from lumigrad import __version__

    lines = [
        ("lumigrad", __version__),
        ("python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("torch", torch.__version__),
        ("numpy", numpy.__version__),
        ("threads", f"{torch.get_num_threads()} used, {os.cpu_count()} in the machine"),
    ]
    code = 0
    try:
        from lumigrad._engine import core as _core
        from lumigrad._engine import cuda as _cuda

        lines.append(("instruction set", f"{_core.isa()} (built: {', '.join(_core.available_isas())})"))
        lines.append(("cuda", _cuda.status()))
    except (ImportError, OSError, RuntimeError) as error:
        lines.append(("native core", f"not usable: {error}"))
        code = 1
    for name, value in lines:
        print(f"{name:16} {value}")
    return code
