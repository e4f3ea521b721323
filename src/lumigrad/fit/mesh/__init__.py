"""Meshes and their textures from images: views, stages, the loop, and the whole job."""

from __future__ import annotations

from lumigrad.fit.mesh.job import MeshJob, MeshOptions
from lumigrad.fit.mesh.loop import FitState, fit
from lumigrad.fit.mesh.stages import Stage, default_stages
from lumigrad.fit.mesh.views import Views, fibonacci_cameras, render_views

__all__ = [
    "FitState",
    "MeshJob",
    "MeshOptions",
    "Stage",
    "Views",
    "default_stages",
    "fibonacci_cameras",
    "fit",
    "render_views",
]
