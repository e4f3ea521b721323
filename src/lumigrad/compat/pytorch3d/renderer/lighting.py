"""Lights. Places and directions are in world space; colours are [N, C] or [1, C]."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.utils import TensorProperties

EPSILON = 1e-6  # PyTorch3D's smallest length of what it normalises


def per_point(rows: Tensor, points: Tensor) -> Tensor:
    """Rows [N, k] or [k] as they broadcast with points [N, ..., 3]; rows like the points stay what they are."""
    if rows.ndim == points.ndim and rows.ndim > 2:
        return rows
    if rows.ndim == 1:
        return rows.reshape(1, *[1] * (points.ndim - 2), len(rows))
    return rows.reshape(len(rows), *[1] * (points.ndim - 2), *rows.shape[1:])


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=EPSILON)


def _expanded(values: Tensor, *rows: Tensor) -> Tensor:
    """Values [N, ...] for the largest batch among the rows, if there is one."""
    return values.expand(max(map(len, rows)), *values.shape[1:]) if len(values) == 1 else values


def diffuse(normals: Tensor, color: Tensor, direction: Tensor) -> Tensor:
    """Light scattered at points with normals [N, ..., 3] of any length: colour times max(n . l, 0).

    Args:
        normals: [N, ..., 3].
        color: [N, C] or [1, C].
        direction: to the light, [N, 3], [1, 3] or like the normals, of any length.
    """
    cosine = (_unit(normals) * _unit(per_point(direction, normals))).sum(-1, keepdim=True)
    return _expanded(per_point(color, normals) * cosine.clamp(min=0), color, direction)


def specular(
    points: Tensor, normals: Tensor, direction: Tensor, color: Tensor, camera_position: Tensor,
    shininess: Tensor | float,
) -> Tensor:  # fmt: skip
    """Light mirrored to the camera: colour times max(v . r, 0) ** shininess, none where n . l <= 0.

    Args:
        points, normals: [N, ..., 3].
        direction: to the light, [N, 3], [1, 3] or like the points, of any length.
        color: [N, C] or [1, C].
        camera_position: [N, 3] or [1, 3].
        shininess: a number, [N] or [1].

    Raises:
        ValueError: points and normals of different shapes.
    """
    if points.shape != normals.shape:
        raise ValueError(
            f"Expected points and normals to have the same shape: got {tuple(points.shape)}, {tuple(normals.shape)}"
        )
    n, light = _unit(normals), _unit(per_point(direction, points))
    cosine = (n * light).sum(-1, keepdim=True)
    view = _unit(per_point(camera_position, points) - points)
    mirrored = (view * (2 * cosine * n - light)).sum(-1, keepdim=True)
    power = torch.as_tensor(shininess, dtype=points.dtype, device=points.device).reshape(-1, 1)
    # Set before the power, whose gradient is not finite at zero for exponents below one.
    lit = (cosine > 0) & (mirrored > 0)
    alpha = torch.where(lit, torch.where(lit, mirrored, 1.0) ** per_point(power, points), 0.0)
    return _expanded(per_point(color, points) * alpha, color, direction)


class _Lights(TensorProperties):
    """Lights with three colours and a place or direction."""

    ambient_color: Tensor
    diffuse_color: Tensor
    specular_color: Tensor

    def __init__(self, device: Any, place: str, **values: Any) -> None:
        super().__init__(device=device, **values)
        check_channels(self)
        if getattr(self, place).shape[-1] != 3:
            raise ValueError(f"Expected {place} to have shape (N, 3); got {tuple(getattr(self, place).shape)}")

    def towards(self, points: Tensor | None) -> Tensor:
        """Directions from points [N, ..., 3] to the light, of any length. Not in PyTorch3D."""
        raise NotImplementedError

    def diffuse(self, normals: Tensor, points: Tensor | None = None) -> Tensor:
        """See `diffuse`."""
        return diffuse(normals, self.diffuse_color, self.towards(points))

    def specular(self, normals: Tensor, points: Tensor, camera_position: Tensor, shininess: Tensor | float) -> Tensor:
        """See `specular`."""
        return specular(points, normals, self.towards(points), self.specular_color, camera_position, shininess)


def check_channels(thing: Any) -> None:
    """Check that the three colours have as many channels.

    Raises:
        ValueError: they have not.
    """
    colors = {name: getattr(thing, name) for name in ("ambient_color", "diffuse_color", "specular_color")}
    channels = colors["ambient_color"].shape[-1]
    for name, color in colors.items():
        if color.shape[-1] != channels:
            raise ValueError(f"Expected {name} to have shape (N, {channels}); got {tuple(color.shape)}")


class PointLights(_Lights):
    """Light from places `location` [N, 3], of the same strength at any distance."""

    def __init__(
        self,
        ambient_color: Any = ((0.5, 0.5, 0.5),),
        diffuse_color: Any = ((0.3, 0.3, 0.3),),
        specular_color: Any = ((0.2, 0.2, 0.2),),
        location: Any = ((0.0, 1.0, 0.0),),
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device, "location", **colors, location=location)

    location: Tensor

    def towards(self, points: Tensor | None) -> Tensor:
        if points is None:
            raise ValueError("points: expected those that the light falls on, got None")
        return per_point(self.location, points) - points


class DirectionalLights(_Lights):
    """Light from infinitely far away; `direction` [N, 3] points **to** it."""

    def __init__(
        self,
        ambient_color: Any = ((0.5, 0.5, 0.5),),
        diffuse_color: Any = ((0.3, 0.3, 0.3),),
        specular_color: Any = ((0.2, 0.2, 0.2),),
        direction: Any = ((0.0, 1.0, 0.0),),
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device, "direction", **colors, direction=direction)

    direction: Tensor

    def towards(self, points: Tensor | None) -> Tensor:
        return self.direction


class AmbientLights(TensorProperties):
    """Light from everywhere alike, of any number of channels: no shading."""

    ambient_color: Tensor

    def __init__(self, *, ambient_color: Any = None, device: Any = "cpu") -> None:
        color = ((1.0, 1.0, 1.0),) if ambient_color is None else ambient_color
        super().__init__(device=device, ambient_color=color)

    def diffuse(self, normals: Tensor, points: Tensor | None = None) -> Tensor:
        """None: zeros [N, ..., C]."""
        return normals.new_zeros((*normals.shape[:-1], self.ambient_color.shape[-1]))

    def specular(self, normals: Tensor, points: Tensor, camera_position: Tensor, shininess: Tensor | float) -> Tensor:
        """None: zeros [N, ..., C]."""
        return self.diffuse(normals)
