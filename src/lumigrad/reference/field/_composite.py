"""Emission and absorption of packed samples, defined in plain PyTorch."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from lumigrad.reference._gradients import finite_gradient
from lumigrad.types import Composited, RaySamples


def composite(
    samples: RaySamples, density: Tensor, features: Tensor, background: Tensor | None = None, mode: str = "density"
) -> Composited:
    """Arguments and result: `lumigrad.composite`."""
    bounds = samples.offsets.tolist()
    norms = torch.ones(len(bounds) - 1).to(density) if samples.norms is None else samples.norms
    density, features, norms, start, stop = map(
        finite_gradient, (density, features, norms, samples.t_start, samples.t_end)
    )
    colors, alphas, depths, weights = [], [], [], []
    for ray, (begin, end) in enumerate(itertools.pairwise(bounds)):
        t_start, t_end = start[begin:end], stop[begin:end]
        norm = finite_gradient(norms[ray].expand(end - begin))
        absorbed = _absorbed(density[begin:end], norm, t_end - t_start, mode)
        passed = functional.pad(torch.cumprod(1 - absorbed, 0), (1, 0), value=1.0)
        weight = passed[:-1] * absorbed
        values = torch.cat((features[begin:end], (0.5 * (t_start + t_end))[:, None]), -1)
        values = torch.where((weight == 0)[:, None] & ~values.isfinite(), 0, values)
        sums = (finite_gradient(weight[:, None].expand_as(values)) * values).sum(0)
        colors.append(sums[:-1])
        alphas.append(1 - passed[-1])
        depths.append(sums[-1])
        weights.append(weight)
    color = torch.stack(colors) if colors else features.new_zeros(0, features.shape[-1])
    alpha, depth = (torch.stack(v) if v else density.new_zeros(0) for v in (alphas, depths))
    if background is not None:
        color = color + (1 - alpha)[:, None] * finite_gradient(background)
    return Composited(color, alpha, depth, torch.cat(weights) if weights else density.new_zeros(0))


def _absorbed(density: Tensor, norm: Tensor, length: Tensor, mode: str) -> Tensor:
    """The absorption of samples, zero where it is NaN."""
    if mode == "alpha":
        return torch.where(density.isfinite(), density, 0)
    counts = torch.expm1(-density * norm * length).isfinite()
    density, norm, length = (torch.where(counts, value, 0) for value in (density, norm, finite_gradient(length)))
    return -torch.expm1(-density * norm * length)
