"""Samples in proportion to a distribution along rays. Batched intervals; packed ones are refused."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.data_specs import RayIntervals, RaySamples


def searchsorted(
    sorted_sequence: RayIntervals | RaySamples, values: RayIntervals | RaySamples
) -> tuple[Tensor, Tensor]:
    """The neighbours of values along their rays: sequence[left] <= value < sequence[right].

    Args:
        sorted_sequence: ascending [R, P].
        values: [R, Q].

    Returns:
        Numbers of columns [R, Q], left and right; both the same beyond the ends.

    Raises:
        NotImplementedError: packed samples.
    """
    for given in (sorted_sequence, values):
        _check_batched(given)
    right = torch.searchsorted(sorted_sequence.vals.contiguous(), values.vals.contiguous(), right=True)
    last = sorted_sequence.vals.shape[-1] - 1
    return (right - 1).clamp(0, last), right.clamp(0, last)


def importance_sampling(
    intervals: RayIntervals, cdfs: Tensor, n_intervals_per_ray: int | Tensor, stratified: bool = False
) -> tuple[RayIntervals, RaySamples]:
    """Intervals [R, n + 1] about samples [R, n] that are drawn from a distribution along rays.

    Args:
        intervals: edges [R, P + 1].
        cdfs: the distribution up to each edge [R, P + 1].
        n_intervals_per_ray: n. Samples are the quantiles (i + 1/2) / n.
        stratified: draw each quantile from its part of the n.

    Raises:
        NotImplementedError: packed intervals, or different numbers for rays.
        ValueError: shapes that do not fit.
    """
    _check_batched(intervals)
    if isinstance(n_intervals_per_ray, Tensor):
        raise NotImplementedError("n_intervals_per_ray: one number for all rays; different ones are not offered")
    edges = intervals.vals
    if cdfs.shape != edges.shape:
        raise ValueError(f"cdfs: expected shape {list(edges.shape)}, got {list(cdfs.shape)}")
    count = n_intervals_per_ray
    place = torch.arange(count, dtype=cdfs.dtype, device=cdfs.device).expand(*cdfs.shape[:-1], count)
    place = (place + (torch.rand_like(place) if stratified else 0.5)) / count
    quantile = cdfs[..., :1] + place * (cdfs[..., -1:] - cdfs[..., :1])
    right = torch.searchsorted(cdfs.detach().contiguous(), quantile.detach().contiguous(), right=True)
    right = right.clamp(1, cdfs.shape[-1] - 1)
    low, high = cdfs.gather(-1, right - 1), cdfs.gather(-1, right)
    share = torch.where(high > low, high - low, 1.0)
    start, end = edges.gather(-1, right - 1), edges.gather(-1, right)
    samples = start + ((quantile - low) / share).clamp(0, 1) * (end - start)
    return RayIntervals(_edges_about(samples, edges[..., :1], edges[..., -1:])), RaySamples(samples)


def _edges_about(samples: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """The midpoints between samples; the outer ones as far beyond the samples as the first are within, but not out."""
    if samples.shape[-1] == 1:
        return torch.cat((near, far), -1)
    middle = (samples[..., 1:] + samples[..., :-1]) / 2
    first = torch.maximum(2 * samples[..., :1] - middle[..., :1], near)
    last = torch.minimum(2 * samples[..., -1:] - middle[..., -1:], far)
    return torch.cat((first, middle, last), -1)


def _check_batched(given: RayIntervals | RaySamples) -> None:
    if given.packed_info is not None or given.vals.ndim < 2:
        raise NotImplementedError("packed intervals and samples are not offered here: pass them batched, [R, P]")
