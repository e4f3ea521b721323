"""Soft spheres: Pulsar's image formation.

Defined by :func:`lumigrad.reference.spheres`; the kernel is ``native/splat``.
"""

from __future__ import annotations

import math

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.splat import _compositing as engine
from lumigrad.ops.splat._view import check_view
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Splats
from lumigrad.types.view import View


def spheres(
    positions: Float[Tensor, "views primitives 3"] | Float[Tensor, "primitives 3"],
    radii: Float[Tensor, "views primitives"] | Float[Tensor, " primitives"],
    features: Float[Tensor, "views primitives channels"] | Float[Tensor, "primitives channels"],
    view: View,
    opacities: Float[Tensor, "views primitives"] | Float[Tensor, " primitives"] | None = None,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    gamma: Float[Tensor, " ..."] | float = 0.1,
    min_depth: float = 0.0,
    max_depth: float = 100.0,
    contributors: int = 0,
) -> Splats:
    """Render spheres that fade towards their rims and are blended by a softmax over depth.

    Every sphere that a pixel's ray meets contributes, and gets its exact gradient. The smaller gamma, the harder the
    spheres hide one another.

    Args:
        positions: centres in the world [V, 3] or [N, V, 3].
        radii: in world units [V] or [N, V]. A sphere with a projected radius (radius * fx / z) below one pixel has
            full height at the pixel that its centre is in.
        features: colours or any others [V, C] or [N, V, C].
        view: from :meth:`lumigrad.scene.Camera.view`; perspective or orthographic. Its near and far are not used:
            min_depth and max_depth are in their place.
        opacities: [V] or [N, V], 1 by default. background: [C] or [N, C], 0 by default.
        gamma: softness of the depth test, usually 1e-5 to 1; a number or a tensor of one.
        min_depth, max_depth: what depth is normalised by. A sphere whose nearest point (distance of the centre less
            the radius; along the axis for orthographic cameras) is before min_depth or behind max_depth is left out,
            and so is one with the eye inside.
        contributors: how many of the first spheres of each pixel to list in `ids` and `weights`.

    Returns:
        :class:`~lumigrad.Splats`; its depth is the distance along the ray to the sphere's surface (along the
        axis for orthographic cameras). Gradients from image, alpha and depth reach positions, radii, features,
        opacities, background, gamma, and the matrix and intrinsics of the view. Spheres that are not finite, of no
        radius or no opacity are left out.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Lassner and Zollhoefer 2021, "Pulsar", section 3; without its truncation of gradients.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> ball = torch.zeros(1, 3), torch.tensor([0.5]), torch.tensor([[1.0, 0.5, 0.0]])
    >>> out = lg.spheres(*ball, camera.view(), gamma=1e-3, max_depth=10.0)
    >>> out.image.shape, [round(value, 2) for value in out.image[0, 16, 16].tolist()]
    (torch.Size([1, 32, 32, 3]), [1.0, 0.5, 0.0])
    >>> round(out.depth[0, 16, 16].item() / out.alpha[0, 16, 16].item(), 2)  # of its surface, 0.5 before its centre
    1.51
    """
    positions = check.floating("positions", positions)
    view, intrinsics = check_view(view, positions, "positions", planes=False)
    views, count = len(view.matrix), positions.shape[-2] if positions.dim() > 1 else 0
    if tuple(positions.shape) not in ((count, 3), (views, count, 3)):
        raise ValueError(f"positions: expected shape [V, 3] or [{views}, V, 3], got {tuple(positions.shape)}")
    radii = check.floating("radii", radii, positions, "positions")
    if tuple(radii.shape) not in ((count,), (views, count)):
        raise ValueError(f"radii: expected shape [{count}] or [{views}, {count}], got {tuple(radii.shape)}")
    features, opacities, background = engine.check_appearance(
        features, opacities, background, positions, "positions", views, count
    )
    min_depth, max_depth = check.real("min_depth", min_depth), check.real("max_depth", max_depth)
    if not (0 <= min_depth < max_depth and math.isfinite(max_depth)):
        raise ValueError(f"min_depth, max_depth: expected 0 <= min_depth < max_depth, got {min_depth}, {max_depth}")
    if not isinstance(gamma, Tensor):
        gamma = check.number("gamma", gamma, positive=True)
    elif check.floating("gamma", gamma).is_meta and not positions.is_meta:
        raise ValueError(f"gamma: expected a tensor with data like positions on {positions.device}, got device meta")
    gamma = check.constant(gamma, positions)
    if gamma.numel() != 1:
        raise ValueError(f"gamma: expected one number, got shape {tuple(gamma.shape)}")
    engine.check_contributors(contributors)
    if needs_reference("spheres", positions, "splat"):
        return reference.spheres(
            positions, radii, features, view, opacities, background, gamma=gamma, min_depth=min_depth,
            max_depth=max_depth, contributors=contributors,
        )  # fmt: skip
    return engine.composite(
        positions, radii, None, opacities, features, background, engine.SPHERES[view.projection], engine.SOFTMAX,
        view.size, (view.matrix, intrinsics), gamma.reshape(1), min_depth=min_depth, max_depth=max_depth,
        contributors=contributors,
    )  # fmt: skip
