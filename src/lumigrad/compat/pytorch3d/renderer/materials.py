"""Materials: what light is multiplied with on a surface."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.lighting import check_channels
from lumigrad.compat.pytorch3d.renderer.utils import TensorProperties


class Materials(TensorProperties):
    """Colours of N meshes and how narrow their highlights are.

    Args:
        ambient_color, diffuse_color, specular_color: [N, C] or [1, C].
        shininess: a number or [N].
        device: of what is no tensor.

    Raises:
        ValueError: different numbers of channels, or a shininess of another shape.
    """

    ambient_color: Tensor
    diffuse_color: Tensor
    specular_color: Tensor
    shininess: Tensor

    def __init__(
        self,
        ambient_color: Any = ((1.0, 1.0, 1.0),),
        diffuse_color: Any = ((1.0, 1.0, 1.0),),
        specular_color: Any = ((1.0, 1.0, 1.0),),
        shininess: Any = 64.0,
        device: Any = "cpu",
    ) -> None:
        colors = {"ambient_color": ambient_color, "diffuse_color": diffuse_color, "specular_color": specular_color}
        super().__init__(device=device, **colors, shininess=shininess)
        check_channels(self)
        if self.shininess.shape != (len(self),):
            raise ValueError(f"shininess should have shape ({len(self)},); got {tuple(self.shininess.shape)}")
