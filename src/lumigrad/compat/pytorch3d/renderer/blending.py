"""PyTorch3D's blending of a pixel's faces into one colour, on :mod:`lumigrad.blending`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.soft import blending
from lumigrad.types.fragments import SoftFragments


class BlendParams(NamedTuple):
    """How soft edges (`sigma`, a squared distance) and the order in depth (`gamma`) are, and what is behind all."""

    sigma: float = 1e-4
    gamma: float = 1e-4
    background_color: Tensor | Sequence[float] = (1.0, 1.0, 1.0)


def _soft(fragments: Any, zbuf: Tensor) -> SoftFragments:
    """Fragments for blending, which takes no weights of corners: callers leave empty there what they do not have."""
    bary = zbuf.new_zeros(()).expand(*zbuf.shape, 3)
    return SoftFragments(fragments.pix_to_face.int(), zbuf, fragments.dists.to(zbuf), bary)


def background_color_of(blend_params: BlendParams, colors: Tensor) -> Tensor:
    """The background's colour [C], of the colours' type. Not in PyTorch3D."""
    return torch.as_tensor(blend_params.background_color, dtype=colors.dtype, device=colors.device)


def hard_rgb_blend(colors: Tensor, fragments: Any, blend_params: BlendParams) -> Tensor:
    """The nearest face's colour, or the background's where alpha is 0. [N, H, W, 4] from [N, H, W, K, 3]."""
    seen = fragments.pix_to_face[..., :1] >= 0
    color = torch.where(seen, colors[..., 0, :], background_color_of(blend_params, colors))
    return torch.cat((color, seen.to(colors.dtype)), -1)


def sigmoid_alpha_blend(colors: Tensor, fragments: Any, blend_params: BlendParams) -> Tensor:
    """The nearest face's colour with the soft silhouette as alpha, [N, H, W, 4] from [N, H, W, K, 3].

    Alpha is 1 - prod(1 - p) with p = sigmoid(-dist / sigma).
    """
    alpha = blending.silhouette(_soft(fragments, fragments.dists), blend_params.sigma)  # of no depth
    return torch.cat((colors[..., 0, :], alpha), -1)


def softmax_rgb_blend(
    colors: Tensor,
    fragments: Any,
    blend_params: BlendParams,
    znear: float | Tensor = 1.0,
    zfar: float | Tensor = 100.0,
) -> Tensor:
    """All faces' colours by distance and depth, [N, H, W, 4] from [N, H, W, K, 3].

    Args:
        colors: of the fragments.
        fragments: of the rasterizer.
        blend_params: see :class:`BlendParams`.
        znear, zfar: numbers or [N]: (zfar - z) / (zfar - znear) is how near a face is.

    Source: Liu et al. 2019, "Soft Rasterizer", section 3.3.
    """
    near, far = (v[:, None, None, None] if isinstance(v, Tensor) and v.ndim == 1 else v for v in (znear, zfar))
    # Lights and textures may be of another type than vertices: the wider one, as in PyTorch's arithmetic.
    dtype = torch.promote_types(colors.dtype, fragments.zbuf.dtype)
    colors, zbuf = colors.to(dtype), fragments.zbuf.to(dtype)
    nearness = ((far - zbuf) / (far - near)).to(dtype)
    return blending.soft_blend(
        colors, _soft(fragments, zbuf), nearness, blend_params.sigma, blend_params.gamma,
        background_color_of(blend_params, colors), "pytorch3d",
    )  # fmt: skip
