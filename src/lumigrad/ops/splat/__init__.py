"""Points, spheres, Gaussians, surfels: primitives that are blended in depth order."""

from lumigrad.ops.splat._gaussians import gaussians
from lumigrad.ops.splat._points import points
from lumigrad.ops.splat._project_gaussians import project_gaussians
from lumigrad.ops.splat._spheres import spheres
from lumigrad.ops.splat._spherical_harmonics import spherical_harmonics
from lumigrad.ops.splat._splat import splat
from lumigrad.ops.splat._surface_splats import surface_splats
from lumigrad.ops.splat._surfels import surfels

__all__ = [
    "gaussians",
    "points",
    "project_gaussians",
    "spheres",
    "spherical_harmonics",
    "splat",
    "surface_splats",
    "surfels",
]
