"""PyTorch3D's cameras: constructors, spaces and transformations under its names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer._camera_base import (
    CamerasBase,
    Rows,
    get_ndc_to_screen_transform,
    get_screen_to_ndc_transform,
    matrix_of,
    try_get_projection_transform,
)
from lumigrad.compat.pytorch3d.renderer._view import (
    camera_position_from_spherical_angles,
    get_world_to_view_transform,
    look_at_rotation,
    look_at_view_transform,
)
from lumigrad.compat.pytorch3d.transforms.transform3d import Transform3d
from lumigrad.scene.cameras.pytorch3d import box_intrinsics, fov_intrinsics

_R, _T = torch.eye(3)[None], torch.zeros(1, 3)  # the pose by default, as subclasses in programs name it
Size = Sequence[int] | Sequence[Sequence[int]] | Tensor

__all__ = [
    "CamerasBase",
    "FoVOrthographicCameras",
    "FoVPerspectiveCameras",
    "OpenGLOrthographicCameras",
    "OpenGLPerspectiveCameras",
    "OrthographicCameras",
    "PerspectiveCameras",
    "SfMOrthographicCameras",
    "SfMPerspectiveCameras",
    "camera_position_from_spherical_angles",
    "get_ndc_to_screen_transform",
    "get_screen_to_ndc_transform",
    "get_world_to_view_transform",
    "look_at_rotation",
    "look_at_view_transform",
    "try_get_projection_transform",
]


class _Parameters:
    """A camera's parameters, with those of a call in their places."""

    def __init__(self, camera: CamerasBase, kwargs: dict[str, Any]) -> None:
        self.camera, self.kwargs = camera, kwargs

    def __call__(self, name: str) -> Any:
        own = getattr(self.camera, name)
        value = self.kwargs.get(name, own)
        if isinstance(value, bool) or value is own:
            return value
        value = torch.as_tensor(value, dtype=own.dtype, device=own.device)
        return value.reshape(1) if value.ndim == 0 else value


class FoVPerspectiveCameras(CamerasBase):
    """K00 = 1 / (aspect tan(fov / 2)), K11 = 1 / tan(fov / 2); z = zfar / (zfar - znear) (1 - znear / Z).

    Args:
        znear, zfar: numbers or [N].
        aspect_ratio: width of a pixel by its height.
        fov: field of view along the shorter side of the image.
        degrees: whether it is in degrees.
        R, T: [N, 3, 3] and [N, 3].
        K: matrices [N, 4, 4] on column vectors in place of all parameters above.
        device: of the parameters that are no tensors.
    """

    _FIELDS = ("K", "znear", "zfar", "aspect_ratio", "fov", "R", "T", "degrees")
    _SHARED_FIELDS = ("degrees",)

    def __init__(
        self, znear: Any = 1.0, zfar: Any = 100.0, aspect_ratio: Any = 1.0, fov: Any = 60.0, degrees: bool = True,
        R: Any = None, T: Any = None, K: Any = None, device: Any = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(R, T, K, device, znear=znear, zfar=zfar, aspect_ratio=aspect_ratio, fov=fov)
        self.degrees = degrees

    znear: Tensor
    zfar: Tensor
    aspect_ratio: Tensor
    fov: Tensor

    def projection_matrix(self, kwargs: dict[str, Any]) -> Tensor:
        value = _Parameters(self, kwargs)
        names = ("znear", "zfar", "fov", "aspect_ratio", "degrees")
        return self.compute_projection_matrix(*map(value, names)).transpose(1, 2)

    def compute_projection_matrix(
        self, znear: Tensor, zfar: Tensor, fov: Tensor, aspect_ratio: Tensor, degrees: bool
    ) -> Tensor:
        """Matrices [N, 4, 4] on column vectors."""
        fx, fy = fov_intrinsics(fov, aspect_ratio, degrees)
        depth = zfar / (zfar - znear)
        rows: Rows = [
            [fx, 0.0, 0.0, 0.0],
            [0.0, fy, 0.0, 0.0],
            [0.0, 0.0, depth, -depth * znear],
            [0.0, 0.0, 1.0, 0.0],
        ]
        return matrix_of(rows, fy + 0 * depth).transpose(1, 2)

    def is_perspective(self) -> bool:
        return True

    def in_ndc(self) -> bool:
        return True


class FoVOrthographicCameras(CamerasBase):
    """A box of view space to NDC: x from [min_x, max_x], y from [min_y, max_y] to [-1, 1], z to [0, 1].

    Args:
        znear, zfar, max_y, min_y, max_x, min_x: numbers or [N].
        scale_xyz: factors of the axes [N, 3].
        R, T: [N, 3, 3] and [N, 3].
        K: matrices [N, 4, 4] on column vectors in place of all parameters above.
        device: of the parameters that are no tensors.
    """

    _FIELDS = ("K", "znear", "zfar", "R", "T", "max_y", "min_y", "max_x", "min_x", "scale_xyz")

    def __init__(
        self, znear: Any = 1.0, zfar: Any = 100.0, max_y: Any = 1.0, min_y: Any = -1.0, max_x: Any = 1.0,
        min_x: Any = -1.0, scale_xyz: Any = ((1.0, 1.0, 1.0),), R: Any = None, T: Any = None, K: Any = None,
        device: Any = "cpu",
    ) -> None:  # fmt: skip
        sides = {"max_y": max_y, "min_y": min_y, "max_x": max_x, "min_x": min_x}
        super().__init__(R, T, K, device, znear=znear, zfar=zfar, scale_xyz=scale_xyz, **sides)

    znear: Tensor
    zfar: Tensor
    scale_xyz: Tensor
    max_y: Tensor
    min_y: Tensor
    max_x: Tensor
    min_x: Tensor

    def projection_matrix(self, kwargs: dict[str, Any]) -> Tensor:
        value = _Parameters(self, kwargs)
        names = ("znear", "zfar", "max_x", "min_x", "max_y", "min_y", "scale_xyz")
        return self.compute_projection_matrix(*map(value, names)).transpose(1, 2)

    def compute_projection_matrix(
        self, znear: Tensor, zfar: Tensor, max_x: Tensor, min_x: Tensor, max_y: Tensor, min_y: Tensor,
        scale_xyz: Tensor,
    ) -> Tensor:  # fmt: skip
        """Matrices [N, 4, 4] on column vectors."""
        fx, fy, px, py = box_intrinsics(min_x, max_x, min_y, max_y, scale_xyz)
        depth = zfar - znear
        rows: Rows = [
            [fx, 0.0, 0.0, px],
            [0.0, fy, 0.0, py],
            [0.0, 0.0, scale_xyz[..., 2] / depth, -znear / depth],
            [0.0, 0.0, 0.0, 1.0],
        ]
        return matrix_of(rows, fx + fy + 0 * depth).transpose(1, 2)

    def is_perspective(self) -> bool:
        return False

    def in_ndc(self) -> bool:
        return True


class _FocalCameras(CamerasBase):
    """Focal lengths and principal points, in NDC or, with ``in_ndc=False``, in pixels.

    Args:
        focal_length: a number, [N], [N, 1] or [N, 2].
        principal_point: [N, 2].
        R, T: [N, 3, 3] and [N, 3].
        K: matrices [N, 4, 4] on column vectors in place of both.
        device: of the parameters that are no tensors.
        in_ndc: which of them.
        image_size: (height, width), a pair or [N, 2].
    """

    _FIELDS = ("K", "R", "T", "focal_length", "principal_point", "_in_ndc", "image_size")
    _SHARED_FIELDS = ("_in_ndc",)

    focal_length: Tensor
    principal_point: Tensor

    def __init__(
        self, focal_length: Any = 1.0, principal_point: Any = ((0.0, 0.0),), R: Any = None, T: Any = None,
        K: Any = None, device: Any = "cpu", in_ndc: bool = True, image_size: Size | None = None,
    ) -> None:  # fmt: skip
        parameters = {"focal_length": focal_length, "principal_point": principal_point, "image_size": image_size}
        super().__init__(R, T, K, device, **parameters)
        self._in_ndc = in_ndc
        self.image_size = self.image_size if image_size is not None else None
        self.focal_length = _pairs(self.focal_length)

    def in_ndc(self) -> bool:
        return self._in_ndc

    def _intrinsics(self, kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
        value = _Parameters(self, kwargs)
        focal, principal = _pairs(value("focal_length")), value("principal_point").reshape(-1, 2)
        return torch.broadcast_tensors(*focal.unbind(-1), *principal.unbind(-1))

    def get_principal_point(self, **kwargs: Any) -> Tensor:
        """In the space of the parameters [N, 2]."""
        row = 2 if self.is_perspective() else 3
        return self.get_projection_transform(**kwargs).get_matrix()[:, row, :2]

    def get_ndc_camera_transform(self, **kwargs: Any) -> Transform3d:
        to_ndc = super().get_ndc_camera_transform(**kwargs)
        if self.in_ndc():
            return to_ndc
        # The principal point is given with +x right and +y down, the projection has +x left and +y up around it.
        principal = self.get_principal_point(**kwargs)
        offset = torch.cat((-2 * principal, torch.zeros_like(principal[:, :1])), 1)
        return Transform3d(dtype=principal.dtype, device=principal.device).translate(offset).compose(to_ndc)


def _pairs(focal: Tensor) -> Tensor:
    """Focal lengths [N, 2]."""
    return (focal[:, None] if focal.ndim == 1 else focal).expand(-1, 2)


class PerspectiveCameras(_FocalCameras):
    __doc__ = f"(x, y) = f (X, Y) / Z + p, z = 1 / Z. {_FocalCameras.__doc__}"

    def projection_matrix(self, kwargs: dict[str, Any]) -> Tensor:
        fx, fy, px, py = self._intrinsics(kwargs)
        return matrix_of([[fx, 0.0, px, 0.0], [0.0, fy, py, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]], fx)

    def is_perspective(self) -> bool:
        return True


class OrthographicCameras(_FocalCameras):
    __doc__ = f"(x, y) = f (X, Y) + p, z = Z. {_FocalCameras.__doc__}"

    def projection_matrix(self, kwargs: dict[str, Any]) -> Tensor:
        fx, fy, px, py = self._intrinsics(kwargs)
        return matrix_of([[fx, 0.0, 0.0, px], [0.0, fy, 0.0, py], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]], fx)

    def is_perspective(self) -> bool:
        return False


def _old_name(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", PendingDeprecationWarning, stacklevel=3)


def OpenGLPerspectiveCameras(*args: Any, **kwargs: Any) -> FoVPerspectiveCameras:
    """The old name of `FoVPerspectiveCameras`."""
    _old_name("OpenGLPerspectiveCameras", "FoVPerspectiveCameras")
    return FoVPerspectiveCameras(*args, **kwargs)


def OpenGLOrthographicCameras(
    znear: Any = 1.0, zfar: Any = 100.0, top: Any = 1.0, bottom: Any = -1.0, left: Any = -1.0, right: Any = 1.0,
    scale_xyz: Any = ((1.0, 1.0, 1.0),), R: Any = None, T: Any = None, device: Any = "cpu",
) -> FoVOrthographicCameras:  # fmt: skip
    """`FoVOrthographicCameras` with older names."""
    _old_name("OpenGLOrthographicCameras", "FoVOrthographicCameras")
    return FoVOrthographicCameras(znear, zfar, top, bottom, right, left, scale_xyz, R, T, device=device)


def SfMPerspectiveCameras(
    focal_length: Any = 1.0, principal_point: Any = ((0.0, 0.0),), R: Any = None, T: Any = None, device: Any = "cpu"
) -> PerspectiveCameras:
    """The old name of `PerspectiveCameras`."""
    _old_name("SfMPerspectiveCameras", "PerspectiveCameras")
    return PerspectiveCameras(focal_length, principal_point, R, T, device=device)


def SfMOrthographicCameras(
    focal_length: Any = 1.0, principal_point: Any = ((0.0, 0.0),), R: Any = None, T: Any = None, device: Any = "cpu"
) -> OrthographicCameras:
    """The old name of `OrthographicCameras`."""
    _old_name("SfMOrthographicCameras", "OrthographicCameras")
    return OrthographicCameras(focal_length, principal_point, R, T, device=device)
