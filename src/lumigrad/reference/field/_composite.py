"""Emission and absorption of packed samples, defined in plain PyTorch."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from lumigrad.types import Composited, RaySamples


def composite(
    samples: RaySamples, density: Tensor, features: Tensor, background: Tensor | None = None, mode: str = "density"
) -> Composited:
    """Arguments and result: `lumigrad.composite`."""
    bounds = samples.offsets.tolist()
    norms = torch.ones(len(bounds) - 1).to(density) if samples.norms is None else samples.norms
    colors, alphas, depths, weights = [], [], [], []
    for ray, (begin, end) in enumerate(itertools.pairwise(bounds)):
        t_start, t_end = samples.t_start[begin:end], samples.t_end[begin:end]
        if mode == "density":
            absorbed = -torch.expm1(-density[begin:end] * norms[ray] * (t_end - t_start))
        else:
            absorbed = density[begin:end]
        passed = functional.pad(torch.cumprod(1 - absorbed, 0), (1, 0), value=1.0)
        weight = passed[:-1] * absorbed
        colors.append((weight[:, None] * features[begin:end]).sum(0))
        alphas.append(1 - passed[-1])
        depths.append((weight * 0.5 * (t_start + t_end)).sum())
        weights.append(weight)
    color = torch.stack(colors) if colors else features.new_zeros(0, features.shape[-1])
    alpha, depth = (torch.stack(v) if v else density.new_zeros(0) for v in (alphas, depths))
    if background is not None:
        color = color + (1 - alpha)[:, None] * background
    return Composited(color, alpha, depth, torch.cat(weights) if weights else density.new_zeros(0))
