"""A mesh with holes, or of pieces that overlap, as a solid: signed distances, and the closed surface around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.metrics import write_metrics
from lumigrad.fit.reconstruct.truth import surface_errors
from lumigrad.fit.sdf.pieces import largest_piece
from lumigrad.fit.silhouettes.results import save_grid
from lumigrad.io.image import save_image
from lumigrad.io.mesh import save_mesh
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid

_VIEWS, _SIDE, _FOV = (30.0, 150.0, 270.0), 256, 30.0


def solid_of(mesh: Mesh, voxels: int, whole: bool = True) -> SignedDistanceGrid:
    """The signed distances to a mesh in a cube around it, with the surface where it winds more than half.

    Args:
        mesh: any triangles; see `SignedDistanceGrid.from_mesh`.
        voxels: along a side.
        whole: keep all pieces and cavities, not only the largest piece without its cavities.

    Raises:
        ValueError: the mesh encloses no voxel.

    >>> from lumigrad.fit.silhouettes import solid_of
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(3)
    >>> bowl = ball.submesh(ball.face_normals()[:, 1] < 0.3)  # open at the top
    >>> grid = solid_of(bowl, 24)
    >>> grid.values.shape, grid.values.amin().item() < -0.5
    (torch.Size([24, 24, 24]), True)
    """
    grid = SignedDistanceGrid.from_mesh(mesh, voxels)
    if not bool((grid.values < 0).any()):
        raise ValueError(f"mesh: it encloses none of {voxels} voxels per side; take more, or a mesh that is less open")
    return grid if whole else largest_piece(grid)


def write_solid(mesh: Mesh, grid: SignedDistanceGrid, folder: Path, truth: Mesh | None = None) -> dict[str, Any]:
    """Write mesh.glb, grid.npz, comparison.png and metrics.json; returns the metrics.

    Args:
        mesh: of which the grid was made.
        truth: to be measured against; that mesh by default.
    """
    found = grid.mesh()
    solid = Mesh(found.positions.detach(), found.faces)
    numbers = {
        **surface_errors(solid, mesh if truth is None else truth),
        "vertices": len(solid.positions),
        "faces": len(solid.faces),
        "voxels": list(grid.values.shape),
        "volume": volume(solid),
    }
    write_metrics(numbers, folder / "metrics.json")
    save_mesh(solid, folder / "mesh.glb")
    save_grid(grid, folder / "grid.npz")
    pair = torch.cat([_seen(Mesh(one.positions, one.faces), grid.corners) for one in (mesh, solid)])
    save_image(pair, folder / "comparison.png")
    return numbers


def volume(mesh: Mesh) -> float:
    """The volume that a closed mesh encloses.

    >>> from lumigrad.fit.silhouettes.solid import volume
    >>> from lumigrad.scene import icosphere
    >>> round(volume(icosphere(5)), 1)  # of 4.19 of the ball
    4.2
    """
    a, b, c = mesh.positions[mesh.faces.long()].double().unbind(1)
    return abs(float((a * torch.linalg.cross(b, c)).sum()) / 6)


@torch.no_grad()
def _seen(mesh: Mesh, box: Tensor) -> Tensor:
    """A row of views [H, W, 3] of the contents of a box."""
    middle, radius = box.mean(0), 0.5 * float((box[1] - box[0]).norm())
    # The corners of the cube are usually empty.
    distance = 0.7 * radius / torch.deg2rad(torch.tensor(_FOV / 2)).sin().item()
    target = tuple(middle.tolist())
    camera = PerspectiveCamera.orbit(
        torch.tensor(_VIEWS), 20.0, distance, _FOV, (_SIDE, _SIDE), target, 0.1 * distance, 3 * distance
    )
    return torch.cat(list(render_mesh(mesh, camera).over(1.0).clamp(0, 1)), dim=1)
