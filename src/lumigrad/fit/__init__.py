"""Recovering scenes from images: parameterisations, optimisers, metrics, and the loop for textured meshes."""

from __future__ import annotations

from lumigrad.fit.atlas import bake, make_atlas
from lumigrad.fit.laplacian import LargeSteps, laplacian, laplacian_energy
from lumigrad.fit.loop import FitState, Stage, default_stages, fit
from lumigrad.fit.metrics import chamfer_distance, psnr, ssim
from lumigrad.fit.normals import normal_consistency, normals_from_depth
from lumigrad.fit.optim import AdamUniform
from lumigrad.fit.remesh import remesh
from lumigrad.fit.views import Views, fibonacci_cameras, render_views

__all__ = [
    "AdamUniform",
    "FitState",
    "LargeSteps",
    "Stage",
    "Views",
    "bake",
    "chamfer_distance",
    "default_stages",
    "fibonacci_cameras",
    "fit",
    "laplacian",
    "laplacian_energy",
    "make_atlas",
    "normal_consistency",
    "normals_from_depth",
    "psnr",
    "remesh",
    "render_views",
    "ssim",
]
