"""Every primitive, defined in plain PyTorch: the same names and signatures as in `lumigrad.ops`.

These functions say what the fast kernels must compute. They are short and differentiable by autograd, work in
float32 and float64 on any device, and are tested against closed forms; the kernels are tested against them.
"""

from __future__ import annotations

from .antialias import antialias
from .build_mips import build_mips
from .edge_gradient import edge_gradient
from .edge_topology import edge_topology
from .interpolate import interpolate
from .nmr_gradient import nmr_gradient
from .opendr_gradient import opendr_gradient
from .peel import peel
from .project_gaussians import project_gaussians
from .rasterize import rasterize, visibility
from .soft import soft_attributes, soft_colors, soft_interpolate, soft_rasterize, soft_silhouette
from .spheres import spheres
from .spherical_harmonics import spherical_harmonics
from .splat import splat
from .splat_gradient import splat_gradient
from .surface_splats import surface_splats
from .surfels import surfels
from .texture import texture
from .texture_cube import texture_cube

__all__ = [
    "antialias",
    "build_mips",
    "edge_gradient",
    "edge_topology",
    "interpolate",
    "nmr_gradient",
    "opendr_gradient",
    "peel",
    "project_gaussians",
    "rasterize",
    "soft_attributes",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
    "spheres",
    "spherical_harmonics",
    "splat",
    "splat_gradient",
    "surface_splats",
    "surfels",
    "texture",
    "texture_cube",
    "visibility",
]
