"""The results of a fit of a field: metrics, pictures with depth and normals, and a fly-through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.fields.loop import evaluate
from lumigrad.fit.fields.model import FieldModel, Seen
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.normals import normals_from_depth
from lumigrad.fit.photos import Photo, report
from lumigrad.scene.cameras.camera import PerspectiveCamera


def metrics(state: FieldState, model: FieldModel, held_out: list[Photo]) -> dict[str, Any]:
    """All metrics of a fit; times are of fitting alone, without reading files and evaluation."""
    return {
        **evaluate(model, state, held_out),
        "parameters": [list(values.shape) for values in state.parameters],
        **report.times(state, held_out, state.device),
    }


def comparison(state: FieldState, model: FieldModel, photos: list[Photo], path: Path) -> None:
    """Picture of photographs, renders, their differences, depth and normals, one row for each photograph."""
    pictures: dict[int, Seen] = {}  # each is needed twice

    def draw(camera: PerspectiveCamera) -> Tensor:
        pictures[id(camera)] = model.picture(state, camera)
        return pictures[id(camera)].color

    def more(camera: PerspectiveCamera) -> Sequence[Tensor]:
        depth = pictures[id(camera)].depth
        return colored(depth)[0], 0.5 + 0.5 * normals_from_depth(depth, camera)[0]

    report.comparison(draw, photos, path, more, ("depth", "normals"))


def colored(depth: Tensor) -> Tensor:
    """Depth [...] as colours [..., 3], near ones bright; even steps of its inverse, black where there is none.

    >>> import torch
    >>> from lumigrad.fit.fields.report import colored
    >>> near, far, none = colored(torch.tensor([1.0, 9.0, 0.0]))
    >>> near.sum() > far.sum(), none.tolist()
    (tensor(True), [0.0, 0.0, 0.0])
    """
    seen = depth > 0
    if not bool(seen.any()):
        return torch.zeros(*depth.shape, 3, device=depth.device)
    inverse = torch.where(seen, 1 / torch.where(seen, depth, 1), 0)
    limits = torch.quantile(inverse[seen], inverse.new_tensor([0.01, 0.99]))
    share = ((inverse - limits[0]) / (limits[1] - limits[0]).clamp_min(1e-12)).clamp(0, 1)
    table = require("matplotlib", "lumigrad.fit.fields.report").colormaps["magma"]
    colors = torch.from_numpy(table((0.1 + 0.9 * share).cpu().numpy())[..., :3]).to(depth)
    return torch.where(seen[..., None], colors, 0)


def fly_through(state: FieldState, model: FieldModel, photos: list[Photo], path: Path, frames: int = 30) -> None:
    """Animated GIF of a flight along the photographs' cameras."""
    report.fly_through(drawn(state, model), photos, path, frames)


def drawn(state: FieldState, model: FieldModel) -> report.Draw:
    """From a camera to its image."""

    def draw(camera: PerspectiveCamera) -> Tensor:
        return model.picture(state, camera).color

    return draw
