"""Cameras of OpenCV and Pulsar."""

from lumigrad.compat.pytorch3d.renderer.camera_conversions import (
    _cameras_from_opencv_projection as cameras_from_opencv_projection,
)
from lumigrad.compat.pytorch3d.renderer.camera_conversions import (
    _opencv_from_cameras_projection as opencv_from_cameras_projection,
)
from lumigrad.compat.pytorch3d.renderer.camera_conversions import (
    _pulsar_from_cameras_projection as pulsar_from_cameras_projection,
)
from lumigrad.compat.pytorch3d.renderer.camera_conversions import (
    _pulsar_from_opencv_projection as pulsar_from_opencv_projection,
)

__all__ = [
    "cameras_from_opencv_projection",
    "opencv_from_cameras_projection",
    "pulsar_from_cameras_projection",
    "pulsar_from_opencv_projection",
]
