"""The options of one run of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.timing import Budget


@dataclass(frozen=True)
class Settings:
    """meshes: folder of OBJ files or None; renderers: those of `peers.RENDERERS` that can be imported."""

    meshes: Path | None
    names: list[str]
    sizes: list[int]
    renderers: list[str]
    budget: Budget
    heap: str
    quick: bool
