"""Light transport: materials by themselves, and paths through a few triangles."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import LitScene, TracedPaths, reference
from lumigrad.ops.light import bsdf, sample_bsdf
from lumigrad.ops.light._path_edges import add_path_edges
from lumigrad.ops.light._trace_paths import check_scene
from lumigrad.types.light import ALPHA_MODE, MAX_DEPTH, OPAQUE

from .call import Call
from .draw import Draw

KINDS = 6


def materials(draw: Draw, count: int) -> Tensor:
    """Rows: colours, roughness, metallic, index of refraction, extinction, emission, and perhaps the columns behind."""
    rows = draw.uniform(count, draw.choice((12, 17, 21)), low=0.05, high=0.95)
    rows[:, 5] += 1
    for column in range(14, min(rows.shape[1], 16)):  # without transmission, without a coat
        if draw.chance(0.5):
            rows[:, column] = 0
    for row in range(count):
        if draw.chance(0.15):
            rows[row, 3] = draw.choice((0.0, 1.0))
        if draw.chance(0.1):
            rows[row, 9:12] = 0
    return rows


def directions(draw: Draw, count: int) -> Tensor:
    """Unit vectors; some along axes."""
    found = draw.uniform(count, 3)
    for row in range(count):
        if draw.chance(0.1):
            found[row, draw.integer(0, 2)] = 0.0
    length = found.norm(dim=-1, keepdim=True)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=draw.dtype)
    return torch.where(length > 0.1, found / length.clamp_min(0.1), up)


def items(draw: Draw) -> dict[str, Any]:
    count = draw.choice((0, 1, 2, 5, 13, 40))
    kinds = torch.stack((draw.indices(count, below=KINDS), draw.indices(count, below=2)), -1)
    return {
        "materials": draw.expanded(draw.spoiled(materials(draw, count), finite=True, huge=False)),
        "kinds": draw.laid_out(kinds),
        "wi": draw.expanded(directions(draw, count)),
    }


def bsdf_call(draw: Draw) -> Call:
    arguments = items(draw)
    arguments["wo"] = draw.laid_out(directions(draw, len(arguments["wi"])))
    return Call(bsdf, reference.light.bsdf, arguments)


def sample_bsdf_call(draw: Draw) -> Call:
    arguments = items(draw)
    arguments["numbers"] = draw.laid_out(draw.uniform(len(arguments["wi"]), 3, low=0.0, high=0.999))
    return Call(sample_bsdf, reference.light.sample_bsdf, arguments)


# ---- Paths -----------------------------------------------------------------------------------------------------------


def textures(draw: Draw) -> list[Tensor]:
    sides = (1, 1, 2, 3, 5)
    return [
        draw.uniform(draw.choice(sides), draw.choice(sides), 3, low=0.1, high=1.0) for _ in range(draw.integer(0, 2))
    ]


def lamps(draw: Draw) -> dict[str, Tensor]:
    count = draw.choice((0, 1, 2))
    if not count:
        return {}
    place = draw.uniform(count, 12)
    place[:, 1] += 2
    place[:, 6:7], place[:, 7:8] = 0.9, draw.choice((-2.0, 0.3))
    place[:, 8] = draw.choice((torch.inf, 6.0))
    place[:, 9:] = place[:, 9:].abs() + 0.2
    kinds = draw.indices(count, below=3)
    place[kinds == 2, 6:8] = torch.tensor([0.1, 0.8], dtype=place.dtype)  # angles, not cosines
    return {
        "lamps": place,
        "lamp_intensities": draw.uniform(count, 3, low=0.5, high=2.0),
        "lamp_kinds": kinds,
    }


def more_kinds(draw: Draw, rows: int, images: int) -> Tensor:
    """Textures of alpha, normals and layers, the alpha mode, and which textures have the second coordinates."""
    numbers = [draw.indices(rows, below=images, low=-1) for _ in range(5)]
    modes = draw.indices(rows, below=3) if draw.chance(0.7) else torch.zeros_like(numbers[0])
    return torch.stack((*numbers, modes, draw.indices(rows, below=2**10)), -1)


def scene(draw: Draw) -> LitScene:
    """Triangles around the origin, of any materials, with lights."""
    vertices, faces, rows = draw.choice((3, 4, 9)), draw.choice((0, 1, 2, 5, 9)), draw.integer(1, 4)
    images = textures(draw)
    kinds = torch.stack((draw.indices(rows, below=KINDS), draw.indices(rows, below=2)), -1)
    numbers = torch.stack([draw.indices(rows, below=len(images), low=-1) for _ in range(3)], -1)
    optional: dict[str, Any] = {}
    for name, shape, low in (("corner_normals", (3, 3), -1.0), ("corner_colors", (3, 3), 0.1)):
        if draw.chance(0.4):
            optional[name] = draw.laid_out(draw.uniform(faces, *shape, low=low))
    if draw.chance(0.5):
        side = draw.choice((1, 2, 3, 4))
        optional["environment"] = draw.uniform(6, side, side, 3, low=0.0)
        if draw.chance(0.4):
            turn = torch.linalg.qr(draw.uniform(3, 3) + 2 * torch.eye(3, dtype=draw.dtype))[0]
            optional["rotation"] = turn
    # Ties are for other ops: where two triangles are met at once, anything may be seen.
    jitter = torch.rand(vertices, 3, generator=torch.Generator().manual_seed(draw.integer(0, 2**40)), dtype=draw.dtype)
    return LitScene(
        draw.laid_out(1.5 * draw.uniform(vertices, 3) + 0.1 * jitter),
        draw.laid_out(draw.indices(faces, 3, below=vertices)),
        draw.laid_out(materials(draw, rows)),
        torch.cat((kinds, numbers, *([more_kinds(draw, rows, len(images))] if draw.chance(0.5) else [])), -1),
        draw.indices(faces, below=rows),
        textures=images,
        corner_uvs=draw.uniform(faces, 3, 2, low=-1.5, high=1.5),
        corner_second_uvs=draw.uniform(faces, 3, 2, low=-1.5, high=1.5),
        corner_tangents=draw.uniform(faces, 3, 4),
        **optional,
        **lamps(draw),
    )


def _with_edges(scene: LitScene, origins: Tensor, directions: Tensor, samples: int, max_depth: int | None, seed: int,
                gradient_seed: int | None) -> TracedPaths:  # fmt: skip
    """The definitions of the paths and of what they see past edges, together."""
    other = seed + 2**62 if gradient_seed is None else gradient_seed
    depth = MAX_DEPTH if max_depth is None else max_depth
    out = reference.trace_paths(scene, origins, directions, samples, depth, seed, other)
    if not any(value.requires_grad for value in (scene.positions, origins, directions)):
        return out
    return add_path_edges(out, check_scene(scene), None, (origins, directions), samples, depth, other)


def trace_paths(draw: Draw) -> Call:
    height, width = draw.choice((1, 2, 3)), draw.choice((1, 2, 4))
    origins = torch.tensor([0.1, 0.2, 3.0], dtype=draw.dtype) + 0.1 * draw.uniform(height + 1, width + 1, 3)
    targets = draw.uniform(height + 1, width + 1, 3)
    arguments = {
        "scene": scene(draw),
        "origins": draw.expanded(origins),
        "directions": draw.laid_out(targets - origins),
        "samples": draw.choice((1, 1, 2)),
        "max_depth": draw.choice((None, 1, 2, 3, 4)),
        "seed": draw.integer(0, 10**6),
        "gradient_seed": draw.optional(draw.integer(0, 10**6)),
    }
    return Call(lg.trace_paths, _with_edges, arguments)


def direct_light(draw: Draw) -> Call:
    lit, count = scene(draw), draw.choice((0, 1, 4, 7))
    kinds = lit.kinds.clone()
    kinds[:, ALPHA_MODE:][:, :1] = OPAQUE  # others are refused
    lit = lit._replace(kinds=kinds)
    places = draw.uniform(count, 2, low=0.05, high=0.45)
    arguments = {
        "scene": lit,
        "hits": lg.Hits(draw.indices(count, below=len(lit.tri), low=-1).to(torch.int32), places, places[:, 0]),
        "directions": draw.laid_out(draw.uniform(count, 3)),
        "samples": draw.choice((1, 2, 3)),
        "reach": draw.choice((torch.inf, 1.0)),
        "seed": draw.integer(0, 10**6),
        "gradient_seed": draw.optional(draw.integer(0, 10**6)),
    }
    return Call(lg.direct_light, reference.direct_light, arguments)


GENERATORS = {
    "bsdf": bsdf_call, "sample_bsdf": sample_bsdf_call, "trace_paths": trace_paths, "direct_light": direct_light,
}  # fmt: skip
