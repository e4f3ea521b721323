"""Samples of all rays, packed one ray after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types import RaySamples
from lumigrad.types.validation import integer, integral


def pack_info(ray_indices: Tensor, n_rays: int | None = None) -> Tensor:
    """(first sample, number of samples) of each ray [R, 2].

    Args:
        ray_indices: the ray of each sample [S], in ascending order.
        n_rays: R; one more than the last ray by default.

    Raises:
        ValueError: rays that are not in order, or beyond `n_rays`.
    """
    first = _offsets(ray_indices, n_rays)
    return torch.stack((first[:-1], first.diff()), 1).to(ray_indices.dtype)


def ray_samples(t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor | None, n_rays: int | None) -> RaySamples:
    """Samples of this library, of batched [..., P] or packed [S] ones. Arguments as of `pack_info`.

    Raises:
        ValueError: shapes that do not fit, and what `pack_info` raises.
    """
    if ray_indices is None:
        count = t_starts.shape[-1]
        offsets = count * torch.arange(t_starts.shape[:-1].numel() + 1, device=t_starts.device)
    elif integral("ray_indices", ray_indices).shape != t_starts.shape or t_starts.ndim != 1:
        raise ValueError(f"ray_indices: expected packed samples {list(t_starts.shape)}, got {list(ray_indices.shape)}")
    else:
        offsets = _offsets(ray_indices, n_rays)
    return RaySamples(t_starts.reshape(-1), t_ends.reshape(-1), offsets)


def _offsets(ray_indices: Tensor, n_rays: int | None) -> Tensor:
    """Where each ray's samples begin, and the last one's end [R + 1]."""
    if integral("ray_indices", ray_indices).ndim != 1:
        raise ValueError(f"ray_indices: expected integers [S], got {ray_indices.dtype} {list(ray_indices.shape)}")
    check_order(ray_indices)
    last = int(ray_indices[-1]) if len(ray_indices) else -1
    n_rays = last + 1 if n_rays is None else integer("n_rays", n_rays, 0)
    if last >= n_rays or (len(ray_indices) and int(ray_indices[0]) < 0):
        raise ValueError(f"ray_indices: expected rays from 0 to {n_rays - 1}, got {int(ray_indices[0])} to {last}")
    count = torch.bincount(ray_indices.long(), minlength=n_rays)
    return torch.cat((count.new_zeros(1), count.cumsum(0)))


def check_order(ray_indices: Tensor) -> None:
    """Raise ValueError unless rays are in ascending order."""
    if bool((ray_indices[1:] < ray_indices[:-1]).any()):
        raise ValueError("ray_indices: expected them in ascending order")


def first_of_ray(values: Tensor, packed_info: Tensor | None, ray_indices: Tensor | None) -> Tensor:
    """The first sample of the ray of each packed sample [S].

    Raises:
        ValueError: samples, rays and `packed_info` that do not fit.
    """
    if values.ndim != 1:
        raise ValueError(f"packed samples: expected shape [S], got {list(values.shape)}")
    if ray_indices is not None:
        if ray_indices.shape != values.shape:
            raise ValueError(f"ray_indices: expected shape {list(values.shape)}, got {list(ray_indices.shape)}")
        check_order(ray_indices)
        return torch.searchsorted(ray_indices.contiguous(), ray_indices.contiguous())
    assert packed_info is not None
    first, count = packed_info.long().unbind(-1)
    if int(count.sum()) != len(values):
        raise ValueError(f"packed_info: expected {len(values)} samples, got {int(count.sum())}")
    return first.repeat_interleave(count)
