"""Rays through triangle meshes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import reference

from .call import Call
from .draw import Draw


def mesh(draw: Draw) -> tuple[Tensor, Tensor]:
    """Triangles that may share vertices, be flat, or have vertices that are not finite."""
    count, faces = draw.choice((1, 3, 4, 9, 30)), draw.choice((0, 1, 2, 5, 9, 40))
    return draw.expanded(draw.rows(count, 3)), draw.laid_out(draw.indices(faces, 3, below=count))


def rays(draw: Draw) -> tuple[Tensor, Tensor]:
    shape = draw.choice(((0,), (1,), (5,), (5,), (13,), (2, 3)))
    origins = draw.choice((0.5, 2.0)) * draw.uniform(*shape, 3)
    directions = draw.choice((0.3, 1.0)) * draw.uniform(*shape, 3) - origins
    return draw.expanded(draw.spoiled(origins)), draw.laid_out(draw.spoiled(directions))


def arguments_of(draw: Draw) -> dict[str, Any]:
    vertices, tri = mesh(draw)
    origins, directions = rays(draw)
    found: dict[str, Any] = {"origins": origins, "directions": directions, "vertices": vertices, "tri": tri}
    if draw.chance(0.3):
        found["t_min"] = draw.choice((0.0, 0.4, draw.spoiled(draw.uniform(*origins.shape[:-1], low=0.0))))
    if draw.chance(0.3):
        found["t_max"] = draw.choice((torch.inf, 1.1, 0.0, draw.spoiled(draw.uniform(*origins.shape[:-1], high=3.0))))
    return found


def trace(draw: Draw) -> Call:
    return Call(lg.trace, reference.trace, arguments_of(draw))


def occluded(draw: Draw) -> Call:
    return Call(lg.occluded, reference.occluded, arguments_of(draw))


GENERATORS = {"trace": trace, "occluded": occluded}
