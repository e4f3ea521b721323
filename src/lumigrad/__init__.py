"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import blending, gradients, reference
from lumigrad.fragments import Fragments, SoftFragments
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
    soft_colors,
    soft_interpolate,
    soft_rasterize,
    soft_silhouette,
    spheres,
    spherical_harmonics,
    splat,
    surface_splats,
    surfels,
    texture,
    texture_cube,
)
from lumigrad.splats import ProjectedGaussians, Splats, Surfels

__version__ = "0.1.0"
__all__ = [
    "Fragments",
    "ProjectedGaussians",
    "SoftFragments",
    "Splats",
    "Surfels",
    "antialias",
    "blending",
    "build_mips",
    "edge_topology",
    "gaussians",
    "gradients",
    "interpolate",
    "peel",
    "points",
    "project_gaussians",
    "rasterize",
    "reference",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
    "spheres",
    "spherical_harmonics",
    "splat",
    "surface_splats",
    "surfels",
    "texture",
    "texture_cube",
]
