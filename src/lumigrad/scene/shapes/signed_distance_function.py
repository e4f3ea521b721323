"""A surface as the zero level of a function, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.types import validation as check
from lumigrad.types.grids import Box, check_corners


@dataclass(frozen=True, eq=False)
class SignedDistanceFunction:
    """Signed distances given by a function, with what the surface looks like. See `lumigrad.sphere_trace`.

    Attributes:
        function: from points [R, 3] to signed distances [R], negative inside. Points are of the widest type among the
            shapes that are drawn together, or of the camera's where no shape has one.
        box: the two corners [2, 3] of where to look for the surface; None for everywhere.
        material: of the whole surface; its textures are not used.
        silhouette: the width of the band in which the gradient of the silhouette is collected, as a distance; 0 for no
            such gradient. Pixels should be finer where the surface is.
        lipschitz: how fast the function may change, per distance; 1 for a signed distance.

    Raises:
        TypeError, ValueError: for wrong types or numbers, or a box without extent.

    >>> from lumigrad.scene import SignedDistanceFunction
    >>> ball = SignedDistanceFunction(lambda points: points.norm(dim=-1) - 0.8, silhouette=0.05)
    >>> ball.box is None, ball.lipschitz
    (True, 1.0)
    """

    function: Callable[[Tensor], Tensor]
    box: Box | None = None
    material: Material = field(default_factory=PBRMaterial)
    silhouette: float = 0.0
    lipschitz: float = 1.0

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function: expected a function of points, got {type(self.function).__name__}")
        if self.box is not None:
            like = self.box if isinstance(self.box, Tensor) else torch.empty(0)
            object.__setattr__(self, "box", check_corners(self.box, like, "box"))
        if not isinstance(self.material, Material):
            raise TypeError(f"material: expected a Material, got {type(self.material).__name__}")
        object.__setattr__(self, "silhouette", check.number("silhouette", self.silhouette))
        object.__setattr__(self, "lipschitz", check.number("lipschitz", self.lipschitz, positive=True))

    def to(self, *args: Any) -> SignedDistanceFunction:
        """Copy with box and material passed through `Tensor.to`; the function itself is not changed."""
        box = self.box.to(*args) if isinstance(self.box, Tensor) else None
        return replace(self, box=box, material=self.material.to(*args))
