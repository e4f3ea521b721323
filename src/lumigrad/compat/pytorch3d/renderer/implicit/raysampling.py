"""Rays of cameras: of pixels, of some of them, or of random places in the image."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase
from lumigrad.compat.pytorch3d.renderer.fisheyecameras import FishEyeCameras
from lumigrad.compat.pytorch3d.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle

Bundle = RayBundle | HeterogeneousRayBundle


class MultinomialRaysampler(nn.Module):
    """Rays through the points of a regular grid in the image, or through some of them.

    Args:
        min_x, max_x, min_y, max_y: x in the first and last column, y in the first and last row, in NDC.
        image_width, image_height: how many columns and rows there are.
        n_pts_per_ray: how many places along each ray.
        min_depth, max_depth: the first and the last of these, in units of the directions. Those reach from depth 1 to
            depth 2, so that lengths are depths in view space.
        n_rays_per_image: draw so many points of the grid for each camera.
        n_rays_total: draw so many cameras with replacement, and one point of the grid for each.
        unit_directions: directions of length 1, so that lengths are distances.
        stratified_sampling: draw the places along rays, each between the midpoints to its neighbours.

    Raises:
        ValueError: both numbers of rays.
    """

    _xy_grid: Tensor

    def __init__(
        self, *, min_x: float, max_x: float, min_y: float, max_y: float, image_width: int, image_height: int,
        n_pts_per_ray: int, min_depth: float, max_depth: float, n_rays_per_image: int | None = None,
        n_rays_total: int | None = None, unit_directions: bool = False, stratified_sampling: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._n_pts_per_ray, self._min_depth, self._max_depth = n_pts_per_ray, min_depth, max_depth
        self._n_rays_per_image, self._n_rays_total = n_rays_per_image, n_rays_total
        self._unit_directions, self._stratified_sampling = unit_directions, stratified_sampling
        _one_count(n_rays_per_image, n_rays_total)
        y, x = torch.meshgrid(
            torch.linspace(min_y, max_y, image_height), torch.linspace(min_x, max_x, image_width), indexing="ij"
        )
        self.register_buffer("_xy_grid", torch.stack((x, y), -1), persistent=False)

    def forward(
        self, cameras: CamerasBase, *, mask: Tensor | None = None, min_depth: float | None = None,
        max_depth: float | None = None, n_rays_per_image: int | None = None, n_pts_per_ray: int | None = None,
        stratified_sampling: bool | None = None, n_rays_total: int | None = None, **kwargs: Any,
    ) -> Bundle:  # fmt: skip
        """Rays [N, rows, columns], or [N, n_rays_per_image, 1], or [n_rays_total, 1, 1].

        Args:
            cameras: N of them.
            mask: how likely each point of the grid is drawn [N, rows, columns]. Without a number of rays, as many are
                drawn as the mask with the fewest points has.
            min_depth, max_depth, n_rays_per_image, n_pts_per_ray, stratified_sampling, n_rays_total: in place of the
                sampler's own.
            kwargs: not looked at.

        Raises:
            ValueError: both numbers of rays, or a mask of another shape.
        """
        per_image = self._n_rays_per_image if n_rays_per_image is None else n_rays_per_image
        total = self._n_rays_total if n_rays_total is None else n_rays_total
        _one_count(per_image, total)
        draw = None if total is None else _CameraDraw(cameras, total)
        count = per_image if draw is None else draw.longest
        if draw is not None:
            cameras, mask = draw.cameras, None if mask is None else mask[draw.ids]
        xy = self._xy_grid.to(cameras.device).expand(len(cameras), -1, -1, -1)
        if mask is not None or count is not None:
            xy = _drawn_points(xy, mask, count)
        bundle = _xy_to_ray_bundle(
            cameras, xy, *_places(self, min_depth, max_depth, n_pts_per_ray), self._unit_directions,
            self._stratified_sampling if stratified_sampling is None else stratified_sampling,
        )  # fmt: skip
        return bundle if draw is None else draw.packed(bundle)


class NDCMultinomialRaysampler(MultinomialRaysampler):
    """Rays through the centres of pixels; x of the grid falls from left to right, y from top to bottom.

    Args:
        image_width, image_height, n_pts_per_ray, min_depth, max_depth, n_rays_per_image, n_rays_total,
            unit_directions, stratified_sampling: of `MultinomialRaysampler`.
    """

    def __init__(
        self, *, image_width: int, image_height: int, n_pts_per_ray: int, min_depth: float, max_depth: float,
        n_rays_per_image: int | None = None, n_rays_total: int | None = None, unit_directions: bool = False,
        stratified_sampling: bool = False,
    ) -> None:  # fmt: skip
        short = min(image_width, image_height)
        x, y = ((side - 1) / short for side in (image_width, image_height))
        super().__init__(
            min_x=x, max_x=-x, min_y=y, max_y=-y, image_width=image_width, image_height=image_height,
            n_pts_per_ray=n_pts_per_ray, min_depth=min_depth, max_depth=max_depth, n_rays_per_image=n_rays_per_image,
            n_rays_total=n_rays_total, unit_directions=unit_directions, stratified_sampling=stratified_sampling,
        )  # fmt: skip


class MonteCarloRaysampler(nn.Module):
    """Rays through random places in a part of the image.

    Args:
        min_x, max_x, min_y, max_y: the part, in NDC.
        n_rays_per_image: how many rays each camera has.
        n_pts_per_ray, min_depth, max_depth, n_rays_total, unit_directions, stratified_sampling: of
            `MultinomialRaysampler`.

    Raises:
        ValueError: both numbers of rays, or none.
    """

    def __init__(
        self, min_x: float, max_x: float, min_y: float, max_y: float, n_rays_per_image: int | None, n_pts_per_ray: int,
        min_depth: float, max_depth: float, *, n_rays_total: int | None = None, unit_directions: bool = False,
        stratified_sampling: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        _one_count(n_rays_per_image, n_rays_total)
        if n_rays_per_image is None and n_rays_total is None:
            raise ValueError("n_rays_per_image: expected a number of rays, here or as n_rays_total, got None")
        self._corner, self._extent = (min_x, min_y), (max_x - min_x, max_y - min_y)
        self._n_pts_per_ray, self._min_depth, self._max_depth = n_pts_per_ray, min_depth, max_depth
        self._n_rays_per_image, self._n_rays_total = n_rays_per_image, n_rays_total
        self._unit_directions, self._stratified_sampling = unit_directions, stratified_sampling

    def forward(self, cameras: CamerasBase, *, stratified_sampling: bool | None = None, **kwargs: Any) -> Bundle:
        """Rays [N, n_rays_per_image] or [n_rays_total, 1].

        Args:
            cameras: N of them.
            stratified_sampling: in place of the sampler's own.
            kwargs: not looked at.
        """
        draw = None if self._n_rays_total is None else _CameraDraw(cameras, self._n_rays_total)
        count = self._n_rays_per_image if draw is None else draw.longest
        if draw is not None:
            cameras = draw.cameras
        assert count is not None
        xy = torch.rand(len(cameras), count, 2, device=cameras.device)
        xy = xy * xy.new_tensor(self._extent) + xy.new_tensor(self._corner)
        bundle = _xy_to_ray_bundle(
            cameras, xy, *_places(self), self._unit_directions,
            self._stratified_sampling if stratified_sampling is None else stratified_sampling,
        )  # fmt: skip
        return bundle if draw is None else draw.packed(bundle)


class GridRaysampler(MultinomialRaysampler):
    """The older name of `MultinomialRaysampler` without a number of rays."""

    def __init__(
        self, min_x: float, max_x: float, min_y: float, max_y: float, image_width: int, image_height: int,
        n_pts_per_ray: int, min_depth: float, max_depth: float,
    ) -> None:  # fmt: skip
        warnings.warn("GridRaysampler is now called MultinomialRaysampler", DeprecationWarning, stacklevel=2)
        super().__init__(
            min_x=min_x, max_x=max_x, min_y=min_y, max_y=max_y, image_width=image_width, image_height=image_height,
            n_pts_per_ray=n_pts_per_ray, min_depth=min_depth, max_depth=max_depth,
        )  # fmt: skip


class NDCGridRaysampler(NDCMultinomialRaysampler):
    """The older name of `NDCMultinomialRaysampler` without a number of rays."""

    def __init__(
        self, image_width: int, image_height: int, n_pts_per_ray: int, min_depth: float, max_depth: float
    ) -> None:
        warnings.warn("NDCGridRaysampler is now called NDCMultinomialRaysampler", DeprecationWarning, stacklevel=2)
        super().__init__(
            image_width=image_width, image_height=image_height, n_pts_per_ray=n_pts_per_ray, min_depth=min_depth,
            max_depth=max_depth,
        )  # fmt: skip


class _CameraDraw:
    """Cameras drawn with replacement, each with as many rays as it was drawn times."""

    def __init__(self, cameras: CamerasBase, total: int) -> None:
        drawn = torch.randint(len(cameras), (total,), device=cameras.device)
        self.ids, self.counts = torch.unique(drawn, return_counts=True)
        self.cameras = cameras[self.ids]
        self.longest = int(self.counts.max())

    def packed(self, bundle: RayBundle) -> HeterogeneousRayBundle:
        """The rays [total, 1, ...] that count, of [cameras, longest, ...]."""
        kept = torch.arange(self.longest, device=self.counts.device) < self.counts[:, None]
        origins, directions, lengths, xys = (value[kept][:, None] for value in bundle)
        return HeterogeneousRayBundle(origins, directions, lengths, xys, self.ids, self.counts)


def _one_count(per_image: int | None, total: int | None) -> None:
    if per_image is not None and total is not None:
        raise ValueError(f"n_rays_total: expected None beside n_rays_per_image={per_image}, got {total}")


def _places(
    sampler: Any, min_depth: float | None = None, max_depth: float | None = None, count: int | None = None
) -> tuple[float, float, int]:
    """The first and last depth, and the number of places, of a sampler or in place of its own."""
    return (
        sampler._min_depth if min_depth is None else min_depth,
        sampler._max_depth if max_depth is None else max_depth,
        sampler._n_pts_per_ray if count is None else count,
    )


def _drawn_points(xy: Tensor, mask: Tensor | None, count: int | None) -> Tensor:
    """Some points [N, count, 1, 2] of grids [N, rows, columns, 2]."""
    if mask is None:
        weights = xy.new_ones(xy.shape[:-1])
    elif mask.shape != xy.shape[:-1]:
        raise ValueError(f"mask: expected shape {list(xy.shape[:-1])}, got {list(mask.shape)}")
    else:
        weights = mask.to(xy)
    weights = weights.flatten(1)
    if count is None:
        count = int((weights > 0).sum(1).min())
    index = _safe_multinomial(weights, count)
    return xy.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 2))[:, :, None]


def _safe_multinomial(input: Tensor, num_samples: int) -> Tensor:
    """Numbers [N, num_samples] drawn by weights [N, M]: without replacement in rows with enough positive weights.

    Raises:
        ValueError: a row without any positive weight.
    """
    positive = (input > 0).sum(-1)
    if bool((positive == 0).any()):
        raise ValueError("mask: expected at least one positive value for each camera, got an empty mask")
    drawn = input.new_zeros((len(input), num_samples), dtype=torch.int64)
    enough = positive >= num_samples
    for rows, again in ((enough, False), (~enough, True)):
        if num_samples and bool(rows.any()):
            drawn[rows] = torch.multinomial(input[rows], num_samples, replacement=again)
    return drawn


def _xy_to_ray_bundle(
    cameras: CamerasBase, xy: Tensor, min_depth: float, max_depth: float, count: int, unit: bool, stratified: bool
) -> RayBundle:
    """Rays through places in NDC [N, ..., 2]."""
    xy = xy.to(cameras.R.dtype)
    lengths = torch.linspace(min_depth, max_depth, count, dtype=xy.dtype, device=xy.device)
    lengths = lengths.expand(*xy.shape[:-1], count)
    if stratified:
        lengths = _jiggle_within_stratas(lengths)
    origins, directions = (rays.reshape(*xy.shape[:-1], 3) for rays in _rays(cameras, xy.reshape(len(cameras), -1, 2)))
    if unit:
        directions = F.normalize(directions, dim=-1)
    return RayBundle(origins, directions, lengths, xy)


def _rays(cameras: CamerasBase, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and directions [N, R, 3]; a direction leads from depth 1 to depth 2."""
    one = torch.ones_like(xy[..., :1])
    if isinstance(cameras, FishEyeCameras):
        # Its points at depth 1 are in view space, which is the world unless the camera has `world_coordinates`.
        ahead = cameras.unproject_points(torch.cat((xy, one), -1))
        if not cameras.world_coordinates:
            return torch.zeros_like(ahead), ahead
        origins = cameras.get_camera_center()[:, None].expand_as(ahead)
        return origins, cameras.get_world_to_view_transform().inverse().transform_points(ahead) - origins
    near, far = (cameras.unproject_points(torch.cat((xy, depth * one), -1), from_ndc=True) for depth in (1, 2))
    directions = far - near
    return near - directions, directions


def _jiggle_within_stratas(bin_centers: Tensor) -> Tensor:
    """Places [..., P] drawn each between the midpoints to its neighbours; the first and last bins are half ones."""
    middle = (bin_centers[..., 1:] + bin_centers[..., :-1]) / 2
    upper = torch.cat((middle, bin_centers[..., -1:]), -1)
    lower = torch.cat((bin_centers[..., :1], middle), -1)
    return lower + (upper - lower) * torch.rand_like(lower)
