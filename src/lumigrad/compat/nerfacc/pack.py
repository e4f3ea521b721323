"""Samples of all rays, packed one ray after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def pack_info(ray_indices: Tensor, n_rays: int | None = None) -> Tensor:
    """(first sample, number of samples) of each ray [R, 2].

    Args:
        ray_indices: the ray of each sample [S], in ascending order.
        n_rays: R; one more than the last ray by default.

    Raises:
        ValueError: rays that are not in order, or beyond `n_rays`.
    """
    if ray_indices.ndim != 1 or ray_indices.is_floating_point():
        raise ValueError(f"ray_indices: expected integers [S], got {ray_indices.dtype} {list(ray_indices.shape)}")
    check_order(ray_indices)
    last = int(ray_indices[-1]) if len(ray_indices) else -1
    n_rays = last + 1 if n_rays is None else n_rays
    if last >= n_rays or (len(ray_indices) and int(ray_indices[0]) < 0):
        raise ValueError(f"ray_indices: expected rays from 0 to {n_rays - 1}, got {int(ray_indices[0])} to {last}")
    count = torch.bincount(ray_indices.long(), minlength=n_rays)
    return torch.stack((count.cumsum(0) - count, count), 1).to(ray_indices.dtype)


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
