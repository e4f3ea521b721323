"""Space as a unit cube."""

from __future__ import annotations

import enum

import torch
from torch import Tensor

from lumigrad.ops.field import contract as to_ball


class ContractionType(enum.Enum):
    """How a grid covers space: the box alone, or all of space by tanh or by a sphere.

    Source of the sphere: Barron et al. 2022, "Mip-NeRF 360", equation 10.
    """

    AABB = 0
    UN_BOUNDED_TANH = 1
    UN_BOUNDED_SPHERE = 2

    def to_cpp_version(self) -> ContractionType:
        """What programs hand to `nerfacc.cuda`: the same."""
        return self


@torch.no_grad()
def contract(x: Tensor, roi: Tensor, type: ContractionType = ContractionType.AABB) -> Tensor:
    """Points [..., 3] of space in the unit cube; no gradients.

    Args:
        x: points.
        roi: the box, its lower corner and the upper one [6]. It becomes the whole cube, or with the other types
            (about) the middle half of it.
        type: how.
    """
    unit = (x - roi[:3]) / (roi[3:] - roi[:3])
    if type is ContractionType.AABB:
        return unit
    if type is ContractionType.UN_BOUNDED_TANH:
        return torch.tanh(unit - 0.5) / 2 + 0.5
    return to_ball(unit * 2 - 1) / 4 + 0.5


@torch.no_grad()
def contract_inv(x: Tensor, roi: Tensor, type: ContractionType = ContractionType.AABB) -> Tensor:
    """Points of the unit cube in space; arguments of `contract`."""
    if type is ContractionType.UN_BOUNDED_TANH:
        x = torch.atanh(x * 2 - 1).clamp(-1e10, 1e10) + 0.5
    elif type is ContractionType.UN_BOUNDED_SPHERE:
        centred = (x - 0.5) * 4
        length = centred.norm(dim=-1, keepdim=True)
        x = torch.where(length > 1, centred / (length * (2 - length)).clamp(min=1e-10), centred) / 2 + 0.5
    return x * (roi[3:] - roi[:3]) + roi[:3]
