"""Files in and out, through trimesh and Pillow."""

from __future__ import annotations

from lumigrad.io.image import load_image, save_gif, save_image
from lumigrad.io.mesh import load_mesh, save_mesh

__all__ = ["load_image", "load_mesh", "save_gif", "save_image", "save_mesh"]
