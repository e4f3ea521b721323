"""Real meshes as scenes: how accurate gradients are at practical sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import meshes
from benchmarks.gradients.judging import Case, cases_of
from benchmarks.gradients.scenes import Draw, Scene

NAMES = ("spot", "stanford-bunny")
DEFORMATIONS = 6


def mesh_cases(name: str, size: int, folder: Path | None, functionals: Sequence[str]) -> tuple[list[Case], str | None]:
    """A mesh in six colours, seen by the benchmarks' camera, with motions for directional derivatives; a note if a
    sphere stands in for it.

    The parameters are its vertices. The motions are smooth deformations and moves of the camera.
    """
    scene, note = mesh_scene(name, size, folder)
    points = scene.parameters
    directions = {"deformation": _deformations(points), "camera": _camera_moves(points)}
    return cases_of(scene, functionals, directions), note


def mesh_scene(name: str, size: int, folder: Path | None) -> tuple[Scene, str | None]:
    mesh, note = meshes.load(name, folder)
    points, tri = mesh.vertices.double(), mesh.faces.long()
    patch = _patches(points[tri].mean(1))
    # A patch has its own vertices, so that its borders are borders of the mesh; they move with those of its neighbours.
    corners, separate = torch.unique(patch[:, None] * len(points) + tri, return_inverse=True)
    source = corners % len(points)
    camera = meshes.camera()

    def positions(vertices: Tensor) -> Tensor:
        homogeneous = torch.cat((vertices, torch.ones_like(vertices[:, :1])), 1)
        return (homogeneous @ camera.to(vertices.dtype).T)[source]

    colors = Draw(7).uniform(0, 1, 6, 3)
    background = torch.tensor([0.1, 0.1, 0.1], dtype=torch.float64)
    made = Scene(name, f"{name} {size}", points, positions, separate, colors[patch], background, (size, size))
    return made, note


def _patches(directions: Tensor) -> Tensor:
    """0 to 5: the side of a cube that each direction points to."""
    axis = directions.abs().argmax(1)
    return 2 * axis + (directions.gather(1, axis[:, None])[:, 0] > 0)


def _deformations(points: Tensor) -> Tensor:
    """Smooth fields of motion [K, V, 3]: waves of about one period over the mesh."""
    draw = Draw(3)
    waves = [torch.sin(points @ draw.normal(3, 3) * 2 + draw.uniform(0, 6, 3)) for _ in range(DEFORMATIONS)]
    return torch.stack([wave @ draw.normal(3, 3) for wave in waves])


def _camera_moves(points: Tensor) -> Tensor:
    """Shifts along the camera's axes and rotations about them, as motions of all vertices [6, V, 3]."""
    axes = torch.eye(3, dtype=points.dtype)
    shifts = axes[:, None].expand(3, len(points), 3)
    turns = torch.stack([torch.linalg.cross(axis.expand_as(points), points) for axis in axes])
    return torch.cat((shifts, turns))
