"""Implicit surfaces: functions and grids whose zero level is a surface."""

from lumigrad.ops.implicit._marching_cubes import marching_cubes
from lumigrad.ops.implicit._sphere_trace import sphere_trace
from lumigrad.reference.implicit import flexicubes, marching_tetrahedra

__all__ = ["flexicubes", "marching_cubes", "marching_tetrahedra", "sphere_trace"]
