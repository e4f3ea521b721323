"""The visibility gradient of splats, registered with torch. The kernel is ``native/splat/visibility.h``."""

from __future__ import annotations

import torch

from lumigrad._engine.declare import declare


def pull_by_visibility(alpha: torch.Tensor, xy: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    """Return alpha [N, H, W] unchanged; its gradient goes to the centres xy [N, V, 2], from pixels within radii [N,
    V]."""
    return _op(alpha.contiguous(), xy.contiguous(), radii.detach().contiguous())


def _sizes(radii: torch.Tensor, grad_out: torch.Tensor) -> tuple[int, ...]:
    return *radii.shape, *grad_out.shape[1:]


_op = declare(
    "splat_visibility(Tensor alpha, Tensor xy, Tensor radii)",
    sizes=("views count height width", _sizes),
    unchanged="alpha",
)
