"""Scenes of a few triangles, lights and rays, for tests of light transport."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad import LitScene
from lumigrad.ops.light._trace_paths import check_scene
from lumigrad.render import lit_scene
from lumigrad.scene import (
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    DirectionalLight,
    EnvironmentLight,
    Mesh,
    PBRMaterial,
    PointLight,
    SpotLight,
    icosphere,
)

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


def mixed_scene(dtype: torch.dtype = DOUBLE) -> LitScene:
    """Every kind of material, texture and light."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=DOUBLE, generator=generator)

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
