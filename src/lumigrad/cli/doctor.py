"""`lumigrad doctor`: what a report of a problem should say about the installation."""

from __future__ import annotations

import argparse
import os
import platform
from typing import Any

import numpy
import torch

from lumigrad import __version__


def add_parser(commands: Any) -> None:
    """The command, without options."""
    parser = commands.add_parser("doctor", help="report versions, threads, instruction sets, CUDA")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; returns 1 where the native core cannot be used."""
    lines = [
        ("lumigrad", __version__),
        ("python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("torch", torch.__version__),
        ("numpy", numpy.__version__),
        ("threads", f"{torch.get_num_threads()} used, {os.cpu_count()} in the machine"),
        ("load", _load()),
    ]
    code = 0
    try:
        from lumigrad.ops import installation

        isas = ", ".join(installation.available_isas())
        lines.append(("instruction set", f"{installation.isa()} (built: {isas}; of use: {installation.best_isa()})"))
        lines.append(("cuda", installation.cuda_status()))
        lines.append(("idle threads", f"{installation.wait_policy()} ({installation.thread_source()})"))
    except (ImportError, OSError, RuntimeError) as error:
        lines.append(("native core", f"not usable: {error}"))
        code = 1
    for name, value in lines:
        print(f"{name:16} {value}")
    return code


def _load() -> str:
    """How many processes have wanted to run during the last minute, and what that means for measurements."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return "unknown"
    processors = os.cpu_count() or 1
    busy = ": busy, timings mean little and several threads may gain nothing" if load > 0.75 * processors else ""
    return f"{load:.1f} on {processors} processors{busy}"
