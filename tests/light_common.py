"""Scenes of a few triangles, lights and rays, for tests of light transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lumigrad import LitScene
from lumigrad.ops.light._trace_paths import check_scene
from lumigrad.render import lit_scene
from lumigrad.scene import (
    AmbientLight,
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    DirectionalLight,
    EnvironmentLight,
    Mesh,
    PBRMaterial,
    PlasticMaterial,
    PointLight,
    SpotLight,
    icosphere,
)
from lumigrad.types import Media

DOUBLE = torch.float64


def row(reflectance: float, emission: float = 0.0) -> Tensor:
    """A diffuse material of `LitScene.materials`."""
    return torch.tensor([reflectance] * 3 + [1.0, 0.0, 1.5, 0.0, 0.0, 0.0] + [emission] * 3, dtype=DOUBLE)


def plate(half: float) -> tuple[Tensor, Tensor]:
    """A square in the plane y = 0, facing up."""
    corners = torch.tensor([[-1.0, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]], dtype=DOUBLE)
    return half * corners, torch.tensor([[0, 1, 2], [0, 2, 3]])


def box_inside() -> tuple[Tensor, Tensor]:
    """A cube from -1 to 1 whose faces look inwards."""
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)], dtype=DOUBLE)
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    tri = torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    a, b, c = corners[tri].unbind(1)
    inwards = (torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(-1) < 0
    return corners, torch.where(inwards[:, None], tri, tri[:, [0, 2, 1]])


def rays_down(x: float, height: float = 1e-2, size: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The corners' rays of one small pixel that looks down at (x, 0, 0)."""
    return pixel_rays(1, 1, distance=height, size=size, down=True, x=x)


def pixel_rays(
    height: int, width: int, distance: float = 0.5, size: float = 0.6, down: bool = False, x: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The rays of pinhole cameras with images of the width `size` at distance 1; along -z, or along -y."""
    column = (torch.arange(width + 1, dtype=DOUBLE) / width - 0.5) * size
    line = (0.5 - torch.arange(height + 1, dtype=DOUBLE) / height) * size * height / width
    b, a = torch.meshgrid(line, column, indexing="ij")
    one = torch.ones_like(a)
    directions = torch.stack((a, -one, -b) if down else (a, b, -one), -1)
    origin = torch.tensor([x, distance, 0.0] if down else [x, 0.0, distance], dtype=DOUBLE)
    return origin.expand_as(directions).contiguous(), directions


def _random_of(seed: int) -> Callable[..., Tensor]:
    """A function that returns new random numbers in [0, 1) of any shape."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.rand(*shape, dtype=DOUBLE, generator=generator)


def _bumps(random: Callable[..., Tensor]) -> Tensor:
    """A normal map [4, 5, 3]."""
    return 0.5 + 0.5 * torch.nn.functional.normalize(random(4, 5, 3) - torch.tensor([0.5, 0.5, -0.7]), dim=-1)


def mixed_scene(dtype: torch.dtype = DOUBLE) -> LitScene:
    """Every kind of material, texture and light."""
    random = _random_of(0)

    ball, gem = icosphere(1).to(DOUBLE), icosphere(0).to(DOUBLE)
    count = len(ball.positions)
    painted = PBRMaterial(
        base_color=torch.tensor([0.8, 0.6, 0.7]), base_color_texture=random(5, 7, 3), metallic=0.8, roughness=0.7,
        metallic_roughness_texture=random(4, 4, 3),
    )  # fmt: skip
    gold = ConductorMaterial(eta=(0.2, 0.9, 1.1), k=(3.9, 2.4, 2.1), roughness=0.4)
    lamp = DiffuseMaterial(base_color=(0.1, 0.1, 0.1), emissive=(3.0, 2.0, 1.0), double_sided=False)
    ground, tri = plate(3.0)
    low, left, right = (torch.tensor(v, dtype=DOUBLE) for v in ([0.0, -1, 0], [-1.2, -0.3, 0.6], [1.2, -0.3, 0.6]))
    up = torch.tensor([0.0, 3, 0], dtype=DOUBLE)
    meshes = [
        replace(ball, uvs=random(count, 2), colors=0.5 + 0.5 * random(count, 3), materials=(painted,)),
        Mesh(ground + low, tri, materials=(DiffuseMaterial(base_color=(0.7, 0.5, 0.0)),)),
        Mesh(ground / 3 + up, tri[:, [0, 2, 1]], materials=(lamp,)),
        Mesh(0.5 * gem.positions + right, gem.faces, materials=(DielectricMaterial(roughness=0.5),)),
        Mesh(0.4 * gem.positions + left, gem.faces, materials=(gold,)).creased(0.0),
    ]
    lights = [
        PointLight((2.0, 3.0, 2.0), intensity=5.0),
        SpotLight((-2.0, 3.0, 1.0), direction=(2.0, -3.0, -1.0), intensity=4.0, inner=10.0, outer=30.0),
        DirectionalLight((0.3, 1.0, 0.2), color=(1.0, 0.5, 0.2)),
        EnvironmentLight(0.5 * random(6, 4, 4, 3)),
    ]
    return check_scene(lit_scene([mesh.to(dtype) for mesh in meshes], lights))


def bumpy_scene(dtype: torch.dtype = DOUBLE) -> LitScene:
    """Normal maps on smooth and on flat surfaces, of one side and of two, under uniform light."""
    random = _random_of(5)

    ball, gem = icosphere(1).to(DOUBLE), icosphere(0).to(DOUBLE)
    bumps = _bumps(random)
    steel = PBRMaterial(
        base_color=(0.8, 0.7, 0.6), roughness=0.3, metallic=0.9, normal_texture=bumps, normal_scale=0.7,
        second_uv_textures=("normal_texture",), double_sided=False,
    )  # fmt: skip
    stone = PBRMaterial(
        base_color_texture=random(3, 4, 3), roughness=0.9, metallic=0.1, normal_texture=bumps, ior=1.7, solid=True
    )
    ground, tri = plate(3.0)
    right = torch.tensor([1.2, -0.3, 0.6], dtype=DOUBLE)
    corners = len(ball.positions), len(gem.positions)
    meshes = [
        replace(ball, uvs=random(corners[0], 2), second_uvs=random(corners[0], 2), second_uv_faces=ball.faces,
                materials=(steel,)),
        Mesh(0.5 * gem.positions + right, gem.faces, uvs=random(corners[1], 2), materials=(stone,)).creased(0.0),
        Mesh(ground - torch.tensor([0.0, 1, 0], dtype=DOUBLE), tri, materials=(DiffuseMaterial(),)),
    ]  # fmt: skip
    return check_scene(lit_scene([mesh.to(dtype) for mesh in meshes], [AmbientLight(color=(0.9, 0.8, 1.0))]))


def layered_scene(dtype: torch.dtype = DOUBLE) -> LitScene:
    """Surfaces that are partly there, normal maps, second coordinates, coats, transmission, plastic."""
    random = _random_of(7)

    ball, gem = icosphere(1).to(DOUBLE), icosphere(0).to(DOUBLE)
    bumps = _bumps(random)
    coated = PBRMaterial(
        base_color=(0.8, 0.3, 0.2), roughness=0.6, metallic=0.3, clearcoat=0.8, clearcoat_roughness=0.5,
        clearcoat_texture=0.5 + 0.5 * random(3, 3, 1), clearcoat_roughness_texture=0.5 + 0.5 * random(2, 4, 3),
        normal_texture=bumps, normal_scale=0.7, ior=1.7, second_uv_textures=("normal_texture", "clearcoat_texture"),
    )  # fmt: skip
    leaf = PBRMaterial(
        base_color=(0.3, 0.7, 0.2, 0.8), base_color_texture=random(4, 4, 4), alpha_mode="blend", roughness=0.7,
        emissive=(0.2, 0.3, 0.1),
    )  # fmt: skip
    cut = DiffuseMaterial(
        base_color=(0.5, 0.5, 0.9), base_color_texture=random(4, 4, 4), alpha_mode="mask", alpha_cutoff=0.4
    )
    sheet = PBRMaterial(
        base_color=(0.9, 0.8, 0.6), roughness=0.5, transmission=0.7, transmission_texture=0.3 + 0.7 * random(3, 3, 1),
        clearcoat=0.3, clearcoat_roughness=0.4,
    )  # fmt: skip
    solid = PBRMaterial(
        base_color=(0.6, 0.8, 0.9), roughness=0.6, transmission=0.8, metallic=0.1, ior=1.4, solid=True,
        clearcoat=0.5, clearcoat_roughness=0.6, absorption=(0.5, 0.1, 0.9),
    )  # fmt: skip
    plastic = PlasticMaterial(base_color=(0.6, 0.5, 0.1), roughness=0.5, ior=1.6)
    ground, tri = plate(3.0)
    uvs = random(4, 2)

    def wall(x: float, z: float, material: PBRMaterial | DiffuseMaterial) -> Mesh:
        flat = 0.2 * ground[:, [0, 2, 1]] + torch.tensor([x, 0.0, z], dtype=DOUBLE)
        return Mesh(flat, tri, uvs=uvs, materials=(material,))

    def beside(x: float, y: float, size: float, material: PBRMaterial) -> Mesh:
        return Mesh(
            size * gem.positions + torch.tensor([x, y, 0.5], dtype=DOUBLE), gem.faces, materials=(material,)
        )  # fmt: skip

    meshes = [
        replace(ball, uvs=random(len(ball.positions), 2), second_uvs=random(len(ball.positions), 2),
                second_uv_faces=ball.faces, materials=(coated,)),
        Mesh(ground - torch.tensor([0.0, 1, 0], dtype=DOUBLE), tri, materials=(plastic,)),
        wall(-0.4, 1.6, leaf), wall(0.5, 2.0, leaf), wall(0.2, 1.3, cut), wall(1.6, 1.0, sheet),
        beside(-1.6, -0.2, 0.5, solid),
    ]  # fmt: skip
    lights = [PointLight((2.0, 3.0, 4.0), intensity=9.0), EnvironmentLight(0.5 * random(6, 4, 4, 3))]
    return check_scene(lit_scene([mesh.to(dtype) for mesh in meshes], lights))


def foggy_scene(dtype: torch.dtype = DOUBLE) -> LitScene:
    """Media in one another, around the camera, behind rough glass, on grids, and around everything."""
    random = _random_of(3)

    ball, gem, (cube, inwards) = icosphere(1).to(DOUBLE), icosphere(0).to(DOUBLE), box_inside()
    cube_faces = inwards[:, [0, 2, 1]]
    ground, tri = plate(3.0)
    low, right, up = (torch.tensor(v, dtype=DOUBLE) for v in ([0.0, -1.2, 0], [1.4, 0.1, 0.6], [0.0, 3.0, 0]))
    lamp = DiffuseMaterial(base_color=(0.1, 0.1, 0.1), emissive=(3.0, 2.0, 1.0), double_sided=False)
    glass = DielectricMaterial(roughness=0.5)
    meshes = [
        Mesh(1.1 * cube, cube_faces).creased(0.0),
        Mesh(0.5 * ball.positions, ball.faces),
        Mesh(ground + low, tri, materials=(DiffuseMaterial(base_color=(0.7, 0.5, 0.0)),)),
        Mesh(ground / 3 + up, tri[:, [0, 2, 1]], materials=(lamp,)),
        Mesh(0.4 * gem.positions + right, gem.faces, materials=(glass,)),
        Mesh(9.0 * cube, cube_faces).creased(0.0),
    ]
    lights = [PointLight((2.0, 3.0, 2.0), intensity=5.0), EnvironmentLight(0.5 * random(6, 4, 4, 3))]
    lit = lit_scene([mesh.to(dtype) for mesh in meshes], lights)
    behind = [(0, 1), (1, 1), (-1, 0), (-1, 0), (2, 0), (3, 1)]
    faces = torch.cat([torch.tensor([row]).repeat(len(m.faces), 1) for row, m in zip(behind, meshes, strict=True)])
    smoke = torch.cat((2 * random(3, 4, 5, 1), random(3, 4, 5, 3)), -1)
    smoke[:2, :2, :2] = 0
    parameters = torch.tensor(
        [
            [1.2, 0.8, 0.5, 0.9, 1.0, 0.8, 0.4], [0.9, 2.0, 3.0, 0.9, 0.7, 0.5, -0.3],
            [1.0, 1.0, 2.0, 0.9, 0.0, 0.9, 0.0], [0.05, 0.02, 0.0, 0.8, 0.8, 0.8, 0.7],
            [0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.1],
        ],
        dtype=DOUBLE,
    )  # fmt: skip
    box = torch.tensor([[-1.1, -1.1, -1.1], [1.1, 1.0, 1.1]], dtype=DOUBLE)
    media = Media(
        parameters.to(dtype), faces, torch.tensor([0, -1, -1, -1, 1]), (smoke.to(dtype), random(2, 1, 3, 1).to(dtype)),
        torch.stack((box, 20 * box)).to(dtype), 4,
    )  # fmt: skip
    return check_scene(lit._replace(media=media))
