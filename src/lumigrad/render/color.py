"""Tone mappings: from linear light to displayed colours."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lumigrad.scene.color import srgb_decode as srgb_decode
from lumigrad.scene.color import srgb_encode as srgb_encode
from lumigrad.types.shapes import Float


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
