"""Samples along rays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.grid import CHUNK, Lattice
from lumigrad.compat.nerfacc.v0_3.grid import Grid, query_grid
from lumigrad.compat.nerfacc.v0_3.intersection import ray_aabb_intersect
from lumigrad.compat.nerfacc.v0_3.vol_rendering import render_visibility


@torch.no_grad()
def ray_marching(
    rays_o: Tensor,
    rays_d: Tensor,
    t_min: Tensor | None = None,
    t_max: Tensor | None = None,
    scene_aabb: Tensor | None = None,
    grid: Grid | None = None,
    sigma_fn: Callable[..., Tensor] | None = None,
    alpha_fn: Callable[..., Tensor] | None = None,
    early_stop_eps: float = 1e-4,
    alpha_thre: float = 0.0,
    near_plane: float | None = None,
    far_plane: float | None = None,
    render_step_size: float = 1e-3,
    stratified: bool = False,
    cone_angle: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rays [S], starts and ends [S, 1] of samples whose middles are in occupied cells. No gradients.

    Args:
        rays_o, rays_d: origins and directions [R, 3].
        t_min, t_max: the part of each ray that counts [R]; by default that in `scene_aabb` [6], or from 0 to 1e10.
        grid: cells; all of space is occupied by default.
        sigma_fn: (t_starts, t_ends, ray_indices) to densities [S, 1], to leave out what is not seen.
        alpha_fn: the same to opacities.
        early_stop_eps, alpha_thre: of `render_visibility`.
        near_plane, far_plane: of all rays.
        render_step_size: the length of samples, at least.
        stratified: move the start of each ray by a random part of a step.
        cone_angle: samples are at least so long as this times their distance.

    Raises:
        ValueError: two functions, shapes that do not fit, or rays of more than 2^20 steps.
    """
    if sigma_fn is not None and alpha_fn is not None:
        raise ValueError("Only one of `alpha_fn` and `sigma_fn` should be provided.")
    if t_min is None or t_max is None:
        if scene_aabb is not None:
            t_min, t_max = ray_aabb_intersect(rays_o, rays_d, scene_aabb)
        else:
            t_min, t_max = torch.zeros_like(rays_o[:, 0]), torch.full_like(rays_o[:, 0], 1e10)
    t_min = t_min if near_plane is None else t_min.clamp(min=near_plane)
    t_max = t_max if far_plane is None else t_max.clamp(max=far_plane)
    if stratified:
        t_min = t_min + torch.rand_like(t_min) * render_step_size
    ray, starts, ends = march(rays_o, rays_d, t_min, t_max, grid, render_step_size, cone_angle)
    function = alpha_fn if sigma_fn is None else sigma_fn
    if function is None or not len(ray):
        return ray, starts, ends
    alphas = function(starts, ends, ray)
    if alphas.shape != starts.shape:
        name = "alphas" if sigma_fn is None else "sigmas"
        raise ValueError(f"{name} must have shape of (N, 1), expected {list(starts.shape)}, got {list(alphas.shape)}")
    if sigma_fn is not None:
        alphas = -torch.expm1(-alphas * (ends - starts))
    seen = render_visibility(alphas, ray_indices=ray, early_stop_eps=early_stop_eps, alpha_thre=alpha_thre)
    return ray[seen], starts[seen], ends[seen]


def march(
    origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, grid: Grid | None, step: float, cone: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of all rays, some rays after the other, and those kept whose middles are occupied."""
    index = (near < far).nonzero()[:, 0]
    found = [(index[:0], near.new_zeros(0), near.new_zeros(0))]
    if len(index):
        count = int(Lattice(near[index], step, cone).number(far[index, None]).max()) + 1
        if count > 1 << 20:
            raise ValueError(
                f"far_plane, render_step_size: expected rays of at most {1 << 20} steps, got {count}; give far_plane, "
                "scene_aabb or cone_angle"
            )
        numbers = torch.arange(count + 1, dtype=near.dtype, device=near.device)
        for part in index.split(max(1, CHUNK // count)):
            t = Lattice(near[part], step, cone).place(numbers[None])
            starts, ends = t[:, :-1], t[:, 1:]
            middle = (starts + ends) / 2
            kept = middle < far[part, None]
            if grid is not None:
                points = origins[part, None] + middle[..., None] * directions[part, None]
                rows = kept.nonzero(as_tuple=True)
                kept[rows] = query_grid(points[rows], grid.roi_aabb, grid.binary, grid.contraction_type)
            found.append((part[:, None].expand_as(kept)[kept], starts[kept], ends[kept]))
    ray, starts, ends = (torch.cat(values) for values in zip(*found))
    return ray, starts[:, None], ends[:, None]
