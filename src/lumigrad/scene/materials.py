"""Materials: the appearance of surfaces, as plain data that shaders read.

Textures and factors multiply each other. Colour textures (base colour, diffuse, specular, emissive) are display-encoded
(sRGB) as image files hold them; all other textures (metallic-roughness, normal, occlusion) are plain numbers.
Texture coordinate (0, 0) is the outer corner of texel [0, 0], v grows with the row, textures repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from lumigrad.types.shapes import Float

ALPHA_MODES = ("opaque", "mask", "blend")
M = TypeVar("M", bound="Material")


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all materials have in common.

    Attributes:
        name: of the material, for files.
        alpha_mode: "opaque" (alpha is ignored), "mask" (there where alpha is at least `alpha_cutoff`, otherwise
            absent), or "blend" (alpha is how much it covers of what lies behind).
        alpha_cutoff: threshold of "mask".
        double_sided: whether its back is drawn (lit with the normal facing the viewer). Where it is not, faces seen
            from behind are left out. glTF files have False where they say nothing; here it is True.
        unlit: whether it shows its base colour (or diffuse colour) whatever the lights.
        second_uv_textures: names of the fields whose textures are looked up at `Mesh.second_uvs`; the others are looked
            up at `Mesh.uvs`.
    """

    name: str = ""
    alpha_mode: str = "opaque"
    alpha_cutoff: float = 0.5
    double_sided: bool = True
    unlit: bool = False
    second_uv_textures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha_mode not in ALPHA_MODES:
            raise ValueError(f"alpha_mode: expected one of {', '.join(ALPHA_MODES)}, got {self.alpha_mode!r}")
        names = [f.name for f in fields(self) if f.name.endswith("_texture")]
        if not isinstance(self.second_uv_textures, tuple) or not set(self.second_uv_textures) <= set(names):
            raise ValueError(f"second_uv_textures: expected a tuple of {names}, got {self.second_uv_textures!r}")

    def to(self: M, *args: object) -> M:
        """Copy with all tensors passed through `Tensor.to`."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(*args) for k, v in found.items() if hasattr(v, "to")})

    def _set_color(self, name: str, sizes: tuple[int, ...] = (3,)) -> None:
        """Make a field a floating vector of one of `sizes`."""
        value = getattr(self, name)
        if not isinstance(value, Tensor):
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise TypeError(f"{name}: expected a tensor or numbers, got {type(value).__name__}")
            value = torch.tensor(value, dtype=torch.get_default_dtype())
        allowed = " or ".join(f"[{size}]" for size in sizes)
        if value.ndim != 1 or len(value) not in sizes or not value.is_floating_point():
            raise ValueError(f"{name}: expected floating {allowed}, got {value.dtype} {list(value.shape)}")
        object.__setattr__(self, name, value)

    def _check_number(self, name: str, low: float = 0.0, high: float = float("inf")) -> None:
        """A tensor may leave the range, because an optimiser may move it; a number may not."""
        value = getattr(self, name)
        if isinstance(value, Tensor):
            if value.numel() != 1 or not value.is_floating_point():
                raise ValueError(f"{name}: expected one floating value, got {value.dtype} {list(value.shape)}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name}: expected a number or a tensor, got {type(value).__name__}")
        elif not low <= value <= high:
            raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")

    def _check_texture(self, name: str, channels: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor or None, got {type(value).__name__}")
        if value.ndim != 3 or value.shape[-1] not in channels or 0 in value.shape or not value.is_floating_point():
            allowed = " or ".join(str(count) for count in channels)
            raise ValueError(f"{name}: expected floating [H, W, {allowed}], got {value.dtype} {list(value.shape)}")


def _ones() -> Tensor:
    return torch.ones(3)


def _zeros() -> Tensor:
    return torch.zeros(3)


@dataclass(frozen=True)
class PhongMaterial(Material):
    """Ambient, diffuse and specular reflection after Phong 1975; nothing is decoded to linear light.

    Attributes:
        ambient, diffuse, specular: colours [3], multiplied with the light's three parts.
        shininess: exponent of the highlight.
        diffuse_texture: [H, W, 3 or 4] multiplied with ambient and diffuse; a fourth channel is alpha.
        specular_texture: [H, W, 3], or None.
        normal_texture: [H, W, 3] tangent-space normals n = 2 t - 1, or None.
        normal_scale: multiplies x and y of those normals.
        emissive: colour [3] that is added.
        alpha: how opaque, multiplied with the texture's.

    >>> import torch
    >>> from lumigrad.scene import PhongMaterial
    >>> matt = PhongMaterial(diffuse=torch.tensor([0.2, 0.4, 0.8]), specular=torch.zeros(3))
    >>> matt.shininess, matt.diffuse_texture
    (64.0, None)
    """

    ambient: Float[Tensor, " 3"] = field(default_factory=_ones)
    diffuse: Float[Tensor, " 3"] = field(default_factory=_ones)
    specular: Float[Tensor, " 3"] = field(default_factory=_ones)
    shininess: float | Float[Tensor, ""] = 64.0
    diffuse_texture: Float[Tensor, "_ _ _"] | None = None
    specular_texture: Float[Tensor, "_ _ _"] | None = None
    normal_texture: Float[Tensor, "_ _ 3"] | None = None
    normal_scale: float | Float[Tensor, ""] = 1.0
    emissive: Float[Tensor, " 3"] = field(default_factory=_zeros)
    alpha: float | Float[Tensor, ""] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ambient", "diffuse", "specular", "emissive"):
            self._set_color(name)
        self._check_number("shininess")
        self._check_number("alpha", high=1.0)
        self._check_number("normal_scale", low=-float("inf"))
        self._check_texture("diffuse_texture", (3, 4))
        self._check_texture("specular_texture", (3,))
        self._check_texture("normal_texture", (3,))


@dataclass(frozen=True)
class PBRMaterial(Material):
    """glTF 2.0's metallic-roughness material.

    Attributes:
        base_color: linear factor [3] or [4]; the fourth is alpha.
        base_color_texture: [H, W, 3 or 4], display-encoded (alpha is linear), or None.
        metallic: factor in [0, 1]. It and `roughness` multiply the texture, so give 1.0 with one.
        roughness: perceptual roughness in [0, 1]; its square is the width of the GGX distribution.
        metallic_roughness_texture: [H, W, 3], roughness in G, metallic in B, or None.
        normal_texture: [H, W, 3] tangent-space normals n = 2 t - 1, or None.
        normal_scale: multiplies x and y of those normals.
        occlusion_texture: [H, W, 1, 2 or 3], the first channel is how much indirect light arrives, or None.
        occlusion_strength: 0 ignores the occlusion texture, 1 applies it fully.
        emissive: linear factor [3] of emitted light.
        emissive_texture: [H, W, 3], display-encoded, or None.
        ior: index of refraction of what is no metal, which reflects ((ior - 1) / (ior + 1))^2 at normal incidence.
        clearcoat: how much of a clear coat of index 1.5 lies above the surface, in [0, 1].
        clearcoat_roughness: its roughness; its normal is that of the surface.
        clearcoat_texture: [H, W, 1 or 3], whose first channel multiplies `clearcoat`, or None.
        clearcoat_roughness_texture: [H, W, 3], whose second channel multiplies `clearcoat_roughness`, or None.
        transmission: the part of the light that the matt base would reflect that goes through in its place, coloured by
            the base colour. Path tracing alone lets it through; rasterizing renderers show an opaque surface.
        transmission_texture: [H, W, 1 or 3], whose first channel multiplies `transmission`, or None.
        solid: whether light is refracted where it goes through, as by the surface of a solid of this index of
            refraction; otherwise it goes straight on, as through a thin sheet.
        absorption: [3], what the inside of a solid takes away per length: light falls by exp(-absorption length).

    Source: Khronos, glTF 2.0 specification, section 3.9 and appendix B; and its extensions KHR_materials_ior,
    KHR_materials_clearcoat, KHR_materials_transmission and KHR_materials_volume.

    >>> import torch
    >>> from lumigrad.scene import PBRMaterial
    >>> gold = PBRMaterial(base_color=torch.tensor([1.0, 0.8, 0.3]), metallic=1.0, roughness=0.3)
    >>> gold.roughness, gold.alpha_mode, gold.base_color_texture
    (0.3, 'opaque', None)
    """

    base_color: Float[Tensor, " 3"] | Float[Tensor, " 4"] = field(default_factory=_ones)
    base_color_texture: Float[Tensor, "_ _ _"] | None = None
    metallic: float | Float[Tensor, ""] = 0.0
    roughness: float | Float[Tensor, ""] = 0.5
    metallic_roughness_texture: Float[Tensor, "_ _ _"] | None = None
    normal_texture: Float[Tensor, "_ _ 3"] | None = None
    normal_scale: float | Float[Tensor, ""] = 1.0
    occlusion_texture: Float[Tensor, "_ _ _"] | None = None
    occlusion_strength: float | Float[Tensor, ""] = 1.0
    emissive: Float[Tensor, " 3"] = field(default_factory=_zeros)
    emissive_texture: Float[Tensor, "_ _ _"] | None = None
    ior: float | Float[Tensor, ""] = 1.5
    clearcoat: float | Float[Tensor, ""] = 0.0
    clearcoat_roughness: float | Float[Tensor, ""] = 0.0
    clearcoat_texture: Float[Tensor, "_ _ _"] | None = None
    clearcoat_roughness_texture: Float[Tensor, "_ _ 3"] | None = None
    transmission: float | Float[Tensor, ""] = 0.0
    transmission_texture: Float[Tensor, "_ _ _"] | None = None
    solid: bool = False
    absorption: Float[Tensor, " 3"] = field(default_factory=_zeros)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_color("base_color", (3, 4))
        self._set_color("emissive")
        self._set_color("absorption")
        for name in ("metallic", "roughness", "occlusion_strength", "clearcoat", "clearcoat_roughness", "transmission"):
            self._check_number(name, high=1.0)
        self._check_number("ior", low=1e-3)
        self._check_texture("clearcoat_texture", (1, 3))
        self._check_texture("clearcoat_roughness_texture", (3,))
        self._check_texture("transmission_texture", (1, 3))
        self._check_number("normal_scale", low=-float("inf"))
        self._check_texture("base_color_texture", (3, 4))
        self._check_texture("metallic_roughness_texture", (3,))
        self._check_texture("normal_texture", (3,))
        self._check_texture("occlusion_texture", (1, 2, 3))
        self._check_texture("emissive_texture", (3,))
