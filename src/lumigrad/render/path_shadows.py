"""Gradients of visible hard shadows, cast by lights without extent, for path-traced images.

From such a light, each point of a silhouette casts its shadow to one point of a surface. The shadow ends along a curve,
which moves in the image like the intersection of a ray with a plane. The gradient is the light missing in the shadow
times the motion of the curve, integrated along the curve. The image is unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.ops.light import trace_paths
from lumigrad.ops.ray import trace
from lumigrad.ops.surface import edge_topology
from lumigrad.reference.light._edges import Edges, find_edges
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Bvh, LitScene, TracedPaths

DISTANT = 0
FEWEST, MOST = 1 << 12, 1 << 18  # points sampled on all shadows of a light
BESIDE_EDGE = 1e-5  # distance at which rays pass an edge, relative to the scene's size
TOUCHING = 1e-4  # least distance of a shadow behind its edge, relative to the scene's size
STEP = 1e-3  # step along an edge, for the direction of the shadow's curve
BESIDE_CURVE = 0.01  # in pixels


def add_shadow_edges(out: TracedPaths, scene: LitScene, camera: Camera, samples: int, bvh: Bvh) -> TracedPaths:
    """The same values, with gradients of radiance due to the edges of hard shadows.

    They are with respect to positions, lights and the camera, and cover the first visible surface, in the direct light
    of point-like and distant lights.
    """
    if scene.lamps is None or scene.lamp_kinds is None or scene.lamp_intensities is None:
        return out
    edges = find_edges(scene.positions, scene.tri, edge_topology(scene.tri, scene.positions))
    pixels = out.alpha.numel()
    count = min(max(samples * pixels // 4, FEWEST), MOST)
    change = out.radiance.new_zeros(pixels, 3)
    for lamp in range(len(scene.lamps)):
        alone = _lit_by(scene, lamp)
        moved = _Shadows(alone, edges, camera, bvh).change(count)
        if moved is not None:
            pixel, value = moved
            change = change.index_add(0, pixel, value.to(change))
    change = change - change.detach()
    return out._replace(radiance=out.radiance + change.reshape(out.radiance.shape))


def _lit_by(scene: LitScene, lamp: int) -> LitScene:
    """The scene with a single lamp as its only light."""
    assert scene.lamps is not None
    assert scene.lamp_kinds is not None
    assert scene.lamp_intensities is not None
    dark = scene.materials.detach().clone()
    dark[:, 9:12] = 0
    one = slice(lamp, lamp + 1)
    return scene._replace(
        materials=dark, lamps=scene.lamps[one], lamp_intensities=scene.lamp_intensities[one].detach(),
        lamp_kinds=scene.lamp_kinds[one], environment=None, rotation=None,
    )  # fmt: skip


class _Shadows:
    """The edges, in the image, of the shadows of a scene's only lamp."""

    def __init__(self, scene: LitScene, edges: Edges, camera: Camera, bvh: Bvh) -> None:
        assert scene.lamps is not None
        assert scene.lamp_kinds is not None
        self.scene, self.edges, self.camera, self.bvh = scene, edges, camera, bvh
        self.distant = int(scene.lamp_kinds[0]) == DISTANT
        self.place = scene.lamps[0, :3].double()
        self.size = float(scene.positions.detach().double().abs().amax())

    def change(self, count: int) -> tuple[Tensor, Tensor] | None:
        """Pixels [P] and the values added to them [P, 3], of which only the gradient counts."""
        with torch.no_grad():
            edge, s, weight = self._drawn(count)
            ends = self._ends(edge)
            beside, face, there = self._cast(edge, s, ends)
            edge, s, weight, ends = edge[there], s[there], weight[there], ends[there]
            beside, face = beside[there], face[there]
            if len(edge) == 0:
                return None
            at, lit = self._seen(ends, s, face), self.camera.pixels(beside)
            ahead, behind = (self._seen(ends, s + step, face) for step in (STEP, -STEP))
            along = (ahead - behind) / (2 * STEP)
            across = torch.stack((along[:, 1], -along[:, 0]), -1)
            across = across * ((lit - at) * across).sum(-1, keepdim=True).sign()
            missing, shown = self._missing_light(at, across, face)
            weight = torch.where(shown, weight, 0)
            height, width = self.camera.size
            pixel = at.floor().long()
            pixel = pixel[:, 1].clamp(0, height - 1) * width + pixel[:, 0].clamp(0, width - 1)
        place = self._seen(self._ends(edge), s, face)
        motion = (place * across).sum(-1)
        return pixel, -(motion * weight)[:, None] * missing.to(motion)

    def _drawn(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Edges that are silhouettes from the light, half chosen by length and half uniformly, points on them, and
        weights."""
        shapes = self.edges.shapes.double()
        towards = self.place if self.distant else self.place - shapes[:, :3]
        first, second = ((shapes[:, k : k + 3] * towards).sum(-1) for k in (6, 9))
        silhouette = (first * second < 0).double()
        length = (shapes[:, 3:6] - shapes[:, :3]).norm(dim=-1) * silhouette
        some = bool(length.sum() > 0)
        part = count / 2 * (length / length.sum() + silhouette / silhouette.sum()) if some else length
        ends = part.cumsum(0)
        number = torch.arange(count if some else 0, device=length.device) + 0.5
        edge = torch.searchsorted(ends, number.to(ends), right=True).clamp_max(len(length) - 1)
        s = ((number - ends[edge] + part[edge]) / part[edge]).clamp(0, 1)
        return edge, s, shapes[edge, 12] / part[edge]

    def _ends(self, edge: Tensor) -> Tensor:
        return self.scene.positions[self.edges.ends[edge].long()].double()

    def _cast(self, edge: Tensor, s: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where light that just passes the edges falls, the faces there, and whether there is such a place."""
        y = _along(ends, s)
        light = -self.place.expand_as(y) if self.distant else y - self.place
        outwards = torch.linalg.cross(ends[:, 1] - ends[:, 0], light)
        outwards = outwards / outwards.norm(dim=-1, keepdim=True)
        facing = (self.edges.shapes[edge, 6:9].double() * light).sum(-1, keepdim=True)
        passing = y + BESIDE_EDGE * self.size * outwards * facing.sign()
        onwards = light if self.distant else passing - self.place
        onwards = onwards / onwards.norm(dim=-1, keepdim=True)
        like, geometry = self.scene.positions, (self.scene.positions, self.scene.tri, self.bvh)
        hits = trace(passing.to(like), onwards.to(like), *geometry)
        back = trace(passing.to(like), -onwards.to(like), *geometry)
        way = torch.inf if self.distant else (passing - self.place).norm(dim=-1) * (1 - TOUCHING)
        t = hits.t.double()
        there = (hits.tri >= 0) & (t > TOUCHING * self.size) & ((back.tri < 0) | (back.t >= way))
        return passing + torch.where(there, t, 0)[:, None] * onwards, hits.tri.long().clamp_min(0), there

    def _seen(self, ends: Tensor, s: Tensor, face: Tensor) -> Tensor:
        """The image positions, in pixels, of the shadows that points on edges cast on the planes of faces."""
        a, b, c = self.scene.positions[self.scene.tri[face].long()].double().unbind(1)
        normal = torch.linalg.cross(b - a, c - a)
        y = _along(ends, s)
        light = -self.place.expand_as(y) if self.distant else y - self.place
        t = (normal * (a - y)).sum(-1, keepdim=True) / (normal * light).sum(-1, keepdim=True)
        return self.camera.pixels(y + t * light).double()

    def _missing_light(self, at: Tensor, across: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
        """The light missing in the shadow [P, 3], and whether its edge is visible."""
        aside = BESIDE_CURVE * across / across.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        size = at.new_tensor([self.camera.size[1], self.camera.size[0]])
        shown = ((at >= 0) & (at < size) & at.isfinite()).all(-1)
        found = []
        for pixels in (at + aside, at - aside):
            rays = self.camera.rays(torch.where(shown[:, None], pixels, 0).to(self.camera.world_to_camera))
            origins, directions = (ray.to(self.scene.positions) for ray in (rays.origins, rays.directions))
            strip = [ray.repeat_interleave(2, 0).expand(2, -1, -1) for ray in (origins, directions)]
            traced = trace_paths(self.scene, strip[0], strip[1], 1, 2, 0, bvh=self.bvh)
            found.append(traced.radiance[0, ::2])
            hits = trace(origins, directions, self.scene.positions, self.scene.tri, self.bvh)
            shown = shown & (hits.tri == face)
        return found[0] - found[1], shown


def _along(ends: Tensor, s: Tensor) -> Tensor:
    return (1 - s[:, None]) * ends[:, 0] + s[:, None] * ends[:, 1]
