"""The program: its parser, made of those of the commands, and its exit codes."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence

from lumigrad import __version__
from lumigrad._launcher import group_size, is_first
from lumigrad._optional import MissingPackageError
from lumigrad._startup import has_started
from lumigrad.cli.errors import INTERRUPTED, WRONG_INPUT, UserError, report, silence

# The commands: each is a module of this package, which is imported when it is called. To import all of them takes as
# long as a short command itself.
_COMMANDS = {
    "fit": "recover a mesh and its texture from images of it",
    "demo": "the same on a built-in mesh, in under a minute",
    "reconstruct": "recover a textured mesh from posed photographs",
    "texture": "recover the texture of a mesh from posed photographs",
    "sdf": "make a closed surface of a mesh, or of the masks of posed photographs",
    "materials": "recover the materials of a mesh, and the light, from posed photographs",
    "splat": "recover Gaussians or spheres from posed photographs",
    "field": "recover a field of densities and colours from posed photographs",
    "pose": "find where a known mesh is in a photograph, or along a video",
    "capture": "recover the moving shape of a face from several cameras",
    "render": "render meshes, points or Gaussians to a picture or a video",
    "view": "look at meshes, points, Gaussians and data sets in the browser",
    "doctor": "report versions, threads, instruction sets, CUDA",
}


def _parser(called: str) -> argparse.ArgumentParser:
    """Of the commands, the one that is called has its options."""
    parser = argparse.ArgumentParser(prog="lumigrad", description="Differentiable rendering: fit, render, examine.")
    parser.add_argument("--version", action="version", version=f"lumigrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == called:
            importlib.import_module(f"lumigrad.cli.{name}").add_arguments(command)
    return parser


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    # The options before a command take no values.
    called = next((argument for argument in argv if not argument.startswith("-")), "")
    parser = _parser(called)
    with silence(not is_first()):
        arguments = parser.parse_args(argv)
    if group_size() > 1 and not getattr(arguments, "divided", False):
        raise UserError(f"{arguments.command}: it runs in one process, and {group_size()} were started")
    return arguments


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    """One line, without the source location that Python shows to programmers."""
    print(f"lumigrad: warning: {' '.join(str(message).split())}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 when done, 1 where a process of several is lost, 2 for wrong input, 130 when interrupted.
    """
    try:
        has_started()
        arguments = _parsed(sys.argv[1:] if argv is None else argv)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return int(arguments.run(arguments))
    except (UserError, MissingPackageError, OSError) as error:  # OSError: for example, when the disk is full
        report(error)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("lumigrad: interrupted", file=sys.stderr)
        return INTERRUPTED
