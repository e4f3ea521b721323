"""Devices, as arguments name them."""

from __future__ import annotations

from typing import Any, Union

import torch

Device = Union[str, torch.device]  # noqa: UP007  (programs import the name at run time)


def make_device(device: Device) -> torch.device:
    """The device of a name; "cuda" alone is the current CUDA device."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def get_device(x: Any, device: Device | None = None) -> torch.device:
    """`device` if it is given, else that of the tensor `x`, else the CPU."""
    if device is not None:
        return make_device(device)
    return x.device if isinstance(x, torch.Tensor) else torch.device("cpu")
