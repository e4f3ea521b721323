"""Rays that meet points and media in any order, defined in plain PyTorch by brute force."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lumigrad.types import Marched


def mixed_rays(
    t: Tensor,
    alpha: Tensor,
    colors: Tensor,
    media: Sequence[Callable[[Tensor], tuple[Tensor, Tensor]]],
    begin: Tensor,
    end: Tensor,
    count: int = 1024,
    background: Tensor | None = None,
) -> Marched:
    """Render points, such as fragments of surfaces, and the media between and around them along rays.

    Each ray is cut into many short segments, and at the points. In a segment, the extinctions of all media at its
    middle add up, and so does the light that they emit.

    Args:
        t: distances of the points [R, K], in any order; infinite where there is none.
        alpha: [R, K]. colors: [R, K, C], not multiplied with alpha.
        media: functions of distances [R, S] to extinctions [R, S] and colours [R, S, C].
        begin, end: where to look for media, distances [R].
        count: segments, beside those that the points cut off.
        background: [C] or [R, C].

    Returns:
        Marched: features [R, C], alpha, depth and median depth [R].

    Source: Max 1995, "Optical models for direct volume rendering".
    """
    share = torch.linspace(0, 1, count + 1, dtype=t.dtype, device=t.device)
    regular = begin[:, None] + share * (end - begin)[:, None]
    times, order = torch.cat((t, regular), 1).sort(dim=1)
    solid = functional.pad(torch.where(t.isfinite(), alpha, 0), (0, count + 1)).gather(1, order)
    paint = functional.pad(colors, (0, 0, 0, count + 1))
    paint = paint.gather(1, order[..., None].expand(-1, -1, paint.shape[-1]))
    # No media lie before the start or behind the end.
    inside = torch.minimum(torch.maximum(times, begin[:, None]), end[:, None])
    length, middle = inside[:, 1:] - inside[:, :-1], 0.5 * (inside[:, 1:] + inside[:, :-1])
    found = [medium(middle) for medium in media]
    extinction = sum((sigma for sigma, _ in found), torch.zeros_like(middle))
    light = sum((sigma[..., None] * color for sigma, color in found), torch.zeros_like(paint[:, 1:]))
    glow = light / torch.where(extinction > 0, extinction, 1)[..., None]
    misty = functional.pad(-torch.expm1(-extinction * length), (0, 1))
    glow = functional.pad(glow, (0, 0, 0, 1))
    places = torch.stack((torch.where(times.isfinite(), times, 0), functional.pad(middle, (0, 1))), -1).flatten(1)
    alphas = torch.stack((solid, misty), -1).flatten(1)
    passed = functional.pad((1 - alphas).cumprod(1), (1, 0), value=1.0)
    weights = alphas * passed[:, :-1]
    features = (weights[..., None] * torch.stack((paint, glow), 2).flatten(1, 2)).sum(1)
    if background is not None:
        features = features + passed[:, -1:] * background
    below = (passed[:, 1:] < 0.5) & (passed[:, :-1] >= 0.5)
    median = torch.where(below, places, 0).sum(1).detach()
    return Marched(features, 1 - passed[:, -1], (weights * places).sum(1), median)
