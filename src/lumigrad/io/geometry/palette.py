"""Face colours as a texture with one texel per colour, so that vertices stay shared."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from lumigrad.scene.shapes.mesh import Mesh


def painted(mesh: Mesh, colors: np.ndarray) -> Mesh:
    """A mesh without a texture, with face colours [F, 3] in place of its texture coordinates."""
    codes = (np.clip(colors[:, :3], 0, 1) * 65535 + 0.5).astype(np.uint64)
    _, first, inverse = np.unique(
        codes[:, 0] << np.uint64(32) | codes[:, 1] << np.uint64(16) | codes[:, 2],
        return_index=True,
        return_inverse=True,
    )
    width = math.ceil(math.sqrt(len(first)))
    height = -(-len(first) // width)
    texture = np.zeros((height * width, 3), np.float32)
    texture[: len(first)] = colors[first, :3]
    number = np.arange(len(first))
    uvs = np.stack([(number % width + 0.5) / width, (number // width + 0.5) / height], -1)
    return replace(
        mesh,
        texture=torch.from_numpy(texture.reshape(height, width, 3)),
        uvs=torch.from_numpy(uvs.astype(np.float32)),
        uv_faces=torch.from_numpy(inverse.reshape(-1, 1).repeat(3, 1)),
    )
