"""The command `lumigrad`, one file for each of its commands."""

from lumigrad.cli.program import main

__all__ = ["main"]
