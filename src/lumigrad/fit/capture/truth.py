"""Errors of fitted shapes relative to known ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lumigrad.fit.capture.rig import CaptureRig
from lumigrad.ops.surface import rasterize
from lumigrad.types.shapes import Bool, Float


def load_truth(folder: str | Path, rig: CaptureRig) -> Float[Tensor, "frames vertices 3"]:
    """Positions of all frames of a rig, from `SEQUENCE.npy` of each of its sequences, [frames, V, 3].

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: another number of frames or vertices than the rig has.
    """
    parts = []
    for take in rig.takes:
        path = Path(folder) / f"{take.name}.npy"
        if not path.is_file():
            raise FileNotFoundError(f"no positions of {take.name}: {path}")
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"cannot read {path} as an array: {error}") from error
        expected = (len(take), len(rig.base.positions), 3)
        if values.shape != expected or values.dtype.kind != "f":
            raise ValueError(f"{path}: expected {list(expected)} numbers, got {values.dtype} {list(values.shape)}")
        parts.append(torch.from_numpy(values).float())
    return torch.cat(parts)


def seen_vertices(rig: CaptureRig, positions: Float[Tensor, "vertices 3"]) -> Bool[Tensor, " vertices"]:
    """Vertices of a shape whose faces at least two cameras see."""
    camera, faces = rig.camera, rig.base.faces.long()
    middle, reach = positions.mean(0), float((positions - positions.mean(0)).norm(dim=-1).max())
    far = float((camera.position - middle).norm(dim=-1).max()) + 2 * reach
    clip = type(camera)(
        camera.world_to_camera, camera.fx, camera.fy, camera.cx, camera.cy, camera.size, 1e-3 * far, far
    ).project(positions)
    count = torch.zeros(len(positions), dtype=torch.long)
    for tri in rasterize(clip, faces, camera.size).tri:
        found = torch.zeros_like(count)
        found[faces[tri[tri >= 0].long().unique()].reshape(-1)] = 1
        count += found
    return count >= 2


def shape_errors(
    found: Float[Tensor, "frames vertices 3"],
    truth: Float[Tensor, "frames vertices 3"],
    counted: Bool[Tensor, " vertices"],
    counts: tuple[int, ...],
) -> dict[str, Float[Tensor, " frames"]]:
    """Means over some vertices, for each frame, in the units of the positions.

    Args:
        counted: the vertices.
        counts: frames of each sequence.

    Returns:
        `vertex`: distances of each vertex from its true position. `motion`: the same of what each vertex has moved by
        since the first frame of its sequence, in which an error that all frames share, such as skin that slides over
        the mesh, does not count.
    """
    apart = found[:, counted] - truth[:, counted]
    first = torch.repeat_interleave(
        torch.tensor([sum(counts[:number]) for number in range(len(counts))]), torch.tensor(counts)
    )
    return {"vertex": apart.norm(dim=-1).mean(1), "motion": (apart - apart[first]).norm(dim=-1).mean(1)}
