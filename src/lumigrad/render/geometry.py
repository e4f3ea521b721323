"""The triangles of one or many images, laid out for one call of `rasterize`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.render.surface import default_material
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.materials import Material
from lumigrad.scene.shapes.mesh import Mesh


class Group(NamedTuple):
    """The faces of one mesh that share a material."""

    mesh: int
    material: Material


@dataclass(frozen=True, eq=False)
class Geometry:
    """What is rasterized.

    Attributes:
        pos: clip-space positions, [N, V, 4] where all images show all meshes, otherwise [V, 4] for `ranges`.
        tri: int32 [T, 3].
        ranges: [N, 2] or None.
        face: which face of all meshes' faces, counted through, each triangle is [T]; None where they are the same.
        first: number of each mesh's first face [meshes].
        group: of each face, index into `groups` [F].
        groups: meshes and materials.
    """

    pos: Tensor
    tri: Tensor
    ranges: Tensor | None
    face: Tensor | None
    first: Tensor
    group: Tensor
    groups: list[Group]


def cameras_of(camera: Camera, count: int) -> list[Camera]:
    """`count` single cameras."""
    return [camera[n] for n in range(count)] if camera.shape else [camera] * count


def starts(counts: Sequence[int]) -> list[int]:
    """The start of each of several concatenated parts."""
    return list(itertools.accumulate(counts, initial=0))[:-1]


def joined_faces(meshes: Sequence[Mesh]) -> list[Tensor]:
    """The faces [F, 3] of each mesh, int32, numbered through the vertices of all."""
    first = starts([len(mesh.positions) for mesh in meshes])
    return [mesh.faces.to(torch.int32) + k for mesh, k in zip(meshes, first)]


def assemble(meshes: Sequence[Mesh], cameras: Sequence[Camera], together: bool) -> Geometry:
    """Project meshes and lay out their triangles.

    Args:
        meshes: at least one.
        cameras: one for each image, single.
        together: whether every image shows all meshes; otherwise image n shows mesh n.
    """
    faces = joined_faces(meshes) if together else [mesh.faces.to(torch.int32) for mesh in meshes]
    first = starts([len(mesh.faces) for mesh in meshes])
    group, groups = _group(meshes)
    start = torch.tensor(first, device=group.device)
    pairs = [(mesh, camera) for camera in cameras for mesh in meshes] if together else zip(meshes, cameras)
    clip = [camera.project(mesh.positions) for mesh, camera in pairs]
    single_sided = [not g.material.double_sided for g in groups]
    culled = torch.tensor(single_sided, device=group.device)[group] if any(single_sided) else None
    if together and culled is None:
        points = sum(len(mesh.positions) for mesh in meshes)
        pos = torch.cat(clip).reshape(len(cameras), points, 4)
        return Geometry(pos, torch.cat(faces), None, None, start, group, groups)
    if together:
        clip = [torch.cat(clip[n * len(meshes) : (n + 1) * len(meshes)]) for n in range(len(cameras))]
        faces, first = [torch.cat(faces)] * len(cameras), [0] * len(cameras)
    return _packed(clip, faces, first, culled, start, group, groups)


def _packed(
    clip: list[Tensor],
    faces: list[Tensor],
    first: list[int],
    culled: Tensor | None,
    start: Tensor,
    group: Tensor,
    groups: list[Group],
) -> Geometry:
    """Images with triangles of their own: clip-space positions, faces and the number of the first face of each."""
    tri, face, ranges, points, count = [], [], [], 0, 0
    for positions, triangles, number in zip(clip, faces, first):
        index = torch.arange(number, number + len(triangles), device=triangles.device)
        if culled is not None:
            seen = ~culled[index] | (_facing(positions.detach(), triangles) > 0)
            index, triangles = index[seen], triangles[seen]
        tri.append(triangles + points)
        face.append(index)
        ranges.append([count, len(triangles)])
        points, count = points + len(positions), count + len(triangles)
    return Geometry(torch.cat(clip), torch.cat(tri), torch.tensor(ranges), torch.cat(face), start, group, groups)


def _facing(clip: Tensor, faces: Tensor) -> Tensor:
    """Positive for triangles seen from their front, wherever their vertices are; [F].

    The determinant of (x, y, w) is twice the area on the screen times the three w.
    """
    corners = clip[faces.long()][..., [0, 1, 3]]
    determinant: Tensor = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum(-1)
    return determinant


def _group(meshes: Sequence[Mesh]) -> tuple[Tensor, list[Group]]:
    numbers: list[Tensor] = []
    groups: list[Group] = []
    for k, mesh in enumerate(meshes):
        materials = mesh.materials or (default_material(mesh),)
        for material in materials:
            interior = getattr(material, "interior", None)
            if interior is not None:
                raise NotImplementedError(
                    f"materials: expected no interior, got {type(material).__name__} with a "
                    f"{type(interior).__name__}; of the renderers, render_path sees media"
                )
        chosen = mesh.face_materials if mesh.materials else None
        local = mesh.faces.new_zeros(len(mesh.faces)) if chosen is None else chosen
        numbers.append(local.long() + len(groups))
        groups += [Group(k, material) for material in materials]
    return torch.cat(numbers), groups
