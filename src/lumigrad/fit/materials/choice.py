"""Whether a normal map that was found is of use: photographs that were held out decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from lumigrad.fit.materials.drawing import LitDrawer
from lumigrad.fit.materials.loop import fit_materials
from lumigrad.fit.materials.regularise import weights_of
from lumigrad.fit.materials.schedule import Schedule
from lumigrad.fit.materials.state import MaterialsState
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.measure import evaluate_drawn
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.scene.shapes.mesh import Mesh

# Steps after which the other maps have adapted to a flat surface, relative to those of the fit.
_ADAPTING = 0.25
# A normal map has to gain this many decibels: a smaller difference may be chance.
_GAIN = 0.1
# Samples per pixel of renders that are compared, where light is traced.
_SAMPLES = 16


class Choice(NamedTuple):
    """The better one of two states, and the numbers that decided.

    Attributes:
        state: with the normal map, or without.
        numbers: `normal_map`, whether it is kept; `psnr_with_normal_map_db` and `psnr_without_normal_map_db`, of
            photographs that were held out.
    """

    state: MaterialsState
    numbers: dict[str, Any]


def choose_normals(
    mesh: Mesh, photos: PhotoSet, state: MaterialsState, schedule: Schedule, held_out: Sequence[Photo]
) -> Choice:
    """Keep a normal map only if photographs that were held out look better with it than without.

    Errors of the light end up in a normal map, and then it is worse than none. The surface without it is fitted further
    for a quarter of the steps first, so that the other maps do not count on the normals any more.

    Args:
        mesh: the surface.
        photos: that were fitted.
        state: the end of a fit with a normal map; it stays as it is.
        schedule: of that fit.
        held_out: in the space of the mesh, on the device of the state.
    """
    flat = _adapted(mesh, photos, state, schedule)
    bent_db, flat_db = (_decibels(mesh, one, schedule, held_out) for one in (state, flat))
    kept = bent_db > flat_db + _GAIN
    numbers = {"normal_map": kept, "psnr_with_normal_map_db": bent_db, "psnr_without_normal_map_db": flat_db}
    return Choice(state if kept else flat, numbers)


def _adapted(mesh: Mesh, photos: PhotoSet, state: MaterialsState, schedule: Schedule) -> MaterialsState:
    """The surface without its normal map, with maps that were fitted further."""
    names = [name for name in state.parameters if name != "normal"]
    start = replace(
        state,
        parameters={name: [level.detach().clone() for level in state.parameters[name]] for name in names},
        gains=state.gains.clone(),
        axes=None,
        iteration=0,
        seconds=0.0,
        losses=[],
        optimizer={},
    )
    steps = max(1, round(_ADAPTING * state.iteration))
    last = schedule.stages[-1]._replace(begin=0.0)
    again = replace(schedule, stages=(last,), iterations=steps, minutes=None, weights=weights_of(normals=False))
    flat = fit_materials(mesh, photos, start, again)
    return replace(flat, iteration=state.iteration, seconds=state.seconds + flat.seconds, losses=state.losses)


@torch.no_grad()
def _decibels(mesh: Mesh, state: MaterialsState, schedule: Schedule, held_out: Sequence[Photo]) -> float:
    tracing = None if schedule.final_tracing is None else schedule.final_tracing.at_least(_SAMPLES)
    drawer = LitDrawer(state.on(mesh), state.maps(), tracing)
    return evaluate_drawn(drawer.shown, list(held_out))["psnr_db"]
