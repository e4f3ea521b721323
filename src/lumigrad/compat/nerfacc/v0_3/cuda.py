"""What programs call of nerfacc 0.3's compiled extension."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.nerfacc.v0_3.contraction import ContractionType
from lumigrad.compat.nerfacc.v0_3.grid import Grid
from lumigrad.compat.nerfacc.v0_3.pack import pack_info
from lumigrad.compat.nerfacc.v0_3.ray_marching import march


class _Cells(Grid):
    """A grid of cells that are given."""

    def __init__(self, box: Tensor, binary: Tensor, kind: ContractionType) -> None:
        super().__init__()
        self._roi_aabb, self._binary, self._contraction_type = box, binary, kind


@torch.no_grad()
def ray_marching(
    rays_o: Tensor, rays_d: Tensor, t_min: Tensor, t_max: Tensor, roi: Tensor, grid_binary: Tensor,
    type: ContractionType, step_size: float, cone_angle: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(first, count) of rays [R, 2], rays of samples [S], their starts and ends [S, 1].

    Args:
        rays_o, rays_d: [R, 3]. t_min, t_max: the part of each ray that counts [R].
        roi: the box [6]. grid_binary: which cells are occupied [X, Y, Z]. type: of the grid.
        step_size, cone_angle: of `nerfacc.ray_marching`.
    """
    cells = _Cells(roi, grid_binary, type)
    ray, starts, ends = march(rays_o, rays_d, t_min, t_max, cells, step_size, cone_angle)
    return pack_info(ray, len(rays_o)), ray, starts, ends
