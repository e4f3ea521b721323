"""Blending in which every pixel's surfaces spread over the pixels around, which gives silhouettes gradients.

Source: Cole et al. 2021, "Differentiable Surface Rendering via Non-Differentiable Sampling", section 3.3.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.blending import background_color_of

EXCESS = 0.05  # so that the sum of weights inside a surface exceeds 1, and its gradient passes


class SplatterBlender(torch.nn.Module):
    """Blends the K surfaces of each pixel.

    Args:
        input_shape: (N, H, W, K), not looked at.
        device: not looked at.
    """

    def __init__(self, input_shape: Any = None, device: Any = None) -> None:
        super().__init__()

    def forward(
        self, colors: Tensor, pixel_coords_cameras: Tensor, cameras: Any, background_mask: Tensor, blend_params: Any
    ) -> Tensor:
        """Images [N, H, W, C + 1], the last channel alpha.

        Args:
            colors: of the surfaces, [N, H, W, K, C].
            pixel_coords_cameras: their places [N, H, W, K, 3], interpolated from the vertices, which gradients reach.
            cameras: that the image is seen with.
            background_mask: where there is no surface, bool [N, H, W, K].
            blend_params: `sigma` is the width in pixels.
        """
        count, height, width, faces, channels = colors.shape
        places = cameras.transform_points_screen(
            pixel_coords_cameras.reshape(count, -1, 3), image_size=(height, width), with_xyflip=False
        ).reshape(pixel_coords_cameras.shape)
        places = torch.where(background_mask[..., None], torch.ones_like(places), places)
        opaque = torch.cat((colors, torch.ones_like(colors[..., :1])), -1)
        opaque = torch.where(background_mask[..., None], torch.zeros_like(opaque), opaque)
        layers = _same_surface(places[..., 2])
        splats = _shifted(_splats(places[..., :2], opaque, blend_params.sigma))
        sums = _by_layer(layers, splats, faces)
        background = torch.cat((background_color_of(blend_params, colors), colors.new_zeros(1)))
        return _composed(background, sums, channels)


def _directions(like: Tensor) -> Tensor:
    """The nine neighbours (x, y)."""
    return like.new_tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=2)))


def _splats(places: Tensor, colors: Tensor, sigma: float) -> Tensor:
    """Weighted colours and weights [N, H, W, K, 9, C + 2] that each pixel gives its neighbours."""
    if sigma <= 0:
        raise ValueError(f"sigma: only positive standard deviations make sense, got {sigma}")
    directions = _directions(colors)
    scale = (1 + EXCESS) / torch.exp(-directions.square().sum(1) / (2 * sigma**2)).sum()
    # Zero but for its gradient: surfaces are seen at the centres of pixels.
    offset = (places.detach().floor() - places + 0.5)[..., None, :] + directions
    weights = torch.exp(-offset.square().sum(-1) / (2 * sigma**2)) * scale * colors[..., -1:]
    weights = weights[..., None]
    return torch.cat((weights * colors[..., None, :], weights), -1)


def _shifted(splats: Tensor) -> Tensor:
    """What each pixel gets from its nine neighbours, in the same shape; nothing from beyond the image."""
    height, width = splats.shape[1:3]
    padded = F.pad(splats, (0, 0, 0, 0, 0, 0, 1, 1, 1, 1))
    received = [
        padded[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width, :, k]
        for k, (x, y) in enumerate(itertools.product((-1, 0, 1), repeat=2))
    ]
    return torch.stack(received, 4)


def _same_surface(depth: Tensor) -> Tensor:
    """Which layer of each neighbour continues the pixel's nearest surface, [N, H, W, 9].

    Negative where the neighbour's nearest surface continues a farther one of the pixel.
    """
    count, height, width, faces = depth.shape
    own = depth.permute(0, 3, 1, 2)
    around = F.unfold(own, kernel_size=3, padding=1).reshape(count, faces, 3, 3, height, width)
    around = around.transpose(2, 3).reshape(count, faces, 9, height, width)  # x outermost, like the directions
    own = own[:, :, None]
    theirs, their_layer = (around - own[:, :1]).abs().min(1)
    mine, my_layer = (around[:, :1] - own).abs().min(1)
    return torch.where(mine < theirs, -my_layer, their_layer).permute(0, 2, 3, 1)


def _by_layer(layers: Tensor, splats: Tensor, faces: int) -> Tensor:
    """Sums [N, H, W, C + 2, 3] of what comes from the foreground, from the same surface, and from behind."""
    number = torch.arange(faces, device=layers.device)[:, None]
    same = layers[..., None, :]
    masks = torch.stack((same > number, same == number, same < number), -1).to(splats.dtype)
    count, height, width, _, _, size = splats.shape
    flat = splats.permute(0, 1, 2, 5, 3, 4).reshape(-1, size, faces * 9)
    return (flat @ masks.reshape(-1, faces * 9, 3)).reshape(count, height, width, size, 3)


def _composed(background: Tensor, sums: Tensor, channels: int) -> Tensor:
    """The three sums, normalised, one over the other."""
    layers = sums[..., : channels + 1, :] / sums[..., channels + 1 :, :].clamp(min=1)
    out = background.expand(layers.shape[:-1])
    for k in (2, 1, 0):
        layer = layers[..., k]
        out = layer + (1 - layer[..., channels:]) * out
    return out
