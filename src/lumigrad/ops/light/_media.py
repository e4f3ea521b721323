"""Media of a scene: checks, and the tensors for `trace_paths`."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.light._media import media_places
from lumigrad.types import Media
from lumigrad.types import validation as check
from lumigrad.types.light import ALPHA_MODE, OPAQUE

MOST_MEDIA = 255  # numbers that a path stores in a byte
MOST_VOXELS = 32768  # per side of a grid


def check_media(media: Media, positions: Tensor, triangles: int, kinds: Tensor) -> Media:
    """The media with int32 indices, after checking that all numbers are in range."""
    if not isinstance(media, Media):
        raise TypeError(f"scene.media: expected Media or None, got {type(media).__name__}")
    if check.values_can_be_checked() and bool((kinds[:, ALPHA_MODE] != OPAQUE).any()):
        raise NotImplementedError(
            "scene.kinds: expected opaque materials where there are media; paths through media do not pass surfaces "
            "that are partly there yet"
        )
    parameters = check.floating("scene.media.parameters", media.parameters, positions, "scene.positions")
    check.shape("scene.media.parameters", parameters, ("K", 7))
    count = len(parameters)
    if not 1 <= count <= MOST_MEDIA:
        raise ValueError(f"scene.media.parameters: expected 1 to {MOST_MEDIA} media, got {count}")
    g = parameters[:, 6].detach()
    if check.values_can_be_checked() and positions.device.type == "cpu" and not bool((g.abs() < 1).all()):
        raise ValueError(f"scene.media.parameters: expected g between -1 and 1, got {g.tolist()}")
    grids = tuple(media.grids)
    for i, grid in enumerate(grids):
        name = f"scene.media.grids[{i}]"
        check.shape(name, check.floating(name, grid, positions, "scene.positions"), ("D", "H", "W", "C"))
        if grid.shape[3] not in (1, 4) or not min(grid.shape[:3]) >= 1 or max(grid.shape[:3]) > MOST_VOXELS:
            raise ValueError(
                f"{name}: expected 1 to {MOST_VOXELS} voxels per side, with 1 or 4 values, got {tuple(grid.shape)}"
            )
    if grids:
        boxes = check.floating("scene.media.boxes", media.boxes, positions, "scene.positions")
        check.shape("scene.media.boxes", boxes, (len(grids), 2, 3))
    surrounding = check.integer("scene.media.surrounding", media.surrounding, -1, count - 1)
    faces = check.indices("scene.media.faces", media.faces, (triangles, 2), positions, "scene.positions")
    numbers = check.indices("scene.media.numbers", media.numbers, (count,), positions, "scene.positions")
    check.in_range("scene.media.faces", faces[:, 0], -1, count)
    check.in_range("scene.media.faces", faces[:, 1], 0, 2)
    check.in_range("scene.media.numbers", numbers, -1, len(grids))
    return media._replace(parameters=parameters, faces=faces, numbers=numbers, grids=grids, surrounding=surrounding)


def media_tensors(media: Media | None, positions: Tensor, tri: Tensor) -> list[Tensor | None]:
    """Parameters, tables of grids, their values, their positions, and the media behind triangles."""
    if media is None:
        return [None] * 5
    like = media.parameters
    firsts, first = [], 0
    for grid in media.grids:
        firsts.append((first, *grid.shape))
        first += grid.numel()
    rows = [firsts[number] if number >= 0 else (0,) * 5 for number in media.numbers.tolist()]
    values = torch.cat([grid.reshape(-1) for grid in media.grids]) if media.grids else like.new_zeros(0)
    around = media.faces.new_tensor([[media.surrounding, 0]])
    return [
        like.contiguous(),
        torch.tensor(rows, dtype=torch.int64, device=like.device),
        values,
        media_places(media, positions, tri).contiguous(),
        torch.cat((media.faces, around)),
    ]
