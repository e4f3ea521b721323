"""`lumigrad demo`: the fit of a built-in mesh."""

from __future__ import annotations

import argparse

from lumigrad.cli.fit import add_options, fit_and_report, mesh_options
from lumigrad.scene.shapes.procedural import creature


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_options(parser, size=256, views=24, texture=512, out="demo-out")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fit the built-in mesh, with less effort and detail than `fit` takes by default."""
    options = mesh_options(arguments, effort=0.5 * arguments.effort, detail=0.7 * arguments.detail)
    return fit_and_report(creature(), options, arguments)
