"""Soft rasterization: fragments, and images of all faces in reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import SoftFragments, gradients
from lumigrad.reference.soft import blending as reference_blending

from .call import Call
from .draw import Draw
from .surface import geometry, mesh


def soft_rasterize(draw: Draw) -> Call:
    arguments = {
        **geometry(draw, huge=False),
        "faces_per_pixel": draw.choice((1, 2, 3, 8, 40)),
        "blur_radius": draw.choice((0.0, 1e-4, 0.01, 0.3)),
        "perspective_correct": draw.chance(0.6),
        "clip_barycentrics": draw.chance(0.6),
        "cull_backfaces": draw.chance(0.3),
    }

    def ties(outputs: dict[str, Tensor], bound: float) -> Tensor:
        return equally_deep(outputs, bound) | almost_edge_on(arguments["pos"].double(), arguments["tri"]).any()

    return Call(lg.soft_rasterize, lg.reference.soft_rasterize, arguments, ties=ties)


def on_edges(arguments: dict[str, Any], size: tuple[int, int]) -> Callable[[dict[str, Tensor], float], Tensor]:
    """Pixels whose centres lie on an edge but for rounding, as few do by chance: it decides which faces cover them.

    And all pixels, where a face is edge-on but for rounding: it decides whether the face is there.
    """

    def ties(outputs: dict[str, Tensor], bound: float) -> Tensor:
        pos, tri, ranges = arguments["pos"].double(), arguments["tri"], arguments["ranges"]
        frags = lg.reference.soft_rasterize(pos, tri, size, 40, ranges=ranges)
        on_edge = ((frags.tri >= 0) & (frags.dist > -(bound**2))).any(-1)
        return on_edge | almost_edge_on(pos, tri).any()

    return ties


def almost_edge_on(pos: Tensor, tri: Tensor) -> Tensor:
    """Which faces' determinants are what rounding leaves of the sum."""
    x, y, _, w = pos[..., tri.long(), :].unbind(-1)
    j, k = [1, 2, 0], [2, 0, 1]
    terms = torch.stack((w * x[..., j] * y[..., k], -w * y[..., j] * x[..., k]))
    det, size = terms.sum((0, -1)), terms.abs().sum((0, -1))
    return (det.abs() <= 1e-13 * size) & (size > 0)


def equally_deep(outputs: dict[str, Tensor], bound: float) -> Tensor:
    """Pixels with faces so close in depth that rounding orders them: often those that share a corner."""
    tri, z = outputs["tri"], outputs["z"].detach()
    near = z.diff(dim=-1).abs() <= bound * (1 + z[..., 1:].abs())
    # Of more faces than there is room for, the first that is left out is not known.
    return (near & (tri[..., 1:] >= 0)).any(-1) | (tri[..., -1] >= 0)


def soft_silhouette(draw: Draw) -> Call:
    arguments = {
        **geometry(draw, huge=False),
        "sigma": draw.power(-5, 0),
        "blur_radius": draw.choice((None, None, 0.0, 0.01)),
        "falloff": draw.choice(("sigmoid", "exponential")),
        "cull_backfaces": draw.chance(0.3),
    }
    return Call(
        lg.soft_silhouette, lg.reference.soft_silhouette, arguments, ties=on_edges(arguments, arguments["size"])
    )


def soft_colors(draw: Draw) -> Call:
    shape = geometry(draw, huge=False)
    views, channels = view_count(shape), draw.choice((0, 1, 3, 4, 9))
    tri, vertices = shape["tri"], shape["pos"].shape[-2]
    attr_tri = None
    if draw.chance(0.4):
        vertices = max(1, draw.count())
        attr_tri = draw.laid_out(draw.indices(len(tri), 3, below=vertices))
    attr = draw.expanded(draw.uniform(*draw.choice(((), (views,), (1,))), vertices, channels))
    background: Any = draw.choice((0.0, 0.5, draw.uniform(channels), draw.uniform(views, *shape["size"], channels)))
    arguments = {
        **shape,
        "attr": attr,
        "sigma": draw.power(-5, 0),
        "gamma": draw.power(-4, 0),
        "background": background,
        "mode": draw.choice(("softras", "pytorch3d")),
        "blur_radius": draw.choice((None, None, 0.0, 0.01)),
        "depth_range": draw.choice((None, (0.5, 3.0))),
        "attr_tri": attr_tri,
        "cull_backfaces": draw.chance(0.3),
    }
    return Call(lg.soft_colors, lg.reference.soft_colors, arguments, ties=on_edges(arguments, arguments["size"]))


def view_count(shape: dict[str, Any]) -> int:
    if shape["ranges"] is not None:
        return len(shape["ranges"])
    return len(shape["pos"]) if shape["pos"].dim() == 3 else 1


def fragments(draw: Draw, views: int, triangles: int) -> SoftFragments:
    """Made by hand: any face at any place, pads last, weights that sum to one."""
    size, faces = draw.size(), draw.choice((1, 2, 5))
    tri = draw.indices(views, *size, faces, below=triangles, low=-2).clamp(-1, triangles - 1).int()
    present = tri >= 0
    tri = torch.where(present.cumprod(-1) > 0, tri, -1)
    present = tri >= 0
    z, dist = (torch.where(present, draw.uniform(*tri.shape), 0) for _ in range(2))
    two = draw.uniform(*tri.shape, 2)
    bary = torch.where(present[..., None], torch.cat((two, 1 - two.sum(-1, keepdim=True)), -1), 0)
    return SoftFragments(*(draw.laid_out(field) for field in (tri, z, dist, bary)))


def soft_interpolate(draw: Draw) -> Call:
    views = draw.views()
    tri, vertices = mesh(draw)
    frags = fragments(draw, views, len(tri))
    attr = draw.expanded(draw.uniform(*draw.choice(((), (views,), (1,))), vertices, draw.choice((0, 1, 3, 9))))
    arguments = {"attr": attr, "frags": frags, "tri": draw.laid_out(tri)}
    return Call(lg.soft_interpolate, lg.reference.soft_interpolate, arguments)


def nearness(draw: Draw) -> Call:
    views = draw.views()
    tri, vertices = mesh(draw)
    frags = fragments(draw, views, len(tri))
    pos = draw.expanded(draw.uniform(*draw.choice(((), (views,))), vertices, 4))
    arguments = {"frags": frags, "pos": pos, "tri": draw.laid_out(tri), "depth_range": draw.choice((None, (0.5, 3.0)))}
    return Call(lg.blending.nearness, reference_blending.nearness, arguments)


def probability(draw: Draw) -> Call:
    arguments = {**soft_image(draw), "falloff": draw.choice(("sigmoid", "exponential"))}
    return Call(lg.blending.probability, lg.blending.probability, arguments)


def silhouette(draw: Draw) -> Call:
    arguments = {**soft_image(draw), "falloff": draw.choice(("sigmoid", "exponential"))}
    return Call(lg.blending.silhouette, lg.blending.silhouette, arguments)


def soft_blend(draw: Draw) -> Call:
    arguments = soft_image(draw)
    shape, channels = arguments["frags"].tri.shape, draw.choice((0, 1, 3))
    arguments |= {
        "colors": draw.expanded(draw.uniform(*shape, channels)),
        "nearness": draw.expanded(draw.uniform(*shape, low=0.0)),
        "gamma": draw.power(-4, 0),
        "background": draw.choice((0.0, 0.5, draw.uniform(channels))),
        "mode": draw.choice(("softras", "pytorch3d")),
    }
    return Call(lg.blending.soft_blend, lg.blending.soft_blend, arguments)


def soft_image(draw: Draw) -> dict[str, Any]:
    return {"frags": fragments(draw, draw.views(), draw.count()), "sigma": draw.power(-4, 0)}


def softras(draw: Draw) -> Call:
    arguments = hard_image(draw)
    arguments |= {"sigma": draw.power(-4, -1), "gamma": draw.power(-3, 0)}
    color, pos = arguments["color"], arguments["pos"]
    arguments["attr"] = draw.optional(draw.uniform(pos.shape[-2], color.shape[-1] - 1))

    def reference(color: Any, frags: Any, pos: Any, tri: Any, attr: Any, ranges: Any, **options: Any) -> Tensor:
        if attr is not None:
            return lg.reference.soft_colors(pos, tri, attr, color.shape[1:3], **options, ranges=ranges)
        mask = lg.reference.soft_silhouette(pos, tri, color.shape[1:3], options["sigma"], ranges=ranges)
        return torch.cat((color[..., :-1], mask), -1)

    return Call(gradients.softras, reference, arguments, ties=on_edges(arguments, color.shape[1:3]))


def dibr(draw: Draw) -> Call:
    arguments = {**hard_image(draw), "sigma": draw.power(-4, -1)}

    def reference(color: Any, frags: Any, pos: Any, tri: Any, sigma: float, ranges: Any) -> Tensor:
        mask = lg.reference.soft_silhouette(pos, tri, color.shape[1:3], sigma, falloff="exponential", ranges=ranges)
        return torch.cat((color[..., :-1], mask), -1)

    size = arguments["color"].shape[1:3]
    return Call(gradients.dibr, reference, arguments, ties=on_edges(arguments, size))


def hard_image(draw: Draw) -> dict[str, Any]:
    shape = geometry(draw, huge=False)
    pos, tri, size = shape["pos"], shape["tri"], shape.pop("size")
    frags = lg.rasterize(pos, tri, size, shape["ranges"], derivatives=False)
    color = draw.expanded(draw.uniform(*frags.tri.shape, draw.choice((1, 2, 4))))
    return {**shape, "color": color, "frags": frags}


GENERATORS = {
    "soft_rasterize": soft_rasterize,
    "soft_silhouette": soft_silhouette,
    "soft_colors": soft_colors,
    "soft_interpolate": soft_interpolate,
    "nearness": nearness,
    "probability": probability,
    "silhouette": silhouette,
    "soft_blend": soft_blend,
    "softras": softras,
    "dibr": dibr,
}
