"""Nested grids of occupied cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.estimators.base import AbstractEstimator
from lumigrad.compat.nerfacc.grid import _enlarge_aabb, _query, traverse_grids
from lumigrad.compat.nerfacc.volrend import render_visibility_from_alpha, render_visibility_from_density


class OccGridEstimator(AbstractEstimator):
    """Samples rays where cells of nested grids are occupied.

    Args:
        roi_aabb: the box of level 0, the lower corner and the upper one [6]. Level k covers it scaled by 2^k.
        resolution: cells along each axis, a number or three.
        levels: how many grids there are.

    Raises:
        ValueError: shapes that do not fit.
    """

    resolution: Tensor
    aabbs: Tensor
    occs: Tensor
    binaries: Tensor
    grid_coords: Tensor

    def __init__(
        self, roi_aabb: Sequence[float] | Tensor, resolution: int | Sequence[int] | Tensor = 128, levels: int = 1,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if kwargs:
            raise TypeError(f"OccGridEstimator: unexpected arguments {', '.join(kwargs)}")
        box = torch.as_tensor(roi_aabb, dtype=torch.float32)
        size = torch.as_tensor(resolution).long().cpu()
        size = size.expand(3).clone() if size.ndim == 0 else size
        if box.shape != (6,) or size.shape != (3,):
            raise ValueError(
                f"roi_aabb, resolution: expected [6] and [3], got {list(box.shape)} and {list(size.shape)}"
            )
        self.levels, self.cells_per_lvl = levels, int(size.prod())
        sides = size.tolist()
        coords = torch.stack(torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij"), -1).reshape(-1, 3)
        self.register_buffer("resolution", size)
        self.register_buffer("aabbs", torch.stack([_enlarge_aabb(box, 2**k) for k in range(levels)]))
        self.register_buffer("occs", torch.zeros(levels * self.cells_per_lvl))
        self.register_buffer("binaries", torch.zeros((levels, *sides), dtype=torch.bool))
        self.register_buffer("grid_coords", coords, persistent=False)

    @torch.no_grad()
    def sampling(
        self, rays_o: Tensor, rays_d: Tensor, sigma_fn: Callable[..., Tensor] | None = None,
        alpha_fn: Callable[..., Tensor] | None = None, near_plane: float = 0.0, far_plane: float = 1e10,
        t_min: Tensor | None = None, t_max: Tensor | None = None, render_step_size: float = 1e-3,
        early_stop_eps: float = 1e-4, alpha_thre: float = 0.0, stratified: bool = False, cone_angle: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Rays, starts and ends of samples, packed [S]. No gradients.

        Args:
            rays_o, rays_d: origins and directions [R, 3].
            sigma_fn: (t_starts, t_ends, ray_indices) to densities [S], to leave out what is not seen.
            alpha_fn: the same to opacities.
            near_plane, far_plane, t_min, t_max: the part of the rays that counts, of all or of each [R].
            render_step_size, cone_angle: of `traverse_grids`.
            early_stop_eps, alpha_thre: of `render_visibility_from_alpha`; the latter is at most the mean occupancy.
            stratified: move the near plane of each ray by a random part of a step.

        Raises:
            ValueError: shapes that do not fit.
        """
        for name, value in (("t_min", t_min), ("t_max", t_max)):
            if value is not None and value.shape != rays_o.shape[:1]:
                raise ValueError(f"{name}: expected shape {list(rays_o.shape[:1])}, got {list(value.shape)}")
        near, far = rays_o.new_full(rays_o.shape[:1], near_plane), rays_o.new_full(rays_o.shape[:1], far_plane)
        near = near if t_min is None else torch.maximum(near, t_min)
        far = far if t_max is None else torch.minimum(far, t_max)
        if stratified:
            near = near + torch.rand_like(near) * render_step_size
        intervals, samples, _ = traverse_grids(
            rays_o, rays_d, self.binaries, self.aabbs, near, far, render_step_size, cone_angle
        )
        starts, ends, ray = intervals.vals[intervals.is_left], intervals.vals[intervals.is_right], samples.ray_indices
        assert ray is not None
        function = alpha_fn if sigma_fn is None else sigma_fn
        if function is None or not len(ray) or (alpha_thre <= 0 and early_stop_eps <= 0):
            return ray, starts, ends
        alpha_thre = min(alpha_thre, self.occs.mean().item())
        values = function(starts, ends, ray)
        if values.shape != starts.shape:
            name = "alpha_fn" if sigma_fn is None else "sigma_fn"
            raise ValueError(f"{name}: expected it to return shape {list(starts.shape)}, got {list(values.shape)}")
        options: dict[str, Any] = {"ray_indices": ray, "early_stop_eps": early_stop_eps, "alpha_thre": alpha_thre}
        if sigma_fn is None:
            seen = render_visibility_from_alpha(values, **options)
        else:
            seen = render_visibility_from_density(starts, ends, values, **options)
        return ray[seen], starts[seen], ends[seen]

    @torch.no_grad()
    def update_every_n_steps(
        self, step: int, occ_eval_fn: Callable[[Tensor], Tensor], occ_thre: float = 1e-2, ema_decay: float = 0.95,
        warmup_steps: int = 256, n: int = 16,
    ) -> None:  # fmt: skip
        """Look at random points of cells every `n` steps of training.

        Args:
            step: the number of the step.
            occ_eval_fn: points [M, 3] to occupancies [M] or [M, 1], say density times step.
            occ_thre: cells above it are occupied, or above the mean, if that is lower.
            ema_decay: by which old values fall.
            warmup_steps: until then all cells are looked at, and later a quarter of them and a quarter of the occupied.
            n: how often.

        Raises:
            RuntimeError: the estimator is not in training.
        """
        if not self.training:
            raise RuntimeError(
                "update_every_n_steps: expected an estimator in training, got one in evaluation; call train()"
            )
        if step % n:
            return
        for level in range(self.levels):
            cells = self._all_cells(level) if step < warmup_steps else self._some_cells(level)
            coords = self.grid_coords[cells]
            place = (coords + torch.rand(coords.shape, device=coords.device)) / self.resolution
            low, high = self.aabbs[level, :3], self.aabbs[level, 3:]
            occupancy = occ_eval_fn(low + place * (high - low)).reshape(len(cells)).to(self.occs)
            number = level * self.cells_per_lvl + cells
            self.occs[number] = torch.maximum(self.occs[number] * ema_decay, occupancy)
        known = self.occs[self.occs >= 0]
        threshold = min(known.mean().item(), occ_thre) if len(known) else occ_thre
        self.binaries.copy_((self.occs > threshold).reshape(self.binaries.shape))

    def _all_cells(self, level: int) -> Tensor:
        """Cells of a level that some camera may see."""
        return (self.occs.reshape(self.levels, -1)[level] >= 0).nonzero()[:, 0]

    def _some_cells(self, level: int) -> Tensor:
        """A quarter of the cells, drawn with replacement, and up to as many of the occupied ones."""
        count = max(self.cells_per_lvl // 4, 1)
        drawn = torch.randint(self.cells_per_lvl, (count,), device=self.occs.device)
        drawn = drawn[self.occs.reshape(self.levels, -1)[level, drawn] >= 0]
        occupied = self.binaries[level].reshape(-1).nonzero()[:, 0]
        if len(occupied) > count:
            occupied = occupied[torch.randint(len(occupied), (count,), device=occupied.device)]
        # Each once: a cell must not be given two values.
        return torch.unique(torch.cat((drawn, occupied)))

    @torch.no_grad()
    def mark_invisible_cells(
        self, K: Tensor, c2w: Tensor, width: int, height: int, near_plane: float = 0.0, chunk: int = 32**3
    ) -> None:
        """Let cells count as empty for good that no camera sees.

        Args:
            K: matrices of pinholes, [1, 3, 3] or [N, 3, 3].
            c2w: from camera to world, x right, y down, z forward [N, 3 or 4, 4].
            width, height: of images, in pixels.
            near_plane: cells nearer to a camera than this are not seen by it.
            chunk: cells that are looked at together.
        """
        rotation = c2w[:, :3, :3].transpose(1, 2)
        shift = -rotation @ c2w[:, :3, 3:]
        for level in range(self.levels):
            low, high = self.aabbs[level, :3], self.aabbs[level, 3:]
            for begin in range(0, self.cells_per_lvl, chunk):
                cells = torch.arange(begin, min(begin + chunk, self.cells_per_lvl), device=self.occs.device)
                centre = low + (self.grid_coords[cells] + 0.5) / self.resolution * (high - low)
                image = K @ (rotation @ centre.T + shift)
                depth = image[:, 2]
                x, y = (image[:, k] / torch.where(depth > 0, depth, 1.0) for k in (0, 1))
                seen = (depth > 0) & (depth >= near_plane) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
                self.occs[level * self.cells_per_lvl + cells] = torch.where(seen.any(0), 0.0, -1.0)

    def query_occ(self, x: Tensor) -> Tensor:
        """Occupancies at points [..., 3]; zero outside. Not in nerfacc."""
        return _query(x, self.occs.reshape(self.binaries.shape), self.aabbs[0])[0]
