"""Rays and triangle meshes, defined in plain PyTorch."""

from lumigrad.reference.ray._offset import offset_origins
from lumigrad.reference.ray._trace import occluded, trace

__all__ = ["occluded", "offset_origins", "trace"]
