"""Positions and triangles as lumigrad's ops take them."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(pos: Tensor, shared: bool = False) -> Tensor:
    """Positions with y downwards: lumigrad's row 0, at the top, is then nvdiffrast's, at the bottom.

    Args:
        pos: [..., 4].
        shared: whether several results may each have a backward pass of their own, as the layers of a DepthPeeler.
    """
    if pos.device.type == "cpu" and not shared:
        return pos * pos.new_tensor((1.0, -1.0, 1.0, 1.0))
    # On a device, the constant would be a copy. Autograd keeps it for one backward pass only.
    x, y, z, w = pos.unbind(-1)
    return torch.stack((x, -y, z, w), -1)


def without_bad_rows(tri: Tensor, vertices: int) -> Tensor:
    """Triangles with an index that is no vertex's replaced by one without an area, which nothing draws."""
    # On a device, asking whether there are any would wait for it.
    if tri.device.type == "cpu" and _within(tri, vertices):
        return tri
    return torch.where(((tri < 0) | (tri >= vertices)).any(1, keepdim=True), 0, tri)


def _within(tri: Tensor, vertices: int) -> bool:
    if tri.numel() == 0:
        return True
    low, high = torch.aminmax(tri)
    return int(low) >= 0 and int(high) < vertices
