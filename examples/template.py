"""Fits a template to silhouettes and landmarks with a cage: `python examples/template.py --out template.png`.

The output shows the template, the target and the fitted template, from two held-out directions.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from lumigrad.fit import (
    ArapEnergy,
    Landmarks,
    barycentric_points,
    fibonacci_cameras,
    fit_template,
    mean_value_coordinates,
)
from lumigrad.io import save_image
from lumigrad.render import render_mesh
from lumigrad.scene import PerspectiveCamera, creature, icosphere

LANDMARKS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=192, help="of the images (192)")
    parser.add_argument("--iterations", type=int, default=200, help="steps (200)")
    parser.add_argument("--out", type=Path, default=Path("template.png"), help="picture to write (template.png)")
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)

    template, cage = creature(4), icosphere(1, 1.8)
    coordinates = mean_value_coordinates(template.positions, cage.positions, cage.faces)

    # The target is another shape of the same cage: taller and bent.
    x, y, z = cage.positions.unbind(-1)
    bent = torch.stack([x * (1.1 - 0.15 * y) + 0.25 * y.square(), 1.25 * y, z * (1 + 0.2 * x)], -1)
    target = replace(template, positions=coordinates @ bent)

    camera = fibonacci_cameras(5, size, radius=1.9)
    generator = torch.Generator().manual_seed(0)
    face = torch.randint(len(template.faces), (LANDMARKS,), generator=generator)
    weights = torch.rand(LANDMARKS, 3, generator=generator)
    weights = weights / weights.sum(-1, keepdim=True)
    pixels = camera.pixels(barycentric_points(target.positions, template.faces, face, weights))

    corners = cage.positions.clone().requires_grad_()
    rigid = ArapEnergy(cage.positions, cage.faces)
    found = fit_template(
        template,
        lambda: coordinates @ corners,
        [corners],
        camera,
        masks=render_mesh(target, camera).mask,
        landmarks=Landmarks(face, weights, pixels),
        regularise=lambda _: 1e-4 * rigid(corners),
        iterations=arguments.iterations,
        rate=0.03,
    )

    views = PerspectiveCamera.orbit(torch.tensor([25.0, 115.0]), 15.0, 5.6, 35.0, size)
    with torch.no_grad():
        shots = [render_mesh(mesh, views).over(1.0) for mesh in (template, target, found.mesh)]
    save_image(torch.cat([torch.cat(list(pair), dim=1) for pair in zip(*shots)]), arguments.out)
    before = (template.positions - target.positions).norm(dim=-1).mean()
    after = (found.mesh.positions - target.positions).norm(dim=-1).mean()
    print(f"mean distance of vertices {before:.3f}, then {after:.3f}; picture in {arguments.out}")


if __name__ == "__main__":
    main()
