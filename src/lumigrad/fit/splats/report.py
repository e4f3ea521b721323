"""The results of a fit to photographs: metrics, pictures and a fly-through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lumigrad.fit.photos import Photo, report
from lumigrad.fit.splats.loop import Schedule, SplatState, evaluate
from lumigrad.fit.splats.models import Model
from lumigrad.scene.cameras.camera import PerspectiveCamera


def metrics(state: SplatState, model: Model, held_out: list[Photo], schedule: Schedule) -> dict[str, Any]:
    """All metrics of a fit; times are of fitting alone, without reading files and evaluation."""
    return {
        **evaluate(model, state.rows.parameters, held_out, schedule.background),
        "primitives": len(state.rows),
        **report.times(state, held_out, state.rows.device),
    }


def comparison(state: SplatState, model: Model, photos: list[Photo], schedule: Schedule, path: Path) -> None:
    """Picture of photographs, renders and their differences, one row for each."""
    report.comparison(drawn(state, model, schedule), photos, path)


def fly_through(
    state: SplatState, model: Model, photos: list[Photo], schedule: Schedule, path: Path, frames: int = 60
) -> None:
    """Animated GIF of a flight along the photographs' cameras."""
    report.fly_through(drawn(state, model, schedule), photos, path, frames)


def drawn(state: SplatState, model: Model, schedule: Schedule) -> report.Draw:
    """From a camera to its image."""

    def draw(camera: PerspectiveCamera) -> Tensor:
        return model.draw(state.rows.parameters, camera, schedule.background, 1.0)

    return draw
