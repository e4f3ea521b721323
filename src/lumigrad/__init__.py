"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import gradients, reference
from lumigrad.fragments import Fragments
from lumigrad.ops import (
    antialias,
    build_mips,
    edge_topology,
    interpolate,
    peel,
    rasterize,
    texture,
    texture_cube,
)

__version__ = "0.1.0"
__all__ = [
    "Fragments",
    "antialias",
    "build_mips",
    "edge_topology",
    "gradients",
    "interpolate",
    "peel",
    "rasterize",
    "reference",
    "texture",
    "texture_cube",
]
