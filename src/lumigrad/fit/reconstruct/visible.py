"""The part of a surface that photographs show."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.ops.surface import rasterize
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh


@torch.no_grad()
def seen_faces(mesh: Mesh, camera: PerspectiveCamera, rings: int = 2) -> Tensor:
    """Which faces [F] cameras [N] see from their front, or are within some rings of neighbours of such.

    >>> import torch
    >>> from lumigrad.fit.reconstruct import seen_faces
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=60.0, size=(64, 64))  # on the z axis
    >>> ball = icosphere(3)
    >>> seen = seen_faces(ball, camera, rings=0)
    >>> ball.positions[ball.faces[seen].long()].amin().item() > -1, 0.2 < seen.float().mean() < 0.4
    (True, tensor(True))
    """
    faces = mesh.faces.long()
    a, b, c = mesh.positions[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    seen = torch.zeros(len(faces), dtype=torch.bool, device=faces.device)
    for n in range(camera.shape[0]):
        one = camera[n : n + 1]
        shown = rasterize(one.project(mesh.positions), mesh.faces, one.size, derivatives=False).tri.unique().long()
        shown = shown[shown >= 0]
        towards = one.position - a[shown]
        seen[shown[(towards * normals[shown]).sum(-1) > 0]] = True
    for _ in range(rings):
        touched = torch.zeros(len(mesh.positions), dtype=torch.bool, device=faces.device)
        touched[faces[seen].reshape(-1)] = True
        seen = touched[faces].any(1)
    return seen
