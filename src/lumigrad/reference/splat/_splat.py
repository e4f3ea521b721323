"""Splatting of two-dimensional footprints, defined in plain PyTorch: every pixel meets every primitive."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.splat._compositing import Blending, blend, depth_order, pixel_centres
from lumigrad.types.splats import Splats

MIN_GAUSSIAN = 1e-12


def splat(
    xy: Tensor,
    shapes: Tensor,
    depths: Tensor,
    features: Tensor,
    size: tuple[int, int],
    opacities: Tensor | None = None,
    background: Tensor | None = None,
    *,
    footprint: str = "gaussian",
    blend: str = "alpha",
    max_alpha: float = 1.0,
    min_alpha: float = 0.0,
    stop: float = 0.0,
    max_contributors: int | None = None,
    contributors: int = 0,
) -> Splats:
    """Blend footprints given in pixels. Arguments, result and sources: `lumigrad.splat`.

    strength = opacity * falloff(pixel centre - xy):
        gaussian: exp(-s), s = (a dx^2 + c dy^2) / 2 + b dx dy, shape = (a, b, c); nothing where s < 0, and no strength
                  below 1e-12, so that it ends somewhere
        disc:     1 - (dx^2 + dy^2) / r^2, shape = r
        square:   1 - max(dx^2, dy^2) / r^2, shape = r
    Primitives with a coordinate, shape, opacity or depth that is not finite are left out.
    """
    views, count = xy.shape[0], xy.shape[1]
    opacities = xy.new_ones(views, count) if opacities is None else opacities.expand(views, count)
    features = features.expand(views, count, features.shape[-1])
    background = features.new_zeros(features.shape[-1]) if background is None else background
    background = background.expand(views, features.shape[-1])
    x, y = pixel_centres(size, xy)
    if footprint == "gaussian":
        min_alpha = max(min_alpha, MIN_GAUSSIAN)
    images = []
    if not views:
        nothing = (v.new_zeros((1, *v.shape[1:])) for v in (xy, shapes, depths, features, opacities, background))
        xy, shapes, depths, features, opacities, background = nothing
    for i in range(max(1, views)):
        fields = (
            xy[i],
            shapes[i].view(count, 3 if shapes.dim() == 3 else 1),
            depths[i][:, None],
            opacities[i][:, None],
        )
        valid = torch.cat(fields, 1).isfinite().all(1).nonzero()[:, 0]
        dx, dy = x[:, None] - xy[i, valid, 0], y[:, None] - xy[i, valid, 1]
        strength = opacities[i, valid] * falloff(footprint, dx, dy, shapes[i, valid])
        rules = Blending(blend, max_alpha, min_alpha, stop, max_contributors)
        near = depth_order(depths[i, valid])
        image = _blend(strength, depths[i, valid], features[i, valid], background[i], near, rules, contributors, size)
        images.append(renumber(image, valid))
    return stack(images, views)


_blend = blend  # `splat` has an argument of this name


def falloff(footprint: str, dx: Tensor, dy: Tensor, shape: Tensor) -> Tensor:
    """The footprint's height at an offset from its centre, 0 outside of it."""
    if footprint == "gaussian":
        a, b, c = shape.unbind(-1)
        s = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        return torch.where(s >= 0, torch.exp(-s.clamp(min=0)), 0)
    radius = torch.where(shape > 0, shape, 1)
    distance2 = dx * dx + dy * dy if footprint == "disc" else torch.maximum(dx * dx, dy * dy)
    height = 1 - distance2 / (radius * radius)
    return torch.where((height > 0) & (shape > 0), height, 0)


def renumber(image: Splats, index: Tensor) -> Splats:
    """Contributors as indices into all primitives instead of those in `index`."""

    def all_of(ids: Tensor | None) -> Tensor | None:
        if ids is None or not len(index):
            return ids
        return torch.where(ids >= 0, index[ids.long().clamp(min=0)], -1).int()

    return image._replace(median=all_of(image.median), ids=all_of(image.ids))


def stack(images: list[Splats], views: int | None = None) -> Splats:
    """The first `views` single images (by default all) as a batch. There must be at least one."""
    return Splats(*(None if field[0] is None else torch.stack(field)[:views] for field in zip(*images)))  # type: ignore[arg-type]
