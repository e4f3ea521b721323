"""Implicit surfaces: functions and grids whose zero level is a surface."""

from lumigrad.ops.implicit._marching_cubes import marching_cubes

__all__ = ["marching_cubes"]
