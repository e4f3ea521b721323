"""Spherical harmonics as gsplat 0.1 has them."""

from __future__ import annotations

from torch import Tensor

from lumigrad.compat.gsplat import _spherical_harmonics


def num_sh_bases(degree: int) -> int:
    """How many functions there are up to a degree, of 4 at most."""
    return (min(degree, 4) + 1) ** 2


def deg_from_sh(num_bases: int) -> int:
    """The degree up to which there are so many functions.

    Raises:
        ValueError: another number than 1, 4, 9, 16, 25.
    """
    degrees = {num_sh_bases(degree): degree for degree in range(5)}
    if num_bases not in degrees:
        raise ValueError(f"num_bases: expected one of {list(degrees)}, got {num_bases}")
    return degrees[num_bases]


def spherical_harmonics(degrees_to_use: int, viewdirs: Tensor, coeffs: Tensor, method: str = "fast") -> Tensor:
    """Colours [..., C] of coefficients [..., K, C] seen along directions [..., 3], of any length.

    Args:
        degrees_to_use: 0 to 4.
        viewdirs: from the camera to the Gaussians.
        coeffs: of which the first (degrees_to_use + 1)^2 count.
        method: "fast" or "poly"; both are the same here.

    Raises:
        ValueError: wrong shapes or another method.
    """
    if method not in ("fast", "poly"):
        raise ValueError(f"method: expected 'fast' or 'poly', got {method!r}")
    return _spherical_harmonics.spherical_harmonics(degrees_to_use, coeffs=coeffs, dirs=viewdirs)


class SphericalHarmonics:
    """`spherical_harmonics` as older programs call it."""

    apply = staticmethod(spherical_harmonics)


_SphericalHarmonics = SphericalHarmonics
