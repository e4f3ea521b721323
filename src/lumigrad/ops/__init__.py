"""The primitives, one module each. ``import lumigrad as lg`` re-exports them all."""

from lumigrad.ops.antialias import antialias
from lumigrad.ops.build_mips import build_mips
from lumigrad.ops.edge_topology import edge_topology
from lumigrad.ops.gaussians import gaussians
from lumigrad.ops.interpolate import interpolate
from lumigrad.ops.peel import peel
from lumigrad.ops.points import points
from lumigrad.ops.project_gaussians import project_gaussians
from lumigrad.ops.rasterize import rasterize
from lumigrad.ops.spheres import spheres
from lumigrad.ops.spherical_harmonics import spherical_harmonics
from lumigrad.ops.splat import splat
from lumigrad.ops.texture import texture
from lumigrad.ops.texture_cube import texture_cube

__all__ = [
    "antialias",
    "build_mips",
    "edge_topology",
    "gaussians",
    "interpolate",
    "peel",
    "points",
    "project_gaussians",
    "rasterize",
    "spheres",
    "spherical_harmonics",
    "splat",
    "texture",
    "texture_cube",
]
