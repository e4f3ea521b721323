"""Changes of the rows of Gaussians' parameters, of their optimisers' states, and of a strategy's own state.

`params` and `optimizers` are dictionaries with the same names; parameters that are not trained have no optimiser.
`scales` are logarithms and `opacities` logits. `scene`, where it is given, is told of each change (`on_duplicate` and
so on), as gsplat's scenes are.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._covariances import quat_scale_to_covar_preci
from lumigrad.compat.gsplat.relocation import compute_relocation
from lumigrad.reference.splat._project_gaussians import rotations

Params = MutableMapping[str, torch.nn.Parameter]
Optimizers = MutableMapping[str, torch.optim.Optimizer]
OPACITY_T, OPACITY_K = 0.005, 100.0


def _update(
    params: Params,
    optimizers: Optimizers,
    param_of: Callable[[str, Tensor], Tensor],
    state_of: Callable[[Tensor], Tensor],
    names: tuple[str, ...] | None = None,
) -> None:
    """Replace parameters, and what their optimisers keep of them."""
    for name in names or tuple(params):
        old = params[name]
        params[name] = new = torch.nn.Parameter(param_of(name, old.detach()), requires_grad=old.requires_grad)
        if name not in optimizers:
            assert not old.requires_grad, f"optimizers: expected one for {name}, which is trained"
            continue
        optimizer = optimizers[name]
        kept = optimizer.state.pop(old, {})
        for key, value in kept.items():
            if key != "step":
                kept[key] = state_of(value)
        for group in optimizer.param_groups:
            group["params"] = [new]
        if kept:
            optimizer.state[new] = kept


def _update_state(state: MutableMapping[str, Any], change: Callable[[Tensor], Tensor]) -> None:
    for name, value in state.items():
        if isinstance(value, Tensor):
            state[name] = change(value)


def _zeros(value: Tensor, count: int) -> Tensor:
    return value.new_zeros(count, *value.shape[1:])


@torch.no_grad()
def duplicate(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], mask: Tensor, scene: Any = None
) -> None:
    """Append copies of the rows where `mask` is true; optimisers start anew with them."""
    rows = mask.nonzero()[:, 0]
    _update(
        params, optimizers, lambda name, value: torch.cat((value, value[rows])),
        lambda value: torch.cat((value, _zeros(value, len(rows)))),
    )  # fmt: skip
    _update_state(state, lambda value: torch.cat((value, value[rows])))
    if scene is not None:
        scene.on_duplicate(rows)


@torch.no_grad()
def split(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], mask: Tensor,
    revised_opacity: bool = False, scene: Any = None,
) -> None:  # fmt: skip
    """Replace rows by two each, smaller by 1.6, at random places within them; they come last.

    Args:
        revised_opacity: whether the two together are as opaque as the one. Source: Rota Bulo et al. 2024, "Revising
            densification in Gaussian splatting".
    """
    rows, rest = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
    scales = params["scales"][rows].exp()
    offsets = torch.randn(2, len(rows), 3, device=scales.device, dtype=scales.dtype) * scales
    offsets = (rotations(params["quats"][rows]) @ offsets[..., None])[..., 0]

    def halves(name: str, value: Tensor) -> Tensor:
        if name == "means":
            return (value + offsets).flatten(0, 1)
        if name == "scales":
            value = (scales / 1.6).log()
        elif name == "opacities" and revised_opacity:
            value = (1 - (1 - value.sigmoid()).sqrt()).logit()
        return torch.cat((value, value))

    _update(
        params, optimizers, lambda name, value: torch.cat((value[rest], halves(name, value[rows]))),
        lambda value: torch.cat((value[rest], _zeros(value, 2 * len(rows)))),
    )  # fmt: skip
    _update_state(state, lambda value: torch.cat((value[rest], value[rows], value[rows])))
    if scene is not None:
        scene.on_split(rows, rest)


@torch.no_grad()
def remove(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], mask: Tensor, scene: Any = None
) -> None:
    """Drop the rows where `mask` is true."""
    _update(params, optimizers, lambda name, value: value[~mask], lambda value: value[~mask])
    _update_state(state, lambda value: value[~mask])
    if scene is not None:
        scene.on_remove(mask)


@torch.no_grad()
def reset_opa(params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], value: float) -> None:
    """Hold opacities to `value` at most; their optimiser starts anew."""
    most = torch.tensor(value).logit().item()
    _update(params, optimizers, lambda name, old: old.clamp(max=most), torch.zeros_like, ("opacities",))


def _share(params: Params, rows: Tensor, binoms: Tensor, min_opacity: float) -> dict[str, Tensor]:
    """Logits and logarithms of scales that rows have when they get copies, once for each time they are in `rows`."""
    copies = torch.bincount(rows, minlength=len(params["means"]))[rows] + 1
    logits = params["opacities"][rows]
    opacities, scales = compute_relocation(
        logits.sigmoid().flatten(), params["scales"][rows].exp(), copies, binoms, min_opacity
    )
    return {"opacities": opacities.logit().view_as(logits), "scales": scales.log()}


def _sample(weights: Tensor, count: int) -> Tensor:
    """Random indices with replacement; `torch.multinomial` has a limit, the inverse of the sums has none."""
    sums = weights.double().cumsum(0)
    at = torch.rand(count, dtype=torch.float64, device=weights.device) * sums[-1]
    return torch.searchsorted(sums, at, right=True).clamp(max=len(weights) - 1)


@torch.no_grad()
def relocate(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], mask: Tensor, binoms: Tensor,
    min_opacity: float = 0.005, scene: Any = None,
) -> None:  # fmt: skip
    """Move the rows where `mask` is true onto others, chosen by opacity; these share their place with them."""
    dead, alive = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
    if not len(alive):
        raise ValueError("mask: expected some Gaussians that stay where they are, got none")
    chosen = alive[_sample(params["opacities"][alive].sigmoid().flatten(), len(dead))]
    shared = _share(params, chosen, binoms, min_opacity)

    def moved(name: str, value: Tensor) -> Tensor:
        value = value.clone()
        if name in shared:
            value[chosen] = shared[name]
        value[dead] = value[chosen]
        return value

    def restarted(value: Tensor) -> Tensor:
        value[chosen] = 0
        return value

    _update(params, optimizers, moved, restarted)
    _update_state(state, restarted)
    if scene is not None:
        scene.on_relocate(dead, chosen)


@torch.no_grad()
def sample_add(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], n: int, binoms: Tensor,
    min_opacity: float = 0.005, scene: Any = None,
) -> None:  # fmt: skip
    """Append `n` rows, copies of ones chosen by opacity, which share their place with them."""
    chosen = _sample(params["opacities"].sigmoid().flatten(), n)
    shared = _share(params, chosen, binoms, min_opacity)

    def grown(name: str, value: Tensor) -> Tensor:
        if name in shared:
            value = value.clone()
            value[chosen] = shared[name]
        return torch.cat((value, value[chosen]))

    def extended(value: Tensor) -> Tensor:
        return torch.cat((value, _zeros(value, n)))

    _update(params, optimizers, grown, extended)
    _update_state(state, extended)
    if scene is not None:
        scene.on_sample_add(chosen)


@torch.no_grad()
def inject_noise_to_position(
    params: Params, optimizers: Optimizers, state: MutableMapping[str, Any], noise_scale: float | None = None, *,
    scaler: float | None = None, t: float = OPACITY_T, k: float = OPACITY_K,
) -> None:  # fmt: skip
    """Move Gaussians at random, in proportion to their covariances; those more opaque than about `t` hardly.

    Args:
        noise_scale: the factor, which `scaler` is another name of.
        k: how sharp the transition at `t` is.
    """
    if noise_scale is None and scaler is None:
        raise TypeError("noise_scale: expected a number, got None")
    if None not in (noise_scale, scaler) and noise_scale != scaler:
        raise ValueError(f"noise_scale, scaler: expected one of the two, or equal numbers, got {noise_scale}, {scaler}")
    factor = scaler if noise_scale is None else noise_scale
    assert factor is not None
    covars, _ = quat_scale_to_covar_preci(params["quats"], params["scales"].exp(), compute_preci=False)
    assert covars is not None
    faint = torch.sigmoid(-k * (params["opacities"].sigmoid().flatten() - t))
    noise = torch.randn_like(params["means"]) * faint[:, None] * factor
    params["means"].add_((covars @ noise[..., None])[..., 0])
