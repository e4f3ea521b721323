"""Weights and sums of packed samples of shape [S, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.nerfacc import volrend


def rendering(
    t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor, n_rays: int, rgb_sigma_fn: Callable[..., Any] | None = None,
    rgb_alpha_fn: Callable[..., Any] | None = None, render_bkgd: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Colours [R, 3], opacities [R, 1] and depths [R, 1] (sums of weights times middles) of rays.

    Args:
        t_starts, t_ends: of the samples [S, 1].
        ray_indices: the ray of each [S], ascending.
        n_rays: R.
        rgb_sigma_fn: (t_starts, t_ends, ray_indices) to colours [S, 3] and densities [S, 1].
        rgb_alpha_fn: the same, to colours and opacities.
        render_bkgd: what is behind all samples, [3] or [R, 3].

    Raises:
        ValueError: no function or both, or shapes that do not fit.
    """

    def flat(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if function is None:
            return None

        def call(starts: Tensor, ends: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
            rgbs, values = function(starts[:, None], ends[:, None], ray)
            if values.shape != t_starts.shape:
                shapes = f"expected {list(t_starts.shape)}, got {list(values.shape)}"
                raise ValueError(f"sigmas or alphas must have shape of (N, 1): {shapes}")
            return rgbs, values[:, 0]

        return call

    colors, opacities, depths, _ = volrend.rendering(
        t_starts[:, 0], t_ends[:, 0], ray_indices, n_rays, flat(rgb_sigma_fn), flat(rgb_alpha_fn), render_bkgd,
        expected_depths=False,
    )  # fmt: skip
    return colors, opacities, depths


def accumulate_along_rays(
    weights: Tensor, ray_indices: Tensor, values: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """Weighted sums [R, D] of values [S, D] along rays, or [R, 1] of the weights [S, 1] alone.

    Args:
        weights: [S, 1]. ray_indices: the ray of each sample [S], ascending. values: what is summed.
        n_rays: R; one more than the last ray by default.

    Raises:
        ValueError: shapes that do not fit.
    """
    return volrend.accumulate_along_rays(weights.reshape(-1), values, ray_indices, n_rays)


def render_transmittance_from_density(
    t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, *, packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None, n_rays: int | None = None,
) -> Tensor:  # fmt: skip
    """What of the light behind it each sample lets reach the eye [S, 1].

    Args:
        t_starts, t_ends, sigmas: [S, 1].
        packed_info: (first, count) of each ray [R, 2], or `ray_indices`, the ray of each sample.
        n_rays: not needed.
    """
    _check_rays(packed_info, ray_indices)
    trans, _ = volrend.render_transmittance_from_density(
        t_starts[:, 0], t_ends[:, 0], sigmas.reshape(-1), packed_info, ray_indices
    )
    return trans[:, None]


def render_transmittance_from_alpha(
    alphas: Tensor, *, packed_info: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """The same [S, 1], of opacities [S, 1]."""
    _check_rays(packed_info, ray_indices)
    return volrend.render_transmittance_from_alpha(alphas.reshape(-1), packed_info, ray_indices)[:, None]


def render_weight_from_density(
    t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, *, packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None, n_rays: int | None = None,
) -> Tensor:  # fmt: skip
    """Weights [S, 1]: opacity times transmittance. Arguments of `render_transmittance_from_density`."""
    _check_rays(packed_info, ray_indices)
    return volrend.render_weight_from_density(
        t_starts[:, 0], t_ends[:, 0], sigmas.reshape(-1), packed_info, ray_indices
    )[0][:, None]  # fmt: skip


def render_weight_from_alpha(
    alphas: Tensor, *, packed_info: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """Weights [S, 1] of opacities [S, 1]."""
    _check_rays(packed_info, ray_indices)
    return volrend.render_weight_from_alpha(alphas.reshape(-1), packed_info, ray_indices)[0][:, None]


@torch.no_grad()
def render_visibility(
    alphas: Tensor, *, ray_indices: Tensor | None = None, packed_info: Tensor | None = None, n_rays: int | None = None,
    early_stop_eps: float = 1e-4, alpha_thre: float = 0.0,
) -> Tensor:  # fmt: skip
    """Which samples [S] have a transmittance of `early_stop_eps` and an opacity of `alpha_thre`, or more."""
    _check_rays(packed_info, ray_indices)
    return volrend.render_visibility_from_alpha(
        alphas.reshape(-1), packed_info, ray_indices, early_stop_eps=early_stop_eps, alpha_thre=alpha_thre
    )


def _check_rays(packed_info: Tensor | None, ray_indices: Tensor | None) -> None:
    if packed_info is None and ray_indices is None:
        raise ValueError("Either ray_indices or packed_info should be provided.")
