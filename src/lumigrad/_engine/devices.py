"""Cases that no kernel of lumigrad serves, and the reference does: other devices, and forward-mode derivatives."""

from __future__ import annotations

import warnings

import torch

from lumigrad._engine import cuda
from lumigrad._engine.autograd import forward_mode
from lumigrad._engine.declare import DIRECTIONS

_warned: set[str] = set()


def needs_reference(name: str, tensor: torch.Tensor, op: str | None = None) -> bool:
    """True if no kernel serves the tensor's device, or in forward mode, for which there are no kernels. Warns once per
    op and reason.

    op: the registered op behind the function `name`, if the names differ.
    """
    device = tensor.device.type
    if forward_mode():
        _warn(f"{name}: no kernel for forward-mode derivatives")
        return True
    if device in ("cpu", "meta"):
        return False
    if device == "cuda" and (op or name) in DIRECTIONS and cuda.available(tensor.device):
        return False
    _warn(f"{name} on {device}: no kernel for this device")
    return True


def _warn(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(f"lumigrad.{what}, the (slow) reference implementation is used", RuntimeWarning, stacklevel=4)
