"""Splatting: compositing of two-dimensional footprints.

Defined by :mod:`lumigrad.reference.splat`; the kernel is ``native/splat``.
"""

from __future__ import annotations

import torch

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat._compositing import BLENDS, FOOTPRINTS, check_appearance, check_contributors, composite, named
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats


def splat(
    xy: torch.Tensor,
    shape: torch.Tensor,
    depth: torch.Tensor,
    payload: torch.Tensor,
    size: tuple[int, int],
    opacity: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    *,
    footprint: str = "gaussian",
    blend: str = "alpha",
    alpha_max: float = 1.0,
    alpha_min: float = 0.0,
    stop: float = 0.0,
    limit: int | None = None,
    contributors: int = 0,
) -> Splats:
    """Composite footprints on the screen, sorted by depth.

    A primitive's strength at a pixel is its opacity times its footprint's height there; strengths from
    `alpha_min` on count, and those above `alpha_max` count as that. The order is that of the depths rounded to
    float32, of equal ones that of the indices.

    Args:
        xy: centres in pixels [N, V, 2]; (0, 0) is the outer corner of the top left pixel.
        shape: for footprint="gaussian" the conic (a, b, c) [N, V, 3]: height exp(-(a dx^2 + c dy^2) / 2 - b dx dy);
            for "disc" and "square" the radius in pixels [N, V]: height 1 - distance^2 / radius^2, the distance
            being the Euclidean or the longer one of |dx| and |dy|.
        depth: [N, V]. Decides the order; for ``Splats.depth`` it is differentiable.
        payload: colours or any other features [V, C] or [N, V, C].
        size: (height, width).
        opacity: [V] or [N, V]; 1 by default.
        background: [C] or [N, C]; 0 by default.
        blend: "alpha": front to back, each hides what is behind it by its strength; "normalised": the mean weighted
            by strengths (their sum counts as 1e-4 at least, the rest being background); "nearest": the first.
        stop: with blend="alpha", a primitive that would take the transmittance down to this is left out, and all
            behind it; 0 for never.
        limit: how many primitives a pixel takes at most, the nearest ones; None for all.
        contributors: how many of the first contributors of each pixel to list in `ids` and `weights`.

    Returns:
        :class:`~lumigrad.splats.Splats`. Gradients reach xy, shape, depth, payload, opacity and background, from
        image, alpha and depth. A strength held at `alpha_max` moves nothing; hard edges (`alpha_min`, blend="nearest")
        have no gradient. Primitives with a coordinate, shape, depth or opacity that is not finite are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.

    Source: front to back compositing as in Kerbl et al. 2023, section 6; discs as in Wiles et al. 2020.
    """
    size = check.resolution(size)
    xy = check.floating("xy", xy)
    check.shape("xy", xy, ("N", "V", 2))
    views, count = xy.shape[:2]
    code, components = named("footprint", footprint, FOOTPRINTS)
    shape = check.floating("shape", shape, xy, "xy")
    check.shape("shape", shape, (views, count, components) if components else (views, count))
    depth = check.floating("depth", depth, xy, "xy")
    check.shape("depth", depth, (views, count))
    payload, opacity, background = check_appearance(payload, opacity, background, xy, "xy", views, count)
    rules = {"alpha_max": alpha_max, "alpha_min": alpha_min, "stop": stop}
    for name, value in rules.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected a positive number or None, got {limit}")
    blend_code = named("blend", blend, BLENDS)
    check_contributors(contributors)
    if needs_reference("splat", xy):
        return reference.splat(
            xy, shape, depth, payload, size, opacity, background, footprint=footprint, blend=blend, **rules,
            limit=limit, contributors=contributors,
        )  # fmt: skip
    return composite(
        xy, shape, depth, opacity, payload, background, code, blend_code, size,
        max_alpha=alpha_max, min_alpha=alpha_min, stop=stop, max_contributors=limit or 0, contributors=contributors,
    )  # fmt: skip
