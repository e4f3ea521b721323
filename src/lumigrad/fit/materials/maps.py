"""Materials as textures, and the numbers that a fit changes to find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.fit.materials.relief import relief_normals
from lumigrad.scene.materials import PBRMaterial
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.shapes import Float

MIN_ROUGHNESS = 0.05
# Channels of the fitted maps; normals are slopes of a height field.
CHANNELS = {"base_color": 3, "roughness": 1, "metallic": 1, "normal": 1}
# Rows of the levels of a map, relative to the finest; a level of one texel comes first.
_FINER = (8, 4, 2, 1)
_FINER_NORMAL = (4, 2, 1)
# The same of the sides of the light's faces.
_FINER_LIGHT = (8, 4, 2, 1)

Parameters = Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True)
class MaterialMaps:
    """What a surface is made of, as textures in one atlas, and the light around it.

    Attributes:
        base_color: display-encoded, in [0, 1], [H, W, 3].
        roughness: in [0.05, 1], [H, W, 1].
        metallic: in [0, 1], [H, W, 1].
        light: linear radiance of a cube map, at least 0, [6, S, S, 3].
        normal: tangent-space normals n = 2 t - 1, [H, W, 3]; None for those of the mesh.
        occlusion: how much of the light around arrives, [H, W, 1]; None for all of it.

    >>> import torch
    >>> from lumigrad.fit.materials import MaterialMaps
    >>> grey = torch.full((4, 4, 1), 0.5)
    >>> maps = MaterialMaps(grey.expand(4, 4, 3), grey, 0 * grey, torch.ones(6, 8, 8, 3))
    >>> maps.material().metallic_roughness_texture[0, 0].tolist()  # occlusion, roughness, metallic
    [1.0, 0.5, 0.0]
    """

    base_color: Float[Tensor, "height width 3"]
    roughness: Float[Tensor, "height width 1"]
    metallic: Float[Tensor, "height width 1"]
    light: Float[Tensor, "6 side side 3"]
    normal: Float[Tensor, "height width 3"] | None = None
    occlusion: Float[Tensor, "height width 1"] | None = None

    def material(self) -> PBRMaterial:
        """The glTF material: occlusion, roughness and metallic are the channels of one texture."""
        occlusion = torch.ones_like(self.roughness) if self.occlusion is None else self.occlusion
        packed = torch.cat((occlusion, self.roughness, self.metallic), -1)
        return PBRMaterial(
            name="photographs",
            base_color_texture=self.base_color,
            metallic=1.0,
            roughness=1.0,
            metallic_roughness_texture=packed,
            occlusion_texture=packed if self.occlusion is not None else None,
            normal_texture=self.normal,
        )

    def on(self, mesh: Mesh) -> Mesh:
        """A mesh that has the atlas's texture coordinates, made of this material."""
        return replace(mesh, texture=None, colors=None, materials=(self.material(),), face_materials=None)


def start_parameters(
    size: tuple[int, int], light_size: int, albedo: float, brightness: Tensor, normals: bool
) -> dict[str, list[Tensor]]:
    """Parameters of a grey, half rough surface that is no metal, in grey light from everywhere.

    Maps are sums of levels from one texel to full size, which are looked up bilinearly: coarse levels carry what large
    parts of the surface have in common, so that it is found in few steps and spreads to where little is seen. So
    is the height whose slopes are the normal map, and so is the logarithm of the light: lamps are many times as bright
    as walls, and texels that moved alone would take most of a fit to get there.

    Args:
        size: of the maps.
        light_size: texels along a side of the light's faces.
        albedo: linear base colour.
        brightness: of the photographs, linear, [].
        normals: whether there is a normal map.
    """
    values: dict[str, list[Tensor]] = {}
    for name, channels in CHANNELS.items():
        shapes = [(1, 1), *_sizes(size, _FINER)]
        # Roughness and metallic show in only a few photographs of a place, so their finest level has half the size.
        shapes = shapes[:-1] if name in ("roughness", "metallic") else shapes
        # A normal map is for detail: bending the surface over large parts would compensate for errors of the light.
        shapes = _sizes(size, _FINER_NORMAL) if name == "normal" else shapes
        values[name] = [torch.zeros(*shape, channels) for shape in shapes]
    if not normals:
        del values["normal"]
    encoded = torch.tensor(albedo) ** (1 / 2.2)
    values["base_color"][0] += torch.logit(encoded)
    values["metallic"][0] -= 2.5
    sides = sorted({1, *(max(1, light_size // n) for n in _FINER_LIGHT)})
    values["light"] = [torch.zeros(6, side, side, 3) for side in sides]
    values["light"][0] += (brightness / albedo).clamp_min(1e-4).log()
    return values


def _sizes(size: tuple[int, int], finer: Sequence[int]) -> list[tuple[int, int]]:
    return [(max(1, size[0] // n), max(1, size[1] // n)) for n in finer]


def coarse_levels(name: str, levels: Sequence[Tensor]) -> Sequence[Tensor]:
    """The levels of a parameter that are used while the surface is uniform: all of the light, no relief."""
    return levels if name == "light" else levels[: 0 if name == "normal" else 1]


def maps_of(
    parameters: Parameters,
    size: tuple[int, int],
    occlusion: Tensor | None = None,
    coarse: bool = False,
    axes: Tensor | None = None,
) -> MaterialMaps:
    """The maps that parameters stand for; all of them are physically valid.

    Args:
        parameters: see `start_parameters`.
        size: of the maps.
        occlusion: see `MaterialMaps`.
        coarse: leave all but the coarsest level of each map out: the surface is the same everywhere.
        axes: of texels, [H, W, 3], see `lumigrad.fit.materials.relief.texel_axes`; None for square ones.

    >>> import torch
    >>> from lumigrad.fit.materials import maps_of, start_parameters
    >>> parameters = start_parameters((8, 8), 4, albedo=0.3, brightness=torch.tensor(0.15), normals=False)
    >>> maps = maps_of(parameters, (8, 8))
    >>> round(maps.roughness[0, 0].item(), 3), round(maps.light[0, 0, 0, 0].item(), 3)
    (0.525, 0.5)
    """
    levels = {name: coarse_levels(name, found) if coarse else found for name, found in parameters.items()}
    normal = None
    if levels.get("normal"):
        height = _height(levels["normal"], size)
        square = height.new_tensor((1.0, 0.0, 1.0)).expand(*size, 3)
        normal = relief_normals(height, square if axes is None else axes)
    return MaterialMaps(
        _summed(levels["base_color"], size).sigmoid(),
        MIN_ROUGHNESS + (1 - MIN_ROUGHNESS) * _summed(levels["roughness"], size).sigmoid(),
        _summed(levels["metallic"], size).sigmoid(),
        _light(levels["light"]).exp(),
        normal,
        occlusion,
    )


def _light(levels: Sequence[Tensor]) -> Tensor:
    """The sum of the light's levels [6, S, S, 3]."""
    total = levels[-1]
    for level in levels[:-1]:
        total = total + _enlarged(level, (total.shape[1], total.shape[2]))
    return total


def _height(levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The height [H, W, 1] in texels. Levels are in units of their own texels, so that a step bends the surface equally
    in all."""
    total = levels[0].new_zeros(*size, 1)
    for level in levels:
        total = total + size[0] / level.shape[0] * _enlarged(level[None], size, "bicubic")[0]
    return total


def _summed(levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum [H, W, C] of levels of any sizes."""
    total = levels[0].new_zeros(*size, levels[0].shape[-1])
    for level in levels:
        total = total + _enlarged(level[None], size)[0]
    return total


def _enlarged(images: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Images [N, h, w, C] of that size, or of one texel that broadcasts to it."""
    if max(images.shape[1:3]) == 1 or tuple(images.shape[1:3]) == size:
        return images
    fine = torch.nn.functional.interpolate(images.permute(0, 3, 1, 2), size=size, mode=mode, align_corners=False)
    return fine.permute(0, 2, 3, 1)
