"""Pictures of shapes in notebooks."""

from __future__ import annotations

import torch

from lumigrad.render.scene import render
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes.mesh import Mesh

_SIZE = (320, 320)
_FOV_Y = 40.0


@torch.no_grad()
def picture_of(shape: Mesh | Cloud) -> bytes | None:
    """A PNG file of a shape, seen from the front, the side and above, y up; None where it has no extent."""
    try:
        low, high = (corner.detach().double().cpu() for corner in shape.bounds())
    except ValueError:  # an empty shape
        return None
    radius = 0.5 * float((high - low).norm())
    if not 0 < radius < float("inf"):
        return None
    camera = PerspectiveCamera.orbit(
        torch.tensor(30.0), 20.0, 2.9 * radius, _FOV_Y, _SIZE, (0.5 * (low + high)).float(), 0.5 * radius, 6 * radius
    )
    tensors = vars(shape).values()
    device = next(value.device for value in tensors if isinstance(value, torch.Tensor))
    shading = "phong" if isinstance(shape, Mesh) and not shape.materials else "pbr"
    return render(shape, camera.to(device), shading=shading, buffers=False)._repr_png_()  # type: ignore[arg-type]
