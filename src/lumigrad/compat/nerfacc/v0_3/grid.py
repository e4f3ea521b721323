"""One grid of occupied cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lumigrad.compat.nerfacc.v0_3.contraction import ContractionType, contract, contract_inv


@torch.no_grad()
def query_grid(samples: Tensor, grid_roi: Tensor, grid_values: Tensor, grid_type: ContractionType) -> Tensor:
    """Values of the cells [S] that points [S, 3] are in; 0 outside the box of a bounded grid.

    Args:
        samples: points in space.
        grid_roi: [6]. grid_values: [X, Y, Z]. grid_type: of the grid.
    """
    size = torch.tensor(grid_values.shape, device=samples.device)
    place = contract(samples, grid_roi, grid_type)
    cell = torch.minimum((place * size).long().clamp(min=0), size - 1)
    values = grid_values[tuple(cell.unbind(-1))]
    if grid_type is not ContractionType.AABB:
        return values
    return torch.where(((place >= 0) & (place <= 1)).all(-1), values, torch.zeros_like(values))


class Grid(nn.Module):
    """What `ray_marching` skips empty space by: `roi_aabb`, `binary` and `contraction_type`."""

    _roi_aabb: Tensor
    _binary: Tensor
    _contraction_type: ContractionType

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.register_buffer("_dummy", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        device = self._dummy.device
        assert isinstance(device, torch.device)
        return device

    @property
    def roi_aabb(self) -> Tensor:
        """The box [6]."""
        return self._roi_aabb

    @property
    def binary(self) -> Tensor:
        """Which cells are occupied, bool [X, Y, Z]."""
        return self._binary

    @property
    def contraction_type(self) -> ContractionType:
        return self._contraction_type


class OccupancyGrid(Grid):
    """A grid that learns which of its cells are occupied.

    Args:
        roi_aabb: the box, the lower corner and the upper one [6].
        resolution: cells along each axis, a number or three.
        contraction_type: what is outside of the box.

    Raises:
        ValueError: shapes that do not fit.
    """

    NUM_DIM = 3
    resolution: Tensor
    occs: Tensor
    grid_coords: Tensor
    grid_indices: Tensor

    def __init__(
        self, roi_aabb: Sequence[float] | Tensor, resolution: int | Sequence[int] | Tensor = 128,
        contraction_type: ContractionType = ContractionType.AABB,
    ) -> None:  # fmt: skip
        super().__init__()
        box = torch.as_tensor(roi_aabb, dtype=torch.float32)
        size = torch.as_tensor(resolution, dtype=torch.int32).cpu()
        size = size.expand(3).clone() if size.ndim == 0 else size
        if box.shape != (6,) or size.shape != (3,):
            raise ValueError(
                f"roi_aabb, resolution: expected [6] and [3], got {list(box.shape)} and {list(size.shape)}"
            )
        self.num_cells = int(size.prod())
        sides = size.tolist()
        coords = torch.stack(torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij"), -1).reshape(-1, 3)
        self._contraction_type = contraction_type
        self.register_buffer("_roi_aabb", box)
        self.register_buffer("_binary", torch.zeros(sides, dtype=torch.bool))
        self.register_buffer("resolution", size)
        self.register_buffer("occs", torch.zeros(self.num_cells))
        self.register_buffer("grid_coords", coords, persistent=False)
        self.register_buffer("grid_indices", torch.arange(self.num_cells), persistent=False)

    @torch.no_grad()
    def every_n_step(
        self, step: int, occ_eval_fn: Callable[[Tensor], Tensor], occ_thre: float = 1e-2, ema_decay: float = 0.95,
        warmup_steps: int = 256, n: int = 16,
    ) -> None:  # fmt: skip
        """Look at random points of cells every `n` steps of training.

        Args:
            step: the number of the step.
            occ_eval_fn: points [M, 3] to occupancies [M, 1], say density times step.
            occ_thre: cells above it are occupied, or above the mean, if that is lower.
            ema_decay: by which old values fall.
            warmup_steps: until then all cells are looked at, and later a quarter of them and a quarter of the occupied.
            n: how often.

        Raises:
            RuntimeError: the grid is not in training; `_update` does not ask.
        """
        if not self.training:
            raise RuntimeError("every_n_step: expected a grid in training, got one in evaluation; call train()")
        if step % n == 0:
            self._update(step, occ_eval_fn, occ_thre, ema_decay, warmup_steps)

    @torch.no_grad()
    def _update(
        self, step: int, occ_eval_fn: Callable[[Tensor], Tensor], occ_thre: float = 0.01, ema_decay: float = 0.95,
        warmup_steps: int = 256,
    ) -> None:  # fmt: skip
        cells = self.grid_indices
        if step >= warmup_steps:
            cells = self._sample_uniform_and_occupied_cells(self.num_cells // 4)
        coords = self.grid_coords[cells]
        place = (coords + torch.rand(coords.shape, device=coords.device)) / self.resolution
        if self._contraction_type is ContractionType.UN_BOUNDED_SPHERE:
            within = (place - 0.5).norm(dim=1) < 0.5
            place, cells = place[within], cells[within]
        points = contract_inv(place, self._roi_aabb, self._contraction_type)
        occupancy = occ_eval_fn(points).reshape(len(cells)).to(self.occs)
        self.occs[cells] = torch.maximum(self.occs[cells] * ema_decay, occupancy)
        threshold = self.occs.mean().clamp(max=occ_thre)
        self._binary.copy_((self.occs > threshold).reshape(self._binary.shape))

    @torch.no_grad()
    def _sample_uniform_and_occupied_cells(self, n: int) -> Tensor:
        drawn = torch.randint(self.num_cells, (n,), device=self.occs.device)
        occupied = self._binary.reshape(-1).nonzero()[:, 0]
        if len(occupied) > n:
            occupied = occupied[torch.randint(len(occupied), (n,), device=occupied.device)]
        # Each once: a cell must not be given two values.
        return torch.unique(torch.cat((drawn, occupied)))

    def query_occ(self, samples: Tensor) -> Tensor:
        """Which points [S, 3] are in occupied cells [S]."""
        return query_grid(samples, self._roi_aabb, self._binary, self._contraction_type)
