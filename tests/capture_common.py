"""A small recording of the built-in head, made once."""

from __future__ import annotations

from pathlib import Path

from lumigrad.fit.capture import RigOptions, write_rig

SMALL = RigOptions(size=24, frames=3, cameras=2, level=2, supersampling=2)


def small_rig(folder: Path, options: RigOptions = SMALL) -> Path:
    return write_rig(folder / "rig", options)
