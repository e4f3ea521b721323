"""Scenes and PyTorch3D's conventions for the tests of soft rasterization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from meshes import random_triangles
from ops_common import inside_sphere, near_straddler, random, sphere_views
from torch import Tensor

SIZE = (21, 30)
SCENES = ["sphere", "inside", "straddler", "loose"]


def scene(name: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Positions and faces: closed meshes seen from outside and inside, faces that cross the near plane, loose ones."""
    if name == "sphere":
        return sphere_views(1, 2, dtype)
    if name == "inside":
        return inside_sphere(1, dtype)
    if name == "straddler":
        return near_straddler(dtype)
    pos, tri = random_triangles(12, seed=4, behind=0.15)
    return pos.to(dtype), tri


def weighted(values: Tensor, mask: Tensor | None = None, seed: int = 0) -> Tensor:
    """A scalar that all values have a part in, the same for every dtype; `mask` leaves some out."""
    weights = random(*values.shape, seed=seed, dtype=torch.float64).to(values.dtype)
    if mask is not None:
        weights = weights * mask.reshape(*mask.shape, *[1] * (values.dim() - mask.dim()))
    return (weights * values).sum()


class Oracle:
    """One of PyTorch3D's results, with its positions made clip positions of ours."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        self.data = data = np.load(path)
        self.size = (int(data["image_size"][0]), int(data["image_size"][1]))
        self.tri = torch.tensor(data["faces"])
        self.verts = torch.tensor(data["verts_ndc_xy_view_z"]).to(dtype).requires_grad_()
        self.perspective, self.clip = bool(data["perspective_correct"]), bool(data["clip_barycentric"])
        self.options = (self.perspective, self.clip, bool(data["cull_backfaces"]))
        self.faces_per_pixel, self.blur = int(data["faces_per_pixel"]), float(data["blur_radius"])
        self.tri_found = self.tensor("pix_to_face").int()[None]

    def tensor(self, name: str) -> Tensor:
        return torch.tensor(self.data[name]).to(self.verts.dtype)

    def clip_positions(self) -> Tensor:
        """x to the left and the shorter side's units, as PyTorch3D has them; depth by its view z."""
        x, y, z = self.verts.unbind(-1)
        short = min(self.size)
        x, y = -x * short / self.size[1], y * short / self.size[0]
        if self.perspective:
            return torch.stack((x * z, y * z, z - 1, z), -1)  # z/w = 1 - 1/z, and the near plane at z = 1/2
        return torch.stack((x, y, z / 5 - 1, torch.ones_like(z)), -1)  # affine on the screen, like its weights

    def corner_depths(self) -> Tensor:
        """View z of the found faces' vertices [1, H, W, K, 3]."""
        return self.verts[:, 2][self.tri.long()[self.tri_found.clamp(min=0).long()]]
