"""The mesh whose pose is sought, prepared for many renderings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.pose.clusters import clustered
from lumigrad.ops.surface import edge_topology
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import homogeneous
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh

# The most pixels that one call renders, to limit memory.
_PIXELS, _VERTICES = 2_000_000, 20_000_000
# With fewer faces, they cost less than pixels.
_MANY_FACES = 10_000


class Poses(NamedTuple):
    """Rotations [N, 3, 3] and translations [N, 3] from the mesh, its centre at the origin, to camera space."""

    rotation: Tensor
    translation: Tensor

    def __len__(self) -> int:  # counts poses, not fields
        return len(self.rotation)

    def take(self, index: Tensor | list[int] | slice) -> Poses:
        """Some of them."""
        return Poses(self.rotation[index], self.translation[index])

    def matrix(self) -> Tensor:
        """[N, 4, 4]."""
        return homogeneous(torch.cat([self.rotation, self.translation[..., None]], dim=-1))

    @staticmethod
    def cat(parts: list[Poses]) -> Poses:
        """One after the other."""
        return Poses(torch.cat([p.rotation for p in parts]), torch.cat([p.translation for p in parts]))


@dataclass(frozen=True)
class Subject:
    """A mesh with its centre at the origin.

    Attributes:
        mesh: the centred mesh.
        centre: of the mesh as it was [3].
        radius: of the ball around the centre that holds it.
        colors: whether its colours are compared, or its outline alone.
    """

    mesh: Mesh
    centre: Tensor
    radius: float
    lighting: Lighting | None
    topology: Tensor
    colors: bool
    _coarse: dict[int, Subject] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, mesh: Mesh, lighting: Lighting | None, colors: bool | None) -> Subject:
        """Colours are compared by default where the mesh has any, or where its light is known."""
        if mesh.shape:
            raise ValueError(f"mesh: expected a single mesh, got a batch {list(mesh.positions.shape)}")
        mesh = mesh.to(torch.float32)
        low, high = mesh.bounds()
        centre = 0.5 * (low + high)
        centred = replace(mesh, positions=mesh.positions.detach() - centre)
        used = centred.positions[mesh.faces.long().unique()]
        radius = float(used.norm(dim=-1).max())
        if not 0 < radius < float("inf"):
            raise ValueError(f"mesh: expected a finite size above 0, got a radius of {radius}")
        if colors is None:
            textured = mesh.uvs is not None and mesh.texture is not None
            colors = textured or mesh.colors is not None or lighting is not None
        return cls(centred, centre, radius, lighting, edge_topology(mesh.faces), colors)

    def coarse(self, cells: int) -> Subject:
        """The same with fewer faces, for images in which the mesh is `cells` pixels wide at most.

        The vertices in each cell of a grid become one, in their middle. Meshes that would not lose half of their faces
        stay as they are.
        """
        if len(self.mesh.faces) < _MANY_FACES:
            return self
        if cells not in self._coarse:
            mesh = clustered(self.mesh, 2 * self.radius / cells)
            fewer = len(mesh.faces) < len(self.mesh.faces) // 2
            topology = edge_topology(mesh.faces) if fewer else self.topology
            self._coarse[cells] = replace(self, mesh=mesh, topology=topology) if fewer else self
        return self._coarse[cells]

    @torch.no_grad()
    def images(self, poses: Poses, camera: PerspectiveCamera) -> Tensor:
        """Premultiplied colour and coverage [N, H, W, 4] as a camera that stands at the origin sees it."""
        distance = poses.translation.norm(dim=-1)
        near = max(float(distance.min()) - 1.5 * self.radius, 0.02 * float(distance.min()))
        far = float(distance.max()) + 1.5 * self.radius
        matrices = poses.matrix()
        pixels = camera.size[0] * camera.size[1]
        step = max(1, min(_PIXELS // pixels, _VERTICES // len(self.mesh.positions)))
        parts = []
        for chosen in matrices.split(step):
            seen = replace(camera, world_to_camera=chosen, near=near, far=far)
            shot = render_mesh(self.mesh, seen, self.lighting, self.topology)
            parts.append(torch.cat([shot.color, shot.mask], dim=-1))
        return torch.cat(parts)

    def from_matrix(self, object_to_camera: Tensor) -> Poses:
        """Poses of the centred mesh, of [N, 4, 4] for the mesh as it was."""
        moved = object_to_camera.to(self.centre)
        rotation = moved[:, :3, :3]
        return Poses(rotation, moved[:, :3, 3] + rotation @ self.centre)

    def to_matrix(self, poses: Poses) -> Tensor:
        """Object to camera [N, 4, 4], for the mesh as it was."""
        back = torch.eye(4, dtype=self.centre.dtype, device=self.centre.device)
        back[:3, 3] = -self.centre
        return poses.matrix() @ back
