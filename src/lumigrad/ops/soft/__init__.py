"""Soft rasterization."""

from lumigrad.ops.soft import blending
from lumigrad.ops.soft._soft_blend import soft_colors, soft_silhouette
from lumigrad.ops.soft._soft_rasterize import soft_interpolate, soft_rasterize

__all__ = ["blending", "soft_colors", "soft_interpolate", "soft_rasterize", "soft_silhouette"]
