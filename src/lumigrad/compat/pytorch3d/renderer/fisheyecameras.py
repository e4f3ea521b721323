"""Fisheye cameras with radial, tangential and thin-prism distortion.

A point (X, Y, Z) has a = X / Z, b = Y / Z and the angle t = atan(r) with r = |(a, b)|. Its image is
f (p + tangential(p) + prism(p)) + c, where p = (a, b) / r * t (1 + k0 t^2 + k1 t^4 + ...).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase

STEPS = 50  # of Newton's method
TINY = 1e-10


class FishEyeCameras(CamerasBase):
    """A batch of fisheye cameras.

    Args:
        focal_length: [N, 1].
        principal_point: [N, 2].
        radial_params: k [N, 6].
        tangential_params: [N, 2].
        thin_prism_params: [N, 4].
        R, T: [N, 3, 3] and [N, 3].
        world_coordinates: whether points to be transformed are in the world; otherwise they are in view space.
        use_radial, use_tangential, use_thin_prism: which distortions there are.
        device: of the parameters that are no tensors.
        image_size: (height, width), a pair or [N, 2].

    Source: Aria's camera model, https://facebookresearch.github.io/projectaria_tools/docs/tech_insights.
    """

    _FIELDS = (
        "focal_length", "principal_point", "R", "T", "radial_params", "tangential_params", "thin_prism_params",
        "world_coordinates", "use_radial", "use_tangential", "use_thin_prism", "image_size",
    )  # fmt: skip
    _SHARED_FIELDS = ("world_coordinates", "use_radial", "use_tangential", "use_thin_prism")

    focal_length: Tensor
    principal_point: Tensor
    radial_params: Tensor
    tangential_params: Tensor
    thin_prism_params: Tensor

    def __init__(
        self, focal_length: Any = ((1.0,),), principal_point: Any = ((0.0, 0.0),),
        radial_params: Any = ((0.0,) * 6,), tangential_params: Any = ((0.0,) * 2,),
        thin_prism_params: Any = ((0.0,) * 4,), R: Any = None, T: Any = None, world_coordinates: bool = False,
        use_radial: bool = True, use_tangential: bool = True, use_thin_prism: bool = True, device: Any = "cpu",
        image_size: Any = None,
    ) -> None:  # fmt: skip
        parameters = {
            "focal_length": focal_length, "principal_point": principal_point, "radial_params": radial_params,
            "tangential_params": tangential_params, "thin_prism_params": thin_prism_params, "image_size": image_size,
        }  # fmt: skip
        super().__init__(R, T, None, device, **parameters)
        self.image_size = self.image_size if image_size is not None else None
        self.world_coordinates, self.use_radial = world_coordinates, use_radial
        self.use_tangential, self.use_thin_prism = use_tangential, use_thin_prism

    @property
    def focal(self) -> Tensor:
        """PyTorch3D's name of the focal length."""
        return self.focal_length

    def in_ndc(self) -> bool:
        return True

    def is_perspective(self) -> bool:
        return False

    def _rows(self, points: Tensor) -> tuple[Tensor, ...]:
        """Parameters [N, 1, k] or [k] as they broadcast with points."""
        values = (
            self.focal_length, self.principal_point, self.radial_params, self.tangential_params,
            self.thin_prism_params,
        )  # fmt: skip
        if points.ndim > 3 or points.shape[-1] != 3 or (points.ndim == 3 and len(self) > 1 and len(points) > 1):
            raise ValueError(
                f"Expected points of (P, 3) with batch_size 1 or N, or shape (M, P, 3) with batch_size 1; got points "
                f"of shape {tuple(points.shape)} and batch_size {len(self)}"
            )
        return tuple(value[0] if len(self) == 1 else value[:, None] for value in values)

    def transform_points(self, points: Tensor, eps: float | None = None, **kwargs: Any) -> Tensor:
        """Points [P, 3] or [M, P, 3] in the image, with z = 1.

        Args:
            points: in the world, or in view space: as `world_coordinates` says.
            eps: keep divisors at least so far from zero.
            kwargs: `R` and `T` in place of the camera's own.

        Raises:
            ValueError: another shape.
        """
        focal, centre, radial, tangential, prism = self._rows(points)
        if self.world_coordinates:
            points = self.get_world_to_view_transform(**kwargs).transform_points(points, eps)
        bent = points[..., :2] / points[..., 2:]
        place = self._bent_by_angle(bent, radial) if self.use_radial else bent
        projected = focal * (place + self._shift(self._bent_by_angle(bent, radial), tangential, prism)) + centre
        return torch.cat((projected, torch.ones_like(projected[..., :1])), -1)

    @staticmethod
    def _bent_by_angle(direction: Tensor, radial: Tensor) -> Tensor:
        """Directions (a, b) scaled so that their length is the distorted angle."""
        length = direction.norm(dim=-1, keepdim=True)
        angle = length.atan()
        ratio = torch.where(length < TINY, torch.ones_like(length), angle / length.clamp(min=TINY))
        return direction * ratio * (1 + (_even_powers(angle, radial) * radial).sum(-1, keepdim=True))

    def _shift(self, place: Tensor, tangential: Tensor, prism: Tensor) -> Tensor:
        """Tangential and thin-prism distortion."""
        square = place.square().sum(-1, keepdim=True)
        shift = torch.zeros_like(place)
        if self.use_tangential:
            shift = shift + 2 * (place * tangential).sum(-1, keepdim=True) * place + square * tangential
        if self.use_thin_prism:
            powers = torch.cat((square, square * square), -1)
            sides = [(prism[..., k : k + 2] * powers).sum(-1) for k in (0, 2)]
            shift = shift + torch.stack(sides, -1)
        return shift

    def unproject_points(self, xy_depth: Tensor, world_coordinates: bool = True, **kwargs: Any) -> Tensor:
        """Directions [..., 3] with z = 1 in view space of places in the image.

        Args:
            xy_depth: [P, 3] or [M, P, 3], of which x and y count.
            world_coordinates, kwargs: not looked at, as in PyTorch3D.
        """
        focal, centre, radial, tangential, prism = self._rows(xy_depth)
        wanted = (xy_depth[..., :2] - centre) / focal
        place = wanted
        if self.use_tangential or self.use_thin_prism:
            for _ in range(STEPS):
                off = wanted - place - self._shift(place, tangential, prism)
                place = place + torch.linalg.solve(self._slope(place, tangential, prism), off[..., None])[..., 0]
        length = place.norm(dim=-1, keepdim=True)
        angle = self._angle(length, radial)
        ratio = torch.where(length < TINY, torch.ones_like(length), angle.tan() / length.clamp(min=TINY))
        return torch.cat((place * ratio, torch.ones_like(length)), -1)

    def _slope(self, place: Tensor, tangential: Tensor, prism: Tensor) -> Tensor:
        """The Jacobian of place + shift, [..., 2, 2]."""
        x, y = place.unbind(-1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        xx, xy, yx, yy = one, zero, zero, one
        if self.use_tangential:
            p, q = tangential.unbind(-1)
            mixed = 2 * (x * q + y * p)
            xx, xy, yx, yy = xx + 6 * x * p + 2 * y * q, mixed, mixed, yy + 6 * y * q + 2 * x * p
        if self.use_thin_prism:
            square = x * x + y * y
            along_x = 2 * (prism[..., 0] + 2 * prism[..., 1] * square)
            along_y = 2 * (prism[..., 2] + 2 * prism[..., 3] * square)
            xx, xy, yx, yy = xx + x * along_x, xy + y * along_x, yx + x * along_y, yy + y * along_y
        return torch.stack((torch.stack((xx, xy), -1), torch.stack((yx, yy), -1)), -2)

    @staticmethod
    def _angle(length: Tensor, radial: Tensor) -> Tensor:
        """Angles whose distorted values are given, by Newton's method, within the half-space ahead."""
        odd = torch.arange(3.0, 3 + 2 * radial.shape[-1], 2, device=radial.device, dtype=radial.dtype)
        angle = length
        for _ in range(STEPS):
            powers = _even_powers(angle, radial)
            off = length - angle * (1 + (powers * radial).sum(-1, keepdim=True))
            slope = 1 + (odd * powers * radial).sum(-1, keepdim=True)
            steep = slope.abs() > TINY
            angle = angle + torch.where(steep, off / torch.where(steep, slope, 1.0), 10 * TINY * (off * slope).sign())
            angle = torch.where(angle.abs() >= math.pi / 2, torch.full_like(angle, 0.999 * math.pi / 2), angle)
        return angle


def _even_powers(angle: Tensor, radial: Tensor) -> Tensor:
    """angle^2, angle^4, ... as many as there are parameters."""
    square = angle * angle
    return torch.cat([square**k for k in range(1, radial.shape[-1] + 1)], -1)
