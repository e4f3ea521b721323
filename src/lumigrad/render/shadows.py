"""Hard shadows of punctual lights, by rays from visible points to the lights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lumigrad.ops.ray import build_bvh, occluded, offset_origins
from lumigrad.render.geometry import joined_faces, starts
from lumigrad.render.surface import Surface
from lumigrad.scene._vectors import dot
from lumigrad.scene.light.lights import Light, PunctualLight
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import Bvh
from lumigrad.types.hits import Hits


class Occluders:
    """The triangles of meshes that may cast shadows on one another.

    Args:
        meshes: by their numbers in the scene.
    """

    def __init__(self, meshes: dict[int, Mesh]) -> None:
        self.first = dict(zip(meshes, starts([len(mesh.faces) for mesh in meshes.values()])))
        self.vertices = torch.cat([mesh.positions.detach() for mesh in meshes.values()])
        self.tri = torch.cat(joined_faces(list(meshes.values())))

    @functools.cached_property
    def tree(self) -> Bvh:
        """Over the triangles, built when the first ray is sent."""
        return build_bvh(self.vertices, self.tri)

    def shadow(self, surface: Surface, lights: Sequence[Light]) -> tuple[Light, ...]:
        """The lights with shadows at the points of a surface of the scene; surrounding lights are unchanged."""
        shaded = _Shaded(self, surface)
        return tuple(ShadowedLight(light, shaded) if isinstance(light, PunctualLight) else light for light in lights)


class _Shaded:
    """Points of a surface, and the occluders around them."""

    def __init__(self, occluders: Occluders, surface: Surface) -> None:
        assert surface.patch is not None
        assert surface.triangle is not None
        self.occluders, self.surface, self.patch, self.triangle = occluders, surface, surface.patch, surface.triangle

    def __len__(self) -> int:
        return len(self.surface.position)

    @torch.no_grad()
    def sees(self, light: PunctualLight, direction: Tensor) -> Tensor:
        """Whether the points see a light that lies in directions [P, 3]; [P, 1], 1 or 0."""
        all_, origins = self.occluders, self._origins(direction)
        t_max = light.distance(origins)[..., 0]
        dark = occluded(origins, direction.contiguous(), all_.vertices, all_.tri, all_.tree, t_max=t_max)
        return (~dark[:, None]).to(direction)

    def _origins(self, direction: Tensor) -> Tensor:
        """The origins of rays to a light: off the triangle and, on smooth meshes, where the curved surface would be.

        Facets then do not shadow one another (Hanika 2021, "Hacking the Shadow Terminator").
        """
        bary = self.patch.frags.bary.reshape(-1, 2)
        tri = (self.triangle + self.occluders.first[self.surface.mesh]).to(torch.int32)
        hits = Hits(tri, bary, bary[:, 0])  # t is not used
        origins = offset_origins(hits, direction, self.occluders.vertices, self.occluders.tri)
        above = dot(self.surface.geometric_normal, direction) >= 0
        return origins + torch.where(above, self._rise, 0)

    @functools.cached_property
    def _rise(self) -> Tensor:
        """The offset from the points to the curved surface, on the visible side [P, 3]."""
        assert self.surface.back is not None
        shape, bary = self.patch.shape, self.patch.frags.bary.reshape(-1, 2)
        normals = shape.normals[shape.normal_faces.long()[self.triangle]]
        normals = torch.where(self.surface.back[..., None], -normals, normals)
        corners = shape.positions[shape.faces.long()[self.triangle]]
        below = dot(self.surface.position[:, None] - corners, normals).clamp_max(0)
        weights = torch.cat((bary, 1 - bary.sum(-1, keepdim=True)), -1)[..., None]
        return -(weights * below * normals).sum(-2)


@dataclass(frozen=True)
class ShadowedLight(PunctualLight):
    """A punctual light with shadows at points of a surface. Rays are traced when a shader evaluates it."""

    light: PunctualLight
    shaded: _Shaded

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        if len(points) != len(self.shaded):
            raise ValueError(
                f"points: shadows are known at the {len(self.shaded)} points of the surface, got {len(points)}"
            )
        direction, part = self.light.falloff(points)
        return direction, part * self._visible

    def distance(self, points: Tensor) -> Tensor:
        return self.light.distance(points)

    def tint(self, points: Tensor, highlight: bool = False) -> Tensor:
        return self.light.tint(points, highlight)

    @functools.cached_property
    def _visible(self) -> Tensor:
        with torch.no_grad():
            direction, _ = self.light.falloff(self.shaded.surface.position)
        return self.shaded.sees(self.light, direction)
