"""Paths of light, defined in plain PyTorch: one sample of all pixels at a time, every ray against every triangle.

Gradients are those that the kernels compute by replay. Visibility and the densities of sampled directions are held
fixed, as are tangents and the coordinates of lookups in alpha textures. The first point of a path slides over its
triangle; the others keep their barycentrics.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.light import _bsdf as scattering
from lumigrad.reference.light._media import Flights, Space, Stack
from lumigrad.reference.light._sampling import emitters, environment_sums, identity, mean_emission
from lumigrad.reference.texture import texture, texture_cube
from lumigrad.types import Bvh, LitScene, TracedPaths
from lumigrad.types.counters import mixed
from lumigrad.types.light import (
    ALPHA_MODE,
    ALPHA_TEXTURE,
    BLEND,
    COAT_ROUGHNESS_TEXTURE,
    COAT_TEXTURE,
    COLOR_TEXTURE,
    EMISSION_TEXTURE,
    MASK,
    MAX_DEPTH,
    MORE_KINDS,
    NORMAL_TEXTURE,
    OPAQUE,
    ROUGHNESS_TEXTURE,
    SECOND_UV,
    TRANSMISSION_TEXTURE,
)
from lumigrad.types.maths import arc_cosine

ROULETTE_DEPTH, MOST_SURVIVAL = 5, 0.95
DARKEST = 1e-6  # smallest colour in the paths of gradients
GROUP, LIGHT, PLACE, DIRECTION, LOBE, DRAWS = range(6)
MOST_PASSES, FIRST_PASS = 256, 2**31  # surfaces on a way that are partly there, and the first of their random numbers
LEAST_CHANCE = 0.05  # probabilities of staying at and of passing such a surface, in the paths of gradients
CONDUCTOR = scattering.CONDUCTOR
FIRST_FLIGHT = 3 * 2**30  # number of the random number for the first distance in media
DISTANT, LINEAR = 0, 2


def trace_paths(
    scene: LitScene,
    origins: Tensor,
    directions: Tensor,
    samples: int = 16,
    max_depth: int | None = 6,
    seed: int = 0,
    gradient_seed: int | None = None,
    bvh: Bvh | None = None,
) -> TracedPaths:
    """Arguments and result: `lumigrad.trace_paths`."""
    depth = MAX_DEPTH if max_depth is None else max_depth
    other = seed + 2**62 if gradient_seed is None else gradient_seed
    if scene.media is not None:
        scene, origins, directions = _at_rest(_with_a_triangle(scene)), origins.detach(), directions.detach()
    return images_of(lambda darkest: _Scene(scene, darkest), origins, directions, samples, depth, seed, other)


def images_of(
    scene_with: Callable[[float], _Scene], origins: Tensor, directions: Tensor, samples: int, max_depth: int,
    seed: int, gradient_seed: int,
) -> TracedPaths:  # fmt: skip
    """The image of a scene with colours of at least a minimum, and gradients from other paths."""
    with torch.no_grad():
        out = _image(scene_with(0.0), origins, directions, samples, max_depth, seed)
    if not torch.is_grad_enabled():
        return out
    moving = _image(scene_with(DARKEST), origins, directions, samples, max_depth, gradient_seed)
    out = out._replace(radiance=_with_slope_of(out.radiance, moving.radiance))
    if not moving.through.requires_grad:
        return out
    return out._replace(
        alpha=_with_slope_of(out.alpha, moving.alpha), through=_with_slope_of(out.through, moving.through)
    )


def _at_rest(scene: LitScene) -> LitScene:
    """The scene without gradients to what moves, which paths through media do not have."""
    names = "corner_normals corner_uvs corner_second_uvs corner_tangents lamps rotation"
    fixed = {name: getattr(scene, name) for name in names.split()}
    fixed = {name: None if value is None else value.detach() for name, value in fixed.items()}
    return scene._replace(positions=scene.positions.detach(), **fixed)


def _with_a_triangle(scene: LitScene) -> LitScene:
    """Replaces an empty list of triangles by a black triangle without area, which no ray meets."""
    if len(scene.tri) or scene.media is None:
        return scene
    of_corners = "corner_normals corner_uvs corner_second_uvs corner_tangents corner_colors"
    corners = {name: getattr(scene, name) for name in of_corners.split()}
    corners = {name: None if value is None else value.new_zeros(1, *value.shape[1:]) for name, value in corners.items()}
    black = scene.kinds.new_tensor([[0, 0, -1, -1, -1, *MORE_KINDS]])[:, : scene.kinds.shape[1]]
    return scene._replace(
        positions=scene.positions.new_zeros(3, 3), tri=scene.tri.new_tensor([[0, 1, 2]]),
        face_materials=scene.tri.new_tensor([len(scene.materials)]),
        materials=torch.cat((scene.materials, scene.materials.new_zeros(1, scene.materials.shape[1]))),
        kinds=torch.cat((scene.kinds, black)),
        media=scene.media._replace(faces=scene.media.faces.new_tensor([[-1, 0]])), **corners,
    )  # fmt: skip


def _image(scene: _Scene, origins: Tensor, directions: Tensor, samples: int, max_depth: int, seed: int) -> TracedPaths:
    height, width = directions.shape[0] - 1, directions.shape[1] - 1
    pixels = torch.arange(height * width, device=directions.device)
    sums = [directions.new_zeros(height * width, count) for count in (3, 1, 1, 3, 3, 3)]
    trace = _trace if scene.space is None else _trace_through_media
    for sample in range(samples):
        random = _Random(seed, pixels, sample, directions.dtype)
        x, y = random.pair(0)
        found = trace(scene, _between(origins, x, y), _between(directions, x, y), random, max_depth)
        sums = [total + value for total, value in zip(sums, found, strict=True)]
    means = [(total / samples).reshape(height, width, -1) for total in sums]
    radiance, alpha, depth, normals, albedo, through = means
    return TracedPaths(radiance, alpha[..., 0], depth[..., 0], normals, albedo, through)


def _between(corners: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate within pixels from the values at their corners: [P, 3]."""
    a, b, c, d = (v.reshape(-1, 3) for v in (corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]))
    x, y = x[:, None], y[:, None]
    return (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)


class _Random:
    """The random numbers of the paths of one sample."""

    def __init__(self, seed: int, pixels: Tensor, sample: int, dtype: torch.dtype) -> None:
        first = mixed(torch.tensor(_signed(seed), device=pixels.device))
        self.key = mixed(mixed(first + pixels) + sample)
        self.dtype = dtype

    def pair(self, draw: int) -> tuple[Tensor, Tensor]:
        word = mixed(self.key + _signed(draw * 0x9E3779B97F4A7C15))
        low, high = word >> 8 & 0xFFFFFF, word >> 40 & 0xFFFFFF
        return low.to(self.dtype) / 2**24, high.to(self.dtype) / 2**24

    def of(self, surface: int, what: int) -> tuple[Tensor, Tensor]:
        return self.pair(1 + surface * DRAWS + what)


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


# ---- The scene -----------------------------------------------------------------------------------------------------


class _Points(NamedTuple):
    """Points on surfaces."""

    face: Tensor
    weight: Tensor  # for the corners [P, 3]
    position: Tensor
    geometric: Tensor
    normal: Tensor
    side: Tensor  # [P, 1]
    uv: Tensor | None
    second_uv: Tensor | None

    def fixed(self) -> _Points:
        """The same points without gradients."""
        values: list[Any] = [None if value is None else value.detach() for value in self]
        return _Points(*values)


class _Scene:
    """The geometry that rays meet, the scattering of surfaces, and the lights."""

    def __init__(self, scene: LitScene, darkest: float) -> None:
        self.lit, self.darkest = scene.completed(), darkest
        self.opaque = not bool((self.lit.kinds[:, ALPHA_MODE] != OPAQUE).any())
        self.positions = scene.positions
        self.corners = self.positions[scene.tri.long()]
        self.materials_of = scene.face_materials.long()
        emission = mean_emission(scene.materials, scene.kinds, list(scene.textures))
        self.emitters, self.emitter_sums, self.numbers = emitters(
            self.positions, scene.tri, emission, scene.face_materials
        )
        self.cube = scene.environment
        if self.cube is not None:
            self.row_sums, self.texel_sums = environment_sums(self.cube)
            self.rotation = identity(self.positions) if scene.rotation is None else scene.rotation
        self.lamp_count = 0 if scene.lamps is None else len(scene.lamps)
        self.space = None if scene.media is None else Space(self, scene.media, darkest)
        self.groups = (len(self.emitters) > 0) + (self.lamp_count > 0) + (self.cube is not None)

    @torch.no_grad()
    def meet(self, origins: Tensor, directions: Tensor, t_max: Tensor | float = math.inf) -> tuple[Tensor, ...]:
        """The nearest triangle of each ray or -1, weights of its corners 0 and 1, and t."""
        a, b, c = self.corners.unbind(1)
        d, o = directions[:, None], origins[:, None]
        p, s = torch.linalg.cross(d, (b - c)[None].expand(len(d), -1, -1)), o - c
        det = ((a - c) * p).sum(-1)
        inverse = 1 / torch.where(det == 0, math.nan, det)
        q = torch.linalg.cross(s, (a - c)[None].expand_as(s))
        u, v, t = (s * p).sum(-1) * inverse, (d * q).sum(-1) * inverse, ((b - c) * q).sum(-1) * inverse
        limit = torch.as_tensor(t_max, dtype=t.dtype, device=t.device).expand(len(t))[:, None]
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < limit)
        nearest, face = torch.where(hit, t, math.inf).min(1)
        found = nearest < math.inf
        u, v = (torch.where(found, value.gather(1, face[:, None])[:, 0], 1 / 3) for value in (u, v))
        return torch.where(found, face, -1), u, v, torch.where(found, nearest, 0)

    def slide(self, face: Tensor, u: Tensor, v: Tensor, origins: Tensor, rays: Tensor) -> Tensor:
        """The weights of the corners [P, 3] where rays meet their triangles, differentiable."""
        a, b, c = self.corners[face].unbind(1)
        p, q = torch.linalg.cross(rays, b - c), torch.linalg.cross(origins - c, a - c)
        det = ((a - c) * p).sum(-1)
        det = torch.where(det == 0, 1, det)
        u = _with_slope_of(u, ((origins - c) * p).sum(-1) / det)
        v = _with_slope_of(v, (rays * q).sum(-1) / det)
        return torch.stack((u, v, 1 - u - v), -1)

    def positions_of(self, face: Tensor, weight: Tensor) -> Tensor:
        return (weight[..., None] * self.corners[face]).sum(1)

    def points(self, face: Tensor, weight: Tensor, directions: Tensor) -> _Points:
        geometric = _unit(self.face_normals(face))
        side = torch.where((geometric * directions).sum(-1, keepdim=True) < 0, 1.0, -1.0).to(weight)
        normal = geometric
        if self.lit.corner_normals is not None:
            normal = _unit((weight[..., None] * self.lit.corner_normals[face]).sum(1))
        uv, second_uv = (
            None if uvs is None else (weight[..., None] * uvs[face]).sum(1)
            for uvs in (self.lit.corner_uvs, self.lit.corner_second_uvs)
        )
        p = _Points(face, weight, self.positions_of(face, weight), geometric, normal, side, uv, second_uv)
        return p._replace(normal=self._turned(p, self._mapped(p), directions))

    def _mapped(self, p: _Points) -> Tensor:
        """The shading normal, perturbed by a normal map."""
        tangents, number = self.lit.corner_tangents, self.materials_of[p.face]
        if tangents is None:
            return p.normal
        texel = 2 * self.texels(p, NORMAL_TEXTURE) - 1
        along, hand = (p.weight[..., None] * tangents[p.face]).sum(1).detach().split((3, 1), -1)
        tangent = _unit(along - (along * p.normal).sum(-1, keepdim=True) * p.normal)
        bitangent = torch.where(hand < 0, -1, 1) * torch.linalg.cross(p.normal, tangent)
        x, y = (self.lit.materials[number, 17:18] * texel[:, :2]).split(1, -1)
        bent = _unit(x * tangent + y * bitangent + texel[:, 2:] * p.normal)
        bent = bent if self.lit.media is None else bent.detach()
        return torch.where(self.lit.kinds[number, NORMAL_TEXTURE][:, None] >= 0, bent, p.normal)

    def _turned(self, p: _Points, normal: Tensor, directions: Tensor) -> Tensor:
        """Turn a normal that faces away until it is just visible."""
        if normal is p.geometric:
            return normal
        facing = p.side * normal
        lacking = 0.01 + (facing * directions).sum(-1, keepdim=True)
        bent = torch.where(lacking > 0, p.side * _unit(facing - lacking * directions), normal)
        return torch.where((normal * p.geometric).sum(-1, keepdim=True) > 0, bent, p.geometric)

    def face_normals(self, face: Tensor) -> Tensor:
        """Face normals, whose length is twice the area."""
        a, b, c = self.corners[face].unbind(1)
        return torch.linalg.cross(b - a, c - a)

    def origins(self, p: _Points, towards: Tensor) -> Tensor:
        """The origins of rays that leave the surface."""
        side = torch.where((p.geometric * towards).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(towards)
        offset = 16 * torch.finfo(p.position.dtype).eps * self.corners[p.face].detach().abs().amax((1, 2))[:, None]
        origin = p.position
        if self.lit.corner_normals is not None:
            n = side[:, None] * self.lit.corner_normals[p.face]
            below = ((p.position[:, None] - self.corners[p.face]) * n).sum(-1, keepdim=True)
            below = torch.where(below < -offset[:, None], below, 0)
            lifted = origin - (p.weight[..., None] * below * n).sum(1)
            origin = torch.where(side == p.side, lifted, origin)
        return origin + (side * offset * p.geometric).detach()

    def transfer(self, face: Tensor, spans: Tensor) -> Tensor:
        """1, with the relative derivative of |n.e| / |e|^3 [P, 1]: for light from a triangle's points at offsets
        `spans`."""
        narrowing = (self.face_normals(face) * spans).sum(-1, keepdim=True)
        size = narrowing / _length(spans) ** 3
        return torch.where(narrowing != 0, size / torch.where(narrowing != 0, size, 1).detach(), 1)

    def texels(self, p: _Points, column: int) -> Tensor:
        """The texture's factor [P, 3]: 1 where there is no texture."""
        kinds = self.lit.kinds.long()[self.materials_of[p.face]]
        number, second = kinds[:, column], (kinds[:, SECOND_UV] >> column & 1) != 0
        out = torch.ones_like(p.position)
        for i, image in enumerate(self.lit.textures):
            for uv, there in ((p.uv, ~second), (p.second_uv, second)):
                chosen = ((number == i) & there).nonzero()[:, 0]
                if len(chosen):
                    assert uv is not None
                    found = texture(image[None], uv[chosen][None, None], filter="linear", wrap="repeat")[0, 0]
                    out = out.index_put((chosen,), found)
        return out

    def opacity(self, p: _Points) -> Tensor:
        """The opacity of the surface [P, 1]; with gradients, never exactly 0 or 1 for blended materials."""
        number = self.materials_of[p.face]
        row, mode = self.lit.materials[number], self.lit.kinds[number, ALPHA_MODE][:, None]
        alpha = row[:, 12:13] * self.texels(p.fixed(), ALPHA_TEXTURE)[:, :1]
        part = alpha.clamp(0, 1)
        part = part + (part.clamp(self.darkest, 1 - self.darkest) - part).detach()
        there = (alpha >= row[:, 13:14]).to(alpha)
        return torch.where(mode == BLEND, part, torch.where(mode == MASK, there, 1))

    def materials(self, p: _Points) -> tuple[Tensor, Tensor]:
        """Rows [P, 12] and kinds [P, 2] of the materials at points."""
        number = self.materials_of[p.face]
        row, kinds = self.lit.materials[number], self.lit.kinds[number][:, :2]
        factor = self.texels(p, COLOR_TEXTURE)
        if self.lit.corner_colors is not None:
            factor = factor * (p.weight[..., None] * self.lit.corner_colors[p.face]).sum(1)
        color = row[:, :3] * factor
        darker = (color < self.darkest) & (kinds[:, :1] != CONDUCTOR)
        color = torch.where(darker, color + (self.darkest - color).detach(), color)
        rough = self.texels(p, ROUGHNESS_TEXTURE)[:, 1:] * row[:, 3:5]
        columns = ((TRANSMISSION_TEXTURE, 0), (COAT_TEXTURE, 0), (COAT_ROUGHNESS_TEXTURE, 1))
        layers = torch.cat([self.texels(p, column)[:, c : c + 1] for column, c in columns], -1) * row[:, 14:17]
        return torch.cat((color, rough, row[:, 5:14], layers, row[:, 17:]), -1), kinds

    def emission(self, p: _Points) -> Tensor:
        number = self.materials_of[p.face]
        shows = (p.side[:, 0] > 0) | (self.lit.kinds[number, 1] != 0)
        return torch.where(shows[:, None], self.lit.materials[number, 9:12] * self.texels(p, EMISSION_TEXTURE), 0)

    # Scattering, in the frames of the normals.

    def smooth(self, p: _Points, materials: Tensor, kinds: Tensor) -> Tensor:
        return scattering.smooth(materials, kinds)

    def transmits(self, p: _Points, materials: Tensor, kinds: Tensor) -> Tensor:
        return scattering.transmits(materials, kinds)

    def bsdf(self, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
        return scattering.bsdf(materials, kinds, wi, wo)

    def sample(self, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> Tensor:
        return scattering.sample_direction(materials, kinds, wi, numbers)

    def radiance(self, directions: Tensor) -> Tensor:
        """The radiance of the environment."""
        assert self.cube is not None
        inward = directions @ self.rotation
        return texture_cube(self.cube[None], inward[None, None], filter="linear")[0, 0]

    @torch.no_grad()
    def emitter_pdf(self, origins: Tensor, p: _Points) -> Tensor:
        number = self.numbers[p.face].long()
        share = (
            torch.where(number >= 0, self.emitter_sums.diff()[number.clamp_min(0)], 0) if len(self.emitters) else 0.0
        )
        towards = p.position - origins
        squared = (towards * towards).sum(-1)
        narrowing = (self.face_normals(p.face) * towards).sum(-1).abs() / squared.sqrt()
        return torch.where(narrowing > 0, share * 2 * squared / narrowing / self.groups, 0)

    @torch.no_grad()
    def environment_pdf(self, directions: Tensor) -> Tensor:
        assert self.cube is not None
        face, u, v = _on_cube(directions @ self.rotation)
        side = self.cube.shape[1]
        row = face * side + (v * side).long().clamp(0, side - 1)
        column = (u * side).long().clamp(0, side - 1)
        return self._texel_pdf(row, column, u, v)

    def _texel_pdf(self, row: Tensor, column: Tensor, u: Tensor, v: Tensor) -> Tensor:
        assert self.cube is not None
        side = self.cube.shape[1]
        within = self.texel_sums.diff(dim=-1)[row, column]
        p, q = 2 * u - 1, 2 * v - 1
        return self.row_sums.diff()[row] * within * side**2 / 4 * (1 + p * p + q * q) ** 1.5 / self.groups

    @torch.no_grad()
    def sample_environment(self, choice: tuple[Tensor, Tensor], place: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        assert self.cube is not None
        side = self.cube.shape[1]
        row = torch.searchsorted(self.row_sums, choice[0], right=True).clamp(1, 6 * side) - 1
        column = torch.searchsorted(self.texel_sums[row], choice[1][:, None], right=True)[:, 0].clamp(1, side) - 1
        u, v = (column + place[0]) / side, (row % side + place[1]) / side
        directions = _unit(_from_cube(row // side, 2 * u - 1, 2 * v - 1))
        return directions @ self.rotation.T, self._texel_pdf(row, column, u, v)


class _Lights(NamedTuple):
    """Sampled points of lights."""

    direction: Tensor
    end: Tensor
    distance: Tensor
    radiance: Tensor  # divided by the density
    pdf: Tensor  # 0 for lamps


def _sample_lights(scene: _Scene, origins: Tensor, random: _Random, surface: int) -> _Lights:
    choice, place = random.of(surface, LIGHT), random.of(surface, PLACE)
    left = (random.of(surface, GROUP)[0] * scene.groups).long()
    found = []
    if len(scene.emitters):
        found.append(_sample_emitters(scene, origins, choice, place))
    if scene.lamp_count:
        found.append(_sample_lamps(scene, origins, choice))
    if scene.cube is not None:
        found.append(_sample_surroundings(scene, origins, choice, place))
    out = found[0]
    for i, other in enumerate(found[1:], 1):
        mine = left == i
        out = _Lights(*(torch.where(mine if a.dim() == 1 else mine[:, None], b, a) for a, b in zip(out, other)))
    return out


def _sample_emitters(
    scene: _Scene, origins: Tensor, choice: tuple[Tensor, Tensor], place: tuple[Tensor, Tensor]
) -> _Lights:
    number = torch.searchsorted(scene.emitter_sums, choice[0], right=True).clamp(1, len(scene.emitters)) - 1
    face, root = scene.emitters[number].long(), place[0].sqrt()
    weight = torch.stack((1 - root, root * place[1], root * (1 - place[1])), -1)
    spans = scene.positions_of(face, weight) - origins
    direction = _unit(spans)
    points = scene.points(face, weight, direction)
    pdf = scene.emitter_pdf(origins, points)
    radiance = scene.emission(points) / torch.where(pdf > 0, pdf, math.inf)[:, None] * scene.transfer(face, spans)
    radiance = scene.opacity(points) * radiance
    return _Lights(direction, scene.origins(points, -direction), _length(spans)[:, 0], radiance, pdf)


def _sample_surroundings(
    scene: _Scene, origins: Tensor, choice: tuple[Tensor, Tensor], place: tuple[Tensor, Tensor]
) -> _Lights:
    direction, pdf = scene.sample_environment(choice, place)
    return _Lights(direction, origins, torch.full_like(pdf, math.inf), scene.radiance(direction) / pdf[:, None], pdf)


def _sample_lamps(scene: _Scene, origins: Tensor, choice: tuple[Tensor, Tensor]) -> _Lights:
    count = scene.lamp_count
    light = _lamps(scene, origins, (choice[0] * count).long().clamp_max(count - 1))
    return light._replace(radiance=light.radiance * count * scene.groups)


def _lamps(scene: _Scene, origins: Tensor, number: Tensor) -> _Lights:
    lit = scene.lit
    assert lit.lamps is not None
    assert lit.lamp_kinds is not None
    assert lit.lamp_intensities is not None
    row, distant = lit.lamps[number], (lit.lamp_kinds[number] == DISTANT)[:, None]
    placed = torch.where(distant, row.new_tensor([0, 0, 0, 0, 0, 0, -1, -2, 1, 1, 0, 0]), row)
    towards = placed[:, :3] - origins
    squared = (towards * towards).sum(-1, keepdim=True)
    distance = squared.sqrt()
    direction = torch.where(distant, _unit(row[:, :3]), towards / distance)
    inner, outer, reach, attenuation = placed[:, 6:7], placed[:, 7:8], placed[:, 8:9], placed[:, 9:12]
    linear, cosine = (lit.lamp_kinds[number] == LINEAR)[:, None], -(direction * placed[:, 3:6]).sum(-1, keepdim=True)
    cone = ((torch.where(linear, arc_cosine(cosine), cosine) - outer) / (inner - outer)).clamp(0, 1)
    fade = (1 - (squared / reach / reach).square()).clamp_min(0)
    falloff = (attenuation * torch.cat((torch.ones_like(distance), distance, squared), -1)).sum(-1, keepdim=True)
    part = torch.where(distant, 1, torch.where(linear, cone, cone.square()) * fade / falloff)
    distance = torch.where(distant, math.inf, distance)[:, 0]
    return _Lights(direction, row[:, :3], distance, lit.lamp_intensities[number] * part, torch.zeros_like(distance))


# ---- Paths ---------------------------------------------------------------------------------------------------------


def _emission(scene: _Scene, p: _Points, origins: Tensor, pdf: Tensor) -> Tensor:
    """The emission of surface points, weighted against the sampling of emitters from the origins.

    pdf: that of the direction that a path was continued in; 0 if emitters were not sampled.
    """
    share = torch.where(pdf > 0, _power(pdf, scene.emitter_pdf(origins, p)), 1)[:, None]
    return share * scene.emission(p)


def _environment(scene: _Scene, directions: Tensor, pdf: Tensor) -> Tensor:
    """The environment's radiance, weighted against its sampling; pdf: see `_emission`."""
    share = torch.where(pdf > 0, _power(pdf, scene.environment_pdf(directions)), 1)[:, None]
    return share * scene.radiance(directions)


def _trace(
    scene: _Scene, origins: Tensor, rays: Tensor, random: _Random, max_depth: int, first_surface: int = 0
) -> tuple[Tensor, ...]:
    """Radiance, alpha, depth, normal, albedo and transmittance of a path for each ray, which meets `first_surface`."""
    directions, carried = _unit(rays), torch.ones_like(rays)
    radiance, pdf, eta = torch.zeros_like(rays), rays.new_zeros(len(rays)), rays.new_ones(len(rays), 1)
    first: tuple[Tensor, ...] = tuple(rays.new_zeros(len(rays), count) for count in (1, 1, 3, 3))
    if not len(scene.corners):
        return radiance, *first, torch.ones_like(rays)
    everywhere = torch.ones(len(rays), dtype=torch.bool, device=rays.device)
    face, u, v, t, passed = _arrive(scene, origins, directions, random, 0, everywhere)
    carried = carried * passed
    weight, alive = scene.slide(face.clamp_min(0), u, v, origins, rays), face >= 0
    for surface in range(first_surface, max_depth):
        p = scene.points(face.clamp_min(0), weight, directions)
        materials, kinds = scene.materials(p)
        if surface == 0:
            first = _seen(p, materials, kinds, t / rays.norm(dim=-1), alive)
        radiance = radiance + torch.where(alive[:, None], carried * _emission(scene, p, origins, pdf), 0)
        if surface + 1 == max_depth or not alive.any():
            break
        way = _with_slope_of(t[:, None], _length(p.position - origins))
        carried = carried * absorbed(p, materials, kinds, way, alive)
        frame = _frames(p.normal)
        wi = -(frame * directions[:, None]).sum(-1)
        smooth = scene.smooth(p, materials, kinds)
        drawn = ~smooth if scene.groups else torch.zeros_like(smooth)
        if scene.groups:
            drawn_light = functools.partial(_sample_lights, scene, random=random, surface=surface)
            gathered = _receive(scene, p, materials, kinds, frame, wi, drawn_light)
            radiance = radiance + torch.where((alive & drawn)[:, None], carried * gathered, 0)
        wo = _draw_direction(scene, p, materials, kinds, wi, random, surface)
        onward = (frame * wo[..., None]).sum(1).detach()
        alive = alive & (wo[:, 2] != 0) & _same_side(p, onward, wo)
        onward = torch.where(alive[:, None], onward, directions.detach())
        origins = scene.origins(p, onward)
        face, u, v, t, passed = _arrive(scene, origins, onward, random, surface + 1, alive)
        # The direction moves with the points at its ends.
        spans, met = scene.positions_of(face.clamp_min(0), torch.stack((u, v, 1 - u - v), -1)) - origins, face >= 0
        directions = torch.where(met[:, None], _with_slope_of(onward, _unit(spans)), onward)
        turned = _with_slope_of(wo, (frame * directions[:, None]).sum(-1))
        worth, pdf = _worth(scene, p, materials, kinds, wi, turned)
        alive = alive & (worth.detach().amax(-1) > 0)
        pdf = torch.where(drawn, pdf, 0)
        carried = carried * torch.where(alive[:, None], worth, 1)
        eta = _index_passed(eta, materials, kinds, wi, wo, alive)
        if surface + 1 >= ROULETTE_DEPTH:
            alive, carried = _roulette(alive, carried, eta, random.of(surface, GROUP)[1])
        carried = carried * passed
        if scene.cube is not None:
            radiance = radiance + torch.where((alive & ~met)[:, None], carried * _environment(scene, onward, pdf), 0)
        alive, weight = alive & met, torch.stack((u, v, 1 - u - v), -1)
        moves = (alive & ~smooth)[:, None]
        carried = carried * torch.where(moves, scene.transfer(face.clamp_min(0), torch.where(moves, spans, 1)), 1)
    return radiance, *first, (1 - first[0]).expand_as(rays)


def _trace_through_media(
    scene: _Scene, origins: Tensor, rays: Tensor, random: _Random, max_depth: int
) -> tuple[Tensor, ...]:
    """The same, for paths whose segments may also end between surfaces. Geometry has no gradients here."""
    assert scene.space is not None
    space, scale = scene.space, 1 / rays.norm(dim=-1)
    directions, carried = _unit(rays), torch.ones_like(rays)
    radiance, pdf, eta = torch.zeros_like(rays), rays.new_zeros(len(rays)), rays.new_ones(len(rays), 1)
    alive = torch.ones(len(rays), dtype=torch.bool, device=rays.device)
    first: tuple[Tensor, ...] = ()
    way = torch.zeros_like(eta)  # from the previous surface, through collisions
    through, inside = torch.ones_like(rays), space.around(origins, directions)
    for segment in range(max_depth):
        flight = space.fly(origins, directions, random.pair(FIRST_FLIGHT + segment), carried, inside, alive)
        carried, inside = flight.carried, flight.inside
        alive = alive & (carried.detach().amax(-1) > 0)
        collides = flight.collides & alive
        hit = alive & (flight.face >= 0)
        past = alive & ~hit & ~collides
        if segment == 0:
            through = torch.where(past[:, None], carried, 0)
        elif scene.cube is not None:
            radiance = radiance + torch.where(past[:, None], carried * _environment(scene, directions, pdf), 0)
        weight = torch.stack((flight.u, flight.v, 1 - flight.u - flight.v), -1)
        p = scene.points(flight.face.clamp_min(0), weight, directions)
        materials, kinds = scene.materials(p)
        if segment == 0:
            distance = (flight.position - origins).norm(dim=-1, keepdim=True) * scale[:, None]
            collision = distance, torch.zeros_like(rays), space.albedo(flight.medium, flight.position)
            surface = _seen(p, materials, kinds, flight.t * scale, hit)[1:]
            first = tuple(torch.where(flight.collides[:, None], a, b) for a, b in zip(collision, surface, strict=True))
        radiance = radiance + torch.where(hit[:, None], carried * _emission(scene, p, origins, pdf), 0)
        alive = hit | collides
        if segment + 1 == max_depth or not alive.any():
            break
        flown = torch.where(collides, (flight.position - origins).norm(dim=-1), torch.where(hit, flight.t, 0))
        way = way + flown[:, None]
        carried = carried * absorbed(p, materials, kinds, way, hit)
        way = torch.where(collides[:, None], way, 0)
        frame = _frames(p.normal)
        wi = -(frame * directions[:, None]).sum(-1)
        smooth = scene.smooth(p, materials, kinds)
        if scene.groups:
            draw = functools.partial(_sample_lights, scene, random=random, surface=segment)
            gathered = _receive(scene, p, materials, kinds, frame, wi, draw, inside, hit & ~smooth)
            radiance = radiance + torch.where((hit & ~smooth)[:, None], carried * gathered, 0)
            gathered = _gather_in_media(scene, flight, directions, random, segment, collides)
            radiance = radiance + torch.where(collides[:, None], carried * gathered, 0)
        wo = _draw_direction(scene, p, materials, kinds, wi, random, segment)
        worth, pdf = _worth(scene, p, materials, kinds, wi, wo)
        onward = (frame * wo[..., None]).sum(1)
        scatters = hit & (wo[:, 2] != 0) & (worth.detach().amax(-1) > 0) & _same_side(p, onward, wo)
        along = (p.geometric * onward).sum(-1)
        inside = space.crossed(inside, flight.face, along, scatters & (along * p.side[:, 0] < 0))
        turned, chance, worth_of_turn = space.turned(flight.medium, _frames(directions), random.of(segment, DIRECTION))
        pdf = torch.where(collides, chance, torch.where(smooth, 0, pdf)) if scene.groups else torch.zeros_like(pdf)
        origins = torch.where(collides[:, None], flight.position, scene.origins(p, onward))
        onward = torch.where(collides[:, None], turned, onward)
        worth = torch.where(collides[:, None], worth_of_turn[:, None], worth)
        alive = scatters | collides
        directions = torch.where(alive[:, None], onward, directions)
        carried = carried * torch.where(alive[:, None], worth, 1)
        eta = _index_passed(eta, materials, kinds, wi, wo, scatters)
        if segment + 1 >= ROULETTE_DEPTH:
            alive, carried = _roulette(alive, carried, eta, random.of(segment, GROUP)[1])
    return radiance, 1 - through.mean(-1, keepdim=True), *first, through


def _index_passed(eta: Tensor, materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor, scatters: Tensor) -> Tensor:
    """The accumulated index of refraction [P, 1], multiplied by that across the surface where the path passes it."""
    across = (wi[:, 2:] * wo[:, 2:] < 0) & scatters[:, None] & scattering.refracts(materials, kinds)[:, None]
    return torch.where(across, eta * scattering.index_across(materials, wi), eta).detach()


def _roulette(alive: Tensor, carried: Tensor, eta: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Russian roulette: which paths survive [P], given random numbers, and their throughput [P, 3]."""
    chance = (carried.detach().amax(-1) * eta[:, 0] ** 2).clamp_max(MOST_SURVIVAL)
    alive = alive & (drawn < chance)
    return alive, carried / torch.where(alive, chance, 1)[:, None]


def absorbed(p: _Points, materials: Tensor, kinds: Tensor, way: Tensor, alive: Tensor) -> Tensor:
    """The fraction of light [P, 3] that remains after crossing the inside of a material to its surface."""
    inside = alive & (p.side[:, 0] < 0) & scattering.refracts(materials, kinds)
    return torch.where(inside[:, None], (-materials[:, 18:21] * way).exp(), 1)


def _arrive(
    scene: _Scene, origins: Tensor, directions: Tensor, random: _Random, surface: int, alive: Tensor
) -> tuple[Tensor, ...]:
    """The nearest surfaces at which segments end, in the form of `_Scene.meet`, and the paths' throughput there.

    A path passes a surface that is partly there with the probability that the surface is absent.
    """
    face, u, v, t = scene.meet(origins, directions)
    carried = torch.ones_like(t)
    going = alive & (face >= 0) & (not scene.opaque)
    for number in range(MOST_PASSES):
        if not going.any():
            break
        rows = going.nonzero()[:, 0]
        p = scene.points(face[rows], torch.stack((u, v, 1 - u - v), -1)[rows], directions[rows]).fixed()
        opacity = scene.opacity(p)[:, 0]
        chance = opacity.detach()
        blends = scene.lit.kinds[scene.materials_of[p.face], ALPHA_MODE] == BLEND
        if scene.darkest > 0:
            chance = torch.where(blends, chance.clamp(LEAST_CHANCE, 1 - LEAST_CHANCE), chance)
        draw = random.pair(FIRST_PASS + surface * MOST_PASSES + number)[0][rows]
        stays = torch.where(blends, draw < chance, chance > 0)
        weight = torch.where(stays, opacity / torch.where(stays, chance, 1), (1 - opacity) / (1 - chance * ~stays))
        carried = carried.index_put((rows,), carried[rows] * weight)
        rows, beyond = rows[~stays], scene.origins(p, directions[rows])[~stays].detach()
        going = torch.zeros_like(going).index_put((rows,), rows >= 0)
        if len(rows):
            found = scene.meet(beyond, directions[rows])
            before = t[rows]
            face, u, v, t = (a.index_put((rows,), b) for a, b in zip((face, u, v, t), found))
            t = t.index_put((rows,), before + t[rows])
            going = going & (face >= 0)
    return face, u, v, t, torch.where(going, 0, carried)[:, None]


def _passes(scene: _Scene, origins: Tensor, ends: Tensor, distant: Tensor) -> Tensor:
    """The transmittance [P, 1] between origins and ends, or along directions to distant lights."""
    part, rows, start = torch.ones_like(origins[:, :1]), torch.arange(len(origins), device=origins.device), origins
    for _ in range(1 if scene.opaque else MOST_PASSES):
        onward = torch.where(distant[rows, None], ends[rows], ends[rows] - start)
        face, u, v, _ = scene.meet(start, onward, torch.where(distant[rows], math.inf, 1.0).to(origins))
        met = (face >= 0).nonzero()[:, 0]
        rows = rows[met]
        if scene.opaque or not len(rows):
            return part.index_put((rows,), part.new_zeros(()))
        p = scene.points(face[met], torch.stack((u, v, 1 - u - v), -1)[met], onward[met]).fixed()
        rest = 1 - scene.opacity(p)
        part = part.index_put((rows,), part[rows] * rest)
        going = (rest[:, 0] > 0).nonzero()[:, 0]
        rows, start = rows[going], scene.origins(p, onward[met])[going]
    return part.index_put((rows,), part.new_zeros(()))


def _seen(p: _Points, materials: Tensor, kinds: Tensor, depth: Tensor, hit: Tensor) -> tuple[Tensor, ...]:
    mirror = scattering.fresnel_conductor(torch.ones_like(p.side), materials[:, :3], materials[:, 6:9])
    albedo = torch.where(kinds[:, :1] == CONDUCTOR, mirror, materials[:, :3]).detach()
    values = (torch.ones_like(depth)[:, None], depth[:, None], p.side * p.normal, albedo)
    return tuple(torch.where(hit[:, None], value, 0) for value in values)


def _receive(
    scene: _Scene,
    p: _Points,
    materials: Tensor,
    kinds: Tensor,
    frame: Tensor,
    wi: Tensor,
    light_from: Callable[[Tensor], _Lights],
    inside: Stack | None = None,
    asked: Tensor | None = None,
) -> Tensor:
    """Light from points [P, 3] that light_from(origins [P, 3]) samples; with media, only for the selected paths."""
    viewer = p.side * p.geometric
    origins = scene.origins(p, viewer)
    light = light_from(origins)
    behind = scene.transmits(p, materials, kinds) & ((light.direction * viewer).sum(-1) < 0)
    if behind.any():
        origins = torch.where(behind[:, None], scene.origins(p, -viewer), origins)
        light = light_from(origins)
    wo = (frame * light.direction[:, None]).sum(-1)
    value, chance = scene.bsdf(p, materials, kinds, wi, wo)
    arrives = ((chance > 0) & _same_side(p, light.direction, wo))[:, None]
    if inside is not None and asked is not None:
        assert scene.space is not None
        along = (p.geometric * light.direction).sum(-1)
        inside = scene.space.crossed(inside, p.face, along, along * p.side[:, 0] < 0)
        part = _through_media(scene, origins, light, inside, asked & arrives[:, 0])
    else:
        distant = light.distance == math.inf
        ends = torch.where(distant[:, None], light.direction, light.end)
        part = _passes(scene, origins.detach(), ends.detach(), distant)
    weight = torch.where(light.pdf > 0, _power(light.pdf, chance), 1)[:, None]
    return torch.where((part > 0) & arrives, part * weight * value * light.radiance, 0)


def _through_media(scene: _Scene, origins: Tensor, light: _Lights, inside: Stack, asked: Tensor) -> Tensor:
    """The transmittance of light samples [P, 3]."""
    assert scene.space is not None
    distant = light.distance == math.inf
    to_end = torch.where(distant[:, None], light.direction, light.end - origins)
    return scene.space.transmittance(origins, to_end, distant, inside, asked)


def _gather_in_media(
    scene: _Scene, flight: Flights, directions: Tensor, random: _Random, surface: int, asked: Tensor
) -> Tensor:
    """Light from sampled points of lights at collisions [P, 3]."""
    assert scene.space is not None
    light = _sample_lights(scene, flight.position, random, surface)
    value = scene.space.phase(flight.medium, (directions * light.direction).sum(-1))
    arriving = _through_media(scene, flight.position, light, flight.inside, asked)
    weight = torch.where(light.pdf > 0, _power(light.pdf, value.detach()), 1)
    return torch.where(asked[:, None], (weight * value)[:, None] * light.radiance * arriving, 0)


@torch.no_grad()
def _draw_direction(
    scene: _Scene, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, random: _Random, surface: int
) -> Tensor:
    number = torch.stack((random.of(surface, LOBE)[0], *random.of(surface, DIRECTION)), -1)
    return scene.sample(p, materials, kinds, wi, number)


def _worth(
    scene: _Scene, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor
) -> tuple[Tensor, Tensor]:
    """The weights of sampled directions, and their densities. Light from smooth materials does not depend on
    directions."""
    value, pdf = scene.bsdf(p, materials, kinds, wi, wo)
    smooth = scene.smooth(p, materials, kinds)[:, None]
    only = scattering.only_value(materials, kinds, wi.detach(), wo.detach())
    return torch.where(smooth, only, value / torch.where(pdf > 0, pdf, math.inf)[:, None]), pdf


def _same_side(p: _Points, directions: Tensor, local: Tensor) -> Tensor:
    return (p.geometric * directions).sum(-1) * local[:, 2] > 0


def _power(mine: Tensor, other: Tensor) -> Tensor:
    return mine**2 / (mine**2 + other**2)


def _length(a: Tensor) -> Tensor:
    """The length [P, 1]; 1 for a zero vector."""
    length = a.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, length, 1)


def _unit(a: Tensor) -> Tensor:
    return a / _length(a)


def _with_slope_of(value: Tensor, moving: Tensor) -> Tensor:
    """The value, with the derivatives of another number that equals it up to rounding."""
    return value.detach() + (moving - moving.detach())


def _frames(n: Tensor) -> Tensor:
    """Orthonormal frames [P, 3, 3] whose last row is the normal (Duff et al. 2017)."""
    x, y, z = n.unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(n)
    a = -1 / (sign + z)
    b = x * y * a
    tangent = torch.stack((1 + sign * x * x * a, sign * b, -sign * x), -1)
    return torch.stack((tangent, torch.stack((b, sign + y * y * a, -y), -1), n), 1)


def _on_cube(d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Face and coordinates of directions on a cube map."""
    x, y, z = d.unbind(-1)
    ax, ay, az = x.abs(), y.abs(), z.abs()
    axis = torch.where((az > ax) & (az > ay), 2, torch.where(ay > ax, 1, 0))
    along = torch.where(axis == 2, z, torch.where(axis == 1, y, x))
    sign = torch.where(along < 0, -1.0, 1.0).to(d)
    a = torch.where(axis == 0, -sign * z, torch.where(axis == 1, x, sign * x))
    b = torch.where(axis == 1, sign * z, -y)
    return 2 * axis + (along < 0), 0.5 * (a / along.abs() + 1), 0.5 * (b / along.abs() + 1)


def _from_cube(face: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Directions through points of a cube's faces, a and b from -1 to 1."""
    one, axis, sign = torch.ones_like(a), face // 2, (1 - 2 * (face % 2)).to(a)
    x = torch.where(axis == 0, sign * one, torch.where(axis == 1, a, sign * a))
    y = torch.where(axis == 1, sign * one, -b)
    z = torch.where(axis == 0, -sign * a, torch.where(axis == 1, sign * b, sign * one))
    return torch.stack((x, y, z), -1)
