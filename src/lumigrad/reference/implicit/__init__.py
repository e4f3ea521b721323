"""Implicit surfaces: functions and grids whose zero level is a surface."""

from lumigrad.reference.implicit._densities import neus_alpha, volsdf_density
from lumigrad.reference.implicit._flexicubes import flexicubes
from lumigrad.reference.implicit._marching_cubes import marching_cubes
from lumigrad.reference.implicit._marching_tetrahedra import marching_tetrahedra
from lumigrad.reference.implicit._redistance import redistance
from lumigrad.reference.implicit._sphere_trace import sphere_trace
from lumigrad.reference.implicit._trace_grid import trace_grid
from lumigrad.reference.implicit._trilinear import trilinear

__all__ = [
    "flexicubes",
    "marching_cubes",
    "marching_tetrahedra",
    "neus_alpha",
    "redistance",
    "sphere_trace",
    "trace_grid",
    "trilinear",
    "volsdf_density",
]
