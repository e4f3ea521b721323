"""Ready-made renderers that compose primitives."""

from __future__ import annotations

from lumigrad.render.mesh import render_mesh
from lumigrad.render.rendering import Rendering
from lumigrad.render.scene import render
from lumigrad.render.surface import Surface

__all__ = ["Rendering", "Surface", "render", "render_mesh"]
