"""Orthographic cameras."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import Camera, check_size
from lumigrad.scene.cameras.pose import Scalar, Vector, as_float, orbit_view
from lumigrad.types.shapes import Float
from lumigrad.types.validation import values_can_be_checked


@dataclass(frozen=True)
class OrthographicCamera(Camera):
    """A camera with parallel rays, or a batch of them.

    A camera-space point (X, Y, Z) lies at the pixel (cx + fx X, cy - fy Y): `fx, fy` are pixels per world unit. The
    clip planes may lie behind the camera's position (near < 0).

    >>> import torch
    >>> from lumigrad.scene import OrthographicCamera
    >>> camera = OrthographicCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, height=4.0, size=(100, 200))
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, -9.0]]))
    tensor([[100.,  50.],
            [125.,  25.],
            [125.,  25.]])
    """

    @classmethod
    def from_height(
        cls,
        height: Scalar,
        size: tuple[int, int],
        world_to_camera: Float[Tensor, "... 4 4"] | None = None,
        near: float = 0.1,
        far: float = 100.0,
    ) -> OrthographicCamera:
        """Camera with square pixels and a centred image.

        Args:
            height: of the image in world units, a scalar or [...], each above 0.
            size: (height, width) in pixels.
            world_to_camera: matrix [..., 4, 4]; the identity by default.

        Raises:
            ValueError: a height of 0 or less, or shapes that do not fit.
        """
        rows, columns = check_size(size)
        matrix = torch.eye(4) if world_to_camera is None else world_to_camera
        extent = as_float(height, "height", matrix)
        if values_can_be_checked() and not bool((extent > 0).all()):
            raise ValueError(f"height: expected more than 0, got {extent.tolist()}")
        scale = rows / extent
        centre = matrix.new_tensor([0.5 * columns, 0.5 * rows])
        return cls(matrix, scale, scale, centre[0], centre[1], (rows, columns), near, far)

    @classmethod
    def orbit(
        cls,
        azimuth: Scalar,
        elevation: Scalar,
        distance: Scalar,
        height: Scalar,
        size: tuple[int, int],
        target: Vector = (0.0, 0.0, 0.0),
        near: float = 0.1,
        far: float = 100.0,
    ) -> OrthographicCamera:
        """Camera that looks at `target` from around it, y up.

        Args:
            azimuth, elevation, distance, target: as in `orbit_view`.
            height, size, near, far: as in `from_height`.
        """
        return cls.from_height(height, size, orbit_view(azimuth, elevation, distance, target), near, far)

    def _projection(self) -> str:
        return "orthographic"

    def projection_matrix(self) -> Float[Tensor, "... 4 4"]:
        height, width = self.size
        zero, one = torch.zeros_like(self.fx), torch.ones_like(self.fx)
        depth = self.far - self.near
        rows = [
            [2 * self.fx / width, zero, zero, 2 * self.cx / width - 1],
            [zero, 2 * self.fy / height, zero, 1 - 2 * self.cy / height],
            [zero, zero, -one * (2 / depth), -one * ((self.far + self.near) / depth)],
            [zero, zero, zero, one],
        ]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def linear_depth(self, ndc: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 0.5 * ((self.far + self.near) + ndc * (self.far - self.near))

    def unproject(
        self, pixels: Float[Tensor, "... pixels 2"], depth: Float[Tensor, "... pixels"]
    ) -> Float[Tensor, "... pixels 3"]:
        plane = self._plane(pixels)
        local = torch.stack(torch.broadcast_tensors(plane[..., 0], -plane[..., 1], -depth), dim=-1)
        return self._world(local)

    def towards(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 3"]:
        return self._back(points).expand(*self.shape, points.shape[-2], 3)

    def _rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        plane = self._plane(pixels)
        origins = self._world(torch.stack([plane[..., 0], -plane[..., 1], torch.zeros_like(plane[..., 0])], dim=-1))
        return origins, -self._back(origins).expand_as(origins)

    def _back(self, like: Tensor) -> Tensor:
        """The unit direction opposite to the view, in world space, [..., 1, 3]."""
        back = self.camera_to_world[..., None, :3, 2].to(like.dtype)
        unit: Tensor = back / back.norm(dim=-1, keepdim=True)
        return unit
