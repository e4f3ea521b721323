"""`lumigrad doctor`: checks the installation, and writes what a bug report should contain."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy
import torch

import lumigrad as lg
from lumigrad import _diagnosis
from lumigrad._diagnosis import Section
from lumigrad.ops import installation

_PACKAGE = Path(lg.__file__).parent
_RIGHT = "an image and its gradients are right"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command and its options."""
    parser.add_argument("--report", action="store_true", help="all that a report of a problem needs, as Markdown")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; returns 1 where a check of the installation fails."""
    fault = find_fault()
    if arguments.report:
        print(_diagnosis.report({"lumigrad": _installed(fault), **_diagnosis.surroundings()}))
    else:
        for name, value in [*_summary(), ("check", fault or _RIGHT)]:
            print(f"{name:16} {value}")
    return 1 if fault else 0


def _summary() -> Section:
    return [
        ("lumigrad", lg.__version__),
        ("python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("torch", torch.__version__),
        ("numpy", numpy.__version__),
        ("threads", f"{torch.get_num_threads()} used, {os.cpu_count()} in the machine"),
        ("load", _diagnosis.load()),
        *_core(),
    ]


def _core() -> Section:
    """The parts of the compiled core that are in use."""
    built = ", ".join(installation.available_isas())
    return [
        ("instruction set", f"{installation.isa()} (built: {built}; of use: {installation.best_isa()})"),
        ("cuda", installation.cuda_status()),
        ("idle threads", f"{installation.wait_policy()} ({installation.thread_source()})"),
    ]


def _installed(fault: str | None) -> Section:
    """The version and location of lumigrad, and whether it works."""
    return [
        ("version", " ".join(filter(None, [lg.__version__, _commit()]))),
        ("folder", str(_PACKAGE)),
        ("libraries", _libraries()),
        *_core(),
        ("contended", "yes: idle threads sleep at once" if installation.contended() else "no"),
        ("check", fault or _RIGHT),
    ]


def _commit() -> str:
    """The commit of the source tree that lumigrad runs from, and whether files were changed; empty without one."""
    if not (_PACKAGE.parents[1] / ".git").exists():
        return ""
    command = ["git", "-C", str(_PACKAGE.parents[1]), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "(a source tree)"
    return f"(a source tree at {answer.stdout.strip()})"


def _libraries() -> str:
    """The folder of the compiled libraries, and their sizes."""
    paths = {name: installation.library_path(name) for name in (*installation.ISAS, "cuda")}
    sizes = [f"{name} {path.stat().st_size / 1e6:.1f} MB" for name, path in paths.items() if path.exists()]
    return f"{paths['portable'].parent}: {', '.join(sizes)}"


def find_fault() -> str | None:
    """The error of the kernels' image of a triangle and its gradients, compared with the reference; None if there is
    none."""
    devices = ["cpu", *(["cuda"] if installation.cuda_available() else [])]
    try:
        expected = _triangle(lg.reference, "cpu")
        found = {
            f"{name} on {device}": (value, expected[name])
            for device in devices
            for name, value in _triangle(lg, device).items()
        }
    except Exception as error:  # any error belongs in the report
        return f"FAILED: {type(error).__name__}: {error}"
    wrong = [name for name, pair in found.items() if not torch.allclose(*pair, atol=1e-4)]
    return f"FAILED: of a triangle, {', '.join(wrong)} differ from the reference's" if wrong else None


def _triangle(ops: Any, device: str) -> dict[str, torch.Tensor]:
    """An antialiased image of a triangle of three colours, and gradients of its squares."""
    pos = torch.tensor([[-0.7, -0.6, 0.1, 1.0], [0.8, -0.3, 0.2, 1.1], [0.1, 0.9, 0.3, 1.2]], device=device)
    colors = torch.eye(3, device=device)
    tri = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=device)
    for leaf in (pos, colors):
        leaf.requires_grad_()
    frags = ops.rasterize(pos, tri, (16, 16))
    image = ops.antialias(ops.interpolate(colors, frags, tri), frags, pos, tri)
    grad_pos, grad_colors = torch.autograd.grad(image.square().sum(), (pos, colors))
    values = {"the image": image.detach(), "gradients of positions": grad_pos, "gradients of colours": grad_colors}
    return {name: value.cpu() for name, value in values.items()}
