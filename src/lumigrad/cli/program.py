"""The program: its parser, made of those of the commands, and its exit codes."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from lumigrad import __version__
from lumigrad._optional import MissingPackageError
from lumigrad._startup import has_started
from lumigrad.cli import (
    capture,
    demo,
    doctor,
    field,
    fit,
    materials,
    pose,
    reconstruct,
    render,
    sdf,
    splat,
    texture,
    view,
)
from lumigrad.cli.several import LOST, parsed, run_in_group
from lumigrad.cli.shared import INTERRUPTED, UserError
from lumigrad.fit.distributed import LostProcessError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lumigrad", description="Differentiable rendering: fit, render, examine.")
    parser.add_argument("--version", action="version", version=f"lumigrad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (fit, demo, reconstruct, texture, sdf, materials, splat, field, pose, capture, render, view, doctor):
        command.add_parser(commands)
    return parser


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    """One line, without the place in the source that Python shows to programmers."""
    print(f"lumigrad: warning: {' '.join(str(message).split())}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 when done, 1 where a process of several is lost, 2 for wrong input, 130 when interrupted.
    """
    try:
        has_started()
        arguments = parsed(_parser(), argv)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return run_in_group(arguments)
    except (UserError, MissingPackageError) as error:
        print(f"lumigrad: error: {error}", file=sys.stderr)
        return 2
    except LostProcessError as error:
        print(f"lumigrad: error: {error}", file=sys.stderr)
        return LOST
    except OSError as error:  # such as a disk that becomes full
        print(f"lumigrad: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lumigrad: interrupted", file=sys.stderr)
        return INTERRUPTED
