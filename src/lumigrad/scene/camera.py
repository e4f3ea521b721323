"""Perspective cameras.

Camera space is OpenGL's: x right, y up, looking along -z. Matrices act on column vectors. Pixel
coordinates put (0, 0) at the outer corner of the top left pixel, x to the right and y downwards, so the
centre of pixel (row i, column j) is (j + 0.5, i + 0.5) and the image centre is (W / 2, H / 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Vector = Tensor | Sequence[float]
Scalar = Tensor | float


def _as_float(value: object, name: str, like: Tensor | None = None) -> Tensor:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    dtype = torch.get_default_dtype() if like is None else like.dtype
    device = None if like is None else like.device
    try:
        return torch.as_tensor(value, dtype=dtype, device=device)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers or a tensor, got {type(value).__name__}") from error


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or int(size[0]) < 1 or int(size[1]) < 1:
        raise ValueError(f"size: expected (height, width), both at least 1, got {tuple(size)}")
    return int(size[0]), int(size[1])


def look_at(eye: Vector, target: Vector = (0.0, 0.0, 0.0), up: Vector = (0.0, 1.0, 0.0)) -> Tensor:
    """World-to-camera matrix of a camera at `eye` that looks at `target`.

    Args:
        eye, target, up: [..., 3], broadcast against each other, world units. Where `up` is parallel to the
            viewing direction, the world axis least parallel to it takes its place.

    Returns:
        [..., 4, 4], differentiable in eye and target.

    Raises:
        ValueError: a last dimension other than 3, or an eye that coincides with its target.
    """
    at = _as_float(eye, "eye")
    vectors = [at, _as_float(target, "target", at).to(at), _as_float(up, "up", at).to(at)]
    for name, value in zip(("eye", "target", "up"), vectors, strict=True):
        if value.ndim == 0 or value.shape[-1] != 3:
            raise ValueError(f"{name}: expected shape [..., 3], got {list(value.shape)}")
    centre, goal, upwards = torch.broadcast_tensors(*vectors)
    back = centre - goal
    length = back.norm(dim=-1, keepdim=True)
    if bool((length == 0).any()):
        raise ValueError("eye: coincides with target, the viewing direction is undefined")
    back = back / length
    shortest = torch.finfo(upwards.dtype).tiny
    upwards = upwards / upwards.norm(dim=-1, keepdim=True).clamp_min(shortest)
    parallel = torch.linalg.cross(upwards, back).norm(dim=-1, keepdim=True) < 1e-6
    axis = torch.eye(3, dtype=back.dtype, device=back.device)[back.detach().abs().argmin(dim=-1)]
    right = torch.linalg.cross(torch.where(parallel, axis, upwards), back)
    right = right / right.norm(dim=-1, keepdim=True)
    rotation = torch.stack([right, torch.linalg.cross(back, right), back], dim=-2)
    upper = torch.cat([rotation, -rotation @ centre[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=back.dtype, device=back.device)
    return torch.cat([upper, last.expand(*upper.shape[:-2], 1, 4)], dim=-2)


@dataclass(frozen=True)
class PerspectiveCamera:
    """One pinhole camera, or a batch of them.

    Attributes:
        view: world-to-camera matrix [..., 4, 4].
        fx, fy: focal lengths in pixels, [...] or scalars.
        cx, cy: principal point in pixels, [...] or scalars.
        size: image (height, width) in pixels.
        near, far: distances of the clip planes along the viewing direction, 0 < near < far.
    """

    view: Tensor
    fx: Tensor
    fy: Tensor
    cx: Tensor
    cy: Tensor
    size: tuple[int, int]
    near: float = 0.1
    far: float = 100.0

    def __post_init__(self) -> None:
        if not isinstance(self.view, Tensor) or self.view.shape[-2:] != (4, 4):
            got = list(self.view.shape) if isinstance(self.view, Tensor) else type(self.view).__name__
            raise ValueError(f"view: expected a tensor [..., 4, 4], got {got}")
        if not 0 < self.near < self.far:
            raise ValueError(f"near, far: expected 0 < near < far, got {self.near}, {self.far}")
        object.__setattr__(self, "size", _check_size(self.size))
        for name in ("fx", "fy", "cx", "cy"):
            value = _as_float(getattr(self, name), name, self.view).to(self.view)
            try:
                value = value.expand(self.view.shape[:-2])
            except RuntimeError as error:
                want, got = list(self.view.shape[:-2]), list(value.shape)
                raise ValueError(f"{name}: expected a scalar or shape {want}, got {got}") from error
            object.__setattr__(self, name, value)

    @classmethod
    def from_fov(
        cls,
        fov_y: Scalar,
        size: tuple[int, int],
        view: Tensor | None = None,
        near: float = 0.1,
        far: float = 100.0,
    ) -> PerspectiveCamera:
        """Camera with square pixels and a centred principal point.

        Args:
            fov_y: vertical field of view in degrees, a scalar or [...], each in (0, 180).
            size: (height, width) in pixels.
            view: world-to-camera [..., 4, 4]; the identity by default.

        Raises:
            ValueError: a field of view outside (0, 180), or shapes that do not fit.
        """
        height, width = _check_size(size)
        view = torch.eye(4) if view is None else view
        fov = _as_float(fov_y, "fov_y", view)
        if not bool(((fov > 0) & (fov < 180)).all()):
            raise ValueError(f"fov_y: expected degrees in (0, 180), got {fov.tolist()}")
        focal = 0.5 * height / torch.tan(fov * (math.pi / 360))
        centre = view.new_tensor([0.5 * width, 0.5 * height])
        return cls(view, focal, focal, centre[0], centre[1], (height, width), near, far)

    @classmethod
    def orbit(
        cls,
        azimuth: Scalar,
        elevation: Scalar,
        distance: Scalar,
        fov_y: Scalar,
        size: tuple[int, int],
        target: Vector = (0.0, 0.0, 0.0),
        near: float = 0.1,
        far: float = 100.0,
    ) -> PerspectiveCamera:
        """Camera on a sphere around `target`, y up.

        Args:
            azimuth: degrees; 0 looks from +z, 90 from +x.
            elevation: degrees above the xz plane; 90 looks down from +y.
            distance: from the target, world units.
            fov_y, size, near, far: as in `from_fov`. Angles and distance broadcast to a batch.
        """
        angles = _as_float(azimuth, "azimuth")
        azim, elev, dist = torch.broadcast_tensors(
            angles * (math.pi / 180),
            _as_float(elevation, "elevation", angles).to(angles) * (math.pi / 180),
            _as_float(distance, "distance", angles).to(angles),
        )
        direction = torch.stack([elev.cos() * azim.sin(), elev.sin(), elev.cos() * azim.cos()], dim=-1)
        # At the poles y is no use as up; there the horizontal axis that points away from the azimuth
        # continues the views nearby without a jump.
        pole = (elev.cos().abs() < 1e-4)[..., None]
        outward = torch.stack([azim.sin(), torch.zeros_like(azim), azim.cos()], dim=-1)
        up = torch.where(pole, -outward * torch.sign(elev)[..., None], direction.new_tensor([0.0, 1.0, 0.0]))
        centre = _as_float(target, "target", angles).to(angles)
        view = look_at(centre + dist[..., None] * direction, centre, up)
        return cls.from_fov(fov_y, size, view, near, far)

    @property
    def shape(self) -> torch.Size:
        """Batch shape."""
        return self.view.shape[:-2]

    @property
    def position(self) -> Tensor:
        """Camera centres in world coordinates [..., 3]; `view` must be rigid."""
        rotation, translation = self.view[..., :3, :3], self.view[..., :3, 3:]
        return -(rotation.transpose(-1, -2) @ translation)[..., 0]

    def __getitem__(self, index: int | slice | Tensor | list[int]) -> PerspectiveCamera:
        """Sub-batch along the first batch dimension."""
        if not self.shape:
            raise IndexError("this camera is not a batch")
        fields = {name: getattr(self, name)[index] for name in ("view", "fx", "fy", "cx", "cy")}
        return replace(self, **fields)

    def resized(self, size: tuple[int, int]) -> PerspectiveCamera:
        """The same camera with another resolution: its image plane is sampled more or less finely."""
        height, width = _check_size(size)
        sy, sx = height / self.size[0], width / self.size[1]
        return replace(
            self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy, size=(height, width)
        )

    def projection_matrix(self) -> Tensor:
        """Camera-to-clip matrix [..., 4, 4], OpenGL's: z = -w on the near plane, z = w on the far one."""
        height, width = self.size
        zero, one = torch.zeros_like(self.fx), torch.ones_like(self.fx)
        depth = self.far - self.near
        rows = [
            [2 * self.fx / width, zero, 1 - 2 * self.cx / width, zero],
            [zero, 2 * self.fy / height, 2 * self.cy / height - 1, zero],
            [zero, zero, -one * ((self.far + self.near) / depth), -one * (2 * self.far * self.near / depth)],
            [zero, zero, -one, zero],
        ]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def clip_matrix(self) -> Tensor:
        """World-to-clip matrix [..., 4, 4]: `projection_matrix() @ view`."""
        return self.projection_matrix() @ self.view

    def project(self, points: Tensor) -> Tensor:
        """Clip-space positions of world points.

        Args:
            points: [V, 3], or [..., V, 3] with the camera's batch shape.

        Returns:
            [..., V, 4], homogeneous, ready for `lumigrad.rasterize`.

        Raises:
            ValueError: a last dimension other than 3.
        """
        if points.ndim < 2 or points.shape[-1] != 3:
            raise ValueError(f"points: expected shape [..., V, 3], got {list(points.shape)}")
        matrix = self.clip_matrix().to(points.dtype)
        return points @ matrix[..., :3].transpose(-1, -2) + matrix[..., None, :, 3]

    def pixels(self, points: Tensor) -> Tensor:
        """Pixel coordinates (x, y) of world points, [..., V, 2]; meaningless behind the camera."""
        clip = self.project(points)
        ndc = clip[..., :2] / clip[..., 3:]
        height, width = self.size
        return torch.stack([(ndc[..., 0] + 1) * (0.5 * width), (1 - ndc[..., 1]) * (0.5 * height)], dim=-1)
