"""Commands in several processes started by torchrun: the first one prints and writes for all."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

from lumigrad.cli.errors import LOST, WRONG_INPUT, UserError, report, silence
from lumigrad.fit.distributed import ALONE, Group, LostProcessError, join


def in_group(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command's function, as one that gives it the group that this process belongs to, as `group`."""

    @functools.wraps(run)
    def run_in_group(arguments: argparse.Namespace) -> int:
        try:
            arguments.group = join()
        except LostProcessError as error:
            report(error)
            return LOST
        return run(arguments) if arguments.group is ALONE else _run_together(run, arguments)

    return run_in_group


def _run_together(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    group: Group = arguments.group
    try:
        with silence(not group.is_first):
            code = run(arguments)
    except LostProcessError as error:
        if group.is_first or error.saved:
            report(error)
        return LOST
    except (UserError, OSError) as error:
        if group.speaks():
            report(error if group.is_first else f"process {group.rank}: {error}")
        return WRONG_INPUT
    group.leave()
    return code
