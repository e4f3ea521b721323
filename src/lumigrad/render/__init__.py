"""Ready-made renderers that compose primitives."""

from __future__ import annotations

from lumigrad.render.mesh import Rendering, render_mesh

__all__ = ["Rendering", "render_mesh"]
