"""Path tracing with materials written in Python.

Kernels cannot call Python, so paths are followed here by the definition in plain PyTorch, all pixels at a time, with
`lumigrad.trace` for intersections. It is slower by one to two orders of magnitude, and autograd keeps every surface of
every path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lumigrad.ops.light._trace_paths import check_corner_rays, check_scene, check_seeds
from lumigrad.ops.ray import build_bvh, trace
from lumigrad.reference.light._trace_paths import _Points, _Scene, images_of
from lumigrad.types import Bvh, LitScene, TracedPaths
from lumigrad.types import validation as check
from lumigrad.types.light import MAX_DEPTH
from lumigrad.types.shapes import Float, Int


class BsdfPoints(NamedTuple):
    """Points of surfaces at which a BSDF is asked for.

    Attributes:
        position: [P, 3], in the world.
        normal: shading normals [P, 3], the z axis of the frame that directions are given in.
        uv: texture coordinates [P, 2], or None where the scene has none.
        face: the triangles [P].
    """

    position: Float[Tensor, "points 3"]
    normal: Float[Tensor, "points 3"]
    uv: Float[Tensor, "points 2"] | None
    face: Int[Tensor, " points"]


class Bsdf(Protocol):
    """What a material does with light, in the frame of the surface, whose normal is +z.

    Directions are unit vectors [P, 3] that point away from the surface: wi to where light is sent, wo to where it comes
    from. Materials with an attribute `transmits` that is true are lit from both sides.
    """

    def value(self, points: BsdfPoints, wi: Tensor, wo: Tensor) -> Tensor:
        """f(wi, wo) |cos wo| [P, 3]. Gradients flow through it."""

    def pdf(self, points: BsdfPoints, wi: Tensor, wo: Tensor) -> Tensor:
        """With which `sample` draws wo, per solid angle [P]. Not 0 where the value is not."""

    def sample(self, points: BsdfPoints, wi: Tensor, numbers: Tensor) -> Tensor:
        """Directions wo [P, 3] by random numbers [P, 3] in [0, 1); zero where nothing is sent."""


def trace_paths_with(
    bsdfs: Mapping[int, Bsdf],
    scene: LitScene,
    origins: Float[Tensor, "rows columns 3"],
    directions: Float[Tensor, "rows columns 3"],
    samples: int = 16,
    max_depth: int | None = 6,
    seed: int = 0,
    gradient_seed: int | None = None,
    bvh: Bvh | None = None,
) -> TracedPaths:
    """`lumigrad.trace_paths` with BSDFs in Python instead of some materials.

    Args:
        bsdfs: by the numbers of materials, the rows of `scene.materials`. These still emit and are partly there.
        scene, origins, directions, samples, max_depth, seed, gradient_seed, bvh: see `lumigrad.trace_paths`.

    Returns:
        TracedPaths. Gradients reach whatever the BSDFs compute their values with, and all that `trace_paths` has
        gradients to, but for what edges cover and uncover.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers.
        NotImplementedError: media.

    >>> import torch
    >>> from lumigrad.render import lit_scene, trace_paths_with
    >>> from lumigrad.render.path import corner_rays
    >>> from lumigrad.scene import AmbientLight, PerspectiveCamera, icosphere
    >>> class Matt:
    ...     def value(self, points, wi, wo):
    ...         return (0.5 / torch.pi * wo[:, 2:].clamp_min(0)).expand(-1, 3)
    ...     def pdf(self, points, wi, wo):
    ...         return wo[:, 2].clamp_min(0) / torch.pi
    ...     def sample(self, points, wi, numbers):
    ...         radius, turn = numbers[:, 0].sqrt(), 2 * torch.pi * numbers[:, 1]
    ...         return torch.stack((radius * turn.cos(), radius * turn.sin(), (1 - numbers[:, 0]).sqrt()), -1)
    >>> scene = lit_scene([icosphere(2)], [AmbientLight()])
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=20.0, size=(1, 1))
    >>> out = trace_paths_with({0: Matt()}, scene, *corner_rays(camera, scene.positions), samples=64)
    >>> round(out.radiance[0, 0, 0].item(), 1)  # a white sky, reflected by one half
    0.5
    """
    scene = check_scene(scene)
    if scene.media is not None:
        raise NotImplementedError("scene.media: expected None; BSDFs in Python do not see media yet")
    for number in bsdfs:
        check.integer("bsdfs", number, 0, len(scene.materials) - 1)
    origins, directions = check_corner_rays(origins, directions, scene.positions)
    depth = MAX_DEPTH if max_depth is None else check.integer("max_depth", max_depth, 1, MAX_DEPTH)
    samples = check.integer("samples", samples, 1)
    tree = build_bvh(scene.positions.detach(), scene.tri) if bvh is None else bvh
    seed, other = check_seeds(seed, gradient_seed)
    return images_of(
        lambda darkest: _OwnScene(scene, darkest, bsdfs, tree), origins, directions, samples, depth, seed, other
    )


class _OwnScene(_Scene):
    def __init__(self, scene: LitScene, darkest: float, bsdfs: Mapping[int, Bsdf], bvh: Bvh) -> None:
        super().__init__(scene, darkest)
        self.bsdfs, self.bvh = bsdfs, bvh

    @torch.no_grad()
    def meet(self, origins: Tensor, directions: Tensor, t_max: Tensor | float = math.inf) -> tuple[Tensor, ...]:
        hits = trace(origins, directions, self.positions, self.lit.tri, self.bvh, t_max=t_max)
        found = hits.tri >= 0
        u, v = (torch.where(found, hits.bary[:, k], 1 / 3) for k in range(2))
        return hits.tri.long(), u, v, torch.where(found, hits.t, 0)

    def smooth(self, p: _Points, materials: Tensor, kinds: Tensor) -> Tensor:
        smooth = super().smooth(p, materials, kinds)
        for _, rows, _ in self._own(p):
            smooth = smooth.index_put((rows,), smooth.new_zeros(()))
        return smooth

    def transmits(self, p: _Points, materials: Tensor, kinds: Tensor) -> Tensor:
        through = super().transmits(p, materials, kinds)
        for bsdf, rows, _ in self._own(p):
            through = through.index_put((rows,), through.new_tensor(bool(getattr(bsdf, "transmits", False))))
        return through

    def bsdf(self, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
        value, pdf = super().bsdf(p, materials, kinds, wi, wo)
        for bsdf, rows, points in self._own(p):
            i, o = wi[rows], wo[rows]
            drawn = (o != 0).any(-1)  # unless no light was scattered
            value = value.index_put((rows,), torch.where(drawn[:, None], bsdf.value(points, i, o), 0))
            pdf = pdf.index_put((rows,), torch.where(drawn, bsdf.pdf(points, i, o), 0).detach())
        return value, pdf

    def sample(self, p: _Points, materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> Tensor:
        wo = super().sample(p, materials, kinds, wi, numbers)
        for bsdf, rows, points in self._own(p):
            wo = wo.index_put((rows,), bsdf.sample(points, wi[rows], numbers[rows]))
        return wo

    def _own(self, p: _Points) -> list[tuple[Bsdf, Tensor, BsdfPoints]]:
        """Each BSDF, with the points [K] that have it."""
        found = []
        for number, bsdf in self.bsdfs.items():
            rows = (self.materials_of[p.face] == number).nonzero()[:, 0]
            if len(rows):
                uv = None if p.uv is None else p.uv[rows]
                found.append((bsdf, rows, BsdfPoints(p.position[rows], p.normal[rows], uv, p.face[rows])))
        return found
