"""The results of a fit to photographs: metrics, and functions that draw pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.photos import Photo, report
from lumigrad.fit.splats.divided_rows import DividedRows
from lumigrad.fit.splats.loop import Schedule, SplatState, evaluate, measured
from lumigrad.fit.splats.models import DivisibleModel, Model
from lumigrad.scene.cameras.camera import PerspectiveCamera


def metrics(state: SplatState, model: Model, held_out: list[Photo], schedule: Schedule) -> dict[str, Any]:
    """All metrics of a fit; times are of fitting alone, without reading files and evaluation."""
    return {
        **evaluate(model, state.rows.parameters, held_out, schedule.background),
        "primitives": len(state.rows),
        **report.times(state, held_out, state.rows.device),
    }


def divided_metrics(
    state: SplatState, model: DivisibleModel, held_out: list[Photo], schedule: Schedule
) -> dict[str, Any]:
    """`metrics` of primitives that processes divide, and what each process has of them; to be called by all."""
    rows = state.rows
    assert isinstance(rows, DividedRows)
    group = rows.group
    tensors = [*rows.parameters.values(), *rows.first.values(), *rows.second.values(), *rows.statistics.values()]
    own = [rows.count, sum(value.nbytes for value in tensors), rows.traffic.bytes / max(1, rows.traffic.steps)]
    table = group.joined(torch.tensor([own], dtype=torch.float64, device="cpu")).T.tolist()
    return {
        **measured(rows, model, held_out, schedule.background, 1.0, group),
        "primitives": len(rows),
        "processes": {
            "primitives": [int(count) for count in table[0]],
            "state_megabytes": [count / 1e6 for count in table[1]],
            "exchanged_megabytes_per_step": [count / 1e6 for count in table[2]],
        },
        **report.times(state, held_out, rows.device),
    }


def drawn(state: SplatState, model: Model, schedule: Schedule) -> report.Draw:
    """From a camera to its image."""

    def draw(camera: PerspectiveCamera) -> Tensor:
        return model.draw(state.rows.parameters, camera, schedule.background, 1.0)

    return draw
