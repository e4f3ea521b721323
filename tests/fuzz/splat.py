"""Points, spheres, Gaussians, surfels and surface splats, and the steps that they are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import View
from lumigrad.types import Splats, Surfels

from .call import Call
from .draw import Draw

BLURS = (0.01, 0.3, 0.3, 1.0)  # with none, whether a flat Gaussian can be inverted is up to rounding
CHANNELS = (0, 1, 2, 3, 4, 5, 8, 9)


def view(draw: Draw, projections: tuple[str, ...] = ("perspective", "orthographic")) -> View:
    """Cameras at some distance from the origin, turned somehow; in some cases mirrored or with one number for all."""
    views = draw.choice((1, 1, 2, 3))
    matrix = torch.eye(4, dtype=draw.dtype).repeat(views, 1, 1)
    turn = draw.uniform(views, 3, 3)
    matrix[:, :3, :3] = torch.linalg.matrix_exp((turn - turn.mT) * draw.choice((0.0, 0.3, 2.0)))
    matrix[:, :3, 3] = draw.uniform(views, 3, low=-0.3, high=0.3)
    matrix[:, 2, 3] -= draw.choice((0.5, 3.0, 3.0, 4.0))
    size = draw.size()
    projection = draw.choice(projections)
    focal = max(size) * (0.3 if projection == "orthographic" else 1.0)

    def intrinsic(value: float) -> Any:
        kind = draw.choice(("number", "scalar", "each", "each"))
        if kind == "number":
            return value
        count = 1 if kind == "scalar" else views
        values = torch.tensor([draw.number(0.8, 1.2) * value for _ in range(count)], dtype=draw.dtype)
        return values[0] if kind == "scalar" else values

    if views == 1 and draw.chance(0.5):
        matrix = matrix[0]
    numbers = (intrinsic(v) for v in (focal, draw.choice((focal, 1.3 * focal)), size[1] / 2, size[0] / 2))
    near, far = draw.choice(((0.01, 1e10), (0.0, 1e10), (1.0, 3.5)))
    return View(draw.laid_out(matrix), *numbers, size, projection, near, far)


def view_count(seen: View) -> int:
    return 1 if seen.matrix.dim() == 2 else len(seen.matrix)


def appearance(draw: Draw, views: int, count: int, per_view: bool = True) -> dict[str, Any]:
    """features, opacities and background."""
    channels = draw.choice(CHANNELS)
    leading = draw.choice(((), (views,))) if per_view else ()
    # Never 1: twice the largest that counts, 0.99, and transmittance is 1e-4, where blending stops, but for rounding.
    strengths = draw.choice(((0.0, 0.98), (0.9, 0.98), (0.0, 0.01)))
    opacities = draw.uniform(*leading, count, low=strengths[0], high=strengths[1]).clamp(max=0.98)
    return {
        "features": draw.expanded(draw.uniform(*draw.choice(((), (views,))), count, channels)),
        "opacities": draw.expanded(draw.spoiled(opacities)),
        "background": draw.optional(draw.uniform(*draw.choice(((), (views,))), channels)),
    }


def listed(draw: Draw) -> int:
    return draw.choice((0, 0, 1, 3, 20))


def splat(draw: Draw) -> Call:
    views, count, size = draw.views(), draw.count(), draw.size()
    footprint = draw.choice(("gaussian", "disc", "square"))
    xy = draw.rows(views, count, 2, low=-0.2, high=1.2) * draw.uniform(1).new_tensor([size[1], size[0]])
    if draw.chance(0.3):
        xy = (2 * xy).round() / 2
    if footprint == "gaussian":
        a, c = (draw.uniform(views, count, low=0.02, high=1.0) for _ in range(2))
        b = draw.uniform(views, count) * (a * c).sqrt() * draw.choice((0.0, 0.9, 1.0, 1.2))
        shapes = torch.stack((a, b, c), -1)
    else:
        shapes = draw.uniform(views, count, low=-0.2, high=8.0)
    arguments = {
        "xy": draw.expanded(xy),
        "shapes": draw.expanded(draw.spoiled(shapes)),
        "depths": draw.expanded(draw.spoiled(draw.uniform(views, count, low=0.0, high=4.0))),
        "size": size,
        **appearance(draw, views, count),
        "footprint": footprint,
        "blend": draw.choice(("alpha", "alpha", "normalised", "nearest")),
        "max_alpha": draw.choice((1.0, 0.99, 0.45)),
        "min_alpha": draw.choice((0.0, 1 / 255, 0.1)),
        "stop": draw.choice((0.0, 1.3e-4, 0.13)),
        "max_contributors": draw.choice((None, None, 1, 3)),
        "contributors": listed(draw),
    }
    if draw.chance(0.2):
        arguments["opacities"] = None
    return Call(lg.splat, lg.reference.splat, arguments)


def points(draw: Draw) -> Call:
    seen, count = view(draw), draw.count()
    units = draw.choice(("pixels", "world"))
    most = 0.5 if units == "world" else 6.0
    arguments = {
        "positions": draw.expanded(draw.rows(count, 3)),
        "radii": draw.expanded(draw.spoiled(draw.uniform(count, low=0.0, high=most))),
        "view": seen,
        **appearance(draw, view_count(seen), count),
        "footprint": draw.choice(("disc", "square")),
        "blend": draw.choice(("alpha", "normalised", "nearest")),
        "units": units,
        "max_contributors": draw.choice((None, 1, 3)),
        "contributors": listed(draw),
    }
    return Call(lg.points, points_reference, arguments)


def points_reference(
    positions: Tensor, radii: Tensor, features: Tensor, view: View, *, units: str, **options: Any
) -> Splats:
    """Footprints around the points' images, which are found one by one."""
    matrix, fx, fy, cx, cy = numbers_of(view)
    places, depths, extents = [], [], []
    for i in range(len(matrix)):
        usable = positions.isfinite().all(-1) & radii.isfinite()
        p = torch.where(usable[:, None], positions, 0) @ matrix[i, :3, :3].T + matrix[i, :3, 3]
        depth = -p[:, 2]
        drawn = usable & (depth > view.near) & (depth < view.far)
        depth = torch.where(drawn, depth, 1)
        scale = 1 / depth if view.projection == "perspective" else torch.ones_like(depth)
        places.append(torch.stack((cx[i] + fx[i] * p[:, 0] * scale, cy[i] - fy[i] * p[:, 1] * scale), -1))
        radius = torch.where(drawn, radii, 0)
        extents.append(radius * fx[i] * scale if units == "world" else radius)
        depths.append(torch.where(drawn, depth, torch.nan))
    stacked = (torch.stack(values) for values in (places, extents, depths))
    return lg.reference.splat(*stacked, features, view.size, **options)


def numbers_of(view: View) -> tuple[Tensor, ...]:
    matrix = view.matrix.reshape(-1, 4, 4)
    return matrix, *(torch.as_tensor(value, dtype=matrix.dtype).expand(len(matrix)) for value in view[1:5])


def spheres(draw: Draw) -> Call:
    seen, count = view(draw), draw.count()
    views = view_count(seen)
    gamma = draw.power(-3, 0)
    arguments = {
        "positions": draw.expanded(draw.rows(*draw.choice(((), (views,))), count, 3)),
        "radii": draw.expanded(draw.spoiled(draw.uniform(*draw.choice(((), (views,))), count, low=0.0, high=0.6))),
        "view": seen,
        **appearance(draw, views, count),
        "gamma": draw.choice((gamma, torch.tensor(gamma, dtype=draw.dtype))),
        "min_depth": draw.choice((0.0, 0.5)),
        "max_depth": draw.choice((5.0, 100.0)),
        "contributors": listed(draw),
    }
    return Call(lg.spheres, lg.reference.spheres, arguments)


def turned(draw: Draw, count: int, axes: int) -> dict[str, Any]:
    """means, quats and scales."""
    most = draw.choice((0.05, 0.5, 2.0))
    # A determinant loses as many digits as a Gaussian is longer than wide; surfels have none.
    scales = draw.uniform(count, axes, low=0.0, high=most).clamp(min=0.1 * most if axes == 3 else 0.0)
    return {
        "means": draw.expanded(draw.rows(count, 3)),
        "quats": draw.expanded(draw.spoiled(draw.uniform(count, 4))),
        "scales": draw.expanded(draw.spoiled(scales)),
    }


def project_gaussians(draw: Draw) -> Call:
    seen = view(draw, ("perspective", "orthographic", "fisheye"))
    arguments = {**turned(draw, draw.count(), 3), "view": seen, "blur": draw.choice(BLURS)}
    return Call(lg.project_gaussians, lg.reference.project_gaussians, arguments)


def gaussians(draw: Draw) -> Call:
    seen, count = view(draw, ("perspective", "orthographic", "fisheye")), draw.count()
    arguments = {
        **turned(draw, count, 3),
        "view": seen,
        **colored(draw, view_count(seen), count),
        "antialiased": draw.chance(0.3),
        "blur": draw.choice(BLURS),
        "contributors": listed(draw),
    }
    return Call(lg.gaussians, gaussians_reference, arguments)


def colored(draw: Draw, views: int, count: int) -> dict[str, Any]:
    """`appearance`, in some cases with harmonics for features."""
    values = {**appearance(draw, views, count, per_view=False), "harmonics": draw.chance(0.3)}
    if values["harmonics"]:
        channels = values["features"].shape[-1]
        values["features"] = draw.expanded(draw.uniform(count, draw.choice((1, 4, 9, 16, 25)), channels))
    return values


def gaussians_reference(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, features: Tensor, view: View,
    background: Tensor | None, harmonics: bool, antialiased: bool, blur: float, contributors: int,
) -> Splats:  # fmt: skip
    seen = lg.reference.project_gaussians(means, quats, scales, view, blur=blur)
    if antialiased:
        opacities = torch.where(opacities.isfinite(), opacities, 0) * seen.compensations
    if harmonics:
        features = colors_from(features, means, view)
    return lg.reference.splat(
        seen.xy, seen.conics, seen.depths, features, view.size, opacities, background,
        max_alpha=0.99, min_alpha=1 / 255, stop=1e-4, contributors=contributors,
    )  # fmt: skip


def colors_from(coefficients: Tensor, means: Tensor, view: View) -> Tensor:
    """The colours [N, V, C] of harmonics."""
    matrix = numbers_of(view)[0]
    means = torch.where(means.isfinite().all(-1, keepdim=True), means, 0)
    away = [means - torch.linalg.inv(matrix[i])[:3, 3] for i in range(len(matrix))]
    return torch.stack([lg.reference.spherical_harmonics(coefficients, v) + 0.5 for v in away]).clamp(min=0)


def surfels(draw: Draw) -> Call:
    seen, count = view(draw), draw.count()
    arguments = {
        **turned(draw, count, 2),
        "view": seen,
        **colored(draw, view_count(seen), count),
        "distortion_range": draw.choice((None, None, (0.2, 100.0), (1.0, 5.0))),
        "contributors": listed(draw),
    }
    return Call(lg.surfels, surfels_reference, arguments)


def surfels_reference(means: Tensor, features: Tensor, view: View, harmonics: bool, **options: Any) -> Surfels:
    if harmonics:
        features = colors_from(features, means, view)
    return lg.reference.surfels(means=means, features=features, view=view, **options)


def surface_splats(draw: Draw) -> Call:
    seen, count = view(draw), draw.count()
    seen_as = appearance(draw, view_count(seen), count)
    del seen_as["opacities"]
    arguments = {
        "positions": draw.expanded(draw.rows(count, 3)),
        "normals": draw.expanded(draw.spoiled(draw.uniform(count, 3))),
        "radii": draw.expanded(draw.spoiled(draw.uniform(count, low=0.0, high=0.5), huge=False)),
        "view": seen,
        **seen_as,
        "blur": draw.choice((0.3, 1.0)),
        "cutoff": draw.choice((1.0, 2.0, 4.0)),
        "merge": draw.choice((None, 0.05, 0.5)),
        "visibility_gradient": draw.chance(0.4),
        "reach": draw.choice((1.0, 10.0)),
    }
    return Call(lg.surface_splats, lg.reference.surface_splats, arguments)


def spherical_harmonics(draw: Draw) -> Call:
    count = draw.count()
    coefficients = draw.uniform(count, draw.choice((1, 4, 9, 16, 25)), draw.choice(CHANNELS))
    directions = draw.rows(*draw.choice(((), (draw.views(),))), count, 3)
    arguments = {"coefficients": draw.expanded(coefficients), "directions": draw.expanded(directions)}
    return Call(lg.spherical_harmonics, lg.reference.spherical_harmonics, arguments)


GENERATORS = {
    "splat": splat,
    "points": points,
    "spheres": spheres,
    "project_gaussians": project_gaussians,
    "gaussians": gaussians,
    "surfels": surfels,
    "surface_splats": surface_splats,
    "spherical_harmonics": spherical_harmonics,
}
