"""Shapes to begin with, and conversions of cameras."""

from lumigrad.compat.pytorch3d.utils.camera_conversions import (
    cameras_from_opencv_projection,
    opencv_from_cameras_projection,
    pulsar_from_cameras_projection,
    pulsar_from_opencv_projection,
)
from lumigrad.compat.pytorch3d.utils.checkerboard import checkerboard
from lumigrad.compat.pytorch3d.utils.ico_sphere import ico_sphere
from lumigrad.compat.pytorch3d.utils.torus import torus

__all__ = [
    "cameras_from_opencv_projection",
    "checkerboard",
    "ico_sphere",
    "opencv_from_cameras_projection",
    "pulsar_from_cameras_projection",
    "pulsar_from_opencv_projection",
    "torus",
]
