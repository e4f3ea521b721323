"""Ready-made renderers that compose primitives."""

from __future__ import annotations

from lumigrad.render.direct import render_direct
from lumigrad.render.field import render_field
from lumigrad.render.gaussians import render_gaussians
from lumigrad.render.implicit import render_implicit
from lumigrad.render.mesh import render_mesh
from lumigrad.render.path import render_path
from lumigrad.render.path_bsdf import Bsdf, BsdfPoints, trace_paths_with
from lumigrad.render.path_scene import lit_scene
from lumigrad.render.points import render_points
from lumigrad.render.rendering import Rendering
from lumigrad.render.scene import render
from lumigrad.render.soft import render_soft
from lumigrad.render.spheres import render_spheres
from lumigrad.render.surface import Surface
from lumigrad.render.surfels import render_surfels
from lumigrad.render.volume import render_volume

__all__ = [
    "Bsdf",
    "BsdfPoints",
    "Rendering",
    "Surface",
    "lit_scene",
    "render",
    "render_direct",
    "render_field",
    "render_gaussians",
    "render_implicit",
    "render_mesh",
    "render_path",
    "render_points",
    "render_soft",
    "render_spheres",
    "render_surfels",
    "render_volume",
    "trace_paths_with",
]
