"""Converts meshes, materials and lights to the tensors of path tracing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.ray import build_bvh
from lumigrad.render.brdf import diffuse_fresnel
from lumigrad.render.color import srgb_decode
from lumigrad.render.geometry import joined_faces
from lumigrad.render.path_media import Interior, media_of
from lumigrad.render.stage import Stage, default_environment
from lumigrad.render.surface import default_material
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import AmbientLight, DirectionalLight, Light, PointLight, SpotLight
from lumigrad.scene.materials import ALPHA_MODES, Material, PBRMaterial, PhongMaterial
from lumigrad.scene.media import Medium, MediumBoundary
from lumigrad.scene.physical_materials import ConductorMaterial, DielectricMaterial, DiffuseMaterial, PlasticMaterial
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import Bvh, LitScene
from lumigrad.types.light import (
    ALPHA_MODE,
    ALPHA_TEXTURE,
    COAT_ROUGHNESS_TEXTURE,
    COAT_TEXTURE,
    COLOR_TEXTURE,
    EMISSION_TEXTURE,
    KIND_COLUMNS,
    KINDS,
    MATERIAL_COLUMNS,
    MORE_KINDS,
    MORE_MATERIAL,
    NORMAL_TEXTURE,
    ROUGHNESS_TEXTURE,
    SECOND_UV,
    TRANSMISSION_TEXTURE,
)
from lumigrad.types.validation import values_can_be_checked

SEEDS = 2**61
DIFFUSE, METALLIC_ROUGHNESS, CONDUCTOR, DIELECTRIC, PLASTIC, SOLID = range(KINDS)
DISTANT, AT_POINT, LINEAR = range(3)
EVERYWHERE = (-1.0, -2.0)  # cosines of a cone that contains every direction
FLAT = 1e-5  # normals that differ from the faces' normals by no more than this count as flat


def lit_scene(meshes: Sequence[Mesh], lights: Sequence[Light], medium: Medium | None = None) -> LitScene:
    """Everything that paths of light meet. Gradients reach all that meshes, materials, media and lights are made of.

    Args:
        meshes: none of them a batch; all of one type and on one device. Without any, the medium's or the lights' are
            those of the scene.
        lights: any number of them, with the parameters of one image; at most one of them an `EnvironmentLight`.
        medium: what fills the scene, besides those that materials have as `interior`.

    Raises:
        TypeError: lights of other kinds than those of `lumigrad.scene`.
        NotImplementedError: materials of other kinds than those of `lumigrad.scene`; vertex colours with alpha on
            materials that are partly there.

    >>> from lumigrad.render import lit_scene
    >>> from lumigrad.scene import PointLight, icosphere
    >>> lit = lit_scene([icosphere(1)], [PointLight((0.0, 3.0, 0.0), intensity=10.0)])
    >>> lit.tri.shape, lit.materials.shape, lit.lamps.shape
    (torch.Size([80, 3]), torch.Size([1, 21]), torch.Size([1, 12]))
    """
    like = meshes[0].positions if meshes else _without_meshes(lights, medium)
    palette, chosen = _Palette(like), []
    for mesh in meshes:
        materials = mesh.materials or (default_material(mesh),)
        _refuse(mesh, materials)
        numbers = [palette.add(material) for material in materials]
        rows = torch.zeros_like(mesh.faces[:, 0]) if mesh.face_materials is None else mesh.face_materials
        chosen.append(torch.tensor(numbers, device=like.device)[rows.long()])
    kinds = torch.tensor(palette.kinds, dtype=torch.int64, device=like.device).reshape(
        -1, KIND_COLUMNS + len(MORE_KINDS)
    )
    face_materials = torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.int64, device=like.device)
    seconds = any(row[SECOND_UV] for row in palette.kinds)
    return LitScene(
        torch.cat([mesh.positions for mesh in meshes]) if meshes else like, _faces(meshes, like),
        palette.table(), kinds, face_materials,
        tuple(palette.textures), _normals(meshes), _uvs(meshes, "uvs"), _colors(meshes),
        *_lamps(lights, like), *_surroundings(lights, like),
        _uvs(meshes, "second_uvs") if seconds else None, _tangents(meshes, [kinds[rows] for rows in chosen]),
        media=media_of(palette.interiors, face_materials, medium, like),
    )  # fmt: skip


def _without_meshes(lights: Sequence[Light], medium: Medium | None) -> Tensor:
    """Empty positions [0, 3], with the type and device of the medium or the lights."""
    if medium is not None:
        return medium.extinction.new_zeros(0, 3)
    for light in lights:
        for field in fields(light):
            value = getattr(light, field.name)
            if isinstance(value, Tensor):
                return value.new_zeros(0, 3)
    return torch.zeros(0, 3)


def _faces(meshes: Sequence[Mesh], like: Tensor) -> Tensor:
    return (
        torch.cat(joined_faces(meshes)).long() if meshes else torch.zeros(0, 3, dtype=torch.int64, device=like.device)
    )


def _refuse(mesh: Mesh, materials: Sequence[Material]) -> None:
    """Raise an error for inputs that would be rendered wrongly."""
    if mesh.colors is None or mesh.colors.shape[-1] < 4 or all(m.alpha_mode == "opaque" for m in materials):
        return
    if not values_can_be_checked() or bool((mesh.colors[..., 3] != 1).any()):
        raise NotImplementedError("colors: expected no alpha of vertices; paths see that of materials and textures")


# ---- Images --------------------------------------------------------------------------------------------------------


def lit_images(stage: Stage, lights: Sequence[Light] | None) -> Iterator[tuple[Camera, LitScene, Bvh]]:
    """The camera, scene and tree of each image; those that do not differ between images are made once.

    lights: replace those of the scene. Without any lights or emitters, the built-in studio is used.
    """
    made: tuple[LitScene, Bvh] | None = None
    for n, camera in enumerate(stage.cameras):
        if made is None or not stage.together or _varies(stage.scene, lights):
            meshes = stage.scene.meshes if stage.together else stage.scene.meshes[n : n + 1]
            lit = _lit(meshes, [light.at(n) for light in given_lights(stage.scene, lights)], stage.scene.medium)
            made = lit, build_bvh(lit.positions.detach(), lit.tri)
        yield camera, *made


def given_lights(scene: Scene, lights: Sequence[Light] | None) -> tuple[Light, ...]:
    """The given lights, or all lights of the scene."""
    if lights is None:
        return (*scene.lights, *(() if scene.environment is None else (scene.environment,)))
    for light in lights:
        if not isinstance(light, Light):
            raise TypeError(f"lights: expected lights of lumigrad.scene, got {type(light).__name__}")
    return tuple(lights)


def seed_of_image(seed: int, image: int) -> int:
    """A seed for each image of a batch; the first image has the seed itself."""
    return (seed + image * 0x9E3779B97F4A7C15) % SEEDS


def _varies(scene: Scene, lights: Sequence[Light] | None) -> bool:
    """Whether lights differ between images."""
    return any(
        getattr(light, name) is not None and getattr(light, name).ndim > rank
        for light in given_lights(scene, lights)
        for name, rank in light.ranks.items()
    )


def _lit(meshes: Sequence[Mesh], lights: Sequence[Light], medium: Medium | None) -> LitScene:
    lit = lit_scene(meshes, lights, medium)
    if lights or bool((lit.materials[:, 9:12] > 0).any()):
        return lit
    return lit_scene(meshes, [default_environment()], medium)


# ---- Corners -------------------------------------------------------------------------------------------------------


def _normals(meshes: Sequence[Mesh]) -> Tensor | None:
    """Shading normals [F, 3, 3]; None where all faces are flat."""
    corners, flat = [], True
    for mesh in meshes:
        values, faces = mesh.shading_normals()
        shading = torch.nan_to_num(values, nan=0.0).to(mesh.positions)[faces.long()]
        facing = torch.nn.functional.normalize(mesh.face_normals(), dim=-1, eps=1e-30)[:, None]
        shading = torch.where((shading * facing).sum(-1, keepdim=True) > 0, shading, facing)
        flat = flat and values_can_be_checked() and bool(((shading - facing).abs() <= FLAT).all())
        corners.append(shading)
    return None if flat else torch.cat(corners)


def _uvs(meshes: Sequence[Mesh], name: str) -> Tensor | None:
    """The texture coordinates with that name [F, 3, 2]; None if no mesh has them."""
    index = {"uvs": "uv_faces", "second_uvs": "second_uv_faces"}[name]
    if all(getattr(mesh, name) is None for mesh in meshes):
        return None
    corners = []
    for mesh in meshes:
        if getattr(mesh, name) is None:
            corners.append(mesh.positions.new_zeros(len(mesh.faces), 3, 2))
        else:
            corners.append(getattr(mesh, name).to(mesh.positions)[getattr(mesh, index).long()])
    return torch.cat(corners)


def _tangents(meshes: Sequence[Mesh], kinds: Sequence[Tensor]) -> Tensor | None:
    """The tangents of faces [F, 3, 4] whose materials have normal maps, from the maps' coordinates; None without any.

    kinds: of the materials of each mesh's faces.
    """
    if not any(bool((rows[:, NORMAL_TEXTURE] >= 0).any()) for rows in kinds):
        return None
    corners = []
    for mesh, rows in zip(meshes, kinds, strict=True):
        found = mesh.positions.new_zeros(len(mesh.faces), 3, 4)
        mapped, second = rows[:, NORMAL_TEXTURE] >= 0, (rows[:, SECOND_UV] >> NORMAL_TEXTURE & 1) != 0
        other = replace(mesh, uvs=mesh.second_uvs, uv_faces=mesh.second_uv_faces)
        for one, chosen in ((mesh, mapped & ~second), (other, mapped & second)):
            if one.uvs is not None and bool(chosen.any()):
                values, faces = one.tangents()
                found = torch.where(chosen[:, None, None], values.detach().to(found)[faces.long()], found)
        corners.append(found)
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
        self.interiors: list[Interior] = []
        self._numbers: dict[tuple[int, str], int] = {}
        self._kept: list[Any] = []  # whose ids are in use, and must stay unique

    def add(self, material: Material) -> int:
        """The material's number."""
        self.interiors.append(Interior(getattr(material, "interior", None), isinstance(material, MediumBoundary)))
        if isinstance(material, MediumBoundary):
            self._add(material, DIFFUSE, color=torch.zeros(3))
        elif material.unlit:
            self._add_unlit(material)
        elif isinstance(material, ConductorMaterial):
            self._add(material, CONDUCTOR, color=material.eta, roughness=material.roughness, extinction=material.k)
        elif isinstance(material, DielectricMaterial):
            self._add(
                material, DIELECTRIC, color=material.tint, roughness=material.roughness, ior=material.ior,
                attenuation=material.absorption,
            )  # fmt: skip
        elif isinstance(material, DiffuseMaterial):
            textures = {COLOR_TEXTURE: "base_color_texture", EMISSION_TEXTURE: "emissive_texture"}
            self._add(material, DIFFUSE, textures, color=material.base_color, emission=material.emissive)
        elif isinstance(material, PlasticMaterial):
            self._add_plastic(material)
        elif isinstance(material, PBRMaterial):
            self._add_pbr(material)
        elif isinstance(material, PhongMaterial):
            self._add_phong(material)
        else:
            raise NotImplementedError(f"materials: {type(material).__name__} cannot be traced")
        return len(self.rows) - 1

    def table(self) -> Tensor:
        """All materials [M, K]."""
        columns = MATERIAL_COLUMNS + len(MORE_MATERIAL)
        return torch.stack(self.rows) if self.rows else self.like.new_zeros(0, columns)

    def _add_pbr(self, material: PBRMaterial) -> None:
        textures = {
            COLOR_TEXTURE: "base_color_texture", ROUGHNESS_TEXTURE: "metallic_roughness_texture",
            EMISSION_TEXTURE: "emissive_texture", TRANSMISSION_TEXTURE: "transmission_texture",
            COAT_TEXTURE: "clearcoat_texture", COAT_ROUGHNESS_TEXTURE: "clearcoat_roughness_texture",
        }  # fmt: skip
        self._add(
            material, SOLID if material.solid else METALLIC_ROUGHNESS, textures, color=material.base_color[:3],
            roughness=material.roughness, metallic=material.metallic, ior=material.ior, emission=material.emissive,
            transmission=material.transmission, coat=material.clearcoat, coat_roughness=material.clearcoat_roughness,
            attenuation=material.absorption,
        )  # fmt: skip

    def _add_phong(self, material: PhongMaterial) -> None:
        """As the shader `pbr` sees it."""
        shininess = torch.as_tensor(material.shininess).clamp_min(0)
        color, image = srgb_decode(material.diffuse), None
        if material.diffuse_texture is not None:
            image = srgb_decode(material.diffuse.to(material.diffuse_texture) * material.diffuse_texture[..., :3])
            color = torch.ones(3)
        self._add(
            material, METALLIC_ROUGHNESS, color=color, roughness=(2 / (shininess + 2)) ** 0.25,
            emission=srgb_decode(material.emissive),
        )  # fmt: skip
        self._set_texture(material, COLOR_TEXTURE, "diffuse_texture", image, "plain")

    def _add_plastic(self, material: PlasticMaterial) -> None:
        """The colour of the base, including all reflections within the coat."""
        outside = diffuse_fresnel(torch.as_tensor(material.ior, dtype=torch.float64)).to(self.like)
        inside = 1 - (1 - outside) / torch.as_tensor(material.ior).to(self.like) ** 2

        def lit(color: Tensor) -> Tensor:
            color = color.to(self.like)
            return color * (1 - inside) / (1 - inside * color) / (1 - outside)

        color, image = material.base_color.to(self.like), material.base_color_texture
        if material.saturating and image is not None:
            image, color = lit(color * srgb_decode(image[..., :3]).to(self.like)), torch.ones(3)
        elif material.saturating:
            color = lit(color)
        else:
            image, color = None if image is None else srgb_decode(image[..., :3]), color / (1 - outside)
        self._add(material, PLASTIC, color=color, roughness=material.roughness, ior=material.ior)
        self._set_texture(material, COLOR_TEXTURE, "base_color_texture", image, "plain")

    def _add_unlit(self, material: Material) -> None:
        """An unlit material emits its colour and reflects nothing."""
        if isinstance(material, PhongMaterial):
            color, name = srgb_decode(material.diffuse), "diffuse_texture"
        else:
            color, name = getattr(material, "base_color", torch.ones(3))[:3], "base_color_texture"
        self._add(material, DIFFUSE, {EMISSION_TEXTURE: name}, color=torch.zeros(3), emission=color)

    def _add(
        self,
        material: Material,
        kind: int,
        textures: dict[int, str] | None = None,
        *,
        color: Tensor,
        roughness: Any = 1.0,
        metallic: Any = 0.0,
        ior: Any = 1.5,
        extinction: Any = (0.0, 0.0, 0.0),
        emission: Any = (0.0, 0.0, 0.0),
        transmission: Any = 0.0,
        coat: Any = 0.0,
        coat_roughness: Any = 0.0,
        attenuation: Any = (0.0, 0.0, 0.0),
    ) -> None:
        parts = (
            color, roughness, metallic, ior, extinction, emission, _alpha_factor(material), material.alpha_cutoff,
            transmission, coat, coat_roughness, getattr(material, "normal_scale", 1.0), attenuation,
        )  # fmt: skip
        row = [torch.as_tensor(part, dtype=self.like.dtype, device=self.like.device).reshape(-1) for part in parts]
        self.rows.append(torch.cat(row))
        kinds = [kind, int(material.double_sided), -1, -1, -1, *MORE_KINDS]
        kinds[ALPHA_MODE] = ALPHA_MODES.index(material.alpha_mode)
        self.kinds.append(kinds)
        for column, name in {**(textures or {}), NORMAL_TEXTURE: "normal_texture"}.items():
            form = "color" if column in (COLOR_TEXTURE, EMISSION_TEXTURE) else "plain"
            self._set_texture(material, column, name, getattr(material, name, None), form)
        if material.alpha_mode != "opaque":
            name = "diffuse_texture" if isinstance(material, PhongMaterial) else "base_color_texture"
            image = getattr(material, name, None)
            if image is not None and image.shape[-1] == 4:
                self._set_texture(material, ALPHA_TEXTURE, name, image, "alpha")

    def _set_texture(self, material: Material, column: int, name: str, image: Tensor | None, form: str) -> None:
        """Give the last material a texture from one of its fields."""
        if image is None:
            return
        self.kinds[-1][column] = self._texture(image, form)
        if name in material.second_uv_textures:
            self.kinds[-1][SECOND_UV] |= 1 << column

    def _texture(self, image: Tensor, form: str) -> int:
        """The number of an image in a given form: "color", decoded to linear light; "plain"; or only its "alpha"."""
        key = id(image), form
        if key not in self._numbers:
            self._kept.append(image)
            plain = image[..., 3:] if form == "alpha" else image[..., :3]
            self.textures.append((srgb_decode(plain) if form == "color" else plain).to(self.like).expand(-1, -1, 3))
            self._numbers[key] = len(self.textures) - 1
        return self._numbers[key]


def _alpha_factor(material: Material) -> Any:
    """The factor of textures' alpha."""
    base = getattr(material, "base_color", None)
    if isinstance(base, Tensor) and len(base) == 4:
        return base[3]
    return getattr(material, "alpha", 1.0)


# ---- Lights --------------------------------------------------------------------------------------------------------


def _lamps(lights: Sequence[Light], like: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The lamps: places [L, 12], intensities [L, 3] and kinds [L]."""
    found = [light for light in lights if isinstance(light, (DirectionalLight, PointLight))]
    for light in lights:
        if not isinstance(light, (DirectionalLight, PointLight, AmbientLight, EnvironmentLight)):
            raise TypeError(f"lights: expected lights of lumigrad.scene, got {type(light).__name__}")
    if not found:
        return None, None, None
    kinds = [_lamp_kind(light) for light in found]
    intensities = torch.stack([(light.color * light.intensity).to(like) for light in found])
    places = torch.stack([_place(light, like) for light in found])
    return places, intensities, torch.tensor(kinds, device=like.device)


def _lamp_kind(light: DirectionalLight | PointLight) -> int:
    if isinstance(light, DirectionalLight):
        return DISTANT
    return LINEAR if isinstance(light, SpotLight) and light.fade == "angle" else AT_POINT


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
        cone = torch.stack([light.inner.to(like), light.outer.to(like)]) * (math.pi / 180)
        cone = cone if light.fade == "angle" else cone.cos()
    factors = torch.as_tensor(falloff, dtype=like.dtype, device=like.device)
    return torch.cat([start.to(like), axis, cone, reach, factors])


def _surroundings(lights: Sequence[Light], like: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The surrounding light, as a cube map and its rotation."""
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
