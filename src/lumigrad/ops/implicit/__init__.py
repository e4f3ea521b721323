"""Implicit surfaces: functions and grids whose zero level is a surface."""

from lumigrad.ops.implicit._marching_cubes import marching_cubes
from lumigrad.ops.implicit._sphere_trace import sphere_trace

__all__ = ["marching_cubes", "sphere_trace"]
