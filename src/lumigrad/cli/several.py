"""Commands in the processes that torchrun starts: the first one tells, writes, and speaks for all."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from lumigrad.cli.shared import UserError
from lumigrad.fit.distributed import ALONE, Group, LostProcessError, group_size, join

LOST = 1


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with the group that this process belongs to as `group`."""
    own = int(os.environ["RANK"]) if group_size() > 1 else 0
    with _quiet(own > 0):
        arguments = parser.parse_args(argv)
    if group_size() > 1 and not getattr(arguments, "divided", False):
        raise UserError(f"{arguments.command}: it runs in one process, and {group_size()} were started")
    arguments.group = join()
    return arguments


def run_in_group(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    group: Group = arguments.group
    if group is ALONE:
        return int(arguments.run(arguments))
    try:
        with _quiet(not group.is_first):
            code = int(arguments.run(arguments))
    except LostProcessError as error:
        if group.is_first or error.saved:
            print(f"lumigrad: error: {error}", file=sys.stderr)
        return LOST
    except (UserError, OSError) as error:
        if group.speaks():
            place = "" if group.is_first else f"process {group.rank}: "
            print(f"lumigrad: error: {place}{error}", file=sys.stderr)
        return 2
    group.leave()
    return code


@contextlib.contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    """Nothing is printed in this context."""
    if not quiet:
        yield
        return
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        yield
