"""What all cameras have in common.

NDC have +X left and +Y up; the image's short side spans [-1, 1]. Screen coordinates are pixels from the outer corner of
the top left pixel, +x right, +y down. z passes through both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer._view import get_world_to_view_transform
from lumigrad.compat.pytorch3d.renderer.utils import TensorProperties
from lumigrad.compat.pytorch3d.transforms.transform3d import Transform3d

Rows = Sequence[Sequence[Tensor | float]]


class CamerasBase(TensorProperties):
    """A batch of cameras. `R` [N, 3, 3] and `T` [N, 3]: X_view = X R + T.

    Keywords of a call (`R`, `T`, and the parameters of the projection) take the places of the camera's own. `R` and `T`
    stay, as in PyTorch3D, because shaders ask for the camera's place later.
    """

    _FIELDS: tuple[str, ...] = ()
    _SHARED_FIELDS: tuple[str, ...] = ()

    R: Tensor
    T: Tensor
    K: Tensor | None
    image_size: Tensor | None = None

    def __init__(self, R: Any, T: Any, K: Any, device: Any, **values: Any) -> None:
        given = [v for v in (R, T, K, *values.values()) if isinstance(v, (Tensor, np.ndarray))]
        like = next((t for t in map(torch.as_tensor, given) if t.is_floating_point()), None)
        dtype = torch.float32 if like is None else like.dtype
        device = device if like is None or torch.device(device).type != "cpu" else like.device
        options: dict[str, Any] = {"dtype": dtype, "device": device}
        R = torch.eye(3, **options)[None] if R is None else torch.as_tensor(R, **options)
        T = torch.zeros(1, 3, **options) if T is None else torch.as_tensor(T, **options)
        sizes = {"image_size": values.pop("image_size")} if values.get("image_size") is not None else {}
        rows = {name: torch.as_tensor(value, **options) for name, value in values.items() if value is not None}
        if K is not None:
            rows["K"] = torch.as_tensor(K, **options).reshape(-1, 4, 4)
        R, T = R[None] if R.ndim == 2 else R, T[None] if T.ndim == 1 else T
        super().__init__(dtype=dtype, device=device, R=R, T=T, **rows, **_checked_size(sizes, device))
        self.K = self.K if K is not None else None

    # ---- What kinds of cameras say

    def projection_matrix(self, kwargs: dict[str, Any]) -> Tensor:
        """Matrices [N, 4, 4] on row vectors, from view space to the camera's own. Not in PyTorch3D."""
        raise NotImplementedError

    def is_perspective(self) -> bool:
        raise NotImplementedError

    def in_ndc(self) -> bool:
        """Whether the camera's parameters are in NDC."""
        raise NotImplementedError

    def get_znear(self) -> Tensor | None:
        return getattr(self, "znear", None)

    def get_image_size(self) -> Tensor | None:
        """(height, width) [N, 2], or None."""
        return self.image_size

    # ---- Transformations

    def get_world_to_view_transform(self, **kwargs: Any) -> Transform3d:
        """From world to view."""
        self.R, self.T = kwargs.get("R", self.R), kwargs.get("T", self.T)
        return get_world_to_view_transform(self.R, self.T)

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """From view to the space that the camera's parameters are in."""
        K = kwargs.get("K", self.K)
        if K is None:
            return Transform3d(matrix=self.projection_matrix(kwargs))
        if K.shape != (len(self), 4, 4):
            raise ValueError(f"Expected K to have shape of ({len(self)}, 4, 4), got {tuple(K.shape)}")
        return Transform3d(matrix=K.transpose(1, 2))

    def get_full_projection_transform(self, **kwargs: Any) -> Transform3d:
        """From world to the space that the camera's parameters are in."""
        return self.get_world_to_view_transform(**kwargs).compose(self.get_projection_transform(**kwargs))

    def get_ndc_camera_transform(self, **kwargs: Any) -> Transform3d:
        """From the space that the camera's parameters are in to NDC."""
        if self.in_ndc():
            return Transform3d(device=self.device, dtype=self.R.dtype)
        return get_screen_to_ndc_transform(self, image_size=self._size(kwargs))

    def get_camera_center(self, **kwargs: Any) -> Tensor:
        """The eyes [N, 3] in the world."""
        return self.get_world_to_view_transform(**kwargs).inverse().get_matrix()[:, 3, :3]

    def transform_points(self, points: Tensor, eps: float | None = None, **kwargs: Any) -> Tensor:
        """World points [P, 3] or [N, P, 3] in the space that the camera's parameters are in.

        Args:
            points: in the world.
            eps: keep divisors at least so far from zero.
            kwargs: in place of the camera's own parameters.
        """
        return self.get_full_projection_transform(**kwargs).transform_points(points, eps)

    def transform_points_ndc(self, points: Tensor, eps: float | None = None, **kwargs: Any) -> Tensor:
        """World points in NDC. Cameras defined on the screen need an image size."""
        if self.in_ndc():
            return self.transform_points(points, eps, **kwargs)
        to_ndc = self.get_ndc_camera_transform(**kwargs)
        return self.get_full_projection_transform(**kwargs).compose(to_ndc).transform_points(points, eps)

    def transform_points_screen(
        self, points: Tensor, eps: float | None = None, with_xyflip: bool = True, **kwargs: Any
    ) -> Tensor:
        """World points in pixels; without `with_xyflip`, the negative of x and y."""
        ndc = self.transform_points_ndc(points, eps, **kwargs)
        return get_ndc_to_screen_transform(self, with_xyflip, self._size(kwargs)).transform_points(ndc, eps)

    def unproject_points(self, xy_depth: Tensor, world_coordinates: bool = True, **kwargs: Any) -> Tensor:
        """The points [..., 3] of projected x and y with their depth in view space.

        Args:
            xy_depth: [P, 3] or [N, P, 3].
            world_coordinates: return them in the world, otherwise in view space.
            kwargs: `from_ndc` (x and y are in NDC, whatever the camera's parameters are in), `scaled_depth_input` (the
                third number is the projected z), and what takes the place of the camera's own parameters.
        """
        transform = self.get_projection_transform(**kwargs)
        scaled = kwargs.get("scaled_depth_input", False)
        projected = xy_depth if scaled else self._with_projected_depth(xy_depth, transform)
        if world_coordinates:
            transform = self.get_world_to_view_transform(**kwargs).compose(transform)
        if kwargs.get("from_ndc", False):
            transform = transform.compose(self.get_ndc_camera_transform(**kwargs))
        return transform.inverse(invert_composed=True).transform_points(projected)

    def _with_projected_depth(self, xy_depth: Tensor, projection: Transform3d) -> Tensor:
        """x, y, and the projected z of view space depth."""
        matrix = projection.get_matrix()
        shape = [len(matrix), *[1] * (xy_depth.ndim - 1)]
        scale, offset, w, one = (matrix[:, i, j].reshape(shape) for i, j in ((2, 2), (3, 2), (2, 3), (3, 3)))
        depth = xy_depth[..., 2:]
        return torch.cat((xy_depth[..., :2].expand(*torch.broadcast_shapes(depth.shape, tuple(shape))[:-1], 2),
                          (scale * depth + offset) / (w * depth + one)), -1)  # fmt: skip

    def _size(self, kwargs: dict[str, Any]) -> Any:
        return kwargs.get("image_size", self.get_image_size())

    # ---- Batches

    def __getitem__(self, index: Any) -> Any:
        """Some of the cameras, as a batch.

        Raises:
            IndexError: a camera that does not exist.
            ValueError: an index that is no integer, list of integers, or tensor of integers or flags.
        """
        chosen = torch.tensor(_camera_numbers(index, len(self)), dtype=torch.int64, device=self.device)
        values = {}
        for name in self._FIELDS:
            value = getattr(self, name, None)
            if value is not None:
                values[name.removeprefix("_")] = value[chosen] if isinstance(value, Tensor) else value
        return type(self)(**values, device=self.device)


def _camera_numbers(index: Any, count: int) -> list[int]:
    tensor = isinstance(index, Tensor) and index.dtype in (torch.bool, torch.int64)
    integers = isinstance(index, list) and all(isinstance(i, int) and not isinstance(i, bool) for i in index)
    if not (tensor or integers or (isinstance(index, int) and not isinstance(index, bool))):
        raise ValueError(f"Invalid index type, expected int, List[int] or Bool/LongTensor; got {type(index)}")
    if isinstance(index, Tensor) and index.dtype == torch.bool:
        if index.shape != (count,):
            raise ValueError(f"Boolean index of shape {tuple(index.shape)} does not match cameras: {count}")
        index = index.nonzero()[:, 0]
    numbers = [index] if isinstance(index, int) else [int(i) for i in index]
    for i in numbers:
        if not -count <= i < count:
            raise IndexError(f"Index {i} is out of bounds for select cameras: there are {count}")
    return numbers


def _checked_size(values: dict[str, Any], device: Any) -> dict[str, Tensor]:
    """The image size [N, 2], if it is given."""
    if not values:
        return {}
    size = torch.as_tensor(values["image_size"], device=device).reshape(-1, 2)
    if bool((size < 1).any()):
        raise ValueError(f"Image_size provided has invalid values: expected positive ones, got {size.tolist()}")
    return {"image_size": size}


def matrix_of(rows: Rows, like: Tensor) -> Tensor:
    """Matrices on row vectors [N, 4, 4] from the rows of those on column vectors."""
    full = [[v if isinstance(v, Tensor) else torch.full_like(like, v) for v in row] for row in rows]
    return torch.stack([torch.stack(torch.broadcast_tensors(*row), -1) for row in full], -2).transpose(1, 2)


def get_ndc_to_screen_transform(cameras: Any, with_xyflip: bool = False, image_size: Any = None) -> Transform3d:
    """From NDC to pixels; without `with_xyflip`, to the negative of x and y.

    Args:
        cameras: whose device and number of elements count.
        with_xyflip: whether +x is right and +y is down.
        image_size: (height, width), a pair or [N, 2].

    Raises:
        ValueError: no image size.
    """
    if image_size is None:
        raise ValueError("For NDC to screen conversion, image_size=(height, width) needs to be specified.")
    dtype = cameras.R.dtype
    height, width = torch.as_tensor(image_size, dtype=dtype, device=cameras.device).reshape(-1, 2).unbind(1)
    scale = torch.minimum(height, width) / 2
    flip = -1.0 if with_xyflip else 1.0
    rows: Rows = [
        [flip * scale, 0.0, 0.0, -flip * width / 2],
        [0.0, flip * scale, 0.0, -flip * height / 2],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    return Transform3d(matrix=matrix_of(rows, scale))


def get_screen_to_ndc_transform(cameras: Any, with_xyflip: bool = False, image_size: Any = None) -> Transform3d:
    """The inverse of `get_ndc_to_screen_transform`."""
    return get_ndc_to_screen_transform(cameras, with_xyflip, image_size).inverse()


def try_get_projection_transform(cameras: CamerasBase, cameras_kwargs: dict[str, Any]) -> Transform3d | None:
    """The projection, or None of cameras whose projection is no matrix."""
    try:
        return cameras.get_projection_transform(**cameras_kwargs)
    except NotImplementedError:
        return None
