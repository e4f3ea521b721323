"""Packed samples, and as many for each ray."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc import pack


def pack_data(data: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The samples [S, D] of data [R, P, D] where a mask [R, P] is, and (first, count) of each ray, int32 [R, 2]."""
    if data.ndim != 3 or mask.shape != data.shape[:2]:
        got = f"{list(data.shape)}, {list(mask.shape)}"
        raise ValueError(f"data, mask: expected shapes [R, P, D] and [R, P], got {got}")
    counts = mask.sum(1, dtype=torch.int32)
    return data[mask], torch.stack((counts.cumsum(0, dtype=torch.int32) - counts, counts), 1)


def pack_info(ray_indices: Tensor, n_rays: int | None = None) -> Tensor:
    """(first, count) of each ray, int32 [R, 2], of the ray of each sample [S], ascending."""
    if n_rays is None:
        n_rays = int(ray_indices.max()) + 1 if len(ray_indices) else 0
    return pack.pack_info(ray_indices, n_rays).int()


def unpack_info(packed_info: Tensor, n_samples: int | None = None) -> Tensor:
    """The ray of each sample [S], int64, of (first, count) [R, 2]."""
    return torch.arange(len(packed_info), device=packed_info.device).repeat_interleave(packed_info[:, 1].long())


unpack_to_ray_indices = unpack_info


def unpack_data(packed_info: Tensor, data: Tensor, n_samples: int | None = None) -> Tensor:
    """Samples [S, D] as [R, n_samples, D], filled up with 0 and cut off; of the longest ray by default."""
    counts = packed_info[:, 1].long()
    most = (int(counts.max()) if len(counts) else 0) if n_samples is None else n_samples
    place = torch.arange(most, device=data.device)
    there = place < counts[:, None]
    rows = torch.where(there, packed_info[:, :1].long() + place, 0)
    if not len(data):
        return data.new_zeros((*rows.shape, data.shape[1]))
    return torch.where(there[..., None], data[rows], 0)
