"""A pose in files: numbers, and the mesh drawn over the photograph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.pose.estimate import PoseEstimate
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

_OUTLINE = (1.0, 0.2, 0.1)
CONVENTION = (
    "4 x 4 matrices that act on column vectors. Camera space is OpenGL's: x right, y up, looking along -z; "
    "in object_to_camera_opencv it is OpenCV's: x right, y down, z forward. Object coordinates are those of the mesh."
)


def pose_values(found: PoseEstimate) -> dict[str, Any]:
    """Matrices and intrinsics, for a JSON file."""
    flip = torch.diag(found.object_to_camera.new_tensor([1.0, -1.0, -1.0, 1.0]))
    camera = found.camera
    return {
        "object_to_camera": found.object_to_camera.tolist(),
        "camera_to_object": found.camera_to_object.tolist(),
        "object_to_camera_opencv": (flip @ found.object_to_camera).tolist(),
        "fx": float(camera.fx),
        "fy": float(camera.fy),
        "cx": float(camera.cx),
        "cy": float(camera.cy),
        "width": camera.size[1],
        "height": camera.size[0],
    }


def pose_metrics(found: PoseEstimate) -> dict[str, Any]:
    """How sure the pose is, for a JSON file."""
    runner_up = found.runner_up
    return {
        "loss": found.loss,
        "runner_up_loss": None if runner_up is None else found.runner_up_loss,
        "runner_up_object_to_camera": None if runner_up is None else runner_up.tolist(),
        "overlap": found.overlap,
        "hidden": found.hidden,
        "uncovered": found.uncovered,
        "ambiguous": found.ambiguous,
        "occluded": found.occluded,
        "doubts": list(found.doubts),
    }


@torch.no_grad()
def overlay(mesh: Mesh, image: Tensor, camera: PerspectiveCamera) -> Tensor:
    """The photograph [H, W, 3 or 4] with the mesh half over it, and a line around it."""
    local = camera.local(mesh.positions)
    farthest = float(local.norm(dim=-1).max())
    near = max(float(-local[:, 2].max()) * 0.9, 1e-3 * farthest)
    seen = PerspectiveCamera(
        camera.world_to_camera, camera.fx, camera.fy, camera.cx, camera.cy, camera.size, near, 1.1 * farthest,
        camera.distortion,
    )  # fmt: skip
    shot = render_mesh(mesh, seen)
    shown = image[..., :3]
    blended = shown * (1 - 0.5 * shot.mask[0]) + 0.5 * shot.color[0]
    mask = shot.mask.permute(0, 3, 1, 2)
    reach = 1 + max(camera.size) // 500
    grown = torch.nn.functional.max_pool2d(mask, 2 * reach + 1, stride=1, padding=reach)
    line = (grown - mask)[0, 0, :, :, None]
    return blended * (1 - line) + line * blended.new_tensor(_OUTLINE)
