"""Real spherical harmonics up to degree 4, defined in plain PyTorch (Sloan 2013, in the field's sign convention)."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.splat._finite import finite_rows


def spherical_harmonics(coefficients: Tensor, directions: Tensor) -> Tensor:
    """sum_k coefficients[..., k, :] Y_k(direction). Arguments and result: `lumigrad.spherical_harmonics`."""
    directions = finite_rows(directions)
    # Relative to their largest component, so that squares neither overflow nor underflow.
    extent = directions.detach().abs().amax(-1, keepdim=True)
    directions = directions / torch.where(extent > 0, extent, 1)
    unit = torch.where(extent > 0, directions / torch.where(extent > 0, directions, 1).norm(dim=-1, keepdim=True), 0)
    return (basis(unit, coefficients.shape[-2])[..., None] * coefficients).sum(-2)


def basis(unit: Tensor, count: int) -> Tensor:
    """The first `count` functions (1, 4, 9, 16 or 25) at unit vectors [..., 3]: [..., count]."""
    x, y, z = unit.unbind(-1)
    one = torch.ones_like(x)
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    values = [
        0.28209479177387814 * one,
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * xy, -1.0925484305920792 * yz, 0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * xz, 0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * xy * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
        2.5033429417967046 * xy * (xx - yy), -1.7701307697799304 * yz * (3 * xx - yy),
        0.9461746957575601 * xy * (7 * zz - 1), -0.6690465435572892 * yz * (7 * zz - 3),
        0.10578554691520431 * (zz * (35 * zz - 30) + 3), -0.6690465435572892 * xz * (7 * zz - 3),
        0.47308734787878004 * (xx - yy) * (7 * zz - 1), -1.7701307697799304 * xz * (xx - 3 * yy),
        0.6258357354491761 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    ]  # fmt: skip
    return torch.stack(values[:count], -1)
