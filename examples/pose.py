"""Finds the pose of the built-in creature in a noisy, partly hidden picture: `python examples/pose.py --out pose.png`.

The output has three parts: the photograph, the mesh in its initial pose, 60 degrees off, and the pose found.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from lumigrad.fit import fit_pose
from lumigrad.fit.pose.report import overlay
from lumigrad.io import save_image
from lumigrad.render import render_mesh
from lumigrad.scene import PerspectiveCamera, axis_angle_to_matrix, creature, rotation_angle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=320, help="width and height of the photograph (320)")
    parser.add_argument("--out", type=Path, default=Path("pose.png"), help="picture to write (pose.png)")
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)
    mesh = creature()
    camera = PerspectiveCamera.orbit(40.0, 25.0, 4.6, 35.0, size, target=(0.2, -0.1, 0.0))
    shot = render_mesh(mesh, camera)
    noise = 0.1 * torch.randn(*size, 3, generator=torch.Generator().manual_seed(0))
    photograph = (shot.over((0.75, 0.8, 0.85))[0] + noise).clamp(0, 1)
    mask = (shot.mask[0, ..., 0] > 0.5).float()
    # A post in front of the creature.
    left, right = int(0.46 * arguments.size), int(0.54 * arguments.size)
    photograph[:, left:right] = torch.tensor([0.35, 0.3, 0.25])
    mask[:, left:right] = 0

    start = camera.world_to_camera.clone()
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -1.0]), dim=0)
    start[:3, :3] = axis_angle_to_matrix(math.radians(60) * axis) @ start[:3, :3]
    found = fit_pose(mesh, photograph, camera, mask, start=start)

    begun = PerspectiveCamera(start, camera.fx, camera.fy, camera.cx, camera.cy, size)
    panels = [photograph, overlay(mesh, photograph, begun), overlay(mesh, photograph, found.camera)]
    save_image(torch.cat(panels, dim=1), arguments.out)
    turn = rotation_angle(found.object_to_camera[:3, :3], camera.world_to_camera[:3, :3])
    print(f"{math.degrees(turn):.2f} degrees off, {found.hidden:.0%} hidden; picture in {arguments.out}")


if __name__ == "__main__":
    main()
