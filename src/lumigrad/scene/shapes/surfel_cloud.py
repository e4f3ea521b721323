"""Gaussian surfels as data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lumigrad.scene.shapes._splat_cloud import SplatCloud
from lumigrad.types.shapes import Float


@dataclass(frozen=True)
class SurfelCloud(SplatCloud):
    """Flat Gaussians in space as `lumigrad.surfels` takes them.

    Attributes:
        means: centres in the world [V, 3].
        quats: rotations (w, x, y, z), of any length, [V, 4]; a surfel lies in its rotated xy plane.
        scales: standard deviations along the rotated x and y axes, world units, [V, 2].
        opacities: in [0, 1], [V].
        harmonics: coefficients of colour, [V, K, 3], K = 1, 4, 9, 16 or 25; see `lumigrad.spherical_harmonics` and
            `constant_harmonics`. Their sum plus 0.5, not below 0, is the display-encoded colour.

    >>> import torch
    >>> from lumigrad.scene import SurfelCloud, constant_harmonics
    >>> cloud = SurfelCloud(
    ...     means=torch.zeros(2, 3),
    ...     quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, 4),
    ...     scales=torch.full((2, 2), 0.1),
    ...     opacities=torch.ones(2),
    ...     harmonics=constant_harmonics(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])),
    ... )
    >>> len(cloud), cloud.harmonics.shape
    (2, torch.Size([2, 1, 3]))
    >>> len(SurfelCloud.join([cloud, cloud]))
    4
    """

    means: Float[Tensor, "primitives 3"]
    quats: Float[Tensor, "primitives 4"]
    scales: Float[Tensor, "primitives 2"]
    opacities: Float[Tensor, " primitives"]
    harmonics: Float[Tensor, "primitives coefficients 3"]

    def __post_init__(self) -> None:
        self._check(axes=2)
