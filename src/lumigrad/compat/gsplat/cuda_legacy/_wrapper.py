"""gsplat 0.1's functions."""

from lumigrad.compat.gsplat.project_gaussians import project_gaussians
from lumigrad.compat.gsplat.rasterize import rasterize_gaussians
from lumigrad.compat.gsplat.sh import deg_from_sh, num_sh_bases, spherical_harmonics

__all__ = ["deg_from_sh", "num_sh_bases", "project_gaussians", "rasterize_gaussians", "spherical_harmonics"]
