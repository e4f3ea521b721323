"""PyTorch3D's names and conventions: cameras, views and transformations so far.

Row vectors, X_view = X R + T; view and NDC have +X left, +Y up, +Z into the scene.
"""

from lumigrad.compat.pytorch3d._cameras import (
    CamerasBase,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
)
from lumigrad.compat.pytorch3d._transform import Transform3d
from lumigrad.compat.pytorch3d._view import (
    camera_position_from_spherical_angles,
    look_at_rotation,
    look_at_view_transform,
)

__all__ = [
    "CamerasBase",
    "FoVOrthographicCameras",
    "FoVPerspectiveCameras",
    "OrthographicCameras",
    "PerspectiveCameras",
    "Transform3d",
    "camera_position_from_spherical_angles",
    "look_at_rotation",
    "look_at_view_transform",
]
