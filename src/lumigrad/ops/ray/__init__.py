"""Rays and triangle meshes."""

from lumigrad.ops.ray._bvh import build_bvh, refit_bvh
from lumigrad.ops.ray._trace import occluded, trace
from lumigrad.reference.ray import offset_origins

__all__ = ["build_bvh", "occluded", "offset_origins", "refit_bvh", "trace"]
