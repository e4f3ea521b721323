"""Photo sets of known meshes, rendered with four samples per pixel and side, and written as files."""

from __future__ import annotations

import json
from dataclasses import replace
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


def room() -> Mesh:
    """A ball in a larger one that is seen from inside, both in stripes."""
    inner, walls = striped(icosphere(3, radius=0.5)), striped(icosphere(4, radius=2.5))
    return Mesh(
        torch.cat([inner.positions, walls.positions]),
        torch.cat([inner.faces, walls.faces.flip(1) + len(inner.positions)]),
        colors=torch.cat([inner.colors, walls.colors]),  # type: ignore[list-item]
    )


def write_room(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A data set of photographs without masks, from within the room."""
    camera = PerspectiveCamera.orbit(torch.arange(count) * (360.0 / count), 20.0, 1.5, fov_y=60.0, size=size)
    camera = replace(camera, near=0.02)
    return _write(folder, camera, photographs(room(), camera)[..., :3])


def write_photos(
    folder: Path, mesh: Mesh, count: int = 9, size: tuple[int, int] = (48, 48), gains: Tensor | None = None
) -> Path:
    """A data set with a transforms.json; `gains` [N, 3] are those of the photographs."""
    camera = fibonacci_cameras(count, size)
    images = photographs(mesh, camera)
    if gains is not None:
        images = torch.cat([images[..., :3] * gains[:, None, None], images[..., 3:]], dim=-1).clamp(0, 1)
    return _write(folder, camera, images)


def _write(folder: Path, camera: PerspectiveCamera, images: Tensor) -> Path:
    names = [f"images/{i:03d}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        save_image(image, folder / name)
    (folder / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))
    return folder
