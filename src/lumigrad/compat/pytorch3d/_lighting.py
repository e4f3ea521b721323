"""PyTorch3D's lights and materials. Places and directions are in world space; colours are [N, 3] or [1, 3]."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6  # PyTorch3D's least length of what it normalises


class _Properties:
    """Rows [N, k] of numbers, one for each mesh, or a single one for all. They may be assigned."""

    _names: tuple[str, ...] = ()

    def __init__(self, device: Any, **values: Any) -> None:
        for name, value in values.items():
            dtype = value.dtype if isinstance(value, Tensor) and value.is_floating_point() else torch.float32
            rows = torch.as_tensor(value, dtype=dtype)
            rows = rows if isinstance(value, Tensor) else rows.to(device)
            setattr(self, name, rows.reshape(1) if rows.ndim == 0 else rows)
        self._names = tuple(values)
        count = len(self)
        for name in self._names:
            if len(getattr(self, name)) not in (1, count):
                raise ValueError(f"{name}: expected 1 or {count} rows, got {len(getattr(self, name))}")

    def __len__(self) -> int:
        return max(len(getattr(self, name)) for name in self._names)

    @property
    def device(self) -> torch.device:
        return getattr(self, self._names[0]).device

    def _map(self, function: Any) -> Any:
        other = copy.copy(self)
        for name in self._names:
            setattr(other, name, function(getattr(self, name)))
        return other

    def to(self, device: torch.device | str) -> Any:
        return self._map(lambda value: value.to(device))

    def clone(self) -> Any:
        return self._map(torch.clone)


def per_point(rows: Tensor, points: Tensor) -> Tensor:
    """Rows [N, k] or [1, k] (or [N]) as they broadcast with points [N, ..., 3]."""
    width = rows.shape[1:] if rows.ndim > 1 else (1,)
    return rows.reshape(len(rows), *[1] * (points.ndim - 2), *width)


class Materials(_Properties):
    """What light is multiplied with on the surface, and how narrow its highlights are."""

    def __init__(
        self,
        ambient_color: Any = ((1.0, 1.0, 1.0),),
        diffuse_color: Any = ((1.0, 1.0, 1.0),),
        specular_color: Any = ((1.0, 1.0, 1.0),),
        shininess: Any = 64.0,
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device, **colors, shininess=shininess)

    ambient_color: Tensor
    diffuse_color: Tensor
    specular_color: Tensor
    shininess: Tensor


class _Lights(_Properties):
    ambient_color: Tensor
    diffuse_color: Tensor
    specular_color: Tensor

    def towards(self, points: Tensor) -> Tensor:
        """Directions from points [N, ..., 3] to the light, of any length. Not in PyTorch3D."""
        raise NotImplementedError

    def diffuse(self, normals: Tensor, points: Tensor) -> Tensor:
        """Light scattered at points [N, ..., 3] with normals of any length: colour times max(n . l, 0)."""
        cosine = (_unit(normals) * _unit(self.towards(points))).sum(-1, keepdim=True)
        return per_point(self.diffuse_color, points) * cosine.clamp(min=0)

    def specular(self, normals: Tensor, points: Tensor, camera_position: Tensor, shininess: Tensor | float) -> Tensor:
        """Light mirrored to the camera: colour times max(v . r, 0) ** shininess, none where n . l <= 0.

        Args:
            normals, points: [N, ..., 3].
            camera_position: [N, 3] or [1, 3].
            shininess: a number, [N] or [1].
        """
        n, light = _unit(normals), _unit(self.towards(points))
        cosine = (n * light).sum(-1, keepdim=True)
        view = _unit(per_point(camera_position, points) - points)
        mirrored = (view * (2 * cosine * n - light)).sum(-1, keepdim=True)
        power = per_point(torch.as_tensor(shininess, dtype=points.dtype, device=points.device).reshape(-1), points)
        # Set before the power, whose gradient is not finite at zero for exponents below one.
        lit = (cosine > 0) & (mirrored > 0)
        alpha = torch.where(lit, torch.where(lit, mirrored, 1.0) ** power, 0.0)
        return per_point(self.specular_color, points) * alpha


class PointLights(_Lights):
    """Light from places `location`, of the same strength at any distance."""

    def __init__(
        self,
        ambient_color: Any = ((0.5, 0.5, 0.5),),
        diffuse_color: Any = ((0.3, 0.3, 0.3),),
        specular_color: Any = ((0.2, 0.2, 0.2),),
        location: Any = ((0.0, 1.0, 0.0),),
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device, **colors, location=location)

    location: Tensor

    def towards(self, points: Tensor) -> Tensor:
        return per_point(self.location, points) - points


class DirectionalLights(_Lights):
    """Light from infinitely far away; `direction` points **to** it."""

    def __init__(
        self,
        ambient_color: Any = ((0.5, 0.5, 0.5),),
        diffuse_color: Any = ((0.3, 0.3, 0.3),),
        specular_color: Any = ((0.2, 0.2, 0.2),),
        direction: Any = ((0.0, 1.0, 0.0),),
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device, **colors, direction=direction)

    direction: Tensor

    def towards(self, points: Tensor) -> Tensor:
        return per_point(self.direction, points)


class AmbientLights(_Properties):
    """Light from everywhere alike: no shading."""

    def __init__(self, ambient_color: Any = ((1.0, 1.0, 1.0),), device: Any = "cpu") -> None:
        super().__init__(device, ambient_color=ambient_color)

    ambient_color: Tensor

    def diffuse(self, normals: Tensor, points: Tensor) -> Tensor:
        return torch.zeros_like(points)

    def specular(self, normals: Tensor, points: Tensor, camera_position: Tensor, shininess: Tensor | float) -> Tensor:
        return torch.zeros_like(points)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=EPSILON)
