"""PyTorch3D's cameras: constructors, spaces and transformations under its names.

NDC has +X left and +Y up; the image's short side spans [-1, 1]. Screen coordinates are pixels from the outer corner of
the top left pixel, +x right, +y down. z passes through both.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d._transform import Transform3d
from lumigrad.scene.cameras.pytorch3d import box_intrinsics, fov_intrinsics, ndc_to_screen, screen_to_ndc

Rows = Sequence[Sequence[Tensor | float]]
Size = Sequence[int] | Sequence[Sequence[int]] | Tensor


class CamerasBase:
    """What all cameras have in common. `R` [N, 3, 3] and `T` [N, 3]: X_view = X R + T."""

    _batched: tuple[str, ...] = ()
    image_size: Tensor | None = None
    _in_ndc = True

    def __init__(self, R: Tensor | None, T: Tensor | None, K: Tensor | None, device: Any, **values: Any) -> None:
        like = next((v for v in (R, T, K, *values.values()) if isinstance(v, Tensor) and v.is_floating_point()), None)
        dtype = torch.float32 if like is None else like.dtype
        device = device if like is None or torch.device(device).type != "cpu" else like.device
        options: dict[str, Any] = {"dtype": dtype, "device": device}
        tensors = {
            "R": torch.eye(3, **options)[None] if R is None else torch.as_tensor(R, **options).reshape(-1, 3, 3),
            "T": torch.zeros(1, 3, **options) if T is None else torch.as_tensor(T, **options).reshape(-1, 3),
            **{name: _rows(value, options) for name, value in values.items()},
        }
        if K is not None:
            tensors["K"] = torch.as_tensor(K, **options).reshape(-1, 4, 4)
        count = max(len(value) for value in tensors.values())
        for name, value in tensors.items():
            if len(value) not in (1, count):
                raise ValueError(f"{name}: expected 1 or {count} cameras, got {len(value)}")
            setattr(self, name, value.expand(count, *value.shape[1:]))
        self.K: Tensor | None = getattr(self, "K", None) if K is not None else None
        self._batched = tuple(tensors)

    R: Tensor
    T: Tensor

    def __len__(self) -> int:
        return len(self.R)

    @property
    def device(self) -> torch.device:
        return self.R.device

    def __getitem__(self, index: int | Sequence[int] | slice | Tensor) -> Any:
        """Some of the cameras, as a batch."""
        return self._map(lambda value: value[[index] if isinstance(index, int) else index])

    def to(self, device: torch.device | str) -> Any:
        return self._map(lambda value: value.to(device))

    def clone(self) -> Any:
        return self._map(lambda value: value.clone())

    def _map(self, function: Any) -> Any:
        other = copy.copy(self)
        for name in (*self._batched, *(("image_size",) if self.image_size is not None else ())):
            setattr(other, name, function(getattr(self, name)))
        return other

    # ---- Transformations

    def _projection(self) -> Tensor:
        """Matrices [N, 4, 4] on row vectors, from view to NDC, or to screen for cameras defined there."""
        raise NotImplementedError

    def _principal_point(self) -> Tensor:
        """In the space of the parameters [N, 2]; only cameras defined on the screen are asked."""
        raise NotImplementedError

    def in_ndc(self) -> bool:
        """Whether the camera's parameters are in NDC."""
        return self._in_ndc

    def get_world_to_view_transform(self, **kwargs: Tensor) -> Transform3d:
        """From world to view; `R` and `T` given here take the camera's place."""
        R, T = kwargs.get("R", self.R), kwargs.get("T", self.T)
        upper = torch.cat((R, torch.zeros_like(R[..., :1])), 2)
        return Transform3d(matrix=torch.cat((upper, torch.cat((T, torch.ones_like(T[:, :1])), 1)[:, None]), 1))

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """From view to the space that the camera's parameters are in."""
        return Transform3d(matrix=self._projection() if self.K is None else self.K.transpose(1, 2))

    def get_full_projection_transform(self, **kwargs: Any) -> Transform3d:
        """From world to the space that the camera's parameters are in."""
        return self.get_world_to_view_transform(**kwargs).compose(self.get_projection_transform())

    def get_camera_center(self, **kwargs: Tensor) -> Tensor:
        """The eyes [N, 3] in the world."""
        R, T = kwargs.get("R", self.R), kwargs.get("T", self.T)
        return -(T[:, None] @ R.transpose(1, 2))[:, 0]

    def transform_points(self, points: Tensor, eps: float | None = None, **kwargs: Any) -> Tensor:
        """World points [P, 3] or [N, P, 3] in the space that the camera's parameters are in."""
        return self.get_full_projection_transform(**kwargs).transform_points(points, eps)

    def transform_points_ndc(self, points: Tensor, eps: float | None = None, **kwargs: Any) -> Tensor:
        """World points in NDC. Cameras defined on the screen need an image size."""
        projected = self.transform_points(points, eps, **kwargs)
        if self._in_ndc:
            return projected
        size = self._size(kwargs.get("image_size"), projected)
        principal = self._principal_point()
        principal = principal[:, None] if projected.ndim == 3 else principal[0]
        # PyTorch3D projects with +x left and +y up around the principal point, in pixels.
        offset = (projected[..., :2] - principal) / (size.amin(-1, keepdim=True) / 2)
        return torch.cat((offset + screen_to_ndc(principal, size), projected[..., 2:]), -1)

    def transform_points_screen(
        self, points: Tensor, eps: float | None = None, with_xyflip: bool = True, **kwargs: Any
    ) -> Tensor:
        """World points in pixels; without `with_xyflip`, +x left and +y up."""
        ndc = self.transform_points_ndc(points, eps, **kwargs)
        size = self._size(kwargs.get("image_size"), ndc)
        xy = ndc[..., :2]
        return torch.cat((ndc_to_screen(xy if with_xyflip else -xy, size), ndc[..., 2:]), -1)

    def _size(self, given: Size | None, points: Tensor) -> Tensor:
        """(width, height) in pixels, of a shape that broadcasts against points."""
        value = self.image_size if given is None else given
        if value is None:
            raise ValueError("image_size: expected (height, width), as NDC and pixels are to be converted, got None")
        size = torch.as_tensor(value, dtype=points.dtype, device=points.device).reshape(-1, 2).flip(-1)
        return size[:, None] if points.ndim == 3 else size[0]

    def is_perspective(self) -> bool:
        raise NotImplementedError


def _rows(value: Any, options: dict[str, Any]) -> Tensor:
    """A number, [N], or [N, k], with the batch first."""
    tensor = torch.as_tensor(value, **options)
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _matrix(rows: Rows, like: Tensor) -> Tensor:
    """Matrices on row vectors [N, 4, 4] from the rows of those on column vectors."""
    full = [[value if isinstance(value, Tensor) else torch.full_like(like, value) for value in row] for row in rows]
    return torch.stack([torch.stack(row, -1) for row in full], -2).transpose(1, 2)


class FoVPerspectiveCameras(CamerasBase):
    """K00 = 1 / (aspect tan(fov / 2)), K11 = 1 / tan(fov / 2); z = zfar / (zfar - znear) (1 - znear / Z)."""

    def __init__(
        self, znear: Any = 1.0, zfar: Any = 100.0, aspect_ratio: Any = 1.0, fov: Any = 60.0, degrees: bool = True,
        R: Tensor | None = None, T: Tensor | None = None, K: Tensor | None = None, device: Any = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(R, T, K, device, znear=znear, zfar=zfar, aspect_ratio=aspect_ratio, fov=fov)
        self.degrees = degrees

    znear: Tensor
    zfar: Tensor
    aspect_ratio: Tensor
    fov: Tensor

    def _projection(self) -> Tensor:
        fx, fy = fov_intrinsics(self.fov, self.aspect_ratio, self.degrees)
        depth = self.zfar / (self.zfar - self.znear)
        rows: Rows = [
            [fx, 0.0, 0.0, 0.0],
            [0.0, fy, 0.0, 0.0],
            [0.0, 0.0, depth, -depth * self.znear],
            [0.0, 0.0, 1.0, 0.0],
        ]
        return _matrix(rows, fy)

    def is_perspective(self) -> bool:
        return True


class FoVOrthographicCameras(CamerasBase):
    """A box of view space to NDC: x from [min_x, max_x], y from [min_y, max_y] to [-1, 1], z to [0, 1]."""

    def __init__(
        self, znear: Any = 1.0, zfar: Any = 100.0, max_y: Any = 1.0, min_y: Any = -1.0, max_x: Any = 1.0,
        min_x: Any = -1.0, scale_xyz: Any = ((1.0, 1.0, 1.0),), R: Tensor | None = None, T: Tensor | None = None,
        K: Tensor | None = None, device: Any = "cpu",
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

    def _projection(self) -> Tensor:
        fx, fy, px, py = box_intrinsics(self.min_x, self.max_x, self.min_y, self.max_y, self.scale_xyz)
        depth = self.zfar - self.znear
        rows: Rows = [
            [fx, 0.0, 0.0, px],
            [0.0, fy, 0.0, py],
            [0.0, 0.0, self.scale_xyz[..., 2] / depth, -self.znear / depth],
            [0.0, 0.0, 0.0, 1.0],
        ]
        return _matrix(rows, fx)

    def is_perspective(self) -> bool:
        return False


class _FocalCameras(CamerasBase):
    """Focal lengths and principal points, in NDC or, with ``in_ndc=False``, in pixels."""

    focal_length: Tensor
    principal_point: Tensor

    def __init__(
        self, focal_length: Any = 1.0, principal_point: Any = ((0.0, 0.0),), R: Tensor | None = None,
        T: Tensor | None = None, K: Tensor | None = None, device: Any = "cpu", in_ndc: bool = True,
        image_size: Size | None = None,
    ) -> None:  # fmt: skip
        super().__init__(R, T, K, device, focal_length=focal_length, principal_point=principal_point)
        self._in_ndc = in_ndc
        if image_size is not None:
            size = torch.as_tensor(image_size, device=self.device).reshape(-1, 2)
            self.image_size = size.expand(len(self), 2)

    def _principal_point(self) -> Tensor:
        column = 2 if self.is_perspective() else 3
        return self.principal_point if self.K is None else self.K[:, :2, column]

    def _intrinsics(self) -> tuple[Tensor, ...]:
        focal = self.focal_length
        focal = focal[:, None].expand(-1, 2) if focal.ndim == 1 else focal.expand(-1, 2)
        return (*focal.unbind(-1), *self.principal_point.unbind(-1))


class PerspectiveCameras(_FocalCameras):
    """(x, y) = f (X, Y) / Z + p, z = 1 / Z."""

    def _projection(self) -> Tensor:
        fx, fy, px, py = self._intrinsics()
        return _matrix([[fx, 0.0, px, 0.0], [0.0, fy, py, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]], fx)

    def is_perspective(self) -> bool:
        return True


class OrthographicCameras(_FocalCameras):
    """(x, y) = f (X, Y) + p, z = Z."""

    def _projection(self) -> Tensor:
        fx, fy, px, py = self._intrinsics()
        return _matrix([[fx, 0.0, 0.0, px], [0.0, fy, 0.0, py], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]], fx)

    def is_perspective(self) -> bool:
        return False
