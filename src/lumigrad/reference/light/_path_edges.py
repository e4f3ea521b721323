"""Visibility gradients of light paths at the edges of surfaces, defined in plain PyTorch.

Estimates the integral stated in ``native/light/path_edges.h``, with the same random numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.light import _bsdf as scattering
from lumigrad.reference.light._edges import Edges
from lumigrad.reference.light._trace_paths import (
    MOST_SURVIVAL,
    ROULETTE_DEPTH,
    _between,
    _frames,
    _Points,
    _power,
    _Random,
    _same_side,
    _Scene,
    _trace,
    _unit,
    absorbed,
)
from lumigrad.types import LitScene

CANDIDATES = 32  # candidate points of edges for each surface of a path
DRAWS, TO_LIGHTS = 256, 128
STRATUM, SIDE, ONWARD, ONWARD_LOBE = range(120, 124)
TOUCHING, BESIDE = 1e-4, 1e-6
EDGE_SALT, ONWARD_SALT = 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1


def path_edges(
    scene: LitScene, origins: Tensor, directions: Tensor, samples: int, max_depth: int, seed: int, edges: Edges,
    candidates: int = CANDIDATES,
) -> Tensor:  # fmt: skip
    """Zeros [H, W, 3] with the gradients of visibility at edges, with respect to positions and rays."""
    height, width = directions.shape[0] - 1, directions.shape[1] - 1
    pixels = torch.arange(height * width, device=directions.device)
    total = directions.new_zeros(height * width, 3)
    for sample in range(samples if len(edges.ends) else 0):
        random = _Random(seed ^ EDGE_SALT, pixels, sample, directions.dtype)
        onward = _Random(seed ^ ONWARD_SALT, pixels, sample, directions.dtype)
        rays = tuple(_between(corners, *random.pair(0)) for corners in (origins, directions))
        total = total + _PathEdges(scene, edges, candidates, max_depth, random, onward).run(*rays)
    return (total / max(samples, 1)).reshape(height, width, 3)


class _View(NamedTuple):
    """Surfaces from which edges are seen."""

    points: _Points
    materials: Tensor
    kinds: Tensor
    frame: Tensor
    wi: Tensor
    origin: Tensor
    surface: int

    def reflected(self, directions: Tensor) -> Tensor:
        wo = (self.frame * directions[:, None]).sum(-1)
        value = scattering.bsdf(self.materials, self.kinds, self.wi, wo)[0]
        return torch.where(_same_side(self.points, directions, wo)[:, None], value, 0)


class _Silhouettes(NamedTuple):
    """Edges as seen from points: their ends, and normals of the planes through them, away from their surfaces."""

    a: Tensor
    b: Tensor
    plane: Tensor
    valid: Tensor

    def at(self, s: Tensor) -> Tensor:
        return (1 - s[:, None]) * self.a + s[:, None] * self.b


class _Drawn(NamedTuple):
    """Points of edges. face: the emitter in front of which they were sampled, or -1."""

    edge: Tensor
    face: Tensor
    s: Tensor
    worth: Tensor


class _PathEdges:
    def __init__(
        self, scene: LitScene, edges: Edges, candidates: int, max_depth: int, random: _Random, onward: _Random
    ) -> None:  # fmt: skip
        self.lit, self.scene, self.edges = scene, _Scene(scene, 0.0), edges
        self.candidates, self.max_depth, self.random, self.onward = candidates, max_depth, random, onward
        self.near = 64 * torch.finfo(scene.positions.dtype).eps * float(self.scene.corners.detach().abs().amax())

    def run(self, origins: Tensor, rays: Tensor) -> Tensor:
        scene, moving_rays = self.scene, (origins, rays)
        with torch.no_grad():
            at, directions = origins.detach(), _unit(rays.detach())
            carried, eta = torch.ones_like(at), at.new_ones(len(at), 1)
            alive = torch.ones(len(at), dtype=torch.bool, device=at.device)
        total = torch.zeros_like(at)
        for surface in range(self.max_depth - 1):
            with torch.no_grad():
                face, u, v, t = scene.meet(at, directions)
                alive = alive & (face >= 0)
                if not alive.any():
                    break
                weight = torch.stack((u, v, 1 - u - v), -1)
                p = scene.points(face.clamp_min(0), weight, directions)
                materials, kinds = scene.materials(p)
                carried = carried * absorbed(p, materials, kinds, t[:, None], alive)
                frame = _frames(p.normal)
                view = _View(p, materials, kinds, frame, -(frame * directions[:, None]).sum(-1), at, surface)
                seeing = alive & ~scattering.smooth(materials, kinds)
                seeing = seeing & (self.draw(surface, SIDE)[1] * (surface + 1) < 1)  # later ones less often
            found = self.look_around(view, (surface + 1) * carried, moving_rays)
            total = total + torch.where(seeing[:, None], found, 0)
            with torch.no_grad():
                lobe, place = (self.draw(surface, what) for what in (ONWARD_LOBE, ONWARD))
                wo, weight, _ = scattering.sample_bsdf(materials, kinds, view.wi, torch.stack((lobe[0], *place), -1))
                onward = (frame * wo[..., None]).sum(1)
                alive = alive & (wo[:, 2] != 0) & _same_side(p, onward, wo)
                carried = carried * weight
                through = (view.wi[:, 2:] * wo[:, 2:] < 0) & scattering.refracts(materials, kinds)[:, None]
                eta = torch.where(through, eta * scattering.index_across(materials, view.wi), eta)
                chance = carried.amax(-1)
                alive = alive & (chance > 0)
                if surface + 1 >= ROULETTE_DEPTH:
                    chance = (chance * eta[:, 0] ** 2).clamp_max(MOST_SURVIVAL)
                    alive = alive & (lobe[1] < chance)
                    carried = carried / torch.where(alive, chance, 1)[:, None]
                at, directions = scene.origins(p, onward), torch.where(alive[:, None], onward, directions)
        return total - total.detach()

    def draw(self, surface: int, what: int) -> tuple[Tensor, Tensor]:
        return self.random.pair(1 + surface * DRAWS + what)

    def look_around(self, view: _View, carried: Tensor, rays: tuple[Tensor, Tensor]) -> Tensor:
        p = view.points
        with torch.no_grad():
            glass = scattering.transmits(view.materials, view.kinds)
            behind = glass & (self.draw(view.surface, SIDE)[0] < 0.5)
            carried = torch.where(glass[:, None], 2 * carried, carried)
            viewer = torch.where(behind[:, None], -p.side, p.side) * p.geometric
            view = view._replace(origin=self.scene.origins(p, viewer))
        moved = self.moved_origin(view, behind, rays)
        from_others = view.surface + 2 < self.max_depth or self.scene.cube is not None
        total = torch.zeros_like(carried)
        if len(self.scene.emitters):
            total = total + self.seen_past(view, carried, moved, True, not from_others)
        if from_others:
            total = total + self.seen_past(view, carried, moved, False, False)
        return total

    def moved_origin(self, view: _View, behind: Tensor, rays: tuple[Tensor, Tensor]) -> Tensor:
        """The moving origins of a view's rays: the first point moves with the ray, others with their triangles."""
        p, weight = view.points, view.points.weight
        if view.surface == 0:
            weight = self.scene.slide(p.face, weight[:, 0], weight[:, 1], *rays)
        towards = torch.where(behind[:, None], -p.side, p.side) * p.geometric
        return self.scene.origins(self.scene.points(p.face, weight, -p.side * p.geometric), towards)

    # ---- Sampling points of edges ----

    def silhouettes(self, view: _View, edge: Tensor) -> _Silhouettes:
        shape = self.edges.shapes[edge]
        a, b = shape[:, :3] - view.origin, shape[:, 3:6] - view.origin
        first, second = -(shape[:, 6:9] * a).sum(-1), -(shape[:, 9:12] * a).sum(-1)
        valid = ((first > self.near) & (second < -self.near)) | ((first < -self.near) & (second > self.near))
        plane = torch.linalg.cross(a, b) * torch.where(first < 0, -1.0, 1.0).to(a)[:, None]
        return _Silhouettes(a, b, plane, valid & ((plane * plane).sum(-1) > 0))

    def choose(self, view: _View, to_lights: bool) -> _Drawn:
        edges, scene, first = self.edges, self.scene, TO_LIGHTS if to_lights else 0
        each = len(edges.ends) <= self.candidates
        count = len(edges.ends) if each else self.candidates
        stratum = self.draw(view.surface, first + STRATUM)[0]
        total = torch.zeros_like(stratum)
        none = torch.full_like(stratum, -1, dtype=torch.long)
        kept, target_kept = _Drawn(none, none, total, total), total
        for i in range(count):
            edge = torch.full_like(none, i)
            density = torch.ones_like(stratum)
            if not each:
                edge = _interval(edges.sums, (i + stratum) / count)
                density = count * edges.sums.diff()[edge]
            silhouettes, face, part = (
                self.silhouettes(view, edge),
                none,
                (torch.zeros_like(total), torch.ones_like(total)),
            )
            place, choice = (self.draw(view.surface, first + 2 * i + k) for k in range(2))
            if to_lights:
                number = _interval(scene.emitter_sums, place[1])
                face = scene.emitters[number].long()
                density = density * scene.emitter_sums.diff()[number]
                part = _part_before(silhouettes, scene.corners[face] - view.origin[:, None])
            angles = _EqualAngles(silhouettes, part)
            s = angles.draw(place[0])
            target = self.target(view, silhouettes, s)
            worth = target / (density * angles.pdf(s))
            worth = torch.where(silhouettes.valid & angles.valid & worth.isfinite(), worth, 0)
            total = total + worth
            taken = choice[0] * total < worth
            kept = _Drawn(*(torch.where(taken, new, old) for new, old in zip((edge, face, s, s), kept, strict=True)))
            target_kept = torch.where(taken, target, target_kept)
        share = edges.shapes[kept.edge.clamp_min(0), 12]
        return kept._replace(worth=torch.where(kept.edge >= 0, share * total / target_kept, 0))

    def target(self, view: _View, silhouettes: _Silhouettes, s: Tensor) -> Tensor:
        y = silhouettes.at(s)
        r = y.norm(dim=-1)
        return view.reflected(y / r[:, None]).mean(-1) * silhouettes.plane.norm(dim=-1) / r**3

    def preference(self, view: _View, silhouettes: _Silhouettes, s: Tensor, face: Tensor) -> Tensor:
        """How much more likely points of edges in front of emitting triangles are chosen than others."""
        scene = self.scene
        number = scene.numbers[face].long()
        part = _EqualAngles(silhouettes, _part_before(silhouettes, scene.corners[face] - view.origin[:, None]))
        whole = _EqualAngles(silhouettes, (torch.zeros_like(s), torch.ones_like(s)))
        found = scene.emitter_sums.diff()[number.clamp_min(0)] * part.pdf(s) / whole.pdf(s)
        return torch.where((number >= 0) & part.valid, found, 0)

    # ---- Contributions of points of edges ----

    def seen_past(self, view: _View, carried: Tensor, moved: Tensor, to_lights: bool, only: bool) -> Tensor:
        scene = self.scene
        with torch.no_grad():
            drawn = self.choose(view, to_lights)
            silhouettes = self.silhouettes(view, drawn.edge.clamp_min(0))
            y, n = silhouettes.at(drawn.s), _unit(silhouettes.plane)
            r = y.norm(dim=-1)
            beside = _unit(y + (self.near + BESIDE * r)[:, None] * n)
            face, u, v, t = scene.meet(view.origin, beside)
            hit = face >= 0
            seen = (drawn.edge >= 0) & ~(hit & (t <= r * (1 + TOUCHING) + self.near))
            if to_lights:
                seen = seen & (face == drawn.face)
            light = self.light_beside(view, silhouettes, drawn, (face, u, v), beside, to_lights, only)
            worth = carried * view.reflected(y / r[:, None]) * light * drawn.worth[:, None]
            turn = (silhouettes.plane.norm(dim=-1) / r**2)[:, None] * n
            weight = torch.stack((u, v, 1 - u - v), -1)
        ends = self.lit.positions[self.edges.ends[drawn.edge.clamp_min(0)].long()]
        edge_point = (1 - drawn.s[:, None]) * ends[:, 0] + drawn.s[:, None] * ends[:, 1]
        background = scene.positions_of(face.clamp_min(0), weight)
        speed = ((edge_point - moved) * turn).sum(-1) / r
        speed = speed - torch.where(hit, ((background - moved) * turn).sum(-1) / torch.where(hit, t, 1), 0)
        return torch.where(seen[:, None], -worth * speed[:, None], 0)

    def light_beside(
        self, view: _View, silhouettes: _Silhouettes, drawn: _Drawn, hits: tuple[Tensor, Tensor, Tensor],
        directions: Tensor, to_lights: bool, only: bool,
    ) -> Tensor:  # fmt: skip
        face, u, v = hits
        z = self.scene.points(face.clamp_min(0), torch.stack((u, v, 1 - u - v), -1), directions)
        emitted = torch.where((face >= 0)[:, None], self.scene.emission(z), 0)
        preferred = torch.zeros_like(u)
        if not only and len(self.scene.emitters):
            preferred = self.preference(view, silhouettes, drawn.s, z.face)
            preferred = torch.where(emitted.amax(-1) > 0, preferred, 0)
        if to_lights:
            return emitted if only else _power(preferred, torch.ones_like(u))[:, None] * emitted
        beyond = _trace(self.scene, view.origin, directions, self.onward, self.max_depth, view.surface + 1)[0]
        if self.scene.cube is not None:
            beyond = torch.where((face < 0)[:, None], self.scene.radiance(directions), beyond)
        return beyond - _power(preferred, torch.ones_like(u))[:, None] * emitted


class _EqualAngles:
    """Samples points of parts of edges, uniformly in the angle under which they are seen."""

    def __init__(self, silhouettes: _Silhouettes, part: tuple[Tensor, Tensor]) -> None:
        along = silhouettes.b - silhouettes.a
        self.length = along.norm(dim=-1)
        self.start = (silhouettes.a * along).sum(-1) / self.length
        self.distance = silhouettes.plane.norm(dim=-1) / self.length
        self.part = part
        self.low, self.high = (torch.atan((self.start + s * self.length) / self.distance) for s in part)
        self.valid = (self.high > self.low) & (self.distance > 0)

    def draw(self, u: Tensor) -> Tensor:
        along = self.distance * torch.tan(self.low + u * (self.high - self.low))
        return torch.minimum(torch.maximum((along - self.start) / self.length, self.part[0]), self.part[1])

    def pdf(self, s: Tensor) -> Tensor:
        along = self.start + s * self.length
        return self.distance * self.length / ((self.high - self.low) * (self.distance**2 + along**2))


def _interval(sums: Tensor, u: Tensor) -> Tensor:
    return torch.searchsorted(sums, u.contiguous(), right=True).clamp(1, len(sums) - 1) - 1


def _part_before(silhouettes: _Silhouettes, v: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of edges [P] in front of triangles [P, 3, 3], as ranges of s; empty if both ends are the same."""
    a, b = silhouettes.a, silhouettes.b
    h = (v * silhouettes.plane[:, None]).sum(-1)
    below = h < 0
    lonely = (below != below.roll(-1, 1)) & (below != below.roll(1, 1))
    row, alone = torch.arange(len(h), device=h.device), lonely.long().argmax(1)
    m = torch.linalg.cross(a, b)
    scale = 1 / (m * m).sum(-1)
    ends = []
    for other in ((alone + 1) % 3, (alone + 2) % 3):
        t = (h[row, alone] / (h[row, alone] - h[row, other]))[:, None]
        w = (1 - t) * v[row, alone] + t * v[row, other]
        ends.append((
            scale * (torch.linalg.cross(w, b) * m).sum(-1),
            scale * (torch.linalg.cross(a, w) * m).sum(-1),
        ))  # fmt: skip
    (p_a, p_b), (q_a, q_b) = ends
    low, high = torch.zeros_like(p_a), torch.ones_like(p_a)
    nearest = 1 + TOUCHING
    for first, second in ((p_a, q_a), (p_b, q_b), (p_a + p_b - nearest, q_a + q_b - nearest)):
        zero = first / (first - second)
        low = torch.where((first < 0) & (second > 0), torch.maximum(low, zero), low)
        high = torch.where((first > 0) & (second < 0), torch.minimum(high, zero), high)
        high = torch.where((first <= 0) & (second <= 0), low, high)
    found = []
    for t in (low, high):
        of_a, of_b = (1 - t) * p_a + t * q_a, (1 - t) * p_b + t * q_b
        found.append((of_b / (of_a + of_b)).clamp(0, 1))
    empty = ~lonely.any(1) | ~(low < high)
    start, end = (torch.where(empty, 0, f(*found)) for f in (torch.minimum, torch.maximum))
    return start, end
