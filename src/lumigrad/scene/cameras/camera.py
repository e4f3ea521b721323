"""Cameras: their common base class, and the perspective camera.

Camera space is OpenGL's: x right, y up, looking along -z. Matrices act on column vectors. Pixel
coordinates put (0, 0) at the outer corner of the top left pixel, x to the right and y downwards, so the
centre of pixel (row i, column j) is (j + 0.5, i + 0.5) and the image centre is (W / 2, H / 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lumigrad.scene.cameras.distortion import Distortion, FisheyeDistortion
from lumigrad.scene.cameras.pose import Scalar, Vector, affine_inverse, as_float, look_at, orbit_view
from lumigrad.types import Rays, View, validation
from lumigrad.types.counters import mixed
from lumigrad.types.shapes import Float
from lumigrad.types.validation import fractional, values_can_be_checked

__all__ = ["Camera", "PerspectiveCamera", "look_at"]

C = TypeVar("C", bound="Camera")


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width), both at least 1."""
    if not isinstance(size, (tuple, list, torch.Size)):
        raise TypeError(f"size: expected (height, width), got {size!r}")
    if len(size) != 2 or int(size[0]) < 1 or int(size[1]) < 1:
        raise ValueError(f"size: expected (height, width), both at least 1, got {tuple(size)}")
    return int(size[0]), int(size[1])


@dataclass(frozen=True)
class Camera:
    """One camera, or a batch of them: what renderers ask for. Differentiable in every tensor.

    Attributes:
        world_to_camera: matrix [..., 4, 4].
        fx, fy: focal lengths in pixels (pixels per world unit for orthographic cameras), [...] or scalars.
        cx, cy: principal point in pixels, [...] or scalars.
        size: image (height, width) in pixels.
        near, far: distances of the clip planes along the viewing direction.
    """

    world_to_camera: Float[Tensor, "*batch 4 4"]
    fx: Float[Tensor, "*batch"]
    fy: Float[Tensor, "*batch"]
    cx: Float[Tensor, "*batch"]
    cy: Float[Tensor, "*batch"]
    size: tuple[int, int]
    near: float = 0.1
    far: float = 100.0

    def __post_init__(self) -> None:
        matrix = self.world_to_camera
        if not isinstance(matrix, Tensor) or matrix.shape[-2:] != (4, 4):
            got = list(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
            raise ValueError(f"world_to_camera: expected a tensor [..., 4, 4], got {got}")
        fractional("world_to_camera", matrix)
        if not self.near < self.far:
            raise ValueError(f"near, far: expected near < far, got {self.near}, {self.far}")
        object.__setattr__(self, "size", check_size(self.size))
        for name in ("fx", "fy", "cx", "cy"):
            value = as_float(getattr(self, name), name, matrix).to(matrix)
            try:
                value = value.expand(matrix.shape[:-2])
            except RuntimeError as error:
                want, got = list(matrix.shape[:-2]), list(value.shape)
                raise ValueError(f"{name}: expected a scalar or shape {want}, got {got}") from error
            object.__setattr__(self, name, value)

    @classmethod
    def from_ndc(
        cls: type[C],
        focal: Float[Tensor, "... 2"] | Sequence[float],
        size: tuple[int, int],
        principal: Float[Tensor, "... 2"] | Sequence[float] = (0.0, 0.0),
        world_to_camera: Float[Tensor, "... 4 4"] | None = None,
        near: float = 0.1,
        far: float = 100.0,
    ) -> C:
        """Camera from intrinsics in normalised device coordinates (x right, y up, both from -1 to 1 over the image).

        Args:
            focal: [..., 2], NDC per unit of x / depth and y / depth (of x and y for orthographic cameras): the diagonal
                of the projection matrix.
            size: (height, width) in pixels.
            principal: [..., 2], where the viewing direction meets the image.
            world_to_camera: matrix [..., 4, 4]; the identity by default.

        Raises:
            ValueError: shapes that do not fit.
        """
        height, width = check_size(size)
        matrix = torch.eye(4) if world_to_camera is None else world_to_camera
        scale, centre = as_float(focal, "focal", matrix), as_float(principal, "principal", matrix)
        for name, value in (("focal", scale), ("principal", centre)):
            if value.ndim == 0 or value.shape[-1] != 2:
                raise ValueError(f"{name}: expected shape [..., 2], got {list(value.shape)}")
        fx, fy = 0.5 * width * scale[..., 0], 0.5 * height * scale[..., 1]
        cx, cy = 0.5 * width * (1 + centre[..., 0]), 0.5 * height * (1 - centre[..., 1])
        return cls(matrix, fx, fy, cx, cy, (height, width), near, far)

    @property
    def shape(self) -> torch.Size:
        """Batch shape."""
        return self.world_to_camera.shape[:-2]

    @property
    def camera_to_world(self) -> Float[Tensor, "... 4 4"]:
        """Inverse of `world_to_camera`, [..., 4, 4]."""
        return affine_inverse(self.world_to_camera)

    @property
    def position(self) -> Float[Tensor, "... 3"]:
        """Camera centres in world coordinates [..., 3]."""
        return self.camera_to_world[..., :3, 3]

    def __getitem__(self: C, index: int | slice | Tensor | list[int]) -> C:
        """Sub-batch along the first batch dimension."""
        if not self.shape:
            raise IndexError("this camera is not a batch")
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        batched: dict[str, Any] = {k: v[index] for k, v in found.items() if isinstance(v, (Tensor, Distortion))}
        return replace(self, **batched)

    def to(self: C, *args: Any) -> C:
        """Copy with all tensors passed through `Tensor.to`; a distortion follows the matrix."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: v.to(*args) for k, v in found.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def resized(self: C, size: tuple[int, int]) -> C:
        """The same camera with an image of another size: its image plane is sampled more or less finely."""
        height, width = check_size(size)
        sy, sx = height / self.size[0], width / self.size[1]
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy, size=(height, width))

    def view(self) -> View:
        """What `lumigrad.gaussians`, `points`, `spheres`, `surfels` and `surface_splats` take, of [N] cameras or one.

        It carries the camera's own clip planes. Those of a camera that was made for meshes can be too narrow for
        primitives that have no use for a depth buffer: `camera.view()._replace(near=0.01, far=1e10)`.

        Raises:
            ValueError: a distortion that the ops do not know. They know `FisheyeDistortion` with all coefficients 0.
        """
        return View(
            self.world_to_camera, self.fx, self.fy, self.cx, self.cy, self.size, self._projection(), self.near, self.far
        )

    def _projection(self) -> str:
        """The name of this camera in `View.projection`."""
        raise NotImplementedError

    def projection_matrix(self) -> Float[Tensor, "... 4 4"]:
        """Camera-to-clip matrix [..., 4, 4], OpenGL's: z = -w on the near plane, z = w on the far one."""
        raise NotImplementedError

    def clip_matrix(self) -> Float[Tensor, "... 4 4"]:
        """World-to-clip matrix [..., 4, 4]: `projection_matrix() @ world_to_camera`."""
        return self.projection_matrix() @ self.world_to_camera

    def project(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 4"]:
        """Clip-space positions of world points.

        Args:
            points: [V, 3], or [..., V, 3] with the camera's batch shape.

        Returns:
            [..., V, 4], homogeneous, ready for `lumigrad.rasterize`.

        Raises:
            ValueError: a last dimension other than 3.
        """
        _check_points("points", points, 3)
        matrix = self.clip_matrix().to(points.dtype)
        return points @ matrix[..., :3].transpose(-1, -2) + matrix[..., None, :, 3]

    def pixels(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 2"]:
        """Pixel coordinates (x, y) of world points, [..., V, 2]; meaningless behind the camera."""
        clip = self.project(points)
        ndc = clip[..., :2] / clip[..., 3:]
        height, width = self.size
        return torch.stack([(ndc[..., 0] + 1) * (0.5 * width), (1 - ndc[..., 1]) * (0.5 * height)], dim=-1)

    def depth(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points"]:
        """Distance of world points along the viewing direction, [..., V]; negative behind the camera."""
        return -self.local(points)[..., 2]

    def linear_depth(self, ndc: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Distance along the viewing direction of depths z / w in [-1, 1], as `Fragments.depth` has them."""
        raise NotImplementedError

    def unproject(
        self, pixels: Float[Tensor, "... pixels 2"], depth: Float[Tensor, "... pixels"]
    ) -> Float[Tensor, "... pixels 3"]:
        """World points [..., P, 3] seen at pixel coordinates; the inverse of `pixels` and `depth`.

        Args:
            pixels: (x, y), [P, 2] or [..., P, 2] with the camera's batch shape.
            depth: distance along the viewing direction (not along the ray), [P] or [..., P].

        Raises:
            ValueError: pixels not [..., P, 2].
        """
        raise NotImplementedError

    def rays(self, pixels: Float[Tensor, "... pixels 2"] | None = None) -> Rays:
        """Rays in world space through pixel coordinates, or through the centres of all pixels.

        Args:
            pixels: (x, y), [P, 2] or [..., P, 2] with the camera's batch shape.

        Returns:
            Rays: origins and unit directions, both [..., P, 3], or [..., H, W, 3] without `pixels`. A point at the
            depth d of a perspective camera lies d / cos(angle to the axis) along its ray.

        Raises:
            ValueError: pixels not [..., P, 2].
        """
        if pixels is not None:
            return Rays(*self._rays(pixels))
        height, width = self.size
        dtype, device = self.world_to_camera.dtype, self.world_to_camera.device
        rows = torch.arange(height, dtype=dtype, device=device) + 0.5
        columns = torch.arange(width, dtype=dtype, device=device) + 0.5
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        origins, directions = self._rays(torch.stack([x, y], dim=-1).reshape(-1, 2))
        return Rays(origins.unflatten(-2, self.size), directions.unflatten(-2, self.size))

    def random_pixels(self, count: int, seed: int = 0) -> Float[Tensor, "... pixels 2"]:
        """Centres of `count` random pixels of each image, (x, y), [..., count, 2]; a pixel may come more than once.

        Which these are depends on the seed, the image's number and the pixel's number alone: the first pixels of a
        longer list are those of a shorter one, on any device.

        Raises:
            ValueError: a negative count.

        >>> from lumigrad.scene import PerspectiveCamera
        >>> camera = PerspectiveCamera.from_fov(40.0, size=(48, 64))
        >>> pixels = camera.random_pixels(1000, seed=3)
        >>> rays = camera.rays(pixels)  # a batch for training
        >>> rays.directions.shape, bool((pixels[:10] == camera.random_pixels(10, seed=3)).all())
        (torch.Size([1000, 3]), True)
        """
        count, seed = validation.integer("count", count, 0), validation.integer("seed", seed, 0, 2**62)
        height, width = self.size
        device = self.world_to_camera.device
        image = torch.arange(self.shape.numel(), device=device)[:, None]
        word = mixed(mixed(torch.arange(count, device=device) ^ mixed(image + seed)) + seed)
        # Two 31-bit numbers, which suffice for any image.
        x = ((word & 0x7FFFFFFF) * width) >> 31
        y = ((word >> 32 & 0x7FFFFFFF) * height) >> 31
        pixels = torch.stack((x, y), -1).to(self.world_to_camera.dtype) + 0.5
        return pixels.reshape(*self.shape, count, 2)

    def towards(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 3"]:
        """Unit directions from world points to the viewer, [..., V, 3]."""
        raise NotImplementedError

    def _rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def local(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 3"]:
        """World points in camera space, [..., V, 3]."""
        _check_points("points", points, 3)
        matrix = self.world_to_camera.to(points.dtype)
        return points @ matrix[..., :3, :3].transpose(-1, -2) + matrix[..., None, :3, 3]

    def _plane(self, pixels: Tensor) -> Tensor:
        """Pixels on the normalised image plane [..., P, 2], y downwards."""
        _check_points("pixels", pixels, 2)
        focal, centre = self._intrinsics(pixels)
        return (pixels - centre) / focal

    def _intrinsics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Focal lengths and principal point, [..., 1, 2] each, in the dtype of pixels [..., P, 2]."""
        focal, centre = torch.stack([self.fx, self.fy], dim=-1), torch.stack([self.cx, self.cy], dim=-1)
        return focal[..., None, :].to(like.dtype), centre[..., None, :].to(like.dtype)

    def _world(self, points: Tensor) -> Tensor:
        """Camera-space points [..., P, 3] in world space."""
        pose = self.camera_to_world.to(points.dtype)
        return points @ pose[..., :3, :3].transpose(-1, -2) + pose[..., None, :3, 3]


@dataclass(frozen=True)
class PerspectiveCamera(Camera):
    """A pinhole camera, optionally with lens distortion, or a batch of them.

    Attributes:
        distortion: `RadialTangentialDistortion` or `FisheyeDistortion`; its coefficients are scalars or [...].

    `project` distorts vertices, on the normalised image plane: the edges between them stay straight in the image,
    so that meshes need to be fine compared with the bending of the lens. Beyond the radius where the distorted
    radius stops growing, `project` continues linearly instead of folding back; `pixels` is the plain formula.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, look_at
    >>> camera = PerspectiveCamera.from_fov(90.0, size=(100, 200), world_to_camera=look_at(eye=(0.0, 0.0, 2.0)))
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))  # y up in the world, rows down in the image
    tensor([[100.,  50.],
            [125.,  25.]])
    >>> camera.depth(torch.zeros(1, 3)).item()
    2.0
    >>> around = PerspectiveCamera.orbit(torch.linspace(0.0, 270.0, 4), 20.0, 3.0, fov_y=45.0, size=(64, 64))
    >>> around.shape, around.project(torch.zeros(5, 3)).shape
    (torch.Size([4]), torch.Size([4, 5, 4]))
    """

    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.near > 0:
            raise ValueError(f"near, far: expected 0 < near < far, got {self.near}, {self.far}")
        if self.distortion is None:
            return
        if not isinstance(self.distortion, Distortion):
            raise TypeError(f"distortion: expected a Distortion or None, got {type(self.distortion).__name__}")
        object.__setattr__(self, "distortion", self.distortion.expanded(self.world_to_camera))

    @classmethod
    def from_fov(
        cls,
        fov_y: Scalar,
        size: tuple[int, int],
        world_to_camera: Float[Tensor, "... 4 4"] | None = None,
        near: float = 0.1,
        far: float = 100.0,
    ) -> PerspectiveCamera:
        """Camera with square pixels and a centred principal point.

        Args:
            fov_y: vertical field of view in degrees, a scalar or [...], each in (0, 180).
            size: (height, width) in pixels.
            world_to_camera: matrix [..., 4, 4]; the identity by default.

        Raises:
            ValueError: a field of view outside (0, 180), or shapes that do not fit.
        """
        height, width = check_size(size)
        matrix = torch.eye(4) if world_to_camera is None else world_to_camera
        fov = as_float(fov_y, "fov_y", matrix)
        if values_can_be_checked() and not bool(((fov > 0) & (fov < 180)).all()):
            raise ValueError(f"fov_y: expected degrees in (0, 180), got {fov.tolist()}")
        if matrix.dim() == 2:  # one pose for all fields of view
            matrix = matrix.expand(*fov.shape, 4, 4)
        focal = 0.5 * height / torch.tan(fov * (math.pi / 360))
        centre = matrix.new_tensor([0.5 * width, 0.5 * height])
        return cls(matrix, focal, focal, centre[0], centre[1], (height, width), near, far)

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
            azimuth, elevation, distance, target: as in `orbit_view`.
            fov_y, size, near, far: as in `from_fov`. Angles and distance broadcast to a batch.
        """
        return cls.from_fov(fov_y, size, orbit_view(azimuth, elevation, distance, target), near, far)

    def _projection(self) -> str:
        if self.distortion is None:
            return "perspective"
        if isinstance(self.distortion, FisheyeDistortion) and not bool((self.distortion.to_opencv() != 0).any()):
            return "fisheye"
        name = type(self.distortion).__name__
        raise ValueError(f"distortion: expected none or an equidistant fisheye, got {name}; undistort the image first")

    def projection_matrix(self) -> Float[Tensor, "... 4 4"]:
        """Camera-to-clip matrix [..., 4, 4] without the distortion: z = -w on the near plane, z = w on the far one."""
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

    def project(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 4"]:
        if self.distortion is None:
            return super().project(points)
        local = _flipped(self.local(points))
        bent = torch.cat([self.distortion.homogeneous(local), local[..., 2:]], dim=-1)
        matrix = self.projection_matrix().to(points.dtype)
        return _flipped(bent) @ matrix[..., :3].transpose(-1, -2) + matrix[..., None, :, 3]

    def pixels(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 2"]:
        if self.distortion is None:
            return super().pixels(points)
        plane = self.distortion.image(_flipped(self.local(points)))
        focal, centre = self._intrinsics(plane)
        return centre + focal * plane

    def linear_depth(self, ndc: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 2 * self.far * self.near / ((self.far + self.near) - ndc * (self.far - self.near))

    def unproject(
        self, pixels: Float[Tensor, "... pixels 2"], depth: Float[Tensor, "... pixels"]
    ) -> Float[Tensor, "... pixels 3"]:
        direction = self._directions(pixels)
        return self._world(_flipped(direction / direction[..., 2:] * depth[..., None]))

    def towards(self, points: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 3"]:
        return torch.nn.functional.normalize(self.position.to(points.dtype)[..., None, :] - points, dim=-1)

    def _rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        direction = _flipped(self._directions(pixels))
        world = direction @ self.camera_to_world[..., :3, :3].transpose(-1, -2).to(direction.dtype)
        world = world / world.norm(dim=-1, keepdim=True)
        return self.position.to(world.dtype)[..., None, :].expand_as(world), world

    def _directions(self, pixels: Tensor) -> Tensor:
        """Directions [..., P, 3] in OpenCV's camera space, of any length."""
        plane = self._plane(pixels)
        if self.distortion is not None:
            return self.distortion.directions(plane)
        return torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)


def _flipped(points: Tensor) -> Tensor:
    """From OpenGL's camera space to OpenCV's, or back: y and z change sign."""
    return points * points.new_tensor([1.0, -1.0, -1.0])


def _check_points(name: str, points: Tensor, size: int) -> None:
    if points.ndim < 2 or points.shape[-1] != size:
        count = "V" if name == "points" else "P"
        raise ValueError(f"{name}: expected shape [..., {count}, {size}], got {list(points.shape)}")
