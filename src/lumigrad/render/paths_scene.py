"""From meshes, materials and lights to the tensors of path tracing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.render.color import srgb_decode
from lumigrad.render.geometry import joined_faces
from lumigrad.render.surface import default_material
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import AmbientLight, DirectionalLight, Light, PointLight, SpotLight
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.physical_materials import ConductorMaterial, DielectricMaterial, DiffuseMaterial
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import LitScene
from lumigrad.types.validation import values_can_be_checked

DIFFUSE, METALLIC_ROUGHNESS, CONDUCTOR, DIELECTRIC = range(4)
DISTANT, AT_POINT = range(2)
EVERYWHERE = (-1.0, -2.0)  # cosines of a cone that everything is in
FLAT = 1e-5  # normals that differ from the faces' by no more than this are those of flat faces


def lit_scene(meshes: Sequence[Mesh], lights: Sequence[Light]) -> LitScene:
    """Everything that paths of light meet. Gradients reach all that meshes, materials and lights are made of.

    Args:
        meshes: at least one, none of them a batch; all of one type and on one device.
        lights: any number of them, with the parameters of one image; at most one of them an `EnvironmentLight`.

    Raises:
        TypeError: lights of other kinds than those of `lumigrad.scene`.
        NotImplementedError: materials that cannot be traced yet: transparent ones, normal maps, second coordinates.

    >>> from lumigrad.render import lit_scene
    >>> from lumigrad.scene import PointLight, icosphere
    >>> lit = lit_scene([icosphere(1)], [PointLight((0.0, 3.0, 0.0), intensity=10.0)])
    >>> lit.tri.shape, lit.materials.shape, lit.lamps.shape
    (torch.Size([80, 3]), torch.Size([1, 12]), torch.Size([1, 12]))
    """
    like = meshes[0].positions
    palette, chosen = _Palette(like), []
    for mesh in meshes:
        numbers = [palette.add(material) for material in (mesh.materials or (default_material(mesh),))]
        rows = torch.zeros_like(mesh.faces[:, 0]) if mesh.face_materials is None else mesh.face_materials
        chosen.append(torch.tensor(numbers, device=like.device)[rows.long()])
    kinds = torch.tensor(palette.kinds, device=like.device)
    return LitScene(
        torch.cat([mesh.positions for mesh in meshes]), torch.cat(joined_faces(meshes)).long(),
        torch.stack(palette.rows), kinds, torch.cat(chosen),
        tuple(palette.textures), _normals(meshes), _uvs(meshes), _colors(meshes),
        *_lamps(lights, like), *_surroundings(lights, like),
    )  # fmt: skip


# ---- Corners -------------------------------------------------------------------------------------------------------


def _normals(meshes: Sequence[Mesh]) -> Tensor | None:
    """Shading normals [F, 3, 3]; None where all faces are flat."""
    corners, flat = [], True
    for mesh in meshes:
        values, faces = mesh.shading_normals()
        shading = torch.nan_to_num(values, nan=0.0)[faces.long()]
        facing = torch.nn.functional.normalize(mesh.face_normals(), dim=-1, eps=1e-30)[:, None]
        shading = torch.where((shading * facing).sum(-1, keepdim=True) > 0, shading, facing)
        flat = flat and values_can_be_checked() and bool(((shading - facing).abs() <= FLAT).all())
        corners.append(shading)
    return None if flat else torch.cat(corners)


def _uvs(meshes: Sequence[Mesh]) -> Tensor | None:
    if all(mesh.uvs is None for mesh in meshes):
        return None
    corners = []
    for mesh in meshes:
        if mesh.uvs is None or mesh.uv_faces is None:
            corners.append(mesh.positions.new_zeros(len(mesh.faces), 3, 2))
        else:
            corners.append(mesh.uvs.to(mesh.positions)[mesh.uv_faces.long()])
    return torch.cat(corners)


def _colors(meshes: Sequence[Mesh]) -> Tensor | None:
    if all(mesh.colors is None for mesh in meshes):
        return None
    corners = []
    for mesh in meshes:
        if mesh.colors is None:
            corners.append(mesh.positions.new_ones(len(mesh.faces), 3, 3))
        else:
            corners.append(srgb_decode(mesh.colors[:, :3].to(mesh.positions))[mesh.faces.long()])
    return torch.cat(corners)


# ---- Materials -----------------------------------------------------------------------------------------------------


class _Palette:
    """Materials as rows, and their textures, each once."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.rows: list[Tensor] = []
        self.kinds: list[list[int]] = []
        self.textures: list[Tensor] = []
        self._numbers: dict[tuple[int, bool], int] = {}
        self._kept: list[Any] = []  # whose ids are in use

    def add(self, material: Material) -> int:
        """The material's number."""
        _refuse(material)
        if material.unlit:
            self._add_unlit(material)
        elif isinstance(material, ConductorMaterial):
            self._add(material, CONDUCTOR, material.eta, roughness=material.roughness, extinction=material.k)
        elif isinstance(material, DielectricMaterial):
            self._add(material, DIELECTRIC, material.tint, roughness=material.roughness, ior=material.ior)
        elif isinstance(material, DiffuseMaterial):
            textures = self._texture(material.base_color_texture), -1, self._texture(material.emissive_texture)
            self._add(material, DIFFUSE, material.base_color, textures, emission=material.emissive)
        elif isinstance(material, PBRMaterial):
            textures = (
                self._texture(material.base_color_texture),
                self._texture(material.metallic_roughness_texture, decode=False),
                self._texture(material.emissive_texture),
            )
            self._add(
                material, METALLIC_ROUGHNESS, material.base_color[:3], textures, roughness=material.roughness,
                metallic=material.metallic, emission=material.emissive,
            )  # fmt: skip
        elif isinstance(material, PhongMaterial):
            self._add_phong(material)
        else:
            raise NotImplementedError(f"materials: {type(material).__name__} cannot be traced")
        return len(self.rows) - 1

    def _add_phong(self, material: PhongMaterial) -> None:
        """As the shader `pbr` sees it."""
        shininess = torch.as_tensor(material.shininess).clamp_min(0)
        color, textures = srgb_decode(material.diffuse), (-1, -1, -1)
        if material.diffuse_texture is not None:
            image = srgb_decode(material.diffuse.to(material.diffuse_texture) * material.diffuse_texture[..., :3])
            color, textures = torch.ones(3), (self._store(image), -1, -1)
        self._add(
            material, METALLIC_ROUGHNESS, color, textures, roughness=(2 / (shininess + 2)) ** 0.25,
            emission=srgb_decode(material.emissive),
        )  # fmt: skip

    def _add_unlit(self, material: Material) -> None:
        """It sends its colour and reflects nothing."""
        if isinstance(material, PhongMaterial):
            color, image = srgb_decode(material.diffuse), material.diffuse_texture
        else:
            color, image = (
                getattr(material, "base_color", torch.ones(3))[:3],
                getattr(material, "base_color_texture", None),
            )
        self._add(material, DIFFUSE, torch.zeros(3), (-1, -1, self._texture(image)), emission=color)

    def _add(
        self,
        material: Material,
        kind: int,
        color: Tensor,
        textures: tuple[int, int, int] = (-1, -1, -1),
        roughness: Any = 1.0,
        metallic: Any = 0.0,
        ior: Any = 1.5,
        extinction: Tensor | None = None,
        emission: Tensor | None = None,
    ) -> None:
        none = self.like.new_zeros(3)
        parts = (color, roughness, metallic, ior, none if extinction is None else extinction,
                 none if emission is None else emission)  # fmt: skip
        row = [torch.as_tensor(part, dtype=self.like.dtype, device=self.like.device).reshape(-1) for part in parts]
        self.rows.append(torch.cat(row))
        self.kinds.append([kind, int(material.double_sided), *textures])

    def _texture(self, image: Tensor | None, decode: bool = True) -> int:
        if image is None:
            return -1
        key = id(image), decode
        if key not in self._numbers:
            self._kept.append(image)
            self._numbers[key] = self._store(srgb_decode(image[..., :3]) if decode else image[..., :3])
        return self._numbers[key]

    def _store(self, image: Tensor) -> int:
        self.textures.append(image.to(self.like))
        return len(self.textures) - 1


def _refuse(material: Material) -> None:
    """Refuse what would come out wrong."""
    if material.alpha_mode != "opaque":
        raise NotImplementedError(
            f"materials: expected alpha_mode 'opaque', got {material.alpha_mode!r}; paths do not pass through surfaces "
            "that are partly there yet"
        )
    if getattr(material, "normal_texture", None) is not None:
        raise NotImplementedError("materials: expected no normal_texture; paths do not see normal maps yet")
    if material.second_uv_textures:
        raise NotImplementedError("materials: expected no second_uv_textures; paths see the first coordinates alone")


# ---- Lights --------------------------------------------------------------------------------------------------------


def _lamps(lights: Sequence[Light], like: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Places [L, 12], intensities [L, 3] and kinds [L]."""
    found = [light for light in lights if isinstance(light, (DirectionalLight, PointLight))]
    for light in lights:
        if not isinstance(light, (DirectionalLight, PointLight, AmbientLight, EnvironmentLight)):
            raise TypeError(f"lights: expected lights of lumigrad.scene, got {type(light).__name__}")
    if not found:
        return None, None, None
    kinds = [DISTANT if isinstance(light, DirectionalLight) else AT_POINT for light in found]
    intensities = torch.stack([(light.color * light.intensity).to(like) for light in found])
    places = torch.stack([_place(light, like) for light in found])
    return places, intensities, torch.tensor(kinds, device=like.device)


def _place(light: DirectionalLight | PointLight, like: Tensor) -> Tensor:
    """A row of `LitScene.lamps`."""
    start = light.direction if isinstance(light, DirectionalLight) else light.position
    axis, cone, reach, falloff = like.new_zeros(3), like.new_tensor(EVERYWHERE), like.new_tensor([math.inf]), (0, 0, 1)
    if isinstance(light, PointLight) and light.attenuation is not None:
        falloff = light.attenuation
    elif isinstance(light, PointLight) and light.range is not None:
        reach = light.range.to(like).reshape(1)
    if isinstance(light, SpotLight):
        axis = torch.nn.functional.normalize(light.direction.to(like), dim=-1)
        cone = torch.stack([torch.cos(angle.to(like) * (math.pi / 180)) for angle in (light.inner, light.outer)])
    factors = torch.as_tensor(falloff, dtype=like.dtype, device=like.device)
    return torch.cat([start.to(like), axis, cone, reach, factors])


def _surroundings(lights: Sequence[Light], like: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What comes from everywhere, as a cube map and its rotation."""
    maps = [light for light in lights if isinstance(light, EnvironmentLight)]
    if len(maps) > 1:
        raise ValueError(f"lights: expected one EnvironmentLight at most, got {len(maps)}")
    even = [(light.color * light.intensity).to(like) for light in lights if isinstance(light, AmbientLight)]
    if not maps and not even:
        return None, None
    cube = maps[0].cube.to(like) * maps[0].intensity.to(like) if maps else like.new_zeros(6, 2, 2, 3)
    for color in even:
        cube = cube + color
    rotation = None if not maps or maps[0].rotation is None else maps[0].rotation.to(like)
    return cube, rotation
