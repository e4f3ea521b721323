"""The derivative of a path-traced picture with respect to a block's motion: by gradient, and by finite differences.

python examples/shadow_gradient.py --output shadow_gradient.png

Left: a block above the ground, under a panel light. Middle: the derivative of each pixel with respect to a motion of
the block to the right, from gradients of single pixels (red: brighter, blue: darker). Right: a finite difference of two
pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render_path
from lumigrad.scene import DiffuseMaterial, Mesh, PerspectiveCamera, Scene
from lumigrad.scene.color import srgb_encode

SQUARE = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
STEP = 0.04


def scene(shift: Tensor | float) -> Scene:
    """The scene with the block moved to the right."""
    cube = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    block = cube * torch.tensor([0.35, 0.12, 0.35]) + torch.tensor([0.0, 0.6, 0.0])
    faces = torch.tensor([face for a, b, c, d in SIDES for face in ((a, b, c), (a, c, d))])
    moved = block + torch.as_tensor(shift) * torch.tensor([1.0, 0.0, 0.0])
    lamp = DiffuseMaterial(base_color=(0.0, 0.0, 0.0), emissive=(9.0, 8.0, 7.0))
    return Scene([
        Mesh(9 * SQUARE, FACES, materials=(DiffuseMaterial(base_color=(0.6, 0.6, 0.6)),)),
        Mesh(moved, faces, materials=(DiffuseMaterial(base_color=(0.3, 0.45, 0.8)),)).creased(0.0),
        Mesh(0.5 * SQUARE + torch.tensor([-0.6, 2.5, 0.3]), FACES, materials=(lamp,)),
    ])  # fmt: skip


def picture(shift: Tensor | float, size: int, samples: int, seed: int = 0) -> Tensor:
    camera = PerspectiveCamera.orbit(
        azimuth=25.0, elevation=40.0, distance=3.2, target=(0.2, 0.2, 0.0), fov_y=40.0, size=(size, size)
    )
    return render_path(scene(shift), camera, samples, 3, seed, tone_mapping=None).color[0]


def by_gradients(size: int, samples: int) -> Tensor:
    shift = torch.zeros((), requires_grad=True)
    brightness = picture(shift, size, samples).mean(-1).reshape(-1)
    return torch.stack([torch.autograd.grad(pixel, shift, retain_graph=True)[0] for pixel in brightness])


def by_differences(size: int, samples: int) -> Tensor:
    ahead, behind = (picture(sign * STEP / 2, size, samples, seed=1).mean(-1).reshape(-1) for sign in (1, -1))
    return (ahead - behind) / STEP


def in_colors(values: Tensor, size: int, largest: float) -> Tensor:
    """Signed values as colours: white is 0; red and blue are plus and minus `largest`."""
    share = (values.reshape(size, size, 1) / largest).clamp(-1, 1)
    red, blue = torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.8])
    return 1 - share.abs() * (1 - torch.where(share > 0, red, blue))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("shadow_gradient.png"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    size, samples = options.size, options.samples
    with torch.no_grad():
        differences = by_differences(size, 4 * samples)
        shown = srgb_encode(picture(0.0, size, samples).clamp(0, 1))
    gradients = by_gradients(size, samples)
    largest = differences.abs().quantile(0.99).item()
    panels = [shown, *(in_colors(values, size, largest) for values in (gradients, differences))]
    image = torch.cat(panels, 1).repeat_interleave(4, 0).repeat_interleave(4, 1)
    save_image(image, options.output)
    cosine = torch.nn.functional.cosine_similarity(gradients, differences, dim=0)
    print(f"{options.output}: cosine of both {cosine:.3f}")


if __name__ == "__main__":
    main()
