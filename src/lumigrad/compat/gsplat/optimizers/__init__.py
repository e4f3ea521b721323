"""Optimisers under gsplat's names."""

from lumigrad.compat.gsplat.optimizers.selective_adam import SelectiveAdam

__all__ = ["SelectiveAdam"]
