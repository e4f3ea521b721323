"""Mip levels of a texture, defined in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def build_mips(tex: Tensor, max_level: int | None = None, cube: bool = False) -> list[Tensor]:
    """The mip levels of a texture, each averaging the one before with a box filter.

    Along an axis n texels become floor(n/2), each the average of what it covers: with n = 2m two whole
    texels, with n = 2m + 1 the parts (m-i)/n, m/n and (i+1)/n of texels 2i, 2i+1 and 2i+2 (Guthe & Heckbert
    2005). A side of 1 stays 1.

    Args:
        tex: textures [N, H, W, C], or cube maps [N, 6, S, S, C] with ``cube``, float32 or float64.
        max_level: the coarsest level to build, by default the first with one texel (per face).
        cube: whether ``tex`` holds cube maps.

    Returns:
        Levels 1, 2, ...; the base is not among them.

    Raises:
        TypeError, ValueError: an argument has the wrong type, shape or range.
    """
    if not isinstance(tex, Tensor) or tex.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"tex: expected a float32 or float64 tensor, got {getattr(tex, 'dtype', type(tex))}")
    if tex.ndim != (5 if cube else 4) or (cube and (tex.shape[1] != 6 or tex.shape[2] != tex.shape[3])):
        expected = "[N, 6, S, S, C]" if cube else "[N, H, W, C]"
        raise ValueError(f"tex: expected shape {expected}, got {list(tex.shape)}")
    if 0 in tex.shape[-3:-1]:
        raise ValueError(f"tex: expected at least one texel, got {list(tex.shape)}")
    if max_level is not None and max_level < 0:
        raise ValueError(f"max_level: expected at least 0, got {max_level}")
    mips: list[Tensor] = []
    while max(tex.shape[-3:-1]) > 1 and (max_level is None or len(mips) < max_level):
        tex = _halve(_halve(tex, -3), -2)
        mips.append(tex)
    return mips


def _halve(tex: Tensor, axis: int) -> Tensor:
    """Box filter along one axis: texel i of the result is weights[i] @ texels[2i .. 2i+2]."""
    size = tex.shape[axis]
    if size == 1:
        return tex
    half, odd = divmod(size, 2)
    index = torch.arange(half, device=tex.device)
    if odd:
        i = index.to(tex.dtype)
        weights = torch.stack(((half - i) / size, torch.full_like(i, half / size), (i + 1) / size))
    else:
        weights = tex.new_full((2, half), 0.5)
    shape = [1] * tex.ndim
    shape[axis] = half
    return sum(w.view(shape) * tex.index_select(axis, 2 * index + k) for k, w in enumerate(weights))
