"""Sums of spherical harmonics: view-dependent colours.

Defined by :func:`lumigrad.reference.spherical_harmonics`, which also serves as the implementation: elementwise
arithmetic that torch does well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float

COUNTS = (1, 4, 9, 16, 25)


def spherical_harmonics(
    coefficients: Float[Tensor, "primitives coefficients channels"],
    directions: Float[Tensor, "views primitives 3"] | Float[Tensor, "primitives 3"],
) -> Float[Tensor, "views primitives channels"] | Float[Tensor, "primitives channels"]:
    """Evaluate real spherical harmonics of degree 0 to 4.

    Args:
        coefficients: [V, K, C], K = (degree + 1)^2 one of 1, 4, 9, 16, 25; in the order and with the signs that
            radiance fields use (the first three of degree 1 go with -y, z, -x).
        directions: [V, 3] or [N, V, 3], of any length. Zero and what is not finite count as no direction: only the
            constant.

    Returns:
        [V, C] or [N, V, C]: the sum of the coefficients times the functions. Gradients reach both.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    Source: Sloan 2013, "Efficient spherical harmonic evaluation".

    >>> import torch
    >>> import lumigrad as lg
    >>> coefficients = torch.zeros(1, 4, 1)
    >>> coefficients[0, 2] = 1.0  # the function that grows with z
    >>> up, down = torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    >>> [round(lg.spherical_harmonics(coefficients, direction).item(), 4) for direction in (up, down)]
    [0.4886, -0.4886]
    """
    coefficients = _check_coefficients("coefficients", check.floating("coefficients", coefficients))
    directions = check.floating("directions", directions, coefficients, "coefficients")
    if directions.dim() not in (2, 3) or tuple(directions.shape[-2:]) != (coefficients.shape[0], 3):
        raise ValueError(
            f"directions: expected shape [{coefficients.shape[0]}, 3] or [N, {coefficients.shape[0]}, 3], "
            f"got {tuple(directions.shape)}"
        )
    return reference.spherical_harmonics(coefficients, directions)


def colors_seen(coefficients: Tensor, positions: Tensor, matrix: Tensor) -> Tensor:
    """The colours [N, V, C] of positions [V, 3] seen by cameras with matrices [N, 4, 4]: the sums plus 0.5, at least
    0."""
    coefficients = _check_coefficients("features", check.floating("features", coefficients, positions, "means"))
    check.shape("features", coefficients, (len(positions), "K", "C"))
    directions = finite_rows(positions) - eyes(matrix)
    return (reference.spherical_harmonics(coefficients, directions) + 0.5).clamp(min=0)


def _check_coefficients(name: str, value: Tensor) -> Tensor:
    check.shape(name, value, ("V", "K", "C"))
    if value.shape[1] not in COUNTS:
        raise ValueError(f"{name}: expected 1, 4, 9, 16 or 25 coefficients, got shape {tuple(value.shape)}")
    return value


def eyes(matrix: Tensor) -> Tensor:
    """The positions of cameras with matrices [N, 4, 4], [N, 1, 3]."""
    # `torch.linalg.inv` would synchronise with the device, to report singular matrices.
    inverse, _ = torch.linalg.inv_ex(matrix, check_errors=matrix.device.type == "cpu")
    return inverse[:, None, :3, 3]
