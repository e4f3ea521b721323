"""Participating media, with which light collides between surfaces: fog, smoke, milk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lumigrad.scene.materials import Material
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import validation as check
from lumigrad.types.grids import check_corners
from lumigrad.types.shapes import Float

M = TypeVar("M", bound="Medium")
MOST_G = 0.999  # for a g that is being optimised, which may reach the ends of its range
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda density: density,
    "relu": torch.relu,
    "softplus": torch.nn.functional.softplus,
    "exp": torch.exp,
}


def _ones() -> Tensor:
    return torch.ones(3)


def _three_quarters() -> Tensor:
    return torch.full((3,), 0.75)


@dataclass(frozen=True, eq=False, kw_only=True)
class Medium:
    """The base class of all media.

    Attributes:
        extinction: [3] or a number, at least 0: collisions of light per unit of length, of red, green and blue.
        albedo: [3] or a number in [0, 1]: the fraction of colliding light that is scattered, not absorbed.
        g: the mean cosine of the scattering angle (phase function of Henyey and Greenstein), in
            (-1, 1): 0 scatters evenly, values near 1 forwards, values near -1 backwards.

    Values outside these ranges raise an error, except in tensors that require gradients, because a step of an optimiser
    may leave the range. Such values count as the end of the range (for g, -0.999 or 0.999) and have the derivative at
    this end, so that the optimiser can return.

    Raises:
        TypeError, ValueError: for other types and shapes, numbers outside these ranges, and values that are not finite.
    """

    extinction: Float[Tensor, " 3"] = field(default_factory=_ones)
    albedo: Float[Tensor, " 3"] = field(default_factory=_three_quarters)
    g: float | Float[Tensor, ""] = 0.0
    # Kept by copies on other devices and of other types, so that a medium shared by several objects stays one medium.
    identity: object = field(default_factory=object, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("extinction", "albedo"):
            object.__setattr__(self, name, _color(name, getattr(self, name)))
        _check_range("extinction", self.extinction, 0.0, math.inf)
        _check_range("albedo", self.albedo, 0.0, 1.0)
        g = self.g
        if isinstance(g, Tensor):
            if g.numel() != 1 or not g.is_floating_point():
                raise ValueError(f"g: expected one floating value, got {g.dtype} {list(g.shape)}")
            _check_range("g", g, -1.0, 1.0, ends=False)
        elif not -1 < check.real("g", g) < 1:
            raise ValueError(f"g: expected a number between -1 and 1, got {g:g}")

    def to(self: M, *args: object) -> M:
        """Copy with all tensors passed through `Tensor.to`."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: M = replace(self, **{k: v.to(*args) for k, v in found.items() if isinstance(v, Tensor)})  # type: ignore[call-overload]
        object.__setattr__(moved, "identity", self.identity)
        return moved


def _color(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        try:
            value = torch.tensor(value, dtype=torch.get_default_dtype())
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name}: expected a tensor or numbers, got {type(value).__name__}") from None
    color: Tensor = value.expand(3) if value.ndim == 0 else value
    if color.shape != (3,) or not color.is_floating_point():
        raise ValueError(f"{name}: expected floating [3] or a number, got {color.dtype} {list(color.shape)}")
    return color


def _check_range(name: str, value: Tensor, low: float, high: float, ends: bool = True) -> None:
    """Reject non-finite values, and values outside a range.

    `ends`: whether the range includes its ends. Values on devices other than the CPU are not checked; values that
    require gradients may be outside.
    """
    if not check.values_can_be_checked() or value.device.type != "cpu" or not value.numel():
        return
    least, most = (float(end) for end in torch.aminmax(value.detach()))
    inside = low <= least and most <= high if ends else low < least and most < high
    if not math.isfinite(least) or not math.isfinite(most) or not (inside or value.requires_grad):
        wanted = f"at least {low:g}" if high == math.inf else f"values from {low:g} to {high:g}"
        wanted = wanted if ends else f"values between {low:g} and {high:g}"
        got = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        raise ValueError(f"{name}: expected finite values, {wanted}; got {got}")


def kept_within(value: Tensor, low: float, high: float) -> Tensor:
    """The value clamped to a range, with the derivative of the value in either case.

    Values that require no gradient are in the range.
    """
    if not value.requires_grad:
        return value
    end = value.detach().clamp(low, high)
    return torch.where(value.detach() == end, value, end + (value - value.detach()))


@dataclass(frozen=True, eq=False, kw_only=True)
class HomogeneousMedium(Medium):
    """A medium that is the same everywhere.

    >>> from lumigrad.scene import HomogeneousMedium
    >>> milk = HomogeneousMedium(extinction=(8.0, 9.0, 11.0), albedo=(0.99, 0.98, 0.95), g=0.7)
    >>> milk.extinction.tolist()
    [8.0, 9.0, 11.0]
    """


@dataclass(frozen=True)
class MediumBoundary(Material):
    """The boundary of a medium and nothing else: light passes it unchanged. Only `render_path` supports it.

    Attributes:
        interior: the medium behind the faces, where their normals do not point: inside of a closed mesh.

    >>> from dataclasses import replace
    >>> from lumigrad.scene import HomogeneousMedium, MediumBoundary, icosphere
    >>> cloud = MediumBoundary(interior=HomogeneousMedium(extinction=3.0, albedo=0.95))
    >>> ball = replace(icosphere(2), materials=(cloud,))
    """

    interior: Medium = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.interior, Medium):
            raise TypeError(f"interior: expected a Medium, got {type(self.interior).__name__}")


@dataclass(frozen=True, eq=False, kw_only=True)
class GridMedium(Medium):
    """A medium whose density varies: smoke, clouds. Outside of its box there is nothing.

    Attributes:
        densities: [D, H, W], at least 0, of voxels' centres, between which they are trilinear; `extinction` is that of
            a density of 1. For densities and colours that require gradients, the same holds as for `extinction`.
        box: [2, 3], the corners with the smallest and the largest x, y, z; the unit cube's by default, around the
            origin.
        colors: [D, H, W, 3] in [0, 1], which multiply the albedo, or None.

    >>> import torch
    >>> from lumigrad.scene import GridMedium
    >>> smoke = GridMedium(densities=torch.rand(8, 8, 8), extinction=4.0, albedo=0.9)
    >>> smoke.boundary().positions.shape  # the box, as a mesh that a scene can hold
    torch.Size([8, 3])
    """

    densities: Float[Tensor, "depth height width"]
    box: Float[Tensor, "2 3"] = None  # type: ignore[assignment]
    colors: Float[Tensor, "depth height width 3"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        densities = check.floating("densities", self.densities)
        check.shape("densities", densities, ("D", "H", "W"))
        if 0 in densities.shape:
            raise ValueError(f"densities: expected at least one voxel, got {tuple(densities.shape)}")
        _check_range("densities", densities, 0.0, math.inf)
        if self.colors is not None:
            colors = check.floating("colors", self.colors, densities, "densities")
            check.shape("colors", colors, (*densities.shape, 3))
            _check_range("colors", colors, 0.0, 1.0)
        box: Any = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)) if self.box is None else self.box
        object.__setattr__(self, "box", check_corners(box, densities, "densities"))

    @classmethod
    def from_voxels(cls, grid: VoxelGrid, **options: Any) -> GridMedium:
        """The densities of a grid that `render_volume` shows; what it emits has no part in it.

        Activations are applied to voxels, before interpolation.

        Args:
            grid: its densities and its box.
            options: `extinction`, `albedo`, `g`, `colors`.
        """
        densities = ACTIVATIONS[grid.activation](grid.values[..., 0])
        return cls(densities=densities, box=grid.box, **options)

    def boundary(self) -> Mesh:
        """The box as a mesh that light passes."""
        low, high = self.box[0], self.box[1]
        corner = torch.tensor([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)], device=self.box.device)
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces = torch.tensor([face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))], device=self.box.device)
        positions = torch.where(corner > 0, high, low).detach()
        return Mesh(positions, faces, materials=(MediumBoundary(interior=self),)).creased(0.0)

    @property
    def values(self) -> Tensor:
        """Densities, and colours if there are any: [D, H, W, 1 or 4]."""
        density = self.densities[..., None]
        return density if self.colors is None else torch.cat((density, kept_within(self.colors, 0.0, 1.0)), -1)
