"""Points of a pixel mixed to one colour."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer.compositing import alpha_composite, norm_weighted_sum


class _Compositor(nn.Module):
    """Mixes, then gives pixels without points the background's colour, where there is one.

    Args:
        background_color: [C], [C - 1] (opaque) or a number; may come with the call instead.
    """

    def __init__(self, background_color: Any = None) -> None:
        super().__init__()
        self.background_color = background_color

    def _mix(self, idx: Tensor, weights: Tensor, features: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, fragments: Tensor, alphas: Tensor, ptclds: Tensor, **kwargs: Any) -> Tensor:
        """Images [N, C, H, W] of points [N, K, H, W], their weights [N, K, H, W] and features [C, P]."""
        color = kwargs.get("background_color", self.background_color)
        images = self._mix(fragments, alphas, ptclds)
        return images if color is None else _add_background_color_to_images(fragments, images, color)


class AlphaCompositor(_Compositor):
    """Each point over those behind it."""

    def _mix(self, idx: Tensor, weights: Tensor, features: Tensor) -> Tensor:
        return alpha_composite(idx, weights, features)


class NormWeightedCompositor(_Compositor):
    """The weighted mean."""

    def _mix(self, idx: Tensor, weights: Tensor, features: Tensor) -> Tensor:
        return norm_weighted_sum(idx, weights, features)


def _add_background_color_to_images(pix_idxs: Tensor, images: Tensor, background_color: Any) -> Tensor:
    """Images [N, C, H, W] with a colour where there is no point.

    Raises:
        ValueError: another number of channels.
    """
    color = torch.as_tensor(background_color, dtype=images.dtype, device=images.device)
    channels = images.shape[1]
    color = color.expand(channels) if color.ndim == 0 else color
    if color.ndim > 1:
        raise ValueError(f"Wrong shape of background_color: expected [{channels}], got {tuple(color.shape)}")
    if len(color) + 1 == channels:
        color = torch.cat((color, color.new_ones(1)))
    if len(color) != channels:
        raise ValueError(f"Background color has {len(color)} channels not {channels}")
    return torch.where(pix_idxs[:, :1] < 0, color[:, None, None], images)
