"""The command `lumigrad`, with one file per command."""

from lumigrad.cli.program import main

__all__ = ["main"]
