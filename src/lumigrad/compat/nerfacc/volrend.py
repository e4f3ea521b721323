"""Compositing of samples along rays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.pack import check_order, ray_samples
from lumigrad.compat.nerfacc.scan import exclusive_prod, exclusive_sum
from lumigrad.ops.field import composite
from lumigrad.types.validation import fractional


def rendering(
    t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor | None = None, n_rays: int | None = None,
    rgb_sigma_fn: Callable[..., Any] | None = None, rgb_alpha_fn: Callable[..., Any] | None = None,
    render_bkgd: Tensor | None = None, expected_depths: bool = True,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:  # fmt: skip
    """Colours [R, 3], opacities [R, 1] and depths [R, 1] of rays, and what they are made of.

    Args:
        t_starts, t_ends: of the samples, [R, P] or packed [S].
        ray_indices: the ray of each packed sample [S], ascending.
        n_rays: R, of packed samples.
        rgb_sigma_fn: (t_starts, t_ends, ray_indices) to colours [..., 3] and densities [...].
        rgb_alpha_fn: the same, to colours and opacities.
        render_bkgd: what is behind all samples, [3] or [R, 3].
        expected_depths: divide depths by opacities.

    Raises:
        ValueError: no function or both, packed samples without `n_rays`, or shapes that do not fit.
    """
    if (rgb_sigma_fn is None) == (rgb_alpha_fn is None):
        raise ValueError("rgb_sigma_fn, rgb_alpha_fn: expected exactly one of them")
    if ray_indices is not None and n_rays is None:
        raise ValueError("n_rays: expected the number of rays of packed samples, got None")
    fractional("t_starts", t_starts)
    _same_shape("t_ends", fractional("t_ends", t_ends), t_starts)
    function = rgb_alpha_fn if rgb_sigma_fn is None else rgb_sigma_fn
    if not callable(function):
        name = "rgb_alpha_fn" if rgb_sigma_fn is None else "rgb_sigma_fn"
        raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    if t_starts.numel():
        rgbs, values = function(t_starts, t_ends, ray_indices)
    else:
        rgbs, values = t_starts.new_zeros((*t_starts.shape, 3)), torch.zeros_like(t_starts)
    _same_shape("sigmas" if rgb_alpha_fn is None else "alphas", values, t_starts)
    if rgbs.shape != (*t_starts.shape, 3):
        raise ValueError(f"rgbs: expected shape {[*t_starts.shape, 3]}, got {list(rgbs.shape)}")
    start, end, density, features = as_one_type(t_starts, t_ends, values.reshape(-1), rgbs.reshape(-1, 3))
    samples = ray_samples(start, end, ray_indices, n_rays)
    seen = composite(samples, density, features, mode="alpha" if rgb_sigma_fn is None else "density")
    shape = t_starts.shape[:-1] if ray_indices is None else (n_rays,)
    colors = seen.features.reshape(*shape, 3)
    opacities, depths = (value.reshape(*shape, 1) for value in (seen.alpha, seen.depth))
    extras = {"weights": seen.weights.reshape(t_starts.shape), "rgbs": rgbs}
    if rgb_alpha_fn is None:
        trans, alphas = render_transmittance_from_density(t_starts, t_ends, values, ray_indices=ray_indices)
        extras |= {"alphas": alphas, "trans": trans, "sigmas": values}
    else:
        extras |= {"alphas": values, "trans": render_transmittance_from_alpha(values, ray_indices=ray_indices)}
    if expected_depths:
        depths = depths / opacities.clamp(min=torch.finfo(opacities.dtype).eps)
    if render_bkgd is not None:
        colors = colors + render_bkgd * (1 - opacities)
    return colors, opacities, depths, extras


def render_transmittance_from_alpha(
    alphas: Tensor, packed_info: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """What of the light behind it each sample lets reach the eye: the product of 1 - alpha of those before it.

    Args:
        alphas: [..., P] or packed [S].
        packed_info: (first, count) of each ray, if they are packed.
        ray_indices: the ray of each packed sample, in place of it.
        n_rays: not needed.
        prefix_trans: factors of the result.
    """
    trans = exclusive_prod(1 - alphas, packed_info, ray_indices)
    return trans if prefix_trans is None else trans * prefix_trans


def render_transmittance_from_density(
    t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None, n_rays: int | None = None, prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Transmittances and opacities of samples of densities `sigmas` from `t_starts` to `t_ends`.

    Arguments as of `render_transmittance_from_alpha`.
    """
    _same_shape("t_ends", t_ends, t_starts)
    _same_shape("sigmas", sigmas, t_starts)
    depth = sigmas * (t_ends - t_starts)
    trans = torch.exp(-exclusive_sum(depth, packed_info, ray_indices))
    return trans if prefix_trans is None else trans * prefix_trans, -torch.expm1(-depth)


def render_weight_from_alpha(
    alphas: Tensor, packed_info: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Weights and transmittances. Arguments as of `render_transmittance_from_alpha`."""
    trans = render_transmittance_from_alpha(alphas, packed_info, ray_indices, n_rays, prefix_trans)
    return trans * alphas, trans


def render_weight_from_density(
    t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None, n_rays: int | None = None, prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Weights, transmittances and opacities. Arguments as of `render_transmittance_from_density`."""
    trans, alphas = render_transmittance_from_density(
        t_starts, t_ends, sigmas, packed_info, ray_indices, n_rays, prefix_trans
    )
    return trans * alphas, trans, alphas


@torch.no_grad()
def render_visibility_from_alpha(
    alphas: Tensor, packed_info: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None,
    early_stop_eps: float = 1e-4, alpha_thre: float = 0.0, prefix_trans: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Which samples are seen, bool: transmittance of at least `early_stop_eps`, opacity of at least `alpha_thre`."""
    trans = render_transmittance_from_alpha(alphas, packed_info, ray_indices, n_rays, prefix_trans)
    return (trans >= early_stop_eps) & (alphas >= alpha_thre)


@torch.no_grad()
def render_visibility_from_density(
    t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None, n_rays: int | None = None, early_stop_eps: float = 1e-4,
    alpha_thre: float = 0.0, prefix_trans: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Which samples are seen, as `render_visibility_from_alpha` says."""
    trans, alphas = render_transmittance_from_density(
        t_starts, t_ends, sigmas, packed_info, ray_indices, n_rays, prefix_trans
    )
    return (trans >= early_stop_eps) & (alphas >= alpha_thre)


def accumulate_along_rays(
    weights: Tensor, values: Tensor | None = None, ray_indices: Tensor | None = None, n_rays: int | None = None
) -> Tensor:
    """Weighted sums [R, D] of values [..., D] along rays, or [R, 1] of the weights alone.

    Args:
        weights: [R, P] or packed [S].
        values: what is summed.
        ray_indices: the ray of each packed sample.
        n_rays: R, of packed samples; one more than the last ray by default.

    Raises:
        ValueError: shapes that do not fit.
    """
    if values is not None and values.shape[:-1] != weights.shape:
        raise ValueError(f"values: expected shape {[*weights.shape, 'D']}, got {list(values.shape)}")
    weighted = weights[..., None] if values is None else weights[..., None] * values
    if ray_indices is None:
        return weighted.sum(-2)
    if n_rays is None:
        n_rays = int(ray_indices.max()) + 1 if len(ray_indices) else 0
    return accumulate_along_rays_(weights, values, ray_indices, weighted.new_zeros((n_rays, weighted.shape[-1])))


def accumulate_along_rays_(
    weights: Tensor, values: Tensor | None = None, ray_indices: Tensor | None = None, outputs: Tensor | None = None
) -> Tensor:
    """Add the weighted sums of packed samples to `outputs` [R, D] in place, and return it.

    Raises:
        ValueError: no rays or outputs, or shapes that do not fit.
    """
    if ray_indices is None or outputs is None:
        raise ValueError("ray_indices, outputs: expected tensors, got None")
    if ray_indices.shape != weights.shape or weights.ndim != 1:
        raise ValueError(f"ray_indices: expected packed samples {list(weights.shape)}, got {list(ray_indices.shape)}")
    check_order(ray_indices)
    weighted = weights[:, None] if values is None else weights[:, None] * values
    return outputs.index_add_(0, ray_indices.long(), weighted)


def as_one_type(*values: Tensor) -> list[Tensor]:
    """Values as float64 where one of them is that, as float32 otherwise."""
    double = any(value.dtype == torch.float64 for value in values)
    return [value.to(torch.float64 if double else torch.float32) for value in values]


def _same_shape(name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ValueError(f"{name}: expected shape {list(like.shape)}, as of t_starts, got {list(value.shape)}")
