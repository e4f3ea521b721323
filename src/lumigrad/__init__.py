"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import reference
from lumigrad.fragments import Fragments
from lumigrad.ops import (
    antialias,
    build_mips,
    edge_topology,
    gaussians,
    interpolate,
    peel,
    points,
    project_gaussians,
    rasterize,
    spheres,
    spherical_harmonics,
    splat,
    texture,
    texture_cube,
)
from lumigrad.splats import ProjectedGaussians, Splats

__version__ = "0.1.0"
__all__ = [
    "Fragments",
    "ProjectedGaussians",
    "Splats",
    "antialias",
    "build_mips",
    "edge_topology",
    "gaussians",
    "interpolate",
    "peel",
    "points",
    "project_gaussians",
    "rasterize",
    "reference",
    "spheres",
    "spherical_harmonics",
    "splat",
    "texture",
    "texture_cube",
]
