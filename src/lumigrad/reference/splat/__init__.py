"""Points, spheres, Gaussians, surfels: primitives that are blended in depth order."""

from lumigrad.reference.splat._project_gaussians import project_gaussians
from lumigrad.reference.splat._spheres import spheres
from lumigrad.reference.splat._spherical_harmonics import spherical_harmonics
from lumigrad.reference.splat._splat import splat
from lumigrad.reference.splat._surface_splats import surface_splats
from lumigrad.reference.splat._surfels import surfels

__all__ = ["project_gaussians", "spheres", "spherical_harmonics", "splat", "surface_splats", "surfels"]
