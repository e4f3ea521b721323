"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import blending, gradients, reference
from lumigrad.fragments import Fragments, SoftFragments
from lumigrad.ops import (
    antialias,
    build_mips,
    edge_topology,
    interpolate,
    peel,
    rasterize,
    soft_colors,
    soft_interpolate,
    soft_rasterize,
    soft_silhouette,
    texture,
    texture_cube,
)

__version__ = "0.1.0"
__all__ = [
    "Fragments",
    "SoftFragments",
    "antialias",
    "blending",
    "build_mips",
    "edge_topology",
    "gradients",
    "interpolate",
    "peel",
    "rasterize",
    "reference",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
    "texture",
    "texture_cube",
]
