"""`lumigrad fit`: a mesh and its texture from images of it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from lumigrad.cli.arguments import color, number, positive
from lumigrad.cli.errors import INTERRUPTED, UserError
from lumigrad.cli.live import add_live_option, live
from lumigrad.cli.shared import make_folder, progress_bar, read_mesh, run_job
from lumigrad.fit.mesh.job import MeshJob, MeshOptions
from lumigrad.fit.mesh.loop import FitState
from lumigrad.fit.mesh.report import BACKGROUND
from lumigrad.scene.shapes.mesh import Mesh


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("mesh", type=Path, help="OBJ, glTF/GLB, PLY, STL or OFF to take reference images of")
    parser.add_argument("--texture", type=Path, help="image to use as the mesh's texture")
    parser.add_argument("--start", choices=("sphere", "perturbed"), default="sphere", help="what to begin from")
    add_options(parser, size=512, views=40, texture=1024, out="fit-out")
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser, size: int, views: int, texture: int, out: str) -> None:
    """The options that `fit` and `demo` share."""
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for the results ({out})")
    parser.add_argument("--resume", action="store_true", help="resume from the state in the folder")
    parser.add_argument("--size", type=number(int, 16, 4096), default=size, help=f"reference image rows ({size})")
    parser.add_argument("--views", type=positive, default=views, help=f"reference images to fit ({views})")
    parser.add_argument("--test-views", type=positive, default=8, help="images held back for the metrics (8)")
    parser.add_argument("--texture-size", type=number(int, 64, 8192), default=texture, help=f"texture rows ({texture})")
    parser.add_argument("--effort", type=number(float, 1e-3), default=1.0, help="scales all iterations (1)")
    parser.add_argument("--detail", type=number(float, 0.1, 8), default=1.0, help="scales mesh fineness (1)")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of the order of views (0)")
    parser.add_argument("--frames", type=positive, default=48, help="of the turntable (48)")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: torch's choice)")
    add_live_option(parser)
    parser.add_argument("--background", type=color, default=BACKGROUND, help="colour behind images")


def run(arguments: argparse.Namespace) -> int:
    """Fit the mesh of a file."""
    mesh = read_mesh(arguments.mesh, arguments.texture)
    return fit_and_report(mesh, mesh_options(arguments, start=arguments.start), arguments)


def mesh_options(arguments: argparse.Namespace, **others: Any) -> MeshOptions:
    """The options of the fit, as far as both commands have them."""
    names = ("size", "views", "test_views", "texture_size", "effort", "detail", "seed")
    return MeshOptions(**{**{name: getattr(arguments, name) for name in names}, **others})


def fit_and_report(mesh: Mesh, options: MeshOptions, arguments: argparse.Namespace) -> int:
    """Run the fit and write its results; returns the exit code."""
    begin, folder = time.perf_counter(), arguments.out
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        job = MeshJob.prepare(mesh, options)
    except ValueError as error:
        raise UserError(str(error)) from error
    make_folder(folder)
    state = run_job(job, folder, arguments.resume, lambda state: _optimise(job, state, arguments))
    if state is None:
        return INTERRUPTED
    numbers = job.write_results(state, folder, arguments.background, arguments.frames)
    print(
        f"held-back views {numbers['psnr_db']:.2f} dB (inside the mask {numbers['psnr_mask_db']:.2f} dB), "
        f"Chamfer {numbers['chamfer']:.5f} (floor {numbers['chamfer_floor']:.5f}), "
        f"{numbers['seconds']:.1f} s of fitting, {time.perf_counter() - begin:.1f} s in all"
    )
    print(f"results in {folder}")
    return 0


def _optimise(job: MeshJob, state: FitState, arguments: argparse.Namespace) -> None:
    bar_options = {"total": job.iterations, "initial": state.iteration, "desc": "fit", "unit": "it"}
    with live(arguments, job, state) as page, progress_bar(**bar_options) as bar:

        def show(now: FitState) -> None:
            page(now)
            bar.update()
            if now.iteration % 10 == 0:
                bar.set_postfix_str(f"{job.stages[now.stage].size} px, error {now.losses[-1]:.5f}", refresh=False)

        job.run(state, arguments.out, show)
