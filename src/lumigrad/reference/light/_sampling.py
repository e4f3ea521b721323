"""Selection probabilities of lights, as cumulative sums from 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# The fraction of light sampled uniformly: light that interpolation brings into black texels must be sampled too.
EVERYWHERE = 0.01


def sums_of(weights: Tensor) -> Tensor:
    """Cumulative probabilities [..., N + 1] of non-negative weights [..., N]; uniform where all weights are 0."""
    weights = weights.double()
    total = weights.sum(-1, keepdim=True)
    usable = (total > 0) & total.isfinite()
    share = torch.where(usable, weights / torch.where(usable, total, 1), 1 / weights.shape[-1])
    sums = functional.pad(share.cumsum(-1), (1, 0)).clamp(0, 1)
    sums[..., -1] = 1
    return sums


@torch.no_grad()
def environment_sums(cube: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative probabilities of the rows [6 S + 1] of a cube map [6, S, S, 3], and of each row's texels [6 S, S + 1].

    A texel's weight is its solid angle times the mean radiance of its interpolation with its neighbours on the face.
    """
    side = cube.shape[1]
    light = cube.double().mean(-1).clamp_min(0).nan_to_num(0, 0, 0)
    padded = functional.pad(light[:, None], (1, 1, 1, 1), mode="replicate")
    kernel = light.new_tensor([1.0, 6.0, 1.0]) / 8
    light = functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])[:, 0]
    light = light + EVERYWHERE * light.mean()
    weights = (light * solid_angles(side, light)).reshape(6 * side, side)
    return sums_of(weights.sum(-1)).to(cube.dtype), sums_of(weights).to(cube.dtype)


def identity(like: Tensor) -> Tensor:
    """The identity rotation [3, 3]."""
    return torch.eye(3, dtype=like.dtype, device=like.device)


def solid_angles(side: int, like: Tensor) -> Tensor:
    """The solid angles of the texels of a face [S, S]."""
    edge = 2 * torch.arange(side + 1, dtype=torch.float64, device=like.device) / side - 1
    s, t = edge[None], edge[:, None]
    corner = torch.atan(s * t / (1 + s * s + t * t).sqrt())
    return corner.diff(dim=0).diff(dim=1)


@torch.no_grad()
def emitters(positions: Tensor, tri: Tensor, emission: Tensor, face_materials: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The emitting triangles [E], cumulative sums of their probabilities [E + 1], and each triangle's number among them
    [F] or -1.

    Probabilities are in proportion to a triangle's area and the mean of its material's emission [M, 3]. Triangles with
    indices out of range, which are not checked for tensors on a device, do not emit.
    """
    whole = ((tri >= 0) & (tri < len(positions))).all(-1) & (face_materials >= 0) & (face_materials < len(emission))
    rows = whole.nonzero()[:, 0]
    a, b, c = positions.double()[tri[rows].long()].unbind(1)
    area = 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=-1).nan_to_num(0, 0, 0)
    brightness = emission.double().clamp_min(0).mean(-1).nan_to_num(0, 0, 0)[face_materials[rows].long()]
    power = area.new_zeros(len(tri)).index_copy(0, rows, area * brightness)
    faces = power.nonzero()[:, 0]
    numbers = torch.full_like(face_materials, -1, dtype=torch.int32)
    numbers[faces] = torch.arange(len(faces), dtype=torch.int32, device=tri.device)
    sums = sums_of(power[faces]) if len(faces) else power.new_zeros(1)
    return faces.to(torch.int32), sums.to(positions.dtype), numbers


def mean_emission(materials: Tensor, kinds: Tensor, textures: list[Tensor]) -> Tensor:
    """The mean emission of materials [M, 3]: their emission times the mean of its texture."""
    emission = materials[:, 9:12].detach().clone()
    for row, texture in enumerate(kinds[:, 4].tolist()):
        if 0 <= texture < len(textures):
            emission[row] *= textures[texture].detach().mean((0, 1)).to(emission)
    return emission
