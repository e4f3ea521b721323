"""Makes photographs of a creature with known materials, as test data for `lumigrad materials`.

The creature has a glossy striped coat, matt patches, and horns and a belt of gold. The pictures are path traced, with
shadows and interreflections. The folder receives photographs under one light; its subfolder `relit` receives
photographs from other places under another light, and that light as `environment.exr`.

python examples/material_photos.py --out creature-materials
lumigrad materials creature-materials/truth.glb creature-materials --truth creature-materials/truth.glb \
    --relit creature-materials/relit --out creature-found
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.fit import fibonacci_cameras
from lumigrad.io import save_image, save_mesh
from lumigrad.render import render_path
from lumigrad.scene import (
    EnvironmentLight,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    Scene,
    creature,
    cube_to_equirect,
    sky,
    studio,
)
from lumigrad.scene.cameras.conventions import to_transforms

LIGHT = 32  # texels along a side of the environments' faces
RADIUS = 1.15  # radius of a ball that contains the creature
GOLD = (0.95, 0.80, 0.45)  # display-encoded
WAVES, DEPTH = 18.0, 0.025  # of the bumps: waves in a radian times 2 pi, and height, in the radius


def subject(level: int = 5, rows: int = 256, bumps: bool = False) -> Mesh:
    """The creature with textures for base colour, roughness and metallic, and a normal map if it has bumps."""
    mesh = creature(level, rows)
    assert mesh.texture is not None
    theta, phi = torch.meshgrid(
        (torch.arange(rows) + 0.5) * (torch.pi / rows),
        (torch.arange(2 * rows) + 0.5) * (torch.pi / rows) - torch.pi,
        indexing="ij",
    )
    x, y, z = theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()
    horn = torch.maximum(x * 0.55 + y * 0.85 + z * 0.1, -x * 0.55 + y * 0.85 + z * 0.1) > 0.96
    gold = (horn | ((y + 0.12).abs() < 0.1)).float()[..., None]
    matt = torch.sigmoid(40 * (torch.sin(2 * phi + 1)[..., None] * theta.sin()[..., None] - 0.2))
    color = mesh.texture * (1 - gold) + gold * torch.tensor(GOLD)
    roughness = gold * 0.25 + (1 - gold) * (0.3 + 0.4 * matt)
    material = PBRMaterial(
        name="creature",
        base_color_texture=color,
        metallic=1.0,
        roughness=1.0,
        metallic_roughness_texture=torch.cat((torch.ones_like(gold), roughness, gold), -1),
        normal_texture=bumpy(theta, phi) if bumps else None,
    )
    return replace(mesh, texture=None, materials=(material,))


def bumpy(theta: Tensor, phi: Tensor) -> Tensor:
    """The normal map [H, W, 3] of hammered metal and warty skin on a ball: waves in three directions."""
    x, y, z = theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()
    height = DEPTH * torch.sin(WAVES * x) * torch.sin(WAVES * y + 1) * torch.sin(WAVES * z)
    step = torch.pi / len(height)
    # The tangent points east, the bitangent north; columns go around, rows do not.
    east = (height.roll(-1, 1) - height.roll(1, 1)) / (2 * step * theta.sin())
    (south,) = torch.gradient(height, spacing=step, dim=0)
    return 0.5 + 0.5 * torch.nn.functional.normalize(torch.stack((-east, south, torch.ones_like(height)), -1), dim=-1)


def around(cube: Tensor) -> EnvironmentLight:
    """Paths look up the cube map itself, which need not be filtered for them."""
    return EnvironmentLight(cube, irradiance=cube, levels=())


@torch.no_grad()
def photograph(scene: Scene, camera: PerspectiveCamera, samples: int, seed: int) -> Tensor:
    """One camera's image [H, W, 4]: colours, not premultiplied, and coverage."""
    return render_path(scene, camera, samples, max_depth=5, seed=seed).straight()[0].clamp(0, 1)


def write(folder: Path, mesh: Mesh, light: Tensor, camera: PerspectiveCamera, samples: int) -> None:
    """Writes a data set of photographs under a light, and the light."""
    scene = Scene(mesh, environment=around(light))
    names = [f"images/{number:03d}.png" for number in range(len(camera.position))]
    for number, name in enumerate(names):
        save_image(photograph(scene, camera[number], samples, number), folder / name)
    (folder / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))
    save_image(cube_to_equirect(light), folder / "environment.exr")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("creature-materials"), help="folder of the data set")
    parser.add_argument("--count", type=int, default=32, help="photographs (32)")
    parser.add_argument("--relit", type=int, default=8, help="photographs in another light (8)")
    parser.add_argument("--size", type=int, default=128, help="rows and columns of each (128)")
    parser.add_argument("--samples", type=int, default=64, help="paths of each pixel (64)")
    parser.add_argument("--bumps", action="store_true", help="a normal map, too")
    options = parser.parse_args(arguments)
    mesh, size = subject(bumps=options.bumps), (options.size, options.size)
    save_mesh(mesh, options.out / "truth.glb")
    write(options.out, mesh, studio(LIGHT), fibonacci_cameras(options.count, size, radius=RADIUS), options.samples)
    others = fibonacci_cameras(options.relit, size, radius=RADIUS, turn=31.0)
    write(options.out / "relit", mesh, sky(LIGHT, sun_radiance=20.0), others, options.samples)
    print(f"{options.count} photographs in {options.out}, {options.relit} in another light in {options.out / 'relit'}")


if __name__ == "__main__":
    main()
