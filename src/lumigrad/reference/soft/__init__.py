"""Soft rasterization."""

from lumigrad.reference.soft import blending
from lumigrad.reference.soft._soft_blend import soft_colors, soft_silhouette
from lumigrad.reference.soft._soft_rasterize import soft_attributes, soft_interpolate, soft_rasterize

__all__ = [
    "blending",
    "soft_attributes",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
]
