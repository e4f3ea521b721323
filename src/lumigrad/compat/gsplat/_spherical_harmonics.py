"""Spherical harmonics with the degree as an argument."""

from __future__ import annotations

from torch import Tensor

from lumigrad.ops import splat
from lumigrad.types import validation as check


def spherical_harmonics(degrees_to_use: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None = None) -> Tensor:
    """Evaluate spherical harmonics up to a degree.

    Args:
        degrees_to_use: 0 to 4.
        dirs: directions [..., 3], of any length.
        coeffs: coefficients [..., K, 3], K at least (degrees_to_use + 1)^2; the rest is not used.
        masks: bool [...]; where False the result is 0.

    Returns:
        [..., 3]; nothing is added and nothing clamped. Gradients reach dirs and coeffs.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.
    """
    coeffs = check.floating("coeffs", coeffs)
    dirs = check.floating("dirs", dirs, coeffs, "coeffs")
    used = coefficients_of(degrees_to_use, coeffs, "degrees_to_use", "coeffs")
    if dirs.shape[-1:] != (3,) or dirs.shape[:-1] != coeffs.shape[:-2]:
        raise ValueError(f"dirs: expected shape {[*coeffs.shape[:-2], 3]}, got {tuple(dirs.shape)}")
    colors = splat.spherical_harmonics(used.flatten(0, -3), dirs.reshape(-1, 3)).view(*dirs.shape[:-1], -1)
    if masks is None:
        return colors
    check.tensor("masks", masks)
    check.shape("masks", masks, dirs.shape[:-1])
    return colors.where(masks[..., None], 0)


def coefficients_of(degree: int, coeffs: Tensor, degree_name: str, name: str) -> Tensor:
    """The coefficients up to a degree, [..., (degree + 1)^2, C]."""
    if isinstance(degree, bool) or not isinstance(degree, int) or not 0 <= degree <= 4:
        raise ValueError(f"{degree_name}: expected an integer from 0 to 4, got {degree!r}")
    count = (degree + 1) ** 2
    if coeffs.dim() < 3 or coeffs.shape[-2] < count:
        raise ValueError(
            f"{name}: expected shape [..., N, K, C] with K at least {count} for degree {degree}, "
            f"got {tuple(coeffs.shape)}"
        )
    return coeffs[..., :count, :]
