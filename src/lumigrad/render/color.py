"""Between linear light and what displays and image files hold (sRGB)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.types.shapes import Float


def srgb_decode(encoded: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light of display-encoded values; IEC 61966-2-1. Below zero the linear piece goes on."""
    steep = encoded > 0.04045
    curve = ((encoded.where(steep, encoded.new_ones(())) + 0.055) / 1.055) ** 2.4
    return torch.where(steep, curve, encoded / 12.92)


def srgb_encode(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display-encoded values of linear light, the inverse of `srgb_decode`. Nothing is clamped."""
    steep = linear > 0.0031308
    curve = 1.055 * linear.where(steep, linear.new_ones(())) ** (1 / 2.4) - 0.055
    return torch.where(steep, curve, 12.92 * linear)


def reinhard(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """c / (1 + c), display-encoded: all light fits into [0, 1), colours pale. Reinhard et al. 2002, equation 3."""
    bright = linear.clamp_min(0)
    return srgb_encode(bright / (1 + bright))


def filmic(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A film-like curve fitted to ACES, display-encoded: strong contrast, highlights roll off. Narkowicz 2016."""
    c = 0.6 * linear.clamp_min(0)
    return srgb_encode((c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14))


TONE_MAPPINGS: dict[str, Callable[[Tensor], Tensor]] = {"srgb": srgb_encode, "reinhard": reinhard, "filmic": filmic}
ToneMapping = str | Callable[[Tensor], Tensor] | None


def resolve_tone_mapping(tone_mapping: ToneMapping, linear: bool = False) -> Callable[[Tensor], Tensor] | None:
    """A tone mapping as a function, or None for none; "auto" is "srgb" where colours are linear light, otherwise none.

    Raises:
        ValueError: a name that no tone mapping has.
    """
    if tone_mapping == "auto":
        tone_mapping = "srgb" if linear else None
    if tone_mapping is None or callable(tone_mapping):
        return tone_mapping
    if tone_mapping not in TONE_MAPPINGS:
        wanted = ", ".join(TONE_MAPPINGS)
        raise ValueError(f"tone_mapping: expected 'auto', a function, None or one of {wanted}, got {tone_mapping!r}")
    return TONE_MAPPINGS[tone_mapping]
