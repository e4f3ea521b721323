"""Basic physical materials: matt surfaces, metals, glass, and matt surfaces under a coat."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lumigrad.scene.materials import Material
from lumigrad.scene.media import Medium
from lumigrad.types.shapes import Float


def _grey() -> Tensor:
    return torch.full((3,), 0.5)


def _ones() -> Tensor:
    return torch.ones(3)


def _zeros() -> Tensor:
    return torch.zeros(3)


@dataclass(frozen=True)
class DiffuseMaterial(Material):
    """A Lambertian surface: it reflects the same to all sides. Rasterizing renderers show it as rough plastic.

    Attributes:
        base_color: linear reflectance [3].
        base_color_texture: [H, W, 3 or 4], display-encoded, or None.
        emissive: linear radiance [3].
        emissive_texture: [H, W, 3], display-encoded, or None.

    >>> from lumigrad.scene import DiffuseMaterial
    >>> lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(17.0, 12.0, 4.0), double_sided=False)
    >>> lamp.emissive.tolist()
    [17.0, 12.0, 4.0]
    """

    base_color: Float[Tensor, " 3"] = field(default_factory=_grey)
    base_color_texture: Float[Tensor, "_ _ _"] | None = None
    emissive: Float[Tensor, " 3"] = field(default_factory=_zeros)
    emissive_texture: Float[Tensor, "_ _ _"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_color("base_color")
        self._set_color("emissive")
        self._check_texture("base_color_texture", (3, 4))
        self._check_texture("emissive_texture", (3,))


@dataclass(frozen=True)
class ConductorMaterial(Material):
    """A metal, given by its complex index of refraction eta + i k. Rasterizing renderers show its reflectance.

    Attributes:
        eta, k: [3], of red, green and blue.
        roughness: perceptual, in [0, 1]; its square is the width of the GGX distribution. 0 is a mirror.

    >>> from lumigrad.scene import ConductorMaterial
    >>> copper = ConductorMaterial(eta=(0.2, 0.92, 1.1), k=(3.9, 2.45, 2.14), roughness=0.3)
    >>> [round(value, 2) for value in copper.at_normal.tolist()]
    [0.95, 0.62, 0.51]
    """

    eta: Float[Tensor, " 3"] = field(default_factory=_ones)
    k: Float[Tensor, " 3"] = field(default_factory=_ones)
    roughness: float | Float[Tensor, ""] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_color("eta")
        self._set_color("k")
        self._check_number("roughness", high=1.0)

    @property
    def at_normal(self) -> Float[Tensor, " 3"]:
        """Reflectance at normal incidence."""
        k2 = self.k.square()
        return ((self.eta - 1).square() + k2) / ((self.eta + 1).square() + k2)


@dataclass(frozen=True)
class DielectricMaterial(Material):
    """Glass, water: it reflects and refracts. Rasterizing renderers show it as opaque white plastic.

    The surface is a border: normals point outside, where the index of refraction is 1.

    Attributes:
        ior: index of refraction inside, more than 0.
        roughness: perceptual, in [0, 1]; its square is the width of the GGX distribution. 0 is smooth.
        tint: [3], a factor of all that is reflected and transmitted.
        absorption: [3], what the inside takes away per length: light falls by exp(-absorption length).
        interior: the medium that fills the mesh, such as milk; None for clear glass. Seen by `render_path` alone.

    >>> from lumigrad.scene import DielectricMaterial
    >>> DielectricMaterial(ior=1.33).roughness
    0.0
    """

    ior: float | Float[Tensor, ""] = 1.5
    roughness: float | Float[Tensor, ""] = 0.0
    tint: Float[Tensor, " 3"] = field(default_factory=_ones)
    absorption: Float[Tensor, " 3"] = field(default_factory=_zeros)
    interior: Medium | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interior is not None and not isinstance(self.interior, Medium):
            raise TypeError(f"interior: expected a Medium or None, got {type(self.interior).__name__}")
        self._set_color("tint")
        self._set_color("absorption")
        self._check_number("ior", low=1e-3)
        self._check_number("roughness", high=1.0)


@dataclass(frozen=True)
class PlasticMaterial(Material):
    """A matt base under a dielectric coat: plastic, varnish. Rasterizing renderers show it as a `PBRMaterial`.

    Light that the base reflects comes back to it many times from within the coat.

    Attributes:
        base_color: linear reflectance of the base [3].
        base_color_texture: [H, W, 3 or 4], display-encoded, or None.
        ior: index of refraction of the coat, more than 1.
        roughness: of the coat, perceptual, in [0, 1]; its square is the width of the GGX distribution. 0 counts as
            0.04.
        saturating: whether colours become deeper by what the base absorbs each time that light comes back to it.
            Otherwise it is as if they were reflected once.

    >>> from lumigrad.scene import PlasticMaterial
    >>> PlasticMaterial(base_color=(0.6, 0.1, 0.1)).ior
    1.5
    """

    base_color: Float[Tensor, " 3"] = field(default_factory=_grey)
    base_color_texture: Float[Tensor, "_ _ _"] | None = None
    ior: float | Float[Tensor, ""] = 1.5
    roughness: float | Float[Tensor, ""] = 0.2
    saturating: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_color("base_color")
        self._check_number("ior", low=1.001)
        self._check_number("roughness", high=1.0)
        self._check_texture("base_color_texture", (3, 4))
