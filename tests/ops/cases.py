"""Sample calls of every registered op: the one list that the checks of torch, determinism, the emulation of CUDA, wrong
values and the sanitizers go through. A new op adds its cases here; those of its backward op follow from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from light_common import foggy_scene, layered_scene, mixed_scene, pixel_rays
from meshes import random_triangles
from ops_common import random, sphere_views
from splat_common import cameras, flat_scene, gaussian_scene, sphere_scene, surfel_scene
from torch import Tensor

import lumigrad
from lumigrad._engine.declare import DIRECTIONS
from lumigrad.ops.light._trace_paths import tensors_of
from lumigrad.reference.light._edges import find_edges


class Case(NamedTuple):
    op: str
    name: str
    arguments: tuple

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments by name."""
        return dict(zip(DIRECTIONS[self.op].inputs, self.arguments))


def cases(dtype: torch.dtype = torch.float32, large: bool = False) -> list[Case]:
    """The calls; `large`: on images of several tiles, and enough of everything for several threads."""
    families = (_surface, _texture, _soft, _splat, _field, _implicit, _light, _ray)
    return [Case(*call) for family in families for call in family(dtype, large)]


def call(op: str, *arguments: Any) -> Any:
    """The registered op, without autograd."""
    with torch.no_grad():
        return getattr(torch.ops.lumigrad, op).default(*arguments)


def backward_op(op: str) -> str | None:
    """The op that computes its gradient, if it has one."""
    return f"{op}_backward" if f"{op}_backward" in DIRECTIONS else None


def differentiable(op: str) -> list[str]:
    """The inputs for which a gradient can be requested."""
    name = backward_op(op)
    return [] if name is None else [i.removeprefix("want_") for i in DIRECTIONS[name].inputs if i.startswith("want_")]


def backward_case(case: Case, wanted: list[str] | None = None) -> Case:
    """A call of the backward op, for a fixed sum of all outputs and some of the inputs, by default all."""
    name = backward_op(case.op)
    assert name is not None
    values, outputs = case.inputs, output_values(case.op, call(case.op, *case.arguments))
    values |= {f"want_{i}": wanted is None or i in wanted for i in differentiable(case.op)}
    for seed, (output, value) in enumerate(outputs.items()):
        values.setdefault(output, value)
        if value.dtype.is_floating_point:
            values[f"grad_{output}"] = random(*value.shape, seed=100 + seed, dtype=value.dtype)
    return Case(name, case.name, tuple(values[name] for name in DIRECTIONS[name].inputs))


def output_values(op: str, result: Any) -> dict[str, Any]:
    """What an op returned, by name."""
    names = [output.name for output in DIRECTIONS[op].outputs]
    return dict(zip(names, result if len(names) > 1 else (result,)))


def evaluate(case: Case) -> dict[str, Tensor]:
    """All outputs of the op and its gradient, by name."""
    results = output_values(case.op, call(case.op, *case.arguments))
    if backward_op(case.op):
        gradient = backward_case(case)
        results |= output_values(gradient.op, call(gradient.op, *gradient.arguments))
    flat = {name: value for name, value in results.items() if isinstance(value, Tensor)}
    for name in results.keys() - flat.keys():
        flat |= {f"{name}[{i}]": value for i, value in enumerate(results[name])}
    return flat


def evaluate_all(large: bool = False) -> dict[str, Tensor]:
    """All outputs of all cases in both types."""
    return {
        f"{case} {dtype}: {name}": value
        for dtype in (torch.float32, torch.float64)
        for case in cases(dtype, large)
        for name, value in evaluate(case).items()
    }


def wanting_gradients(case: Case) -> tuple:
    """The arguments; those with gradients become leaves that require them."""
    asked = differentiable(case.op)

    def leaf(value: Any) -> Any:
        if isinstance(value, list):
            return [leaf(item) for item in value]
        return value.detach().clone().requires_grad_() if isinstance(value, Tensor) else value

    return tuple(leaf(value) if name in asked else value for name, value in case.inputs.items())


def spoiled(case: Case) -> Iterator[Case]:
    """The case with absurd values here and there, in one of its inputs at a time."""
    for i, value in enumerate(case.arguments):
        if not isinstance(value, Tensor) or not value.numel():
            continue
        floating = value.dtype.is_floating_point
        for bad in (torch.nan, torch.inf, -torch.inf, 1e30, -1e-40) if floating else (-1, -(2**31), 2**31 - 1, 77):
            wrong = value.clone()
            wrong.view(-1)[:: max(1, wrong.numel() // 7)] = bad
            yield case._replace(arguments=(*case.arguments[:i], wrong, *case.arguments[i + 1 :]))


# ---- The calls ---------------------------------------------------------------------------------------------

Calls = Iterator[tuple[str, str, tuple]]


def _surface(dtype: torch.dtype, large: bool) -> Calls:
    size = (131, 170) if large else (12, 14)
    pos, tri = sphere_views(3 if large else 1, 2, dtype)
    loose, faces = random_triangles(300 if large else 6, seed=3, behind=0.1)
    loose, half = loose.to(dtype), len(faces) // 2
    ranges = torch.tensor([[0, len(faces)], [half, 2], [1, 0]])
    plain, packed = (8, False, None, None, False, False), (4, True, None, None, False, True)
    frag_tri, bary, depth, bary_d, zbuffer, _ = call("rasterize", pos, tri, None, *size, True, True, *plain)
    yield "rasterize", "views", (pos, tri, None, *size, True, False, *plain)
    yield "rasterize", "ranges", (loose, faces, ranges, *size, False, False, *plain)
    yield "rasterize", "one view", (loose, faces, None, *size, True, True, 4, True, None, None, False, False)
    yield "rasterize", "next layer", (pos, tri, None, *size, True, True, 8, False, frag_tri, zbuffer, False, False)
    yield "rasterize", "deeper layer", (pos, tri, None, *size, True, True, 4, True, frag_tri, zbuffer, True, False)
    yield "rasterize", "packed", (loose, faces, ranges, *size, True, False, *packed)
    yield "rasterize", "packed layer", (pos, tri, None, *size, False, True, 4, True, frag_tri, zbuffer, True, True)

    attr = random(2, pos.shape[1], 5, dtype=dtype)
    own, common = attr[..., :3].contiguous(), random(len(loose), 4, seed=1, dtype=dtype)
    each = random(3, len(loose), 1, seed=1, dtype=dtype)
    yield "rasterize_attributes", "views", (pos, tri, None, own, *size, True, 8)
    yield "rasterize_attributes", "shared", (loose, faces, ranges, common, *size, False, 8)
    yield (
        "rasterize_attributes",
        "of each range",
        (loose, faces, ranges, each, *size, True, 8),
    )
    yield "interpolate", "derivatives", (attr, tri, frag_tri, bary, bary_d, None, [0, 3])
    yield "interpolate", "shared", (attr[0, :, :3].contiguous(), tri, frag_tri, bary, None, None, None)
    yield "interpolate", "no channels", (attr[0], tri, frag_tri, bary, bary_d, None, [])
    rast = call("rasterize", pos, tri, None, *size, True, False, *packed)[5]
    yield "interpolate", "packed", (attr[0, :, :3].contiguous(), tri, None, None, None, rast, None)
    yield "interpolate", "packed, derivatives", (attr, tri, None, None, bary_d, rast, [0, 3])

    weld = torch.arange(pos.shape[1], dtype=torch.int32) // 2
    topology = call("edge_topology", tri, None)
    yield "edge_topology", "indices", (tri, None)
    yield "edge_topology", "welded", (tri, weld)
    yield "edge_topology", "far apart", (tri * 1000, None)

    color = random(2, *size, 3, dtype=dtype)
    shared = pos[0].contiguous()
    yield "antialias", "views", (color, frag_tri, depth, None, pos, tri, topology, False)
    yield "antialias", "own_edges", (color, frag_tri, depth, None, shared, tri, topology, True)
    yield "antialias", "packed", (color, None, None, rast, pos, tri, topology, True)
    loose_topology = call("edge_topology", faces, None)
    loose_frags = call("rasterize", loose, faces, ranges, *size, False, False, *plain)[0]
    outlines = (pos, tri, None, topology, frag_tri)
    yield "outlines", "views", (*outlines, False, True, 3000 if large else 300)
    yield "outlines", "every edge", (*outlines, True, False, 7500 if large else 900)
    yield (
        "outlines",
        "ranges",
        (loose, faces, ranges, loose_topology, loose_frags, False, False, 9000 if large else 900),
    )
    _, pixel, sides, line, _, place, share, length = call("outlines", *outlines, False, False, 3000 if large else 300)
    side_color = random(*sides.shape, 3, seed=3, dtype=dtype)
    yield "outline_fragments", "views", (pos, tri, sides, pixel, place, *size, True)
    yield "outline_fragments", "shared", (shared, tri, sides, pixel, place, *size, False)
    yield "blend_outlines", "views", (color, side_color, pixel, line, place, share, length, pos, tri)
    yield "edge_gradient", "views", (color, frag_tri, bary, pos, tri)
    yield "edge_gradient", "shared", (color, frag_tri, bary, shared, tri)
    yield "nmr_gradient", "whole lines", (color, frag_tri, pos, tri, 0, 1e-4)
    yield "nmr_gradient", "reach", (color, frag_tri, shared, tri, 3, 1e-3)


def _texture(dtype: torch.dtype, large: bool) -> Calls:
    image = (2, 40, 41) if large else (2, 5, 6)
    tex = random(2, 17, 30, 3, dtype=dtype)
    cube = random(1, 6, 13, 13, 4, seed=1, dtype=dtype)
    uv, direction = random(*image, 2, seed=2, dtype=dtype), random(*image, 3, seed=3, dtype=dtype)
    uv_d, direction_d = (0.1 * random(*value.shape, 2, seed=4, dtype=dtype) for value in (uv, direction))
    bias = random(*image, seed=5, dtype=dtype)
    packed = call("build_mips", tex, 4)
    mips, first = [], 0
    for height, width in ((8, 15), (4, 7), (2, 3), (1, 1)):
        mips.append(packed[first : first + 6 * height * width].view(2, height, width, 3).clone())
        first += 6 * height * width
    yield "build_mips", "odd sides", (tex, 4)
    yield "build_mips", "cube", (cube, 3)
    yield "build_mips", "none", (tex, 0)
    yield "texture", "built", (tex, uv, uv_d, bias, [], 4, 3, 0, 1)
    yield "texture", "given", (tex, uv, uv_d, None, mips, 0, 3, 1, 4)
    yield "texture", "level below", (tex[:1].contiguous(), uv, None, bias, [], 2, 2, 2, 1)
    yield "texture", "linear", (tex[:1].contiguous(), uv, None, None, [], 0, 1, 3, 1)
    yield "texture", "nearest", (tex, uv, None, None, [], 0, 0, 0, 1)
    yield "texture", "cube", (cube, direction, direction_d, None, [], 3, 3, 4, 2)


def _soft(dtype: torch.dtype, large: bool) -> Calls:
    size = (97, 70) if large else (12, 14)
    pos, tri = sphere_views(2 if large else 1, 2, dtype)
    loose, faces = random_triangles(60 if large else 6, seed=3, behind=0.1)
    loose, half = loose.to(dtype), len(faces) // 2
    ranges = torch.tensor([[0, len(faces)], [half, 2], [1, 0]])
    attr = random(2, pos.shape[1], 3, seed=7, dtype=dtype)
    yield "soft_rasterize", "views", (pos, tri, None, *size, 3, 0.01, 3)
    yield "soft_rasterize", "ranges", (loose, faces, ranges, *size, 9, 1e-3, 0)
    yield "soft_rasterize", "one view", (loose, faces, None, *size, 1, 0.0, 7)
    softras, pytorch3d = (0.01, 3, 0, 1e-3, 1e-2, 1e-3, 0.0, 0.0, 0.0), (0.01, 7, 0, 1e-3, 1e-2, 1e-10, 1e-10, 1.0, 9.0)
    yield "soft_blend", "colors", (pos, tri, None, attr, tri, *size, *softras)
    yield "soft_blend", "nearness by w", (pos, tri, None, attr[0], tri, *size, *pytorch3d)
    yield "soft_blend", "ranges", (loose, faces, ranges, loose, faces.flip(0).contiguous(), *size, *softras)
    yield "soft_blend", "silhouette", (loose, faces, None, None, None, *size, 0.01, 3, 1, 1e-3, *[0.0] * 5)


def _splat(dtype: torch.dtype, large: bool) -> Calls:
    size, count = ((70, 90), 300) if large else ((9, 11), 6)
    camera = cameras(dtype, size=size)
    seen = (camera["matrix"], torch.stack([camera[name] for name in ("fx", "fy", "cx", "cy")], -1))
    modes = (("gaussian", 0, "alpha", 0, 0), ("disc", 1, "normalised", 2, 0), ("square", 2, "nearest", 3, 3),
             ("disc", 1, "alpha", 0, 5))  # fmt: skip
    for footprint, code, name, blend, max_contributors in modes:
        xy, shapes, depths, features, opacities, background = _flat(footprint, count, dtype, size)
        flat = (xy, shapes, depths, opacities, features, background, None, None, None)
        rules = (0.99, 1 / 255, 1e-4, 0.0, 1.0, 0.3 if blend == 2 else 0.0, max_contributors)
        yield "splat", f"{footprint}, {name}", (*flat, code, blend, *size, *rules, 3 if max_contributors else 0)
    scene = list(sphere_scene(count, dtype).values())
    positions, radii, features, opacities, background = scene
    spheres = (positions, radii, None, opacities, features, background, *seen, torch.tensor([0.1], dtype=dtype))
    rules = (1.0, 0.0, 0.0, 0.5, 9.0, 0.0, 0)
    yield "splat", "spheres", (*spheres, 3, 1, *size, *rules, 2)
    yield "splat", "spheres, orthographic", (*spheres, 4, 1, *size, *rules, 0)

    means, quats, scales = gaussian_scene(count, dtype).values()
    flat_scales = surfel_scene(count, dtype)["scales"]
    projected = call("project_surfels", means, quats, flat_scales, *seen, 0.01, 1e10, False)
    features = torch.cat((random(2, count, 3, seed=4, dtype=dtype), projected[3]), -1)
    background = random(2, 6, seed=5, dtype=dtype)
    cut = (*projected[:3], opacities, features, background, None, None, None)
    yield "splat", "surfels", (*cut, 5, 0, *size, 0.99, 1 / 255, 1e-4, 0.2, 100.0, 0.0, 0, 1)
    for name, orthographic in (("perspective", False), ("orthographic", True)):
        yield "project_gaussians", name, (means, quats, scales, *seen, *size, 0.3, 0.01, 1e10, orthographic)
        yield "project_surfels", name, (means, quats, flat_scales, *seen, 0.01, 1e10, orthographic)

    xy = _flat("disc", count, dtype, size)[0]
    reach = 6 + 6 * random(2, count, seed=1, dtype=dtype)
    yield "splat_visibility", "views", (random(2, *size, dtype=dtype), xy, reach)


def _field(dtype: torch.dtype, large: bool) -> Calls:
    size, count = ((21, 30, 25), 3000) if large else ((3, 5, 4), 20)
    grid = random(*size, 4, dtype=dtype)
    origins = random(count, 3, seed=1, dtype=dtype) + torch.tensor([0.0, 0.0, 2.0], dtype=dtype)
    directions = random(count, 3, seed=2, dtype=dtype) - origins
    box = torch.tensor([[-1.0, -0.9, -0.8], [0.9, 1.0, 1.1]], dtype=dtype)
    limits = torch.tensor([[0.0, torch.inf]], dtype=dtype).repeat(count, 1)
    words, cells = lumigrad.occupancy(random(*size, seed=4) > 0.3)
    rays = (origins, directions, box, limits)
    yield "march", "steps", (grid, *rays, None, 0, 0, 0, 0.05, 2, 0.0)
    yield "march", "cells", (grid, *rays, None, 0, 0, 0, 0.0, 1, 1e-3)
    yield "march", "occupancy", (grid[..., :1].contiguous(), *rays, words, *cells, 0.05, 3, 0.0)
    offsets = torch.arange(0, 5 * count, 5)
    start = torch.arange(5 * count - 5).to(dtype)
    density, colors = (
        0.5 + 0.4 * random(5 * count - 5, seed=6, dtype=dtype),
        random(5 * count - 5, 3, seed=7, dtype=dtype),
    )
    packed = (start, start + 0.7, 1 + 0.5 * random(count - 1, dtype=dtype), offsets)
    yield "composite", "densities", (density, colors, *packed, False)
    yield "composite", "alphas", (density, colors, *packed, True)
    nested = (torch.stack((words, words.roll(1))), 2, *cells)
    for name, shifts, grids in (
        ("all", None, (None, 1, 0, 0, 0)),
        ("occupancy", random(count, seed=8, dtype=dtype).abs(), nested),
    ):
        sampled = (*rays, shifts, grids[0])
        counts = call("sample_rays_count", *sampled, *grids[1:], 0.06)
        ends = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        yield "sample_rays_count", name, (*sampled, *grids[1:], 0.06)
        yield "sample_rays", name, (*sampled, ends, int(ends[-1]), *grids[1:], 0.06)
    for name, axes, channels in (("cube", 3, 2), ("square", 2, 3)):
        tables = random(300, channels, seed=8, dtype=dtype)
        places = 0.6 + 0.6 * random(count, axes, seed=9, dtype=dtype)
        yield "hash_encode", name, (places, tables, [200, 37, 63], [4, 9, 300])
    yield "march", "many features", (random(*size, 10, dtype=dtype), *rays, words, *cells, 0.0, 1, 0.0)


def _light(dtype: torch.dtype, large: bool) -> Calls:
    count = 2000 if large else 16
    rows = random(count, 21, seed=1, dtype=dtype).abs() + 0.1
    rows[:, 5] += 1.0
    rows[::3, 14:16] = 0.0
    kinds = torch.stack((torch.arange(count) % 6, torch.arange(count) % 2), -1).to(torch.int32)
    wi, wo = (torch.nn.functional.normalize(random(count, 3, seed=seed, dtype=dtype), dim=-1) for seed in (2, 3))
    yield "bsdf", "all kinds", (rows, kinds, wi, wo)
    yield "sample_bsdf", "all kinds", (rows, kinds, wi, random(count, 3, seed=4, dtype=dtype).abs() * 0.999)
    scene = mixed_scene(dtype)
    size = (20, 24) if large else (3, 4)
    rays = [value.to(dtype) for value in pixel_rays(*size, distance=6.0)]
    tree = lumigrad.build_bvh(scene.positions, scene.tri)
    tensors = tensors_of(scene, tree)
    yield "trace_paths", "all kinds", (*tensors, *rays, 2, 4, 5, 6)
    layered = layered_scene(dtype)
    parts = tensors_of(layered, lumigrad.build_bvh(layered.positions, layered.tri))
    yield "trace_paths", "layers and alpha", (*parts, *rays, 2, 4, 5, 6)
    edges = find_edges(scene.positions, scene.tri, lumigrad.edge_topology(scene.tri, scene.positions))
    foggy = foggy_scene(dtype)
    in_media = tensors_of(foggy, lumigrad.build_bvh(foggy.positions, foggy.tri))
    yield "trace_paths", "media", (*in_media, *rays, 2, 4, 5, 6)
    yield "path_edges", "all kinds", (torch.zeros(*size, 3, dtype=dtype), *tensors, *rays, *edges, 2, 4, 6, 32)
    directions = rays[1].reshape(-1, 3)
    hits = lumigrad.trace(rays[0].reshape(-1, 3), directions, scene.positions, scene.tri, tree)
    yield "direct_light", "all kinds", (*tensors, *hits[:2], directions, 2, torch.inf, 5, 6)
    yield "direct_light", "near", (*tensors, *hits[:2], directions, 1, 0.7, 5, 6)


def _implicit(dtype: torch.dtype, large: bool) -> Calls:
    for name, shape in (("noise", (20, 30, 140) if large else (3, 4, 5)), ("one layer", (1, 4, 70))):
        values = random(*shape, seed=6, dtype=dtype)
        bits, vertex_base, cell_base, totals = call("marching_cubes_count", values, 0.1)
        yield "marching_cubes_count", name, (values, 0.1)
        yield "marching_cubes", name, (values, bits, vertex_base, cell_base, 0.1, *totals.tolist())
        size = torch.tensor(shape[::-1], dtype=dtype)
        for voxel, steps in (("cubes", torch.ones_like(size)), ("boxes", 1 / size)):
            yield "redistance_start", f"{name}, {voxel}", (values, steps)
            start = call("redistance_start", values, steps)
            yield "redistance_round", f"{name}, {voxel}", (start, start, steps)
        start, end = (size * (1.2 * random(700 if large else 9, 3, seed=seed, dtype=dtype)) for seed in (7, 8))
        yield "trace_grid", name, (values, start, end - start, 0.0, torch.inf, 0.0)
        yield "trace_grid", f"{name}, near", (values, start, end - start, 0.1, 2.0, 0.2)


def _ray(dtype: torch.dtype, large: bool) -> Calls:
    """Rays that go together, and rays from all sides."""
    positions, tri = random_triangles(30_000 if large else 40, seed=7)
    vertices = (0.1 if large else 1.0) * positions[..., :3].reshape(-1, 3).to(dtype)
    yield "bvh_topology", "triangles", (vertices, tri)
    children, leaf_tri, level_starts, totals = call("bvh_topology", vertices, tri)
    nodes, leaves, levels = totals.tolist()
    children, leaf_tri = children[:nodes].clone(), leaf_tri[:leaves].clone()
    tree = (children, leaf_tri, level_starts, levels)
    yield "bvh_refit", "triangles", (vertices, tri, *tree)
    boxes, corners, bounds, _ = call("bvh_refit", vertices, tri, *tree)
    arrays = (boxes, children, corners, leaf_tri, bounds)
    count = 5000 if large else 50
    towards = torch.tensor([0.1, -0.2, -1.0], dtype=dtype) + 0.1 * random(count, 3, seed=8, dtype=dtype)
    together = (torch.tensor([0.0, 0.0, 3.0], dtype=dtype).repeat(count, 1), towards)
    origins = 3 * random(count, 3, seed=9, dtype=dtype)
    from_all_sides = (origins, random(count, 3, seed=10, dtype=dtype) - origins)
    limits = torch.tensor([[0.2, 1.5]], dtype=dtype).repeat(count, 1)
    for name, rays, ends in (("together", together, None), ("from all sides", from_all_sides, limits)):
        yield "trace", name, (*rays, vertices, tri, ends, *arrays, levels, 0.0, torch.inf)
        yield "occluded", name, (*rays, ends, *arrays, len(tri), levels, 0.0, torch.inf)


def _flat(footprint: str, count: int, dtype: torch.dtype, size: tuple[int, int]) -> list[Tensor]:
    """Places, shapes, depths, features, opacities and a background."""
    return list(flat_scene(footprint, count, dtype=dtype, size=size).values())
