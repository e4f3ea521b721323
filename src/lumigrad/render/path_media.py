"""Converts media and the materials in front of them to the tensors of path tracing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.scene.media import MOST_G, GridMedium, Medium, kept_within
from lumigrad.types import Media


class Interior(NamedTuple):
    """The medium behind a material, and whether light passes the surface unchanged."""

    medium: Medium | None
    is_border: bool


def media_of(
    interiors: Sequence[Interior], face_materials: Tensor, surrounding: Medium | None, like: Tensor
) -> Media | None:
    """All media, each once; None where there are none."""
    media: list[Medium] = []
    for medium in (surrounding, *(interior.medium for interior in interiors)):
        if medium is not None and not any(medium.identity is other.identity for other in media):
            media.append(medium)
    if not media:
        return None
    places = {id(medium.identity): place for place, medium in enumerate(media)}
    rows = [[-1 if one.medium is None else places[id(one.medium.identity)], int(one.is_border)] for one in interiors]
    faces = torch.tensor(rows, dtype=torch.int64, device=like.device).reshape(-1, 2)[face_materials.long()]
    grids = [medium for medium in media if isinstance(medium, GridMedium)]
    numbers = [grids.index(medium) if isinstance(medium, GridMedium) else -1 for medium in media]
    return Media(
        torch.stack([_row(medium, like) for medium in media]),
        faces,
        torch.tensor(numbers, device=like.device),
        tuple(grid.values.to(like) for grid in grids),
        torch.stack([grid.box.detach().to(like) for grid in grids]) if grids else None,
        -1 if surrounding is None else places[id(surrounding.identity)],
    )


def _row(medium: Medium, like: Tensor) -> Tensor:
    parts: tuple[Any, ...] = (medium.extinction, medium.albedo, medium.g)
    ends = ((0.0, math.inf), (0.0, 1.0), (-MOST_G, MOST_G) if _is_fitted(medium.g) else (-1.0, 1.0))
    # Before they are converted: under `no_grad`, a conversion forgets that a value requires gradients.
    kept = (kept_within(v, *end) if isinstance(v, Tensor) else v for v, end in zip(parts, ends, strict=True))
    return torch.cat([torch.as_tensor(v, dtype=like.dtype, device=like.device).reshape(-1) for v in kept])


def _is_fitted(value: float | Tensor) -> bool:
    return isinstance(value, Tensor) and value.requires_grad
