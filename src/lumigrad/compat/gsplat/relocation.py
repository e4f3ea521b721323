"""How Gaussians share the place of one."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_relocation(
    opacities: Tensor, scales: Tensor, ratios: Tensor, binoms: Tensor, min_opacity: float = 0.005
) -> tuple[Tensor, Tensor]:
    """Opacities and scales of equal Gaussians that together look like one.

    Args:
        opacities: of the one [N]. scales: [N, 3]. ratios: how many they are [N], held to the size of `binoms`.
        binoms: n over k [n_max, n_max].
        min_opacity: no result is fainter.

    Returns:
        Opacities [N] and scales [N, 3].

    Source: Kheradmand et al. 2024, "3D Gaussian splatting as Markov chain Monte Carlo", equation 9.
    """
    parts = ratios.clamp(min=1, max=len(binoms)).long()
    new = 1 - (1 - opacities) ** (1 / parts)
    new = new.clamp(min=min_opacity, max=1 - torch.finfo(opacities.dtype).eps)
    order = torch.arange(int(parts.max()) if len(parts) else 0, device=opacities.device)
    # The table of n over k is summed over n < parts first; the rest is a polynomial in the opacity.
    sums = torch.cat((torch.zeros_like(binoms[:1]), binoms)).double().cumsum(0)[parts][:, : len(order)]
    terms = (-1.0) ** order * new.double()[:, None] ** (order + 1) / (order + 1).double().sqrt()
    return new, scales * (opacities.double() / (sums * terms).sum(-1)).to(scales.dtype)[:, None]
