"""A cloud of fog with a dense core, as a voxel grid, seen from three directions.

python examples/volume.py --output volume.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io import save_image
from lumigrad.render import render_volume
from lumigrad.scene import PerspectiveCamera, VoxelGrid


def knot(points: Tensor) -> Tensor:
    """A trefoil of glowing fog: density and colour [..., 4] at points [..., 3]."""
    angle = torch.linspace(0, 2 * torch.pi, 400)
    curve = torch.stack(
        (
            (2 + torch.cos(3 * angle)) * torch.cos(2 * angle),
            (2 + torch.cos(3 * angle)) * torch.sin(2 * angle),
            torch.sin(3 * angle),
        ),
        -1,
    )
    distance, nearest = torch.cdist(points.reshape(-1, 3), 0.128 * curve).min(-1)
    density = 60 * torch.exp(-((distance / 0.05) ** 2)) - 0.5
    phase = angle[nearest][:, None] + torch.tensor([0.0, 2.1, 4.2])
    values = torch.cat((density[:, None], 0.55 + 0.45 * torch.cos(phase)), -1)
    return values.reshape(*points.shape[:-1], 4)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Renders a voxel grid from three sides.")
    parser.add_argument("--output", type=Path, default=Path("volume.png"))
    parser.add_argument("--size", type=int, default=320, help="pixels of a side")
    parser.add_argument("--voxels", type=int, default=96, help="of a side")
    options = parser.parse_args(arguments)
    grid = VoxelGrid.from_function(knot, (options.voxels,) * 3)
    camera = PerspectiveCamera.orbit(
        torch.tensor([20.0, 80.0, 140.0]), 15.0, 1.6, fov_y=40.0, size=(options.size, options.size)
    )
    shot = render_volume(grid, camera, background=1.0, occupancy=grid.occupancy())
    save_image(torch.cat(list(shot.image), 1), options.output)
    print(options.output)


if __name__ == "__main__":
    main()
