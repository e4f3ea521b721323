"""An image and its mesh: the arguments shared by antialiasing and the gradient methods."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad.ops.surface._interpolate import check_fragments
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments


def check_image(
    color: Any, frags: Any, pos: Any, tri: Any
) -> tuple[torch.Tensor, Fragments, torch.Tensor, torch.Tensor]:
    """An image [N, H, W, C], its fragments, and the geometry [N, V, 4] or [V, 4], [T, 3]; checked."""
    frags = check_fragments(frags)
    color = check.floating("color", color, frags.bary, "frags.bary")
    pos = check.floating("pos", pos, color, "color")
    tri = check.triangles(tri, color.device)
    views, height, width = frags.tri.shape
    check.shape("color", color, (views, height, width, "C"))
    check.shape("pos", pos, (views, "V", 4) if pos.dim() == 3 else ("V", 4))
    return color, frags, pos, tri


# The arguments of the C functions that describe an image and its geometry.
IMAGE_SIZES = "shared_positions views vertices triangles height width channels"


def image_sizes(color: torch.Tensor, pos: torch.Tensor, tri: torch.Tensor) -> tuple[int, ...]:
    """IMAGE_SIZES"""
    views, height, width, channels = color.shape
    return pos.dim() == 2, views, pos.shape[-2], tri.shape[0], height, width, channels
