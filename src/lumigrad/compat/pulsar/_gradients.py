"""Pulsar's scaling of gradients, for programs whose learning rates were chosen for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.types.view import View

# A sphere's gradient of the camera is multiplied by 1e-3 times its bounding square, and divided by its pixels.
CAMERA = 1e-3 * 4 / math.pi


class Scales:
    """Factors that are known only when the image is: of each sphere's gradients [B, V], and of the camera's [B]."""

    spheres: Tensor
    camera: Tensor

    def count(self, ids: Tensor | None, spheres: int) -> None:
        """Set the factors by the spheres of each pixel [B, H, W, K], -1 where there are fewer."""
        assert ids is not None
        views = len(ids)
        places = ids.long() + 1 + (spheres + 1) * torch.arange(views, device=ids.device)[:, None, None, None]
        pixels = torch.bincount(places.reshape(-1), minlength=views * (spheres + 1)).reshape(views, -1)[:, 1:]
        self.spheres = torch.where(pixels > 0, 1 / pixels.clamp(min=1), 0.0)
        self.camera = CAMERA / (pixels > 0).sum(1).clamp(min=1)


class _Scaled(torch.autograd.Function):
    """The value itself, whose gradient is multiplied by a factor that is set later."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, scales: Scales, name: str) -> Tensor:
        ctx.scales, ctx.name = scales, name
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        factor = getattr(ctx.scales, ctx.name).to(grad)
        return grad * factor.reshape(factor.shape + (1,) * (grad.dim() - factor.dim())), None, None


def _apply(value: Tensor, scales: Scales, name: str) -> Tensor:
    return _Scaled.apply(value, scales, name)  # type: ignore[no-untyped-call]


def scaled(
    spheres: Sequence[Tensor], view: View, views: int, scales: Scales
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], View]:
    """Positions, radii, features and opacities, one for each view, and the view, with scaled gradients."""

    def of_spheres(value: Tensor, rows: int) -> Tensor:
        value = value if value.dim() > rows else value.expand(views, *value.shape)
        return _apply(value, scales, "spheres")

    def of_camera(value: Any) -> Any:
        return _apply(value, scales, "camera") if isinstance(value, Tensor) else value

    names = ("matrix", "fx", "fy", "cx", "cy")
    turned = view._replace(**{name: of_camera(getattr(view, name)) for name in names})
    position, radius, features, opacity = spheres
    return (of_spheres(position, 2), of_spheres(radius, 1), of_spheres(features, 2), of_spheres(opacity, 1)), turned
