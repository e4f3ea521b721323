"""The pictures of docs/rendering.md, one command each.

    python -m examples.pictures pbr --meshes FOLDER --out docs/images/pbr.png
    python -m examples.pictures transparency --meshes FOLDER --out docs/images/transparency.png
    python -m examples.pictures batch --meshes FOLDER --out docs/images/batch.png

FOLDER holds spot.obj and spot_texture.png (by Keenan Crane, in the public domain).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import trimesh
from torch import Tensor

from lumigrad.io import load_image, load_mesh, save_image
from lumigrad.render import render
from lumigrad.scene import (
    DirectionalLight,
    EnvironmentLight,
    Mesh,
    Meshes,
    PBRMaterial,
    PerspectiveCamera,
    Scene,
    sky,
    studio,
)
from lumigrad.scene.shapes.procedural import creature, icosphere


def spot(folder: Path) -> tuple[Mesh, Tensor]:
    """Spot upright, 1.7 high and facing +z, with its texture."""
    mesh = load_mesh(folder / "spot.obj")
    turned = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    return replace(mesh.transformed(turned), materials=()), load_image(folder / "spot_texture.png")[..., :3]


def placed(mesh: Mesh, x: float, material: PBRMaterial, z: float = 0.0, turn: float = 0.0) -> Mesh:
    """A copy rotated about the vertical by an angle in degrees, moved, and given a material."""
    angle = torch.deg2rad(torch.tensor(turn))
    matrix = torch.eye(4)
    matrix[0, 0] = matrix[2, 2] = angle.cos()
    matrix[0, 2], matrix[2, 0] = angle.sin(), -angle.sin()
    matrix[0, 3], matrix[2, 3] = x, z
    return replace(mesh.transformed(matrix), materials=(material,), face_materials=None)


def pbr(folder: Path) -> Tensor:
    """Spot in glazed ceramic, gold and rough copper under the built-in sky."""
    mesh, texture = spot(folder)
    glazed = PBRMaterial(base_color_texture=texture, roughness=0.25)
    gold = PBRMaterial(base_color=torch.tensor([1.0, 0.71, 0.29]), metallic=1.0, roughness=0.12)
    copper = PBRMaterial(base_color=torch.tensor([0.95, 0.54, 0.42]), metallic=1.0, roughness=0.5)
    meshes = [placed(mesh, 1.75 * (k - 1), m, turn=28.0) for k, m in enumerate((gold, glazed, copper))]
    environment = EnvironmentLight(sky(256, sun=(-0.35, 0.6, 0.75)))
    camera = PerspectiveCamera.orbit(0.0, 3.0, 6.0, 20.0, (280, 720), target=(0.05, 0.08, 0.0))
    scene = Scene(meshes, environment=environment, background="environment")
    return render(scene, camera, supersampling=2, tone_mapping="filmic").image[0]


def transparency(folder: Path) -> Tensor:
    """Spot in coloured glass, with balls inside and behind, by depth peeling."""
    mesh, _ = spot(folder)
    glass = PBRMaterial(base_color=torch.tensor([0.15, 0.55, 0.75, 0.35]), roughness=0.1, alpha_mode="blend")
    red = PBRMaterial(base_color=torch.tensor([0.9, 0.12, 0.06]), roughness=0.35)
    yellow = PBRMaterial(base_color=torch.tensor([0.95, 0.65, 0.08]), roughness=0.35)
    inside = replace(icosphere(4, 0.27), materials=(red,))
    inside = replace(inside, positions=inside.positions + torch.tensor([0.1, -0.02, -0.25]))
    behind = placed(icosphere(4, 0.5), -0.75, yellow, z=-1.6)
    scene = Scene([placed(mesh, 0.0, glass, turn=35.0), inside, behind], environment=EnvironmentLight(studio(), 1.5))
    camera = PerspectiveCamera.orbit(0.0, 12.0, 4.0, 30.0, (360, 480), target=(0.0, 0.1, 0.0))
    return render(scene, camera, supersampling=2, layers=8, background=(0.93, 0.94, 0.96)).image[0]


def batch(folder: Path) -> Tensor:
    """Four meshes of different sizes and materials in one call, each from its own camera."""
    mesh, texture = spot(folder)
    ring = trimesh.creation.torus(0.62, 0.26, 64, 32)
    donut = Mesh(torch.tensor(ring.vertices).float(), torch.tensor(ring.faces))
    steel = PBRMaterial(base_color=torch.tensor([0.62, 0.66, 0.7]), metallic=1.0, roughness=0.25)
    clay = PBRMaterial(base_color=torch.tensor([0.75, 0.32, 0.2]), roughness=0.7)
    animal = creature()
    coat = PBRMaterial(base_color_texture=animal.texture, roughness=0.5)
    meshes = Meshes.join(
        [
            replace(mesh, materials=(PBRMaterial(base_color_texture=texture, roughness=0.35),)),
            replace(animal, materials=(coat,)),
            replace(donut, materials=(steel,)),
            replace(icosphere(1), materials=(clay,)),
        ]
    )
    camera = PerspectiveCamera.orbit(
        torch.tensor([-30.0, 20.0, 25.0, 10.0]),
        torch.tensor([15.0, 10.0, 35.0, 20.0]),
        torch.tensor([3.1, 3.9, 3.3, 3.9]),
        36.0,
        (220, 220),
        target=(0.0, 0.1, 0.0),
    )
    lights = [EnvironmentLight(studio(), 1.2), DirectionalLight((0.4, 0.8, 0.6), intensity=1.0)]
    backgrounds = torch.tensor([[0.86, 0.89, 0.93], [0.93, 0.9, 0.84], [0.85, 0.92, 0.88], [0.92, 0.87, 0.9]])
    images = render(meshes, camera, lights=lights, supersampling=2, background=backgrounds).image
    return torch.cat(list(images), dim=1)


def main() -> None:
    pictures = {"pbr": pbr, "transparency": transparency, "batch": batch}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=pictures)
    parser.add_argument("--meshes", type=Path, required=True, help="folder with spot.obj and spot_texture.png")
    parser.add_argument("--out", type=Path, required=True, help="image to write")
    arguments = parser.parse_args()
    with torch.no_grad():
        save_image(pictures[arguments.picture](arguments.meshes), arguments.out)


if __name__ == "__main__":
    main()
