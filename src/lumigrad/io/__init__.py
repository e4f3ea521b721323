"""Files in and out, through trimesh and Pillow."""

from __future__ import annotations

from lumigrad.io.image import load_image, save_gif, save_image
from lumigrad.io.mesh import load_mesh, save_mesh
from lumigrad.io.points import load_points, save_points

__all__ = ["load_image", "load_mesh", "load_points", "save_gif", "save_image", "save_mesh", "save_points"]
