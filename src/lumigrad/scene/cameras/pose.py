"""Camera poses: world-to-camera matrices.

Camera space is OpenGL's: x right, y up, looking along -z. Matrices act on column vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.types.shapes import Float
from lumigrad.types.validation import values_can_be_checked

Vector = Tensor | Sequence[float]
Scalar = Tensor | float


def as_float(value: object, name: str, like: Tensor | None = None) -> Tensor:
    """`value` as a floating tensor; numbers get the dtype and device of `like`."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    dtype = torch.get_default_dtype() if like is None else like.dtype
    device = None if like is None else like.device
    try:
        return torch.as_tensor(value, dtype=dtype, device=device)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers or a tensor, got {type(value).__name__}") from error


def look_at(eye: Vector, target: Vector = (0.0, 0.0, 0.0), up: Vector = (0.0, 1.0, 0.0)) -> Float[Tensor, "... 4 4"]:
    """World-to-camera matrix of a camera at `eye` that looks at `target`.

    Args:
        eye, target, up: [..., 3], broadcast against each other, world units. Where `up` is parallel to the
            viewing direction, the world axis least parallel to it takes its place.

    Returns:
        [..., 4, 4], differentiable in eye and target.

    Raises:
        ValueError: a last dimension other than 3, or an eye that coincides with its target.

    >>> from lumigrad.scene import look_at
    >>> look_at(eye=(0.0, 0.0, 3.0))
    tensor([[ 1.,  0.,  0.,  0.],
            [ 0.,  1.,  0.,  0.],
            [ 0.,  0.,  1., -3.],
            [ 0.,  0.,  0.,  1.]])
    """
    at = as_float(eye, "eye")
    vectors = [at, as_float(target, "target", at).to(at), as_float(up, "up", at).to(at)]
    for name, value in zip(("eye", "target", "up"), vectors, strict=True):
        if value.ndim == 0 or value.shape[-1] != 3:
            raise ValueError(f"{name}: expected shape [..., 3], got {list(value.shape)}")
    centre, goal, upwards = torch.broadcast_tensors(*vectors)
    back = centre - goal
    length = back.norm(dim=-1, keepdim=True)
    if values_can_be_checked() and bool((length == 0).any()):
        raise ValueError("eye: coincides with target, the viewing direction is undefined")
    back = back / length
    shortest = torch.finfo(upwards.dtype).tiny
    upwards = upwards / upwards.norm(dim=-1, keepdim=True).clamp_min(shortest)
    parallel = torch.linalg.cross(upwards, back).norm(dim=-1, keepdim=True) < 1e-6
    least = back.detach().abs().argmin(dim=-1, keepdim=True)
    axis = (torch.arange(3, device=back.device) == least).to(back.dtype)
    right = torch.linalg.cross(torch.where(parallel, axis, upwards), back)
    right = right / right.norm(dim=-1, keepdim=True)
    rotation = torch.stack([right, torch.linalg.cross(back, right), back], dim=-2)
    upper = torch.cat([rotation, -rotation @ centre[..., None]], dim=-1)
    return homogeneous(upper)


def homogeneous(upper: Float[Tensor, "*batch 3 4"]) -> Float[Tensor, "*batch 4 4"]:
    """[..., 3, 4] with the row (0, 0, 0, 1) below it, [..., 4, 4]."""
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=upper.dtype, device=upper.device)
    return torch.cat([upper, last.expand(*upper.shape[:-2], 1, 4)], dim=-2)


def affine_inverse(matrix: Float[Tensor, "*batch _ 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of an affine map [..., 4, 4], by cross products; infinite where it is singular."""
    a, b, c = matrix[..., :3, :3].unbind(-2)
    adjugate = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-1)
    inverse = adjugate / (a * adjugate[..., 0]).sum(-1)[..., None, None]
    return homogeneous(torch.cat([inverse, -inverse @ matrix[..., :3, 3:]], dim=-1))


def orbit_view(
    azimuth: Scalar, elevation: Scalar, distance: Scalar, target: Vector = (0.0, 0.0, 0.0)
) -> Float[Tensor, "... 4 4"]:
    """World-to-camera matrix of a camera on a sphere around `target` that looks at it, y up.

    Args:
        azimuth: degrees; 0 looks from +z, 90 from +x.
        elevation: degrees above the xz plane; 90 looks down from +y.
        distance: from the target, world units.
        target: [..., 3].

    Returns:
        [..., 4, 4], differentiable in all arguments, which broadcast against each other.

    >>> import torch
    >>> from lumigrad.scene import orbit_view
    >>> views = orbit_view(azimuth=torch.tensor([0.0, 90.0]), elevation=0.0, distance=3.0)
    >>> views.shape
    torch.Size([2, 4, 4])
    >>> views.inverse()[:, :3, 3].round(decimals=4) + 0.0  # positions: on +z, on +x
    tensor([[0., 0., 3.],
            [3., 0., 0.]])
    """
    angles = as_float(azimuth, "azimuth")
    azim, elev, dist = torch.broadcast_tensors(
        angles * (math.pi / 180),
        as_float(elevation, "elevation", angles).to(angles) * (math.pi / 180),
        as_float(distance, "distance", angles).to(angles),
    )
    direction = torch.stack([elev.cos() * azim.sin(), elev.sin(), elev.cos() * azim.cos()], dim=-1)
    # At the poles y is no use as up; there the horizontal axis that points away from the azimuth
    # continues the views nearby without a jump.
    pole = (elev.cos().abs() < 1e-4)[..., None]
    outward = torch.stack([azim.sin(), torch.zeros_like(azim), azim.cos()], dim=-1)
    up = torch.where(pole, -outward * torch.sign(elev)[..., None], direction.new_tensor([0.0, 1.0, 0.0]))
    centre = as_float(target, "target", angles).to(angles)
    return look_at(centre + dist[..., None] * direction, centre, up)
