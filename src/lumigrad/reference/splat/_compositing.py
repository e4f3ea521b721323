"""Blending of sorted contributions, shared by the definitions of the splatting ops."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.types.splats import Splats
from lumigrad.types.view import View


class Blending(NamedTuple):
    """Parameters of blending; see `lumigrad.splat` for the meaning of each number."""

    kind: str
    max_alpha: float = 1.0
    min_alpha: float = 0.0
    stop: float = 0.0
    max_contributors: int | None = None


def tensors_of(view: View) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Matrices [N, 4, 4], and fx, fy, cx, cy [N]."""
    matrix = view.matrix.reshape(-1, 4, 4)
    values = (torch.as_tensor(value, dtype=matrix.dtype, device=matrix.device) for value in view[1:5])
    fx, fy, cx, cy = (value.expand(len(matrix)) for value in values)
    return matrix, fx, fy, cx, cy


def pixel_centres(size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of all pixel centres, [H*W] each, row by row."""
    rows = torch.arange(size[0], dtype=like.dtype, device=like.device) + 0.5
    columns = torch.arange(size[1], dtype=like.dtype, device=like.device) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return x.flatten(), y.flatten()


def depth_order(depth: Tensor) -> Tensor:
    """Front to back by depth rounded to float32, [..., V]; of equal depths the smaller index first."""
    return torch.sort(depth.detach().float(), dim=-1, stable=True).indices


def blend(
    strength: Tensor,
    depth: Tensor,
    features: Tensor,
    background: Tensor,
    order: Tensor,
    blending: Blending,
    contributors: int,
    size: tuple[int, int],
) -> Splats:
    """Blend one image.

    strength [P, V]: of each primitive at each pixel, 0 where it does not reach. depth [V] or [P, V].
    features [V, C], background [C]. order [V]: front to back.
    """
    strength, features = strength[:, order], features[order]
    depth = depth[..., order].expand_as(strength)
    alpha = strength.clamp(max=blending.max_alpha)
    used = (alpha > 0) & (alpha >= blending.min_alpha)
    if blending.max_contributors is not None:
        used = used & (used.cumsum(1) <= blending.max_contributors)
    if blending.kind == "nearest":
        used = used & (used.cumsum(1) == 1)
        weights = used.to(alpha)
        rest = 1 - weights.sum(1)
    elif blending.kind == "normalised":
        weights = torch.where(used, alpha, 0)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-4)
        rest = 1 - weights.sum(1)
    else:
        weights, rest, used = alpha_weights(torch.where(used, alpha, 0), used, blending.stop)
    image = weights @ features + rest[:, None] * background
    median = ids = kept = None
    if blending.kind == "alpha":
        below = used & (1 - weights.detach().cumsum(1) < 0.5)
        first = below & (below.cumsum(1) == 1)
        median = torch.where(first, order, 0).sum(1).sub((~first.any(1)).long()).int().view(size)
    if contributors:
        ids, kept = first_contributors(used, weights, order, contributors, size)
    shape = (*size, -1)
    return Splats(image.view(shape), (1 - rest).view(size), (weights * depth).sum(1).view(size), median, ids, kept)


def alpha_weights(alpha: Tensor, used: Tensor, stop: float) -> tuple[Tensor, Tensor, Tensor]:
    through = (1 - alpha).cumprod(1)
    # The contribution that would reduce the transmittance to `stop` is left out, as are all behind it.
    used = used & ((through > stop) | (stop <= 0))
    alpha = torch.where(used, alpha, 0)
    through = (1 - alpha).cumprod(1)
    before = torch.cat((torch.ones_like(through[:, :1]), through[:, :-1]), 1)
    rest = through[:, -1] if through.shape[1] else alpha.new_ones(len(alpha))
    return alpha * before, rest, used


def first_contributors(
    used: Tensor, weights: Tensor, order: Tensor, count: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """ids and weights [H, W, count] of the first primitives marked in `used` [P, V], which is sorted."""
    place = torch.where(used, used.cumsum(1) - 1, count).clamp(max=count)
    ids = torch.full((len(used), count + 1), -1, dtype=torch.int64, device=used.device)
    kept = weights.new_zeros(ids.shape)
    ids.scatter_(1, place, order.expand_as(place))
    kept.scatter_(1, place, weights.detach())
    return ids[:, :count].int().view(*size, count), kept[:, :count].view(*size, count)
