"""Implicit surfaces: triangles, rays and distances of grids of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from implicit_common import is_watertight
from torch import Tensor

import lumigrad as lg

from .arguments import mapped
from .call import Call
from .draw import Draw
from .field import box, rays

SIDES = (0, 1, 2, 3, 4, 5, 7)
LONG = ((2, 3, 70), (3, 2, 64), (2, 65, 2))


def values(draw: Draw) -> Tensor:
    """A grid: noise, a ball, a plane, a constant; surrounded by what is outside, or not."""
    shape = draw.choice(LONG) if draw.chance(0.1) else tuple(draw.choice(SIDES) for _ in range(3))
    axes = [torch.linspace(-1, 1, max(side, 1), dtype=draw.dtype)[:side] for side in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    kind = draw.choice(("noise", "noise", "ball", "plane", "constant"))
    grid = draw.uniform(*shape)
    if kind == "ball":
        grid = (x * x + y * y + z * z).sqrt() - draw.choice((0.5, 0.7))
    elif kind == "plane":
        grid = x - 0.5 * y + 0.25 * z
    elif kind == "constant":
        grid = torch.full_like(grid, draw.choice((0.0, 1.0, -1.0)))
    grid = draw.spoiled(grid)
    if draw.chance(0.3):
        grid = torch.nn.functional.pad(grid, (1,) * 6, value=1.0)
    return draw.expanded(grid)


def optional_box(draw: Draw) -> Any:
    return draw.optional(box(draw), 0.5)


def level(draw: Draw) -> Any:
    """A number, or a tensor of one, that floats hold exactly: signs do not depend on the type."""
    number = draw.choice((0.0, 0.0, 0.125, -0.25))
    return torch.tensor(number, dtype=draw.dtype) if draw.chance(0.3) else number


def closed_where_padded(extract: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose surface must be closed where the border of the grid is outside."""

    def run(values: Any, *args: Any, **options: Any) -> Any:
        found = extract(values, *args, **options)
        if isinstance(values, Tensor) and values.dim() == 3 and min(values.shape) > 2:
            limit = float(torch.as_tensor(options.get("level", 0.0), dtype=torch.float64).detach())
            border = ~torch.nn.functional.pad(torch.ones_like(values[1:-1, 1:-1, 1:-1]), (1,) * 6).bool()
            if bool(~(values[border] - limit <= 0).any()):
                assert is_watertight(found[1]), "the surface is not closed"
        return found

    return run


def in_type(function: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """The function of arguments in a type: where rounding decides, it is the same rounding."""

    def run(**given: Any) -> Any:
        return function(**mapped(given, lambda _, v: v.to(dtype) if v.is_floating_point() else v))

    return run


def marching_cubes(draw: Draw) -> Call:
    arguments = {"values": values(draw), "level": level(draw), "box": optional_box(draw)}
    # Rounding decides at saddles which corners are joined.
    defined = in_type(lg.reference.marching_cubes, draw.dtype)
    return Call(closed_where_padded(lg.marching_cubes), defined, arguments, exact=("[1]",))


def marching_tetrahedra(draw: Draw) -> Call:
    count = draw.choice((4, 5, 9))
    vertices = draw.spoiled(draw.coincident(draw.uniform(count, 3)))
    corners = [draw.indices(count, below=count).tolist()[:4] for _ in range(draw.count(6))]
    tets = torch.tensor(corners, dtype=draw.choice((torch.int32, torch.int64))).reshape(-1, 4)
    arguments = {
        "vertices": draw.expanded(vertices),
        "tets": draw.laid_out(tets),
        "values": draw.spoiled(draw.uniform(count)),
        "level": level(draw),
    }
    # Rounding decides which way a flat tetrahedron is turned.
    defined = in_type(lg.reference.marching_tetrahedra, draw.dtype)
    return Call(lg.marching_tetrahedra, defined, arguments, exact=("[1]",))


def flexicubes(draw: Draw) -> Call:
    grid = values(draw)
    cells = tuple(max(side - 1, 0) for side in grid.shape)
    arguments: dict[str, Any] = {"values": grid, "level": level(draw), "training": draw.chance(0.5)}
    for name, more in (("alpha", (8,)), ("beta", (12,)), ("gamma", ())):
        arguments[name] = draw.optional(draw.laid_out(draw.spoiled(2 * draw.uniform(*cells, *more))))
    if draw.chance(0.3):
        arguments["vertices"] = draw.laid_out(draw.uniform(*grid.shape, 3))
    else:
        arguments["box"] = optional_box(draw)
    run = closed_where_padded(lg.flexicubes)
    return Call(run, lg.reference.flexicubes, arguments, exact=("[1]",))


def redistance(draw: Draw) -> Call:
    arguments = {"values": values(draw), "box": optional_box(draw), "sweeps": draw.choice((0, 1, 8))}
    return Call(lg.redistance, lg.reference.redistance, arguments)


def sphere_trace(draw: Draw) -> Call:
    corners = box(draw)
    origins, directions = (value.clone() for value in torch.broadcast_tensors(*rays(draw, corners)))
    arguments = {
        "sdf": values(draw),
        "origins": origins,
        "directions": directions,
        "t_min": draw.choice((0.0, 0.0, 0.5)),
        "t_max": draw.choice((torch.inf, torch.inf, 1.5, 0.5)),
        "box": corners,
        "silhouette": draw.choice((0.0, 0.0, 0.2)),
    }
    return Call(lg.sphere_trace, lg.reference.sphere_trace, arguments)


def sphere_trace_function(draw: Draw) -> Call:
    """A ball, whose centre and radius have gradients; against the closed form."""
    corners = box(draw)
    origins, directions = (value.clone() for value in torch.broadcast_tensors(*rays(draw, corners)))
    arguments = {
        "origins": origins,
        "directions": directions,
        "centre": torch.as_tensor(corners, dtype=draw.dtype).mean(0),
        "radius": draw.uniform(low=0.4, high=0.9),
    }

    def run(origins: Tensor, directions: Tensor, centre: Tensor, radius: Tensor) -> Any:
        hits = lg.sphere_trace(lambda x: (x - centre).norm(dim=-1) - radius, origins, directions, steps=2000)
        return {"mask": hits.mask, "t": hits.t}

    def defined(origins: Tensor, directions: Tensor, centre: Tensor, radius: Tensor) -> Any:
        good = (origins.isfinite() & directions.isfinite()).all(-1, keepdim=True)
        away, directions = torch.where(good, origins - centre, 1), torch.where(good, directions, 0)
        a, b, c = (directions**2).sum(-1), (directions * away).sum(-1), (away**2).sum(-1) - radius**2
        square = b * b - a * c
        hits = (square > 0) & (b < 0) & (c > 0) & good[..., 0]
        root = torch.where(hits, square, 1.0).sqrt()
        t = (-b - root) / torch.where(a > 0, a, 1.0)
        return {"mask": hits, "t": torch.where(hits, t, torch.inf)}

    return Call(run, defined, arguments, checked=False)


def volsdf_density(draw: Draw) -> Call:
    distance = draw.expanded(draw.spoiled(3 * draw.uniform(draw.count(), 2)))
    beta = draw.choice((0.1, 1.0, draw.uniform(low=0.5, high=1.0)))
    return Call(lg.volsdf_density, lg.reference.volsdf_density, {"distance": distance, "beta": beta})


def neus_alpha(draw: Draw) -> Call:
    shape = (draw.count(), 2)
    front, back = (draw.expanded(draw.spoiled(draw.uniform(*shape))) for _ in range(2))
    sharpness = draw.choice((1.0, 30.0, draw.uniform(low=0.5, high=9.0)))
    return Call(lg.neus_alpha, lg.reference.neus_alpha, {"front": front, "back": back, "sharpness": sharpness})


GENERATORS = {
    "marching_cubes": marching_cubes,
    "marching_tetrahedra": marching_tetrahedra,
    "flexicubes": flexicubes,
    "redistance": redistance,
    "sphere_trace": sphere_trace,
    "sphere_trace, function": sphere_trace_function,
    "volsdf_density": volsdf_density,
    "neus_alpha": neus_alpha,
}
