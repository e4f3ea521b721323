"""A fixed, known illumination: enough for the mesh renderer until there are materials."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lighting:
    """White diffuse light, evaluated per vertex.

    Irradiance is `ambient + headlight * max(0, n.v) + sum_k intensity_k * max(0, n.l_k)` with v the direction
    to the camera. The headlight makes shading change with the view, so that shape cannot be mistaken for
    paint: light fixed to the world could be explained by a texture alone.

    Attributes:
        ambient: constant term.
        headlight: strength of a light at the camera.
        directions: world directions towards distant lights, each (x, y, z), not necessarily of unit length.
        intensities: one strength per direction.
    """

    ambient: float = 0.45
    headlight: float = 0.4
    directions: tuple[tuple[float, float, float], ...] = ((0.5, 0.8, 0.4),)
    intensities: tuple[float, ...] = (0.15,)

    def __post_init__(self) -> None:
        if len(self.directions) != len(self.intensities):
            raise ValueError(
                f"intensities: expected one for each of {len(self.directions)}, got {len(self.intensities)}"
            )

    @classmethod
    def unlit(cls) -> Lighting:
        """Colours appear as they are."""
        return cls(ambient=1.0, headlight=0.0, directions=(), intensities=())

    def shade(self, positions: Tensor, normals: Tensor, eyes: Tensor) -> Tensor:
        """Irradiance at vertices.

        Args:
            positions: [V, 3] world.
            normals: [V, 3] unit, outwards.
            eyes: camera centres [N, 3].

        Returns:
            [N, V, 1], differentiable in all arguments.
        """
        result = positions.new_full((eyes.shape[0], positions.shape[0], 1), self.ambient)
        if self.headlight:
            to_eye = torch.nn.functional.normalize(eyes[:, None] - positions, dim=-1)
            result = result + self.headlight * (normals * to_eye).sum(-1, keepdim=True).clamp_min(0)
        for direction, intensity in zip(self.directions, self.intensities, strict=True):
            light = torch.nn.functional.normalize(positions.new_tensor(direction), dim=0)
            result = result + intensity * (normals @ light).clamp_min(0)[:, None]
        return result
