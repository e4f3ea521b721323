"""Contexts and log levels, which have no effect here."""

from __future__ import annotations

from typing import Any


class RasterizeCudaContext:
    """What `rasterize` wants as its first argument. Holds nothing: lumigrad needs no context.

    Args:
        device: accepted and ignored.
    """

    def __init__(self, device: Any = None) -> None:
        pass


class RasterizeGLContext(RasterizeCudaContext):
    """As `RasterizeCudaContext`, under the older name.

    Args:
        output_db, mode, device: accepted and ignored; derivatives are always there.
    """

    def __init__(self, output_db: bool = True, mode: str = "automatic", device: Any = None) -> None:
        super().__init__(device)

    def set_context(self) -> None:
        """Do nothing."""

    def release_context(self) -> None:
        """Do nothing."""


_log_level = 1


def get_log_level() -> int:
    """The level last set, 1 at first."""
    return _log_level


def set_log_level(level: int) -> None:
    """Set the level, from 0 (everything) to 3 (errors). Nothing is logged here, so this has no effect.

    Raises:
        ValueError: for another level.
    """
    global _log_level
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 3:
        raise ValueError(f"level: expected an integer from 0 to 3, got {level!r}")
    _log_level = level
