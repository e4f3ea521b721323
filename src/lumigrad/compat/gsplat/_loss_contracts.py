"""What losses expect of values. Looking at them waits for a device, so that it is done on demand only."""

from __future__ import annotations

import os

import torch
from torch import Tensor

ENFORCE_CONTRACTS = os.environ.get("GSPLAT_ENFORCE_CONTRACTS") == "1"


def same_shape(function: str, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
    for name, other in (("target", target), ("mask", mask)):
        if other is not None and other.shape != pred.shape:
            raise ValueError(f"{function}: expected {name} with shape {tuple(pred.shape)}, got {tuple(other.shape)}")


def between(name: str, values: Tensor, low: float, high: float) -> None:
    if ENFORCE_CONTRACTS:
        assert ((values >= low) & (values <= high)).all(), f"{name}: expected values from {low} to {high}"


def positive(name: str, values: Tensor, strictly: bool = False) -> None:
    if ENFORCE_CONTRACTS:
        fits = values > 0 if strictly else values >= 0
        assert fits.all(), f"{name}: expected {'positive values' if strictly else 'values from 0 on'}, not logarithms"


def unit(name: str, vectors: Tensor) -> None:
    if ENFORCE_CONTRACTS:
        length = vectors.norm(dim=-1)
        assert torch.allclose(length, torch.ones_like(length), atol=1e-3), f"{name}: expected unit vectors"
