"""Cameras of held-out photographs, when those of the others have been corrected."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from lumigrad.fit.cameras import CameraRefinement
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct.drawing import draw
from lumigrad.fit.reconstruct.exposure import best_gains
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.ops.surface import edge_topology
from lumigrad.scene.shapes.mesh import Mesh

# Steps per photograph, and their initial length in pixels.
_STEPS, _PIXELS = 40, 0.3


def with_cameras_found(mesh: Mesh, photos: list[Photo]) -> list[Photo]:
    """Photographs with the cameras from which a fixed mesh looks most like them.

    Renders have the photographs' exposures while they are compared. Where there is no mesh, nothing is compared.
    """
    topology, found = edge_topology(mesh.faces), []
    for photo in photos:
        refinement = CameraRefinement(photo.camera, gauge=False)
        for step in range(_STEPS):
            shot = draw(mesh, refinement.camera(), topology)
            compared = (photo.covered > 0) & (shot.mask > 0.99)
            gains = best_gains(shot.color.detach(), photo.image, compared)[:, None, None]
            ((shot.color * gains - photo.image) * compared).abs().mean().backward()
            refinement.step(slice(None), _PIXELS * 0.1 ** (step / _STEPS) / float(photo.camera.fx[0]))
        camera = refinement.camera()
        found.append(replace(photo, camera=replace(camera, world_to_camera=camera.world_to_camera.detach())))
    return found


def corrections(cameras: dict[str, Tensor], place: Placement) -> dict[str, Any]:
    """The mean corrections of the photographs' cameras: angles, lengths in the world, a factor.

    Args:
        cameras: `ReconstructState.cameras`, not empty.
    """
    values = cameras["values"]
    focal = {"focal_factor": math.exp(float(cameras["focal"]))} if "focal" in cameras else {}
    return {
        "camera_turn_degrees": math.degrees(float(values[:, :3].norm(dim=-1).mean())),
        "camera_shift": place.scale * float(values[:, 3:].norm(dim=-1).mean()),
        **focal,
    }
