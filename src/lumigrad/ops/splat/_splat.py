"""Splatting: compositing of two-dimensional footprints.

Defined by :func:`lumigrad.reference.splat`; the kernel is ``native/splat``.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat._compositing import BLENDS, FOOTPRINTS, check_appearance, check_contributors, composite, named
from lumigrad.reference.splat._splat import MIN_GAUSSIAN
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Splats


def splat(
    xy: Float[Tensor, "views primitives 2"],
    shapes: Float[Tensor, "views primitives 3"] | Float[Tensor, "views primitives"],
    depths: Float[Tensor, "views primitives"],
    features: Float[Tensor, "views primitives channels"] | Float[Tensor, "primitives channels"],
    size: tuple[int, int],
    opacities: Float[Tensor, "views primitives"] | Float[Tensor, " primitives"] | None = None,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    footprint: str = "gaussian",
    blend: str = "alpha",
    max_alpha: float = 1.0,
    min_alpha: float = 0.0,
    stop: float = 0.0,
    max_contributors: int | None = None,
    contributors: int = 0,
) -> Splats:
    """Composite footprints on the screen, sorted by depth.

    A primitive's strength at a pixel is its opacity times its footprint's height there; strengths from
    `min_alpha` on count, and those above `max_alpha` count as that. The order is that of the depths rounded to
    float32, of equal ones that of the indices.

    Args:
        xy: centres in pixels [N, V, 2]; (0, 0) is the outer corner of the top left pixel.
        shapes: for footprint="gaussian" the conic (a, b, c) [N, V, 3]: height exp(-(a dx^2 + c dy^2) / 2 - b dx dy);
            less than 1e-12 counts as nothing; for "disc" and "square" the radius in pixels [N, V]: height
            1 - distance^2 / radius^2, the distance being the Euclidean or the longer one of |dx| and |dy|.
        depths: [N, V]. They decide the order; for ``Splats.depth`` they are differentiable.
        features: colours or any others [V, C] or [N, V, C].
        size: (height, width).
        opacities: [V] or [N, V]; 1 by default.
        background: [C] or [N, C]; 0 by default.
        blend: "alpha": front to back, each hides what is behind it by its strength; "normalised": the mean weighted
            by strengths (their sum counts as 1e-4 at least, the rest being background); "nearest": the first.
        stop: with blend="alpha", a primitive that would take the transmittance down to this is left out, and all
            behind it; 0 for never.
        max_contributors: how many primitives a pixel takes at most, the nearest ones; None for all.
        contributors: how many of the first contributors of each pixel to list in `ids` and `weights`.

    Returns:
        :class:`~lumigrad.Splats`. Gradients reach xy, shapes, depths, features, opacities and background, from
        image, alpha and depth. A strength held at `max_alpha` moves nothing; hard edges (`min_alpha`, blend="nearest")
        have no gradient. Primitives with a coordinate, shape, depth or opacity that is not finite are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.

    Source: front to back compositing as in Kerbl et al. 2023, section 6; discs as in Wiles et al. 2020.

    >>> import torch
    >>> import lumigrad as lg
    >>> xy = torch.tensor([[[2.5, 1.5], [2.5, 1.5]]])  # both at the centre of the pixel in row 1, column 2
    >>> radii, depths = torch.full((1, 2), 1.5), torch.tensor([[2.0, 1.0]])
    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> out = lg.splat(xy, radii, depths, features, (4, 4), torch.tensor([1.0, 0.75]), footprint="disc", contributors=2)
    >>> out.image[0, 1, 2], out.alpha[0, 1, 2].item()  # the second one is in front
    (tensor([0.2500, 0.7500]), 1.0)
    >>> out.ids[0, 1, 2].tolist(), out.weights[0, 1, 2].tolist()
    ([1, 0], [0.75, 0.25])
    """
    size = check.size(size)
    xy = check.floating("xy", xy)
    check.shape("xy", xy, ("N", "V", 2))
    views, count = xy.shape[:2]
    code, components = named("footprint", footprint, FOOTPRINTS)
    shapes = check.floating("shapes", shapes, xy, "xy")
    check.shape("shapes", shapes, (views, count, components) if components else (views, count))
    depths = check.floating("depths", depths, xy, "xy")
    check.shape("depths", depths, (views, count))
    features, opacities, background = check_appearance(features, opacities, background, xy, "xy", views, count)
    rules = {"max_alpha": max_alpha, "min_alpha": min_alpha, "stop": stop}
    for name, value in rules.items():
        rules[name] = check.real(name, value)
        if not 0 <= rules[name] <= 1:
            raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
    if footprint == "gaussian":
        rules["min_alpha"] = max(rules["min_alpha"], MIN_GAUSSIAN)
    if max_contributors is not None:
        max_contributors = check.integer("max_contributors", max_contributors, 1)
    blend_code = named("blend", blend, BLENDS)
    check_contributors(contributors)
    if needs_reference("splat", xy):
        return reference.splat(
            xy, shapes, depths, features, size, opacities, background, footprint=footprint, blend=blend, **rules,
            max_contributors=max_contributors, contributors=contributors,
        )  # fmt: skip
    return composite(
        xy, shapes, depths, opacities, features, background, code, blend_code, size, max_alpha=rules["max_alpha"],
        min_alpha=rules["min_alpha"], stop=rules["stop"], max_contributors=max_contributors or 0,
        contributors=contributors,
    )  # fmt: skip
