"""The check of a View, shared by the projecting ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lumigrad.types import validation as check
from lumigrad.types.view import View

PINHOLE = ("perspective", "orthographic")


def check_view(
    view: Any, like: torch.Tensor, like_name: str, projections: Sequence[str] = PINHOLE, planes: bool = True
) -> tuple[View, torch.Tensor]:
    """The view with matrices [N, 4, 4] and intrinsics [N], and these (fx, fy, cx, cy) as one tensor [N, 4].

    projections: those that the op knows. planes: whether it reads near and far.
    """
    if not isinstance(view, View):
        raise TypeError(f"view: expected a lumigrad.View, got {type(view).__name__}; make one with camera.view()")
    size = check.size(view.size, "view.size")
    matrix = check.floating("view.matrix", view.matrix, like, like_name)
    if matrix.shape[-2:] != (4, 4) or matrix.dim() not in (2, 3):
        raise ValueError(f"view.matrix: expected shape [N, 4, 4] or [4, 4], got {tuple(matrix.shape)}")
    matrix = matrix.view(-1, 4, 4)
    names = ("fx", "fy", "cx", "cy")
    values = [_intrinsic(f"view.{name}", getattr(view, name), len(matrix), like, like_name) for name in names]
    intrinsics = torch.stack(values, -1)
    if not isinstance(view.projection, str) or view.projection not in projections:
        known = ", ".join(map(repr, projections))
        raise ValueError(f"view.projection: expected one of {known}, got {view.projection!r}")
    near, far = check.real("view.near", view.near), check.real("view.far", view.far)
    if planes and not 0 <= near < far:
        raise ValueError(f"view.near, view.far: expected 0 <= near < far, got {near}, {far}")
    fx, fy, cx, cy = intrinsics.unbind(-1)
    return View(matrix, fx, fy, cx, cy, size, view.projection, near, far), intrinsics


def _intrinsic(name: str, value: Any, views: int, like: torch.Tensor, like_name: str) -> torch.Tensor:
    """A number, or one per view, as a tensor [views]."""
    if not isinstance(value, torch.Tensor):
        try:
            value = check.constant(value, like)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name}: expected a number or a tensor, got {type(value).__name__}") from None
    value = check.floating(name, value, like, like_name)
    if tuple(value.shape) not in ((), (1,), (views,)):
        raise ValueError(f"{name}: expected a scalar or shape [{views}], got {tuple(value.shape)}")
    return value.expand(views)
