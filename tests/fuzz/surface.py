"""Rasterization, peeling, interpolation, antialiasing, and the gradients of visibility."""

from __future__ import annotations

from typing import Any

import torch
from meshes import grid, icosphere
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments, gradients
from lumigrad.ops import surface
from lumigrad.ops.surface import _packed
from lumigrad.ops.surface._antialias import antialias_with
from lumigrad.ops.surface._peel import peel_layers
from lumigrad.ops.surface._rasterize import check_geometry

from .call import Call
from .draw import Draw


def geometry(draw: Draw, huge: bool = True) -> dict[str, Any]:
    """pos, tri, size and ranges. huge: some coordinates are."""
    size = draw.size()
    tri, count = mesh(draw)
    shared = draw.chance(0.5)
    pos = positions(draw, () if shared else (draw.views(),), count, size, huge)
    values = {"pos": draw.expanded(pos), "tri": draw.laid_out(tri), "size": size, "ranges": None}
    if shared and draw.chance(0.5):
        values["ranges"] = some_ranges(draw, len(tri))
    return values


def mesh(draw: Draw) -> tuple[Tensor, int]:
    """Triangles, and the number of their vertices: loose ones, a grid, a sphere, or nothing."""
    kind = draw.choice(("loose", "loose", "grid", "sphere"))
    if kind == "loose":
        count = draw.count()
        tri = draw.indices(draw.count() if count else 0, 3, below=count)
        return tri, count
    points, tri = grid(draw.integer(1, 3), draw.integer(1, 3)) if kind == "grid" else icosphere(0)
    return tri.to(draw.choice((torch.int32, torch.int64))), len(points)


def positions(draw: Draw, views: tuple[int, ...], count: int, size: tuple[int, int], huge: bool) -> Tensor:
    """Clip positions, some of them beyond the planes or behind the eye, some at centres and corners of pixels."""
    xy = draw.uniform(*views, count, 2, low=-1.3, high=1.3)
    if draw.chance(0.3):
        half_pixels = xy.new_tensor([2 * size[1], 2 * size[0]])
        xy = (xy * half_pixels).round() / half_pixels
    z = draw.uniform(*views, count, 1, low=-draw.choice((0.0, 0.9, 0.9, 1.5)), high=0.9)
    low, high = draw.choice(((1.0, 1.0), (1.0, 1.0), (0.5, 3.0), (-0.5, 2.0), (-1.0, 0.0)))
    w = draw.uniform(*views, count, 1, low=low, high=high)
    return draw.spoiled(draw.coincident(torch.cat((xy * w, z * w, w), -1)), huge=huge)


def some_ranges(draw: Draw, triangles: int) -> Tensor:
    rows = []
    for _ in range(draw.views()):
        first = draw.integer(0, triangles)
        rows.append([first, draw.integer(0, triangles - first)])
    return torch.tensor(rows, dtype=draw.choice((torch.int32, torch.int64))).view(-1, 2)


def rasterize(draw: Draw) -> Call:
    arguments = {**geometry(draw), "derivatives": draw.chance(0.7)}
    return Call(lg.rasterize, lg.reference.rasterize, arguments, exact=("tri",))


def rasterize_attributes(draw: Draw) -> Call:
    arguments = {**geometry(draw), "derivatives": draw.chance(0.5)}
    pos, ranges = arguments["pos"], arguments["ranges"]
    views = len(ranges) if ranges is not None else 1 if pos.dim() == 2 else len(pos)
    leading, channels = draw.choice(((), (1,), (views,))), draw.choice((0, 1, 2, 3, 3, 4, 5, 9))
    attr = draw.spoiled(draw.uniform(*leading, pos.shape[-2], channels), finite=True)
    arguments["attributes"] = draw.expanded(attr)
    return Call(lg.rasterize, lg.reference.rasterize, arguments, exact=("tri",))


def rasterize_packed(draw: Draw) -> Call:
    """What `compat.nvdiffrast` uses."""
    arguments = {**geometry(draw), "subpixel_bits": draw.choice((1, 4, 8))}

    def run(pos: Any, tri: Any, size: Any, ranges: Any, subpixel_bits: int) -> Fragments:
        pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
        rast, rast_db = _packed.rasterize_packed(pos, tri, ranges, (height, width), subpixel_bits)
        return _packed.unpack(rast, len(tri), rast_db)

    def defined(pos: Any, tri: Any, size: Any, ranges: Any, subpixel_bits: int) -> Fragments:
        frags = lg.reference.rasterize(pos, tri, size, ranges, subpixel_bits=subpixel_bits, straight_through=True)
        return frags._replace(depth=frags.depth.detach())

    return Call(run, defined, arguments, exact=("tri",), checked=False)


def peel(draw: Draw) -> Call:
    arguments = {**geometry(draw), "layers": draw.integer(0, 4), "derivatives": draw.chance(0.5)}
    return Call(lg.peel, lg.reference.peel, arguments, exact=("tri",))


def peel_dropping(draw: Draw) -> Call:
    """What `compat.nvdiffrast` uses."""
    arguments = {**geometry(draw), "layers": draw.integer(0, 4), "derivatives": draw.chance(0.5)}
    arguments |= {"drop_coincident": draw.chance(0.7)}

    def run(pos: Any, tri: Any, size: Any, ranges: Any, layers: Any, **options: Any) -> Any:
        pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
        return peel_layers(pos, tri, ranges, (height, width), layers, **options)

    return Call(run, lg.reference.peel, arguments, exact=("tri",), checked=False)


def interpolate(draw: Draw) -> Call:
    views, size = draw.views(), draw.size()
    tri, count = mesh(draw)
    if draw.chance(0.2) and len(tri):
        tri = tri.clone()
        tri[draw.integer(0, len(tri) - 1), draw.integer(0, 2)] = -draw.integer(1, 5)
    channels = draw.choice((0, 1, 2, 3, 4, 5, 8, 11, 17))
    leading = draw.choice(((), (1,), (views,)))
    derivatives: Any = draw.choice((False, True, [], [draw.integer(0, max(0, channels - 1))]))
    if not channels and derivatives:
        derivatives = []
    frags = hand_made(draw, views, size, len(tri), derivatives is not False or draw.chance(0.5))
    attr = draw.expanded(draw.spoiled(draw.uniform(*leading, count, channels), finite=True))
    arguments = {"attr": attr, "frags": frags, "tri": draw.laid_out(tri), "derivatives": derivatives}
    return Call(lg.interpolate, lg.reference.interpolate, arguments)


def hand_made(draw: Draw, views: int, size: tuple[int, int], triangles: int, derivatives: bool) -> Fragments:
    """Fragments not made by a rasterizer, with impossible weights and derivatives."""
    tri = draw.indices(views, *size, below=triangles, low=-2 if triangles else -3)
    tri = tri.clamp(max=triangles - 1).int()
    bary = draw.uniform(views, *size, 2, low=-0.2)
    depth, bary_d = draw.uniform(views, *size), draw.uniform(views, *size, 2, 2)
    frags = Fragments(tri, bary, depth, bary_d if derivatives else None)
    return Fragments(*(None if field is None else draw.laid_out(field) for field in frags))


def image(draw: Draw) -> dict[str, Any]:
    """color, frags, pos and tri: an image of a mesh; in some cases with fragments that do not fit it."""
    shape = geometry(draw)
    pos, tri = shape["pos"], shape["tri"]
    frags = lg.rasterize(pos, tri, shape["size"], shape["ranges"], derivatives=draw.chance(0.3))
    if draw.chance(0.15) and frags.tri.numel() and pos.isfinite().all():
        frags = hand_made(draw, len(frags.tri), shape["size"], len(tri), False)
    channels = draw.choice((0, 1, 3, 4, 9))
    color = draw.expanded(draw.uniform(*frags.tri.shape, channels))
    frags = Fragments(*(None if field is None else draw.laid_out(field) for field in frags))
    return {"color": color, "frags": frags, "pos": pos, "tri": tri}


def antialias(draw: Draw) -> Call:
    arguments = image(draw)
    arguments["topology"] = draw.optional(lg.edge_topology(arguments["tri"]))
    return Call(lg.antialias, lg.reference.antialias, arguments)


def antialias_own_edges(draw: Draw) -> Call:
    """What `compat.nvdiffrast` uses."""
    arguments = {**image(draw), "topology": None, "own_edges": True}
    return Call(antialias_with, lg.reference.antialias, arguments, checked=False)


def edge_topology(draw: Draw) -> Call:
    tri, count = mesh(draw)
    positions = draw.optional(draw.expanded(draw.rows(count, draw.choice((1, 2, 3, 4)))))
    arguments = {"tri": draw.laid_out(tri), "positions": positions}
    return Call(lg.edge_topology, lg.reference.edge_topology, arguments, exact=("",))


def edge_gradient(draw: Draw) -> Call:
    return Call(surface.edge_gradient, lg.reference.edge_gradient, image(draw))


def nmr_gradient(draw: Draw) -> Call:
    arguments = {**image(draw), "reach": draw.choice((None, 1, 3, 100)), "eps": draw.choice((1e-4, 1e-2))}
    return Call(surface.nmr_gradient, lg.reference.nmr_gradient, arguments)


def opendr(draw: Draw) -> Call:
    return Call(gradients.opendr, lg.reference.opendr_gradient, image(draw))


def splat_gradient(draw: Draw) -> Call:
    arguments = image(draw)
    color = arguments["color"]
    arguments["background"] = draw.optional(draw.uniform(*draw.choice(((), (color.shape[-1],)))))
    return Call(gradients.splat, lg.reference.splat_gradient, arguments)


GENERATORS = {
    "rasterize": rasterize,
    "rasterize, attributes": rasterize_attributes,
    "rasterize, packed": rasterize_packed,
    "peel": peel,
    "peel, dropping": peel_dropping,
    "interpolate": interpolate,
    "antialias": antialias,
    "antialias, own edges": antialias_own_edges,
    "edge_topology": edge_topology,
    "edge_gradient": edge_gradient,
    "nmr_gradient": nmr_gradient,
    "opendr": opendr,
    "splat_gradient": splat_gradient,
}
