"""From fragments to colours and buffers: shading of meshes, material by material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.render.geometry import Geometry
from lumigrad.render.shading import Shader
from lumigrad.render.shadows import Occluders
from lumigrad.render.surface import MeshShape, Surface, TextureStore, surface_alpha
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light
from lumigrad.types.fragments import Fragments


class Layer(NamedTuple):
    """One layer of all images: colours [N, H, W, C] and alpha [N, H, W, 1], zero where it is empty; and buffers."""

    frags: Fragments
    color: Tensor
    alpha: Tensor
    found: dict[str, Tensor]


@dataclass
class Painter:
    """Shades layers, image by image and material by material, each on the list of its pixels."""

    geometry: Geometry
    shapes: list[MeshShape]
    shader: Shader
    cameras: list[Camera]
    lights: list[tuple[Light, ...]]
    store: TextureStore
    before: list[list[Tensor]] | None
    together: bool
    buffers: bool
    occluders: list[Occluders] | None = None

    def paint(self, frags: Fragments) -> Layer:
        images = [value.unbind(0) for value in (frags.tri, frags.bary, frags.depth, frags.bary_d)]  # type: ignore[union-attr]
        made = [self._image(n, Fragments(*parts)) for n, parts in enumerate(zip(*images))]
        stacked = {name: torch.stack([image[name] for image in made]) for name in made[0]}
        return Layer(frags, stacked.pop("color"), stacked.pop("alpha"), stacked)

    def _image(self, n: int, frags: Fragments) -> dict[str, Tensor]:
        """Colour, alpha and buffers of one image."""
        height, width = frags.tri.shape
        pieces = [self._piece(n, frags, number, pixels) for number, pixels in self._pixels(n, frags.tri)]
        where = torch.cat([pixels for pixels, _ in pieces])
        result = {}
        for name in pieces[0][1]:
            values = torch.cat([values[name] for _, values in pieces])
            empty = -1 if name.endswith("_ids") else 0
            image = values.new_full((height * width, *values.shape[1:]), empty)
            result[name] = image.index_copy(0, where, values).unflatten(0, (height, width))
        return result

    def _pixels(self, n: int, tri: Tensor) -> list[tuple[int, Tensor]]:
        """Groups and the indices of the pixels that show them; at least one group, possibly without pixels."""
        seen = (tri.reshape(-1) >= 0).nonzero()[:, 0]
        if len(self.geometry.groups) == 1:
            return [(0, seen)]
        group = self.geometry.group[self._faces(tri, seen)]
        present = group.unique().tolist() or [0 if self.together else self._first_group(n)]
        return [(g, seen[group == g]) for g in present]

    def _first_group(self, n: int) -> int:
        return next(k for k, g in enumerate(self.geometry.groups) if g.mesh == n)

    def _faces(self, tri: Tensor, pixels: Tensor) -> Tensor:
        """The visible faces at pixels, numbered over all meshes."""
        drawn = tri.reshape(-1)[pixels].long()
        return drawn if self.geometry.face is None else self.geometry.face[drawn]

    def _piece(self, n: int, frags: Fragments, number: int, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mesh, material = self.geometry.groups[number]
        shape = self.shapes[mesh]
        local = self._faces(frags.tri, pixels) - self.geometry.first[mesh]
        assert frags.bary_d is not None
        part = Fragments(
            local.to(torch.int32)[None, None],
            frags.bary.flatten(0, 1).index_select(0, pixels)[None, None],
            frags.depth.reshape(-1).index_select(0, pixels)[None, None],
            frags.bary_d.flatten(0, 1).index_select(0, pixels)[None, None],
        )
        surface = shape.surface(part, material, self.cameras[n], self.store, mesh)
        lights = self.lights[n]
        if self.occluders is not None:
            lights = self.occluders[n].shadow(surface, lights)
        color = self.shader(surface, lights, self.cameras[n])
        if color.ndim != 2 or len(color) != len(pixels):
            raise ValueError(f"shading: expected colours [{len(pixels)}, C] of the shader, got {list(color.shape)}")
        alpha = _alpha(surface)
        found = {"color": color * alpha, "alpha": alpha}
        if self.buffers:
            found |= self._buffers(surface, local)
        if self.before is not None:
            clip = self.cameras[n].project(shape.positions), self.before[n][mesh]
            now, then = (_screen(part_of, surface, self.cameras[n]) for part_of in clip)
            found["motion"] = now - then
        return pixels, found

    def _buffers(self, surface: Surface, local: Tensor) -> dict[str, Tensor]:
        assert surface.depth is not None
        uv = surface.position.new_zeros(len(local), 2) if surface.uv is None else surface.uv
        triangle = local.to(torch.int32)
        return {
            "depth": surface.depth,
            "normals": surface.normal,
            "uv": uv,
            "primitive_ids": triangle,
            "shape_ids": torch.full_like(triangle, surface.mesh),
        }


def _alpha(surface: Surface) -> Tensor:
    """The coverage of a surface [P, 1], by its alpha mode."""
    material = surface.material
    if material.alpha_mode == "opaque":
        return surface.position.new_ones(len(surface.position), 1)
    alpha = surface_alpha(surface)
    return alpha if material.alpha_mode == "blend" else (alpha >= material.alpha_cutoff).to(alpha.dtype)


def _screen(clip: Tensor, surface: Surface, camera: Camera) -> Tensor:
    """Pixel coordinates [P, 2] of the surface's points, given clip-space positions of its mesh's vertices."""
    assert surface.patch is not None
    x, y, _, w = surface.patch.interpolate(clip).unbind(-1)
    height, width = camera.size
    ahead = w > 0
    w = w.where(ahead, w.new_ones(()))
    return torch.stack([(x / w + 1) * (0.5 * width), (1 - y / w) * (0.5 * height)], -1) * ahead[:, None]
