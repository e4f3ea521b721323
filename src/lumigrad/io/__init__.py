"""Files in and out."""

from __future__ import annotations

from lumigrad.io._problems import FileWarning
from lumigrad.io._transforms import save_transforms
from lumigrad.io.colmap import ColmapModel, load_colmap, save_colmap
from lumigrad.io.dataset import load_dataset
from lumigrad.io.gaussians import load_gaussians, save_gaussians
from lumigrad.io.image import load_image, save_gif, save_image
from lumigrad.io.mesh import load_mesh, save_mesh
from lumigrad.io.photos import PosedPhotos
from lumigrad.io.points import load_points, save_points
from lumigrad.io.scene import load_cameras, load_scene
from lumigrad.io.video import save_video

__all__ = [
    "ColmapModel",
    "FileWarning",
    "PosedPhotos",
    "load_cameras",
    "load_colmap",
    "load_dataset",
    "load_gaussians",
    "load_image",
    "load_mesh",
    "load_points",
    "load_scene",
    "save_colmap",
    "save_gaussians",
    "save_gif",
    "save_image",
    "save_mesh",
    "save_points",
    "save_transforms",
    "save_video",
]
