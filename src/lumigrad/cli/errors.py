"""How commands end that do not succeed, and who says so."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

WRONG_INPUT = 2
LOST = 1
INTERRUPTED = 130


class UserError(Exception):
    """A mistake in the arguments or the input: one line on stderr, exit code 2."""


def report(error: object) -> None:
    """The line on stderr that says what is wrong."""
    print(f"lumigrad: error: {error}", file=sys.stderr)


@contextlib.contextmanager
def silence(silent: bool) -> Iterator[None]:
    """Nothing is printed in this context, if so wanted."""
    if not silent:
        yield
        return
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        yield
