"""Rays and triangle meshes."""

from lumigrad.ops.ray._bvh import build_bvh, refit_bvh
from lumigrad.ops.ray._trace import occluded, trace

__all__ = ["build_bvh", "occluded", "refit_bvh", "trace"]
