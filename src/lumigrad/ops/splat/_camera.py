"""Cameras as plain tensors: what the ops that project points share."""

from __future__ import annotations

from typing import Any

import torch

from lumigrad.types import validation as check


def check_camera(
    view: Any, fx: Any, fy: Any, cx: Any, cy: Any, like: torch.Tensor, like_name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """View matrices [N, 4, 4] and (fx, fy, cx, cy) as one tensor [N, 4]."""
    view = check.floating("view", view, like, like_name)
    if view.shape[-2:] != (4, 4) or view.dim() not in (2, 3):
        raise ValueError(f"view: expected shape [N, 4, 4] or [4, 4], got {tuple(view.shape)}")
    view = view.view(-1, 4, 4)
    values = []
    for name, value in (("fx", fx), ("fy", fy), ("cx", cx), ("cy", cy)):
        if not isinstance(value, torch.Tensor):
            try:
                value = check.constant(value, like)
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(f"{name}: expected a number or a tensor, got {type(value).__name__}") from None
        value = check.floating(name, value, like, like_name)
        if tuple(value.shape) not in ((), (1,), (len(view),)):
            raise ValueError(f"{name}: expected a scalar or shape [{len(view)}], got {tuple(value.shape)}")
        values.append(value.expand(len(view)))
    return view, torch.stack(values, -1)
