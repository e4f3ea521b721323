"""Rendering under gsplat's names."""

from lumigrad.compat.gsplat._choices import (
    CameraModel,
    RasterizeMode,
    RendererConfig,
    RendererConfig_MixedBatch,
    RendererConfig_ParallelBatch,
    RenderMode,
    RollingShutterType,
)
from lumigrad.compat.gsplat._missing import missing
from lumigrad.compat.gsplat._rasterization import rasterization
from lumigrad.compat.gsplat._surfels import rasterization_2dgs

FThetaCameraDistortionParameters = missing("FThetaCameraDistortionParameters")
FThetaPolynomialType = missing("FThetaPolynomialType")
rasterization_inria_wrapper = missing("rasterization_inria_wrapper")
rasterization_2dgs_inria_wrapper = missing("rasterization_2dgs_inria_wrapper")

__all__ = [
    "CameraModel",
    "FThetaCameraDistortionParameters",
    "FThetaPolynomialType",
    "RasterizeMode",
    "RenderMode",
    "RendererConfig",
    "RendererConfig_MixedBatch",
    "RendererConfig_ParallelBatch",
    "RollingShutterType",
    "rasterization",
    "rasterization_2dgs",
    "rasterization_2dgs_inria_wrapper",
    "rasterization_inria_wrapper",
]
