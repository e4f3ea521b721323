"""Bundles of rays, and the points along them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from torch import Tensor


class RayBundle(NamedTuple):
    """Rays of cameras and the places along them: origin + length * direction.

    Attributes:
        origins: [N, ..., 3].
        directions: [N, ..., 3], not necessarily of length 1.
        lengths: [N, ..., P].
        xys: where the rays meet the image, in NDC [N, ..., 2].
    """

    origins: Tensor
    directions: Tensor
    lengths: Tensor
    xys: Tensor


@dataclasses.dataclass
class HeterogeneousRayBundle:
    """Rays of different numbers for different cameras, one after the other.

    Attributes:
        origins, directions, lengths, xys: of `RayBundle`.
        camera_ids: the cameras that have rays [M].
        camera_counts: how many rays each of these has [M].
    """

    origins: Tensor
    directions: Tensor
    lengths: Tensor
    xys: Tensor
    camera_ids: Tensor | None = None
    camera_counts: Tensor | None = None


def ray_bundle_to_ray_points(ray_bundle: RayBundle | HeterogeneousRayBundle) -> Tensor:
    """The points [N, ..., P, 3] along the rays of a bundle."""
    return ray_bundle_variables_to_ray_points(ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths)


def ray_bundle_variables_to_ray_points(
    rays_origins: Tensor, rays_directions: Tensor, rays_lengths: Tensor
) -> Tensor:  # fmt: skip
    """The points [..., P, 3] at `rays_lengths` [..., P] along rays [..., 3]."""
    return rays_origins[..., None, :] + rays_lengths[..., None] * rays_directions[..., None, :]


def _validate_ray_bundle_variables(rays_origins: Tensor, rays_directions: Tensor, rays_lengths: Tensor) -> None:
    """Raise ValueError unless the three are of the same rays."""
    for name, rays in (("rays_origins", rays_origins), ("rays_directions", rays_directions)):
        if rays.ndim < 2 or rays.shape[-1] != 3:
            raise ValueError(f"{name}: expected shape [N, ..., 3], got {list(rays.shape)}")
    if rays_origins.shape != rays_directions.shape:
        raise ValueError(
            f"rays_directions: expected shape {list(rays_origins.shape)}, as of the origins, "
            f"got {list(rays_directions.shape)}"
        )
    if rays_lengths.ndim != rays_origins.ndim or rays_lengths.shape[:-1] != rays_origins.shape[:-1]:
        raise ValueError(
            f"rays_lengths: expected shape {[*rays_origins.shape[:-1], 'P']}, got {list(rays_lengths.shape)}"
        )
