"""Makes photographs of the built-in creature, with masks and cameras, as test data for `lumigrad reconstruct`.

python examples/object_photos.py --out creature-photos
lumigrad reconstruct creature-photos --truth creature-photos/truth.glb --out creature-mesh
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from lumigrad.fit import fibonacci_cameras
from lumigrad.io import save_image, save_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import Lighting, creature
from lumigrad.scene.cameras.conventions import to_transforms

SAMPLES = 3  # along each side of a pixel


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("creature-photos"), help="folder of the data set")
    parser.add_argument("--count", type=int, default=40, help="photographs (40)")
    parser.add_argument("--size", type=int, default=256, help="rows and columns of each (256)")
    arguments = parser.parse_args()
    mesh = creature()
    camera = fibonacci_cameras(arguments.count, (arguments.size, arguments.size))
    light = Lighting(ambient=0.6, headlight=0.0, intensities=(0.4,))  # the light is fixed while the camera moves
    names = [f"images/{number:03d}.png" for number in range(arguments.count)]
    for number, name in enumerate(names):
        large = camera[number : number + 1].resized((SAMPLES * arguments.size, SAMPLES * arguments.size))
        shot = render_mesh(mesh, large, light)
        fine = torch.cat([shot.color, shot.mask], dim=-1).permute(0, 3, 1, 2)
        image = torch.nn.functional.avg_pool2d(fine, SAMPLES)[0].permute(1, 2, 0)
        color, mask = image[..., :3], image[..., 3:]
        save_image(torch.cat([color / mask.clamp_min(1e-6), mask], dim=-1).clamp(0, 1), arguments.out / name)
    (arguments.out / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))
    save_mesh(mesh, arguments.out / "truth.glb")
    print(f"{arguments.count} photographs in {arguments.out}")


if __name__ == "__main__":
    main()
