"""All functions, under the name of nvdiffrast's module of them too."""

from __future__ import annotations

from lumigrad.compat.nvdiffrast._antialias import antialias, antialias_construct_topology_hash
from lumigrad.compat.nvdiffrast._contexts import (
    RasterizeCudaContext,
    RasterizeGLContext,
    get_log_level,
    set_log_level,
)
from lumigrad.compat.nvdiffrast._interpolate import interpolate
from lumigrad.compat.nvdiffrast._rasterize import DepthPeeler, rasterize
from lumigrad.compat.nvdiffrast._texture import texture, texture_construct_mip

__all__ = [
    "DepthPeeler",
    "RasterizeCudaContext",
    "RasterizeGLContext",
    "antialias",
    "antialias_construct_topology_hash",
    "get_log_level",
    "interpolate",
    "rasterize",
    "set_log_level",
    "texture",
    "texture_construct_mip",
]
