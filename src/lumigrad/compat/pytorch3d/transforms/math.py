# ruff: noqa: RUF005  (torch.jit.script knows no unpacking in tuples)
"""Functions that rotations need."""

import torch

DEFAULT_ACOS_BOUND: float = 1.0 - 1e-4


def acos_linear_extrapolation(
    x: torch.Tensor, bounds: tuple[float, float] = (-DEFAULT_ACOS_BOUND, DEFAULT_ACOS_BOUND)
) -> torch.Tensor:
    """arccos between two bounds, and beyond them its tangents there, so that gradients are finite everywhere.

    Args:
        x: any numbers.
        bounds: within (-1, 1).

    Raises:
        ValueError: bounds in the wrong order or out of range.
    """
    low, high = bounds
    if low > high:
        raise ValueError(f"lower bound has to be smaller or equal to upper bound, got {low} and {high}.")
    if low <= -1.0 or high >= 1.0:
        raise ValueError(f"Both lower bound and upper bound have to be within (-1, 1), got {low} and {high}.")
    inside = x.clamp(low, high)
    slope = -1 / torch.sqrt(1 - inside.detach().square())
    return torch.where(inside == x, inside.acos(), inside.detach().acos() + slope * (x - inside.detach()))


def hat_of(v: torch.Tensor) -> torch.Tensor:
    """Matrices [..., 3, 3] whose products with vectors are the cross products of `v` [..., 3] with them."""
    x, y, z = torch.unbind(v, -1)
    zero = torch.zeros_like(x)
    rows = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
    return rows.reshape(v.shape[:-1] + (3, 3))


def versine_terms(square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """sin(a)/a, (1 - cos a)/a^2 and (a - sin a)/a^3 of squared angles; series where quotients lose digits."""
    small = square < 1e-4
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    half = (angle / 2).sin() / angle
    sine = torch.where(small, 1 - square / 6 + square * square / 120, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24 + square * square / 720, 2 * half * half)
    rest = torch.where(small, 1 / 6 - square / 120 + square * square / 5040, (angle - angle.sin()) / (angle**3))
    return sine, cosine, rest
