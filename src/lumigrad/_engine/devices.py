"""Devices that have no kernels of ours: there the reference serves."""

from __future__ import annotations

import warnings

import torch

from lumigrad._engine import cuda
from lumigrad._engine.declare import DIRECTIONS

_warned: set[str] = set()


def needs_reference(name: str, tensor: torch.Tensor, op: str | None = None) -> bool:
    """True where no kernel of ours serves the tensor's device; warns once per op and device type.

    op: the registered op behind the function `name`, where that is called otherwise.
    """
    device = tensor.device.type
    if device in ("cpu", "meta"):
        return False
    if device == "cuda" and (op or name) in DIRECTIONS and cuda.available(tensor.device):
        return False
    key = f"{name} on {device}"
    if key not in _warned:
        _warned.add(key)
        warnings.warn(
            f"lumigrad.{key}: no kernel for this device, the (slow) reference implementation is used",
            RuntimeWarning,
            stacklevel=3,
        )
    return True
