"""The primitives, one module each. ``import lumigrad as lg`` re-exports them all."""

from lumigrad.ops.antialias import antialias
from lumigrad.ops.build_mips import build_mips
from lumigrad.ops.edge_gradient import edge_gradient
from lumigrad.ops.edge_topology import edge_topology
from lumigrad.ops.gaussians import gaussians
from lumigrad.ops.interpolate import interpolate
from lumigrad.ops.nmr_gradient import nmr_gradient
from lumigrad.ops.peel import peel
from lumigrad.ops.points import points
from lumigrad.ops.project_gaussians import project_gaussians
from lumigrad.ops.rasterize import rasterize
from lumigrad.ops.soft import soft_interpolate, soft_rasterize
from lumigrad.ops.soft_blend import soft_colors, soft_silhouette
from lumigrad.ops.spheres import spheres
from lumigrad.ops.spherical_harmonics import spherical_harmonics
from lumigrad.ops.splat import splat
from lumigrad.ops.surface_splats import surface_splats
from lumigrad.ops.surfels import surfels
from lumigrad.ops.texture import texture
from lumigrad.ops.texture_cube import texture_cube

__all__ = [
    "antialias",
    "build_mips",
    "edge_gradient",
    "edge_topology",
    "gaussians",
    "interpolate",
    "nmr_gradient",
    "peel",
    "points",
    "project_gaussians",
    "rasterize",
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
