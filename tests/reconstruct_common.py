"""Photo sets of known meshes, rendered with four samples a pixel a side, and written as files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.fit import fibonacci_cameras
from lumigrad.io import save_image
from lumigrad.render import render_mesh
from lumigrad.scene import Lighting, Mesh, PerspectiveCamera, creature, icosphere
from lumigrad.scene.cameras.conventions import to_transforms

SAMPLES = 4


def striped(mesh: Mesh) -> Mesh:
    """A mesh in smooth colours that depend on the place."""
    colors = 0.5 + 0.4 * torch.sin(6 * mesh.positions + torch.tensor([0.0, 2.0, 4.0]))
    return Mesh(mesh.positions, mesh.faces, colors=colors)


def subject() -> Mesh:
    """A creature in such colours, in the ball of radius one."""
    return striped(creature(4))


def ball() -> Mesh:
    return striped(icosphere(4, radius=0.8))


@torch.no_grad()
def photographs(mesh: Mesh, camera: PerspectiveCamera) -> Tensor:
    """What each camera sees, colours not premultiplied and coverage [N, H, W, 4], averaged over whole pixels."""
    height, width = camera.size
    shot = render_mesh(mesh, camera.resized((SAMPLES * height, SAMPLES * width)), Lighting.unlit())
    fine = torch.cat([shot.color, shot.mask], dim=-1).permute(0, 3, 1, 2)
    images = torch.nn.functional.avg_pool2d(fine, SAMPLES).permute(0, 2, 3, 1)
    color, mask = images[..., :3], images[..., 3:]
    return torch.cat([torch.where(mask > 0, color / mask.clamp_min(1e-6), 0), mask], dim=-1).clamp(0, 1)


def write_photos(
    folder: Path, mesh: Mesh, count: int = 9, size: tuple[int, int] = (48, 48), gains: Tensor | None = None
) -> Path:
    """A data set with a transforms.json; `gains` [N, 3] are those of the photographs."""
    camera = fibonacci_cameras(count, size)
    images = photographs(mesh, camera)
    if gains is not None:
        images = torch.cat([images[..., :3] * gains[:, None, None], images[..., 3:]], dim=-1).clamp(0, 1)
    names = [f"images/{i:03d}.png" for i in range(count)]
    for name, image in zip(names, images, strict=True):
        save_image(image, folder / name)
    (folder / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))
    return folder
