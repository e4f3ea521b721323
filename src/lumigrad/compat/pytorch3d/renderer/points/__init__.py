"""Point clouds: rasterizer, compositors, renderer."""

from lumigrad.compat.pytorch3d.renderer.points.compositor import AlphaCompositor, NormWeightedCompositor
from lumigrad.compat.pytorch3d.renderer.points.pulsar.unified import PulsarPointsRenderer
from lumigrad.compat.pytorch3d.renderer.points.rasterize_points import rasterize_points
from lumigrad.compat.pytorch3d.renderer.points.rasterizer import (
    PointFragments,
    PointsRasterizationSettings,
    PointsRasterizer,
)
from lumigrad.compat.pytorch3d.renderer.points.renderer import PointsRenderer

__all__ = [
    "AlphaCompositor",
    "NormWeightedCompositor",
    "PointFragments",
    "PointsRasterizationSettings",
    "PointsRasterizer",
    "PointsRenderer",
    "PulsarPointsRenderer",
    "rasterize_points",
]
