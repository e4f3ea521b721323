"""Visibility gradients at the camera's outlines, for path-traced images.

Silhouettes are found exactly by the rasterizer (`lumigrad.outlines`) and integrated in closed form; paths estimate the
colours on their two sides. The image is unchanged.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.ops.light import trace_paths
from lumigrad.ops.surface import blend_outlines, edge_topology, outlines, rasterize
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Bvh, LitScene, Outlines, TracedPaths
from lumigrad.types.light import ALPHA_MODE

INWARDS = 1e-3  # offset from a silhouette towards the middle of its triangle, as a fraction of the way
IN_FRONT = 1e-4  # offset of rays' origins from the visible surface, as a fraction of the distance
NEAREST = 1e-3  # near plane, as a fraction of the far one, if surfaces reach the camera
SAME = 1e-4  # rounding differences of attributes of corners that are the same


def add_outlines(
    out: TracedPaths, scene: LitScene, camera: Camera, samples: int, max_depth: int | None, seed: int, bvh: Bvh
) -> TracedPaths:
    """The same values, with visibility gradients of radiance and alpha with respect to positions and the camera.

    Args:
        out: the results of paths through the pixels of the camera.
        samples: paths per pixel; all outlines together have as many paths as the image.
    """
    size = out.alpha.shape
    clip = _without_clipping(camera, scene.positions).project(scene.positions)
    with torch.no_grad():
        frags = rasterize(clip, scene.tri, (size[0], size[1]), derivatives=False)
        lines = outlines(clip, scene.tri, frags, _jumps(scene))
        if lines.pixel.shape[1] == 0:
            return out
        sides = _sides(lines, scene, camera, samples, max_depth, seed, bvh)
        color = torch.cat((sides, torch.zeros_like(sides)))[None]
        still = color.new_zeros(1, *size, 4)
    change = blend_outlines(still, color, lines, clip, scene.tri)[0]
    change = change - change.detach()
    return out._replace(
        radiance=out.radiance + change[..., :3],
        alpha=out.alpha + change[..., 3],
        through=out.through - change[..., 3:],
    )


def _without_clipping(camera: Camera, positions: Tensor) -> Camera:
    """The camera with clip planes behind and, if possible, in front of everything that it sees."""
    with torch.no_grad():
        matrix = camera.world_to_camera.to(positions)
        ahead = -(positions @ matrix[2, :3] + matrix[2, 3])
        far = 1.1 * float(ahead.abs().nan_to_num(0, 0, 0).max().clamp_min(1e-6))
        near = 0.9 * float(ahead[ahead > 0].min()) if bool((ahead > 0).all()) else 0.0
    return replace(camera, near=max(near, NEAREST * far), far=far)


def _jumps(scene: LitScene) -> Tensor:
    """The topology in which edges are also borders if the faces' appearance (normals, materials, ...) changes there."""
    tri, count = scene.tri.long(), len(scene.tri)
    with torch.no_grad():
        corners = scene.positions[tri].double()
        a, b, c = corners.unbind(1)
        flat = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-30)
        normals = flat[:, None].expand(-1, 3, -1) if scene.corner_normals is None else scene.corner_normals.double()
        kinds = scene.kinds.long()[scene.face_materials.long()]
        rest = [normals / SAME]
        textured = (kinds[:, 2:ALPHA_MODE] >= 0).any(-1)[:, None, None]
        for uvs in (scene.corner_uvs, scene.corner_second_uvs):
            if uvs is not None:
                rest.append(torch.where(textured, uvs.double() / SAME, 0))
        if scene.corner_colors is not None:
            rest.append(scene.corner_colors.double() / SAME)
        alike = [value.round() for value in rest]
        material = scene.face_materials.double()[:, None, None].expand(-1, 3, 1)
        key = torch.cat((corners, *alike, material), -1).reshape(3 * count, -1).nan_to_num()
        return edge_topology(torch.arange(3 * count, device=tri.device).reshape(count, 3), key)


def _sides(
    lines: Outlines, scene: LitScene, camera: Camera, samples: int, max_depth: int | None, seed: int, bvh: Bvh
) -> Tensor:
    """Radiance and alpha [2, S, 4] on both sides of pieces of outlines.

    All together have as many paths as the image. Creases between two visible faces may be many, and little changes
    across them: they share one half of the paths, and everything else the other half.
    """
    color = lines.place.new_zeros(2, lines.pixel.shape[1], 4)
    used = (lines.sides.tri[0, :2] >= 0).any(0) & (lines.pixel[0] >= 0) & (lines.length[0] > 0)
    crease = _are_creases(lines, scene)
    groups = [group for group in (used & crease, used & ~crease) if bool(group.any())]
    for group in groups:
        paths = max(samples * camera.size[0] * camera.size[1] // (2 * len(groups)), 1)
        pieces, counts, expected = _drawn(group.nonzero()[:, 0], lines, paths, seed)
        if len(pieces):
            sums = _looked_at(pieces, counts, lines, scene, camera, max_depth, seed, bvh)
            color[:, pieces] = sums / torch.where(expected >= 1, counts, expected)[:, None].to(sums)
    return color


def _drawn(pieces: Tensor, lines: Outlines, paths: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which pieces get paths, how many, and the expected number: by length, sampled systematically."""
    length = lines.length[0, pieces].double()
    expected = paths * length / length.sum()
    ends = (expected.cumsum(0) + (seed * 0x9E3779B97F4A7C15) % 2**64 / 2**64).floor().long()
    counts = ends.diff(prepend=ends.new_zeros(1))
    some = counts > 0
    return pieces[some], counts[some], expected[some]


def _are_creases(lines: Outlines, scene: LitScene) -> Tensor:
    """Whether pieces [S] belong to an edge whose two faces are visible on their two sides."""
    half_edge, sides = lines.line[0, :, 0].long().clamp_min(0), lines.sides.tri[0, :2].long()
    following = edge_topology(scene.tri, scene.positions).reshape(-1)[half_edge].long() // 2
    faces = torch.stack((half_edge, following)) // 3
    same = (sides == faces).all(0) | (sides == faces.flip(0)).all(0)
    return same & (lines.line[0, :, 1] == -1) & (lines.line[0, :, 0] >= 0)


def _looked_at(
    pieces: Tensor, counts: Tensor, lines: Outlines, scene: LitScene, camera: Camera, max_depth: int | None, seed: int,
    bvh: Bvh,
) -> Tensor:  # fmt: skip
    """Sums of radiance and alpha [2, P, 4] of some paths on both sides of each piece.

    Paths on both sides use the same random numbers, so that sides that look alike have the same noise.
    """
    tri, bary = lines.sides.tri[0, :2, pieces].long(), lines.sides.bary[0, :2, pieces]
    pixel = lines.pixel[0, pieces].long()
    corner = torch.stack((pixel % camera.size[1], pixel // camera.size[1]), -1) + 0.5
    # A strip of pixels: between two corners with the same ray lies one path.
    owner = torch.arange(len(pieces), device=pieces.device).repeat_interleave(counts + 1)
    own = owner[1:] == owner[:-1]
    sums = bary.new_zeros(2, len(pieces), 4)
    for k in range(2):
        at = (corner + lines.place[0, k, pieces]).to(camera.world_to_camera)
        origins = camera.rays(at).origins.to(bary)
        weight = torch.cat((bary[k], 1 - bary[k].sum(-1, keepdim=True)), -1)
        weight = (1 - INWARDS) * weight.clamp_min(0) + INWARDS / 3
        weight = weight / weight.sum(-1, keepdim=True)
        corners = scene.positions[scene.tri.long()[tri[k].clamp_min(0)]]
        directions = (weight[..., None] * corners).sum(1) - origins
        start = origins + (1 - IN_FRONT) * directions
        strip = start[owner].expand(2, -1, -1), directions[owner].expand(2, -1, -1)
        found = trace_paths(scene, *strip, 1, max_depth, seed, bvh=bvh)
        seen = torch.cat((found.radiance, found.alpha[..., None]), -1)[0]
        sums[k].index_add_(0, owner[1:][own], seen[own])
    return torch.where(tri[..., None] >= 0, sums, 0)
