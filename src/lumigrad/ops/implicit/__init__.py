"""Implicit surfaces: functions and grids whose zero level is a surface."""

from lumigrad.ops.implicit._marching_cubes import marching_cubes
from lumigrad.ops.implicit._redistance import redistance
from lumigrad.ops.implicit._sphere_trace import sphere_trace
from lumigrad.reference.implicit import flexicubes, marching_tetrahedra, neus_alpha, volsdf_density

__all__ = [
    "flexicubes",
    "marching_cubes",
    "marching_tetrahedra",
    "neus_alpha",
    "redistance",
    "sphere_trace",
    "volsdf_density",
]
