"""Direct light, defined in plain PyTorch: one sample of all points at a time, every ray against every triangle."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from lumigrad.reference.light._trace_paths import (
    DARKEST,
    _emission,
    _environment,
    _frames,
    _lamps,
    _Lights,
    _Points,
    _receive,
    _same_side,
    _sample_emitters,
    _sample_surroundings,
    _Scene,
    _seen,
    _signed,
    _unit,
    _worth,
)
from lumigrad.types import Bvh, DirectLight, Hits, LitScene
from lumigrad.types.counters import mixed

EMITTER, TEXEL, MATERIAL, LOBE = range(4)
WORD = 2**32 - 1
STILL = ("positions", "corner_normals", "corner_uvs", "lamps", "rotation")  # without gradients


def direct_light(
    scene: LitScene,
    hits: Hits,
    directions: Tensor,
    samples: int = 16,
    reach: float = math.inf,
    seed: int = 0,
    gradient_seed: int | None = None,
    bvh: Bvh | None = None,
) -> DirectLight:
    """Arguments and result: `lumigrad.direct_light`."""
    other = seed + 2**62 if gradient_seed is None else gradient_seed
    shape, rays = hits.tri.shape, directions.detach().expand(*hits.tri.shape, 3).reshape(-1, 3)
    face, bary = hits.tri.reshape(-1).long(), hits.bary.detach().reshape(-1, 2)
    with torch.no_grad():
        found = _Direct(scene, 0.0, face, bary, rays, reach).light(samples, seed)
    if torch.is_grad_enabled():
        moving = _Direct(scene, DARKEST, face, bary, rays, reach).light(samples, other)[0]
        found = found[0] + (moving - moving.detach()), *found[1:]
    return DirectLight(*(value.reshape(*shape, 3) for value in found))


class _Direct:
    """Surface points and the light that reaches them."""

    def __init__(self, scene: LitScene, darkest: float, face: Tensor, bary: Tensor, rays: Tensor, reach: float) -> None:
        still = {name: value.detach() for name in STILL if (value := getattr(scene, name)) is not None}
        self.scene, self.reach, self.directions = _Scene(scene._replace(**still), darkest), reach, _unit(rays)
        self.scene.groups = 1  # no light has been selected out of several
        self.seen, self.any_triangle = face >= 0, len(scene.tri) > 0
        if self.any_triangle:
            bary = torch.where(self.seen[:, None], bary, 1 / 3)
            weight = torch.cat((bary, 1 - bary.sum(-1, keepdim=True)), -1)
            self.p = self.scene.points(face.clamp_min(0), weight, self.directions)
            self.materials, self.kinds = self.scene.materials(self.p)
            self.frame = _frames(self.p.normal)
            self.wi = -(self.frame * self.directions[:, None]).sum(-1)
            self.smooth = self.scene.smooth(self.p, self.materials, self.kinds)[:, None]

    def light(self, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Radiance, normal and albedo, each [P, 3]."""
        nothing = torch.zeros_like(self.directions)
        if not self.any_triangle:
            return nothing, nothing, nothing
        depth = nothing[:, 0]
        _, _, normal, albedo = _seen(self.p, self.materials, self.kinds, depth, self.seen)
        total = self.scene.emission(self.p)
        for lamp in range(self.scene.lamp_count):
            number = torch.full_like(self.p.face, lamp)
            total = total + self._received(functools.partial(_lamps, self.scene, number=number))
        if len(self.scene.emitters) or self.scene.cube is not None:
            for sample in range(samples):
                random = _EvenRandom(seed, len(depth), sample, nothing)
                total = total + (self._drawn(random) + self._followed(random)) / samples
        return torch.where(self.seen[:, None], total, 0), normal, albedo

    def _received(self, light_from: functools.partial[_Lights]) -> Tensor:
        found = _receive(self.scene, self.p, self.materials, self.kinds, self.frame, self.wi, light_from)
        return torch.where(self.smooth, 0, found)

    def _drawn(self, random: _EvenRandom) -> Tensor:
        """Light from directions sampled from the lights."""
        total, scene = torch.zeros_like(self.directions), self.scene
        if len(scene.emitters):
            choice = random.pair(EMITTER)
            place = _rest_within(scene.emitter_sums, choice[0]), choice[1]
            total = total + self._received(functools.partial(_sample_emitters, scene, choice=choice, place=place))
        if scene.cube is not None:
            choice = random.pair(TEXEL)
            row = _interval(scene.row_sums.expand(len(choice[0]), -1).contiguous(), choice[0])
            place = _rest_within(scene.texel_sums[row], choice[1]), _rest_within(scene.row_sums, choice[0])
            total = total + self._received(functools.partial(self._near, choice=choice, place=place))
        return total

    def _near(self, origins: Tensor, choice: tuple[Tensor, Tensor], place: tuple[Tensor, Tensor]) -> _Lights:
        """The environment, at the end of the reach."""
        light = _sample_surroundings(self.scene, origins, choice, place)
        if self.reach == math.inf:
            return light
        end = origins + self.reach * light.direction
        return light._replace(end=end, distance=torch.full_like(light.distance, self.reach))

    def _followed(self, random: _EvenRandom) -> Tensor:
        """The light from a direction sampled from the material."""
        scene = self.scene
        number = torch.stack((random.pair(LOBE)[0], *random.pair(MATERIAL)), -1)
        with torch.no_grad():
            wo = scene.sample(self.p, self.materials, self.kinds, self.wi, number)
        weight, pdf = _worth(scene, self.p, self.materials, self.kinds, self.wi, wo)
        onward = (self.frame * wo[..., None]).sum(1)
        alive = (wo[:, 2] != 0) & (weight.detach().amax(-1) > 0) & _same_side(self.p, onward, wo)
        pdf = torch.where(self.smooth[:, 0], 0, pdf)
        onward = torch.where(alive[:, None], onward, self.directions)
        origins = scene.origins(self.p, onward)
        face, u, v, t = scene.meet(origins, onward)
        q: _Points = scene.points(face.clamp_min(0), torch.stack((u, v, 1 - u - v), -1), onward)
        total = torch.where((face >= 0)[:, None], _emission(scene, q, origins, pdf), 0)
        if scene.cube is not None:
            escapes = (face < 0) | ~(t < self.reach)
            total = total + torch.where(escapes[:, None], _environment(scene, onward, pdf), 0)
        return torch.where(alive[:, None], weight * total, 0)


def _interval(sums: Tensor, number: Tensor) -> Tensor:
    """The interval of [..., N + 1] that contains each number [P]."""
    return torch.searchsorted(sums, number[:, None], right=True)[:, 0].clamp(1, sums.shape[-1] - 1) - 1


def _rest_within(sums: Tensor, number: Tensor) -> Tensor:
    """The positions within these intervals."""
    sums = sums.expand(len(number), -1).contiguous()
    low = _interval(sums, number)[:, None]
    begin, end = (sums.gather(1, low + k)[:, 0] for k in range(2))
    rest = (number - begin) / torch.where(end > begin, end - begin, 1)
    return torch.where(end > begin, rest, 0.5).clamp(0, 1 - 2**-24)


class _EvenRandom:
    """Sobol's sequence in two dimensions, randomly shuffled and scrambled for each point (Burley 2020)."""

    def __init__(self, seed: int, points: int, sample: int, like: Tensor) -> None:
        first = mixed(torch.tensor(_signed(seed), device=like.device))
        self.key = mixed(first + torch.arange(points, device=like.device))
        self.sample, self.dtype = sample, like.dtype

    def pair(self, draw: int) -> tuple[Tensor, Tensor]:
        order, digits = (mixed(self.key + _signed((2 * draw + k) * 0x9E3779B97F4A7C15)) for k in range(2))
        first = _permuted(_reversed(torch.full_like(order, self.sample)), order & WORD)
        second, index, way = torch.zeros_like(first), _reversed(first), 1 << 31
        while index.any():
            second = torch.where(index & 1 == 1, second ^ way, second)
            index, way = index >> 1, way ^ way >> 1
        return self._fraction(first ^ digits), self._fraction(second ^ digits >> 32)

    def _fraction(self, bits: Tensor) -> Tensor:
        return (bits >> 8 & 0xFFFFFF).to(self.dtype) / 2**24


def _permuted(number: Tensor, key: Tensor) -> Tensor:
    """Bits that depend on the key and on lower bits (Laine and Karras 2011)."""
    number = number + key & WORD
    for factor in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        number = number ^ (number * factor & WORD)
    return number


def _reversed(bits: Tensor) -> Tensor:
    """The 32 bits in reverse order."""
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        bits = (bits & mask) << shift | bits >> shift & mask
    return bits
