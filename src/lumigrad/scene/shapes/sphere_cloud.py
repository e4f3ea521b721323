"""Solid spheres as data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Shaped


@dataclass(frozen=True)
class SphereCloud(Cloud):
    """Solid spheres of one colour each, as `render` puts them among other shapes.

    A ray meets a sphere at one point, where it enters. The rims are antialiased: a pixel that a rim cuts is covered in
    part, and this carries the gradient of the outline. For soft spheres that fade to their rims, see `render_spheres`.

    Attributes:
        positions: centres in the world [V, 3].
        radii: in world units [V].
        colors: colours or features of any number of channels, [V, C]; colours are display-encoded. White where None.
        opacities: of the surfaces, in [0, 1], [V]; 1 where None.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    >>> import torch
    >>> from lumigrad.scene import SphereCloud
    >>> balls = SphereCloud(torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]), radii=torch.tensor([0.5, 1.0]))
    >>> len(balls), balls[1:].radii.tolist()
    (2, [1.0])
    """

    positions: Float[Tensor, "spheres 3"]
    radii: Float[Tensor, " spheres"]
    colors: Shaped[Tensor, "spheres channels"] | None = None
    opacities: Float[Tensor, " spheres"] | None = None

    def __post_init__(self) -> None:
        positions = check.floating("positions", self.positions)
        check.shape("positions", positions, ("V", 3))
        count = len(positions)
        check.shape("radii", check.floating("radii", self.radii, positions, "positions"), (count,))
        if self.colors is not None:
            check.shape("colors", check.tensor("colors", self.colors), (count, "C"))
        if self.opacities is not None:
            check.shape("opacities", check.floating("opacities", self.opacities, positions, "positions"), (count,))
