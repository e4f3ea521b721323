"""Hard shadows of punctual lights: rays from what is seen to the lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.ray import build_bvh, occluded, offset_origins
from lumigrad.render.surface import Surface
from lumigrad.scene._vectors import dot
from lumigrad.scene.light.lights import Light, PunctualLight
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.hits import Hits


@dataclass(frozen=True)
class ShadowedLight(PunctualLight):
    """A punctual light as points of a surface see it.

    Attributes:
        light: the light itself.
        visible: of each point [P, 1], 1 or 0.
    """

    light: PunctualLight
    visible: Any

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        if len(points) != len(self.visible):
            raise ValueError(
                f"points: shadows are known at the {len(self.visible)} points of the surface, got {len(points)}"
            )
        direction, part = self.light.falloff(points)
        return direction, part * self.visible

    def distance(self, points: Tensor) -> Tensor:
        return self.light.distance(points)

    def tint(self, points: Tensor, highlight: bool = False) -> Tensor:
        return self.light.tint(points, highlight)


class Occluders:
    """The triangles of meshes that stand in one another's light, with a tree over them.

    Args:
        meshes: by their numbers in the scene.
    """

    @torch.no_grad()
    def __init__(self, meshes: dict[int, Mesh]) -> None:
        self._first, tri, points, faces = {}, [], 0, 0
        for number, mesh in meshes.items():
            self._first[number] = faces
            tri.append(mesh.faces.to(torch.int32) + points)
            points, faces = points + len(mesh.positions), faces + len(mesh.faces)
        self._vertices = torch.cat([mesh.positions for mesh in meshes.values()])
        self._tri = torch.cat(tri)
        self._tree = build_bvh(self._vertices, self._tri)

    def shadow(self, surface: Surface, lights: Sequence[Light]) -> tuple[Light, ...]:
        """The lights as the points of a surface of the scene see them; surrounding ones as they are."""
        return tuple(
            ShadowedLight(light, self._visible(surface, light)) if isinstance(light, PunctualLight) else light
            for light in lights
        )

    @torch.no_grad()
    def _visible(self, surface: Surface, light: PunctualLight) -> Tensor:
        direction, _ = light.falloff(surface.position)
        origins = self._origins(surface, direction)
        t_max = light.distance(origins)[..., 0]
        dark = occluded(origins, direction.contiguous(), self._vertices, self._tri, self._tree, t_max=t_max)
        return (~dark[:, None]).to(surface.position.dtype)

    def _origins(self, surface: Surface, direction: Tensor) -> Tensor:
        """Where rays to a light begin: off the triangle, and on smooth meshes where the curved surface would be.

        Facets then do not shadow one another (Hanika 2021, "Hacking the Shadow Terminator").
        """
        assert surface.patch is not None
        assert surface.triangle is not None
        assert surface.back is not None
        shape, bary = surface.patch.shape, surface.patch.frags.bary.reshape(-1, 2)
        hits = Hits((surface.triangle + self._first[surface.mesh]).to(torch.int32), bary, surface.position[:, 0])
        origins = offset_origins(hits, direction, self._vertices, self._tri)
        normals = shape.normals[shape.normal_faces.long()[surface.triangle]]
        normals = torch.where(surface.back[..., None], -normals, normals)
        corners = shape.positions[shape.faces.long()[surface.triangle]]
        below = dot(surface.position[:, None] - corners, normals).clamp_max(0)
        weights = torch.cat((bary, 1 - bary.sum(-1, keepdim=True)), -1)[..., None]
        above = dot(surface.geometric_normal, direction) >= 0
        return origins - torch.where(above, (weights * below * normals).sum(-2), 0)
