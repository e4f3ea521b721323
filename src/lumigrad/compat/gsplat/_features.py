"""What Gaussians show: colours and other features, from harmonics if there is a degree."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.compat.gsplat._arguments import merged
from lumigrad.compat.gsplat._spherical_harmonics import coefficients_of, eyes_of
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.types import validation as check


def features_of(
    colors: Tensor | None,
    sh_degree: int | None,
    signals: Tensor | None,
    signals_degree: int | None,
    backgrounds: Tensor | None,
    means: Tensor,
    viewmats: Tensor,
) -> tuple[Tensor, Tensor | None, int]:
    """Features [N, D + E] or [B * C, N, D + E], their background [B * C, D + E], and E, the number of signals."""
    parts = []
    if colors is not None:
        parts.append(evaluated("colors", colors, sh_degree, "sh_degree", means, viewmats, floor=0.0))
    if signals is not None:
        name = "extra_signals_sh_degree"
        parts.append(evaluated("extra_signals", signals, signals_degree, name, means, viewmats, floor=None))
    views = viewmats.shape[:-2].numel()
    if len({part.dim() for part in parts}) > 1:
        parts = [part if part.dim() == 3 else part.expand(views, -1, -1) for part in parts]
    features = torch.cat(parts, -1) if parts else means.new_zeros(means.shape[-2], 0)
    extra = parts[-1].shape[-1] if signals is not None else 0
    if backgrounds is None or colors is None:
        return features, None, extra
    backgrounds = check.floating("backgrounds", backgrounds, means, "means")
    check.shape("backgrounds", backgrounds, (*viewmats.shape[:-2], features.shape[-1] - extra))
    backgrounds = backgrounds.reshape(views, -1)
    return features, torch.cat((backgrounds, backgrounds.new_zeros(views, extra)), -1), extra


def evaluated(
    name: str, values: Tensor, degree: int | None, degree_name: str, means: Tensor, viewmats: Tensor,
    floor: float | None,
) -> Tensor:  # fmt: skip
    """Features [N, D], or [B * C, N, D] if they differ between images; those from harmonics not below `floor`."""
    values = check.floating(name, values, means, "means")
    batch, count, cameras = tuple(means.shape[:-2]), means.shape[-2], viewmats.shape[-3]
    inner = 1 if degree is None else 2
    leading, known = tuple(values.shape[:-inner]), [(*batch, count), (*batch, cameras, count)]
    if degree is not None:
        known = [(count,), *known]
    if leading not in known:
        tail = "D]" if degree is None else "K, D]"
        wanted = " or ".join(f"[{', '.join(map(str, shape))}, {tail}" for shape in known)
        raise ValueError(f"{name}: expected shape {wanted}, got {tuple(values.shape)}")
    if leading == (*batch, count) and batch:
        values = values.unsqueeze(len(batch))
    if degree is None:
        same = leading == (count,)
        return values if same else merged(values.expand(*batch, cameras, count, -1), 2)
    used = coefficients_of(degree, values, degree_name, name)
    directions = finite_rows(means)[..., None, :, :] - eyes_of(viewmats)[..., None, :]
    colors = merged(reference.spherical_harmonics(used, directions), 2) + 0.5
    return colors if floor is None else colors.clamp(min=floor)
