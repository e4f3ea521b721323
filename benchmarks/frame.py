"""Forward and backward of one Gouraud-shaded frame, by mesh and image size, in every available library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks import meshes, peers
from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.settings import Settings
from benchmarks.timing import Budget, copy_task, measure

_PEERS = [name for name in peers.RENDERERS if name != "lumigrad"]


def run(settings: Settings) -> Table:
    table = Table(
        "Gouraud frame, forward + backward, and rasterisation alone, forward (medians, ms)",
        _columns(),
        notes=[
            "ratio: a peer's time over lumigrad's; frame/copy, raster/copy: lumigrad's over the 64 MB copy's",
            "coverage: share of pixels where a peer disagrees; image: mean absolute difference to a peer's",
        ],
    )
    for name in settings.names:
        mesh, note = meshes.load(name, settings.meshes)
        if note:
            table.notes.append(note)
        renderers = list(settings.renderers)
        for size in sorted(settings.sizes):
            row = _row(mesh, size, renderers, settings.budget)
            table.rows.append(row)
            # A library that was too slow for a small image is not given a larger one.
            renderers = [other for other in renderers if row[f"{other} frame"].median < settings.budget.patience]
    return table


def _columns() -> list[Column]:
    columns = [Column("mesh", "mesh"), Column("triangles", "triangles"), Column("size", "size")]
    for part, label, suffix in (("frame", "", ""), ("rasterize", " raster", "rasterize ")):
        columns.append(Column(f"lumigrad {part}", f"lumigrad{label}", milliseconds))
        for name in _PEERS:
            columns.append(Column(f"{name} {part}", f"{name}{label}", milliseconds))
            columns.append(Column(f"{name} {suffix}speedup", "ratio", ratio))
    columns += [
        Column("copy", "copy", milliseconds),
        Column("lumigrad frame per copy", "frame/copy", ratio),
        Column("lumigrad rasterize per copy", "raster/copy", ratio),
    ]
    for name in _PEERS:
        columns.append(Column(f"{name} coverage difference", f"{name} coverage", _fraction))
        columns.append(Column(f"{name} image difference", f"{name} image", _fraction))
    return columns


def _row(mesh: meshes.Mesh, size: int, names: list[str], budget: Budget) -> dict[str, Any]:
    work = meshes.workload(mesh, size)
    renderers = {name: peers.RENDERERS[name](work) for name in names}
    tasks: dict[str, Callable[[], object]] = {"copy": copy_task()}
    for name, renderer in renderers.items():
        tasks[f"{name} frame"] = renderer.frame
        tasks[f"{name} rasterize"] = renderer.rasterize
    row: dict[str, Any] = {"mesh": mesh.name, "triangles": mesh.triangles, "size": size}
    row |= measure(tasks, budget)
    if "lumigrad" in renderers:
        row |= _ratios(row, names)
        row |= _differences(renderers)
    return row


def _ratios(row: dict[str, Any], names: list[str]) -> dict[str, float]:
    """How many times as long as lumigrad each peer takes, and lumigrad's time in units of the copy's."""
    ratios = {}
    for part, suffix in (("frame", ""), ("rasterize", "rasterize ")):
        own = row[f"lumigrad {part}"].median
        ratios[f"lumigrad {part} per copy"] = own / row["copy"].median
        for name in names:
            if name != "lumigrad":
                ratios[f"{name} {suffix}speedup"] = row[f"{name} {part}"].median / own
    return ratios


def _differences(renderers: dict[str, peers.Renderer]) -> dict[str, float]:
    """Mean absolute differences to lumigrad's coverage and image: near zero if all libraries draw the same."""
    coverage, image = renderers["lumigrad"].picture()
    differences = {}
    for name, renderer in renderers.items():
        if name == "lumigrad":
            continue
        other_coverage, other_image = renderer.picture()
        differences[f"{name} coverage difference"] = (coverage != other_coverage).float().mean().item()
        differences[f"{name} image difference"] = torch.sub(image, other_image).abs().mean().item()
    return differences


def _fraction(value: float) -> str:
    return f"{value:.1e}"
