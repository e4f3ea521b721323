"""Wrong calls: one argument of a valid call is replaced. Some of the results are valid again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .arguments import mapped, tensors
from .draw import Draw

OTHER_TYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int16, torch.int32, torch.int64,
    torch.bool, torch.complex64,
)  # fmt: skip
NOT_INDICES = (-1, 10**4, 2**31 - 1, -(2**31), 2**31, 2**40, -(2**63))
# In the place of numbers, names and the like: nothing that asks for much memory or time.
ODD_VALUES = (
    None, -1, 0, 1.5, -0.5, float("nan"), float("inf"), -float("inf"), "wrong", "", (), [0], (1, 2, 3), 2**70, 1j,
)  # fmt: skip


def made_wrong(draw: Draw, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments with one of them changed, and its name."""
    found = tensors(arguments)
    if found and draw.chance(0.7):
        path = draw.choice(list(found))
        kind = draw.choice(list(TENSOR_CHANGES))
        changed = TENSOR_CHANGES[kind](draw, found[path])
        return mapped(arguments, lambda p, t: changed if p == path else t), f"{path} {kind}"
    name = draw.choice(list(arguments))
    value = arguments[name]
    if hasattr(value, "_fields") and draw.chance(0.7):
        field = draw.choice(value._fields)
        return {**arguments, name: value._replace(**{field: draw.choice(ODD_VALUES)})}, f"{name}.{field} replaced"
    return {**arguments, name: draw.choice(ODD_VALUES)}, f"{name} replaced"


def _other_type(draw: Draw, value: Tensor) -> Any:
    return value.nan_to_num().clamp(-100, 100).to(draw.choice(OTHER_TYPES))


def _no_tensor(draw: Draw, value: Tensor) -> Any:
    return draw.choice((None, value.tolist(), value.numpy(), *ODD_VALUES))


def _other_shape(draw: Draw, value: Tensor) -> Any:
    axis = draw.integer(0, max(0, value.dim() - 1))
    if not value.dim() or draw.chance(0.2):
        return value[None]
    if draw.chance(0.2):
        return value.flatten()
    if draw.chance(0.3) and value.shape[axis]:
        return value.select(axis, 0)
    wider = torch.cat((value, value.narrow(axis, 0, min(1, value.shape[axis]))), axis)
    return draw.choice((wider, value.narrow(axis, 0, value.shape[axis] // 2), value.narrow(axis, 0, 0)))


def _other_index(draw: Draw, value: Tensor) -> Any:
    if value.dtype not in (torch.int32, torch.int64) or not value.numel():
        return value
    value = value.clone(memory_format=torch.contiguous_format)
    bad = draw.choice(NOT_INDICES)
    info = torch.iinfo(value.dtype)
    value.view(-1)[draw.integer(0, value.numel() - 1)] = min(max(bad, info.min), info.max)
    return value


TENSOR_CHANGES: dict[str, Callable[[Draw, Tensor], Any]] = {
    "of another type": _other_type,
    "not a tensor": _no_tensor,
    "of another shape": _other_shape,
    "with another index": _other_index,
    "without data": lambda draw, value: value.to("meta"),
    "sparse": lambda draw, value: value.to_sparse(),
}
