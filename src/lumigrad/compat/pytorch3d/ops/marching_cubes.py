"""Surfaces of volumes."""

from __future__ import annotations

import torch
from torch import Tensor

import lumigrad as lg


def marching_cubes(
    vol_batch: Tensor, isolevel: float | None = None, return_local_coords: bool = True
) -> tuple[list[Tensor], list[Tensor]]:
    """Where volumes have a given value, as triangles.

    Gradients reach `vol_batch` through the vertices; PyTorch3D's stop there. Ambiguous cells are decided as
    `lumigrad.marching_cubes` does.

    Args:
        vol_batch: [N, D, H, W].
        isolevel: the value; of each volume half the sum of its least and greatest by default.
        return_local_coords: the grid's ends are -1 and 1; otherwise 0 and W - 1, H - 1, D - 1.

    Returns:
        Vertices (x, y, z) and faces (int64) of each volume; the normals point to smaller values.

    Raises:
        ValueError: another shape.
    """
    if vol_batch.ndim != 4:
        raise ValueError(f"vol_batch: expected shape [N, D, H, W], got {list(vol_batch.shape)}")
    vol_batch = vol_batch if vol_batch.is_floating_point() else vol_batch.float()
    all_verts, all_faces = [], []
    spans = vol_batch.new_tensor(vol_batch.shape[1:]).flip(0) - 1
    for volume in vol_batch:
        level = float((volume.detach().max() + volume.detach().min()) / 2) if isolevel is None else float(isolevel)
        # Inside is where values are larger than the level: below minus the level, of the negative volume.
        verts, faces = lg.marching_cubes(-volume, -level, box=torch.stack((-0.5 + 0 * spans, spans + 0.5)))
        all_verts.append(verts * 2 / spans - 1 if return_local_coords else verts)
        all_faces.append(faces.long())
    return all_verts, all_faces


marching_cubes_naive = marching_cubes
