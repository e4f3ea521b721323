"""A texture atlas for any mesh: charts of similar orientation, projected flat and packed in shelves."""

from __future__ import annotations

import collections
import heapq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumigrad.fit._arguments import check_surface
from lumigrad.ops.surface import interpolate, rasterize
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.validation import integer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _face_neighbours(faces: Ints) -> list[list[int]]:
    """Faces that share an edge, for every face."""
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    neighbours: list[list[int]] = [[] for _ in range(len(faces))]
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    for one, two in zip(order[same] // 3, order[same + 1] // 3, strict=True):
        neighbours[one].append(int(two))
        neighbours[two].append(int(one))
    return neighbours


def _grow(
    seed: int, normals: Floats, areas: Floats, neighbours: list[list[int]], free: NDArray[np.bool_], min_cosine: float
) -> Ints:
    """A connected chart around `seed`; the cosine of each face's normal with the mean one is at least `min_cosine`."""
    axis = normals[seed] * areas[seed]
    chart = [seed]
    free[seed] = False
    queue = [(0.0, n) for n in neighbours[seed] if free[n]]
    heapq.heapify(queue)
    while queue:
        _, face = heapq.heappop(queue)
        if not free[face]:
            continue
        mean = axis / max(float(np.linalg.norm(axis)), 1e-30)
        if float(mean @ normals[face]) < min_cosine:
            continue
        free[face] = False
        chart.append(face)
        axis = axis + normals[face] * areas[face]
        for n in neighbours[face]:
            if free[n]:
                heapq.heappush(queue, (1.0 - float(mean @ normals[n]), n))
    return np.array(chart)


def _charts(points: Floats, faces: Ints, min_cosine: float = 0.7) -> list[Ints]:
    """Partition the faces into charts; each projects along its mean normal without turning a face over."""
    corners = points[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.maximum(np.linalg.norm(cross, axis=1), 1e-30)
    normals = cross / areas[:, None]
    neighbours = _face_neighbours(faces)
    free = np.ones(len(faces), dtype=bool)
    charts = []
    # Start from faces that look along an axis: their charts grow large and leave only small gaps between them.
    seeds = collections.deque(np.argsort(-np.abs(normals).max(1), kind="stable").tolist())
    while seeds:
        seed = seeds.popleft()
        if not free[seed]:
            continue
        chart = _grow(seed, normals, areas, neighbours, free, min_cosine)
        # The mean normal has moved while the chart grew: release faces that no longer agree with it, but never the
        # seed.
        axis = (normals[chart] * areas[chart, None]).sum(0)
        keep = normals[chart] @ axis > 0.3 * np.linalg.norm(axis)
        if not keep[0]:
            keep = chart == seed
        free[chart[~keep]] = True
        seeds.extend(chart[~keep].tolist())
        charts.append(chart[keep])
    return charts


def _flatten(corners: Floats) -> Floats:
    """Project a chart's corners [n, 3, 3] along its mean normal, rotated to the smallest bounding box.

    Returns [n, 3, 2] with the box's corner at (0, 0).
    """
    axis = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).sum(0)
    axis /= max(float(np.linalg.norm(axis)), 1e-30)
    helper = np.eye(3)[np.abs(axis).argmin()]
    right = np.cross(helper, axis)
    right /= max(float(np.linalg.norm(right)), 1e-30)
    flat = corners @ np.stack([right, np.cross(axis, right)], 1)
    best, min_area = flat, np.inf
    for angle in np.linspace(0, np.pi / 2, 30, endpoint=False):
        turned = flat @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        extent = np.ptp(turned.reshape(-1, 2), axis=0)
        if extent.prod() < min_area:
            best, min_area = turned, float(extent.prod())
    best = best - best.reshape(-1, 2).min(0)
    # Lay charts on their long sides, to keep shelves low.
    width, height = best.reshape(-1, 2).max(0)
    return best if width >= height else np.stack([best[..., 1], width - best[..., 0]], -1)


def _shelves(boxes: Floats, width: int) -> tuple[Floats, float]:
    """Pack boxes [n, 2] (width, height), highest first, row by row; corners [n, 2] and the total height."""
    place = np.zeros_like(boxes)
    x = y = shelf = 0.0
    for index in np.argsort(-boxes[:, 1], kind="stable"):
        if x + boxes[index, 0] > width:
            x, y, shelf = 0.0, y + shelf, 0.0
        place[index] = x, y
        x, shelf = x + boxes[index, 0], max(shelf, float(boxes[index, 1]))
    return place, y + shelf


def make_atlas(positions: Tensor, faces: Tensor, size: int, gutter: int | None = None) -> tuple[Tensor, Tensor]:
    """Texture coordinates for a square texture, with the texel density as even as projection allows.

    Args:
        positions: [V, 3].
        faces: [F, 3], at least one.
        size: rows and columns of the texture.
        gutter: texels kept free around each chart, so that filtering does not mix charts; by default size / 256,
            at most 3.

    Returns:
        uvs [U, 2] and uv_faces [F, 3]; corners share a uv where their faces share a chart.

    Raises:
        ValueError: no faces, or more charts than fit the texture.

    >>> from lumigrad.fit import make_atlas
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(2)
    >>> uvs, uv_faces = make_atlas(ball.positions, ball.faces, size=64)
    >>> uv_faces.shape, uvs.shape[1], bool((uvs >= 0).all() and (uvs <= 1).all())
    (torch.Size([320, 3]), 2, True)
    """
    check_surface(positions, faces)
    if not len(faces):
        raise ValueError("faces: expected at least one, got none")
    integer("size", size, 1)
    if gutter is None:
        gutter = min(3, size // 256)
    points, triangles = positions.detach().double().cpu().numpy(), faces.long().cpu().numpy()
    charts = _charts(points, triangles)
    flat = [_flatten(points[triangles[chart]]) for chart in charts]
    extents = np.stack([f.reshape(-1, 2).max(0) for f in flat])
    low, high = 0.0, size / max(float(extents.max()), 1e-30)
    for _ in range(40):
        scale = 0.5 * (low + high)
        boxes = extents * scale + 2 * gutter
        fits = _shelves(boxes, size)[1] <= size and bool(boxes.max() <= size)
        low, high = (scale, high) if fits else (low, scale)
    if low == 0.0:
        raise ValueError(f"size: {len(charts)} charts with gutters do not fit a texture of {size} texels squared")
    place, _ = _shelves(extents * low + 2 * gutter, size)
    uvs, uv_faces, offset = [], np.empty_like(triangles), 0
    for chart, shape, corner in zip(charts, flat, place, strict=True):
        texels = shape * low + gutter + corner
        vertices, first, index = np.unique(triangles[chart], return_index=True, return_inverse=True)
        uvs.append(texels.reshape(-1, 2)[first] / size)
        uv_faces[chart] = index.reshape(-1, 3) + offset
        offset += len(vertices)
    return torch.from_numpy(np.concatenate(uvs)).to(positions), torch.from_numpy(uv_faces).to(faces.device)


def fill_gaps(image: Tensor, covered: Tensor) -> Tensor:
    """Fill uncovered texels from covered ones: average up a pyramid, then interpolate down.

    Args:
        image: [H, W, C].
        covered: boolean [H, W].

    Returns:
        [H, W, C], unchanged where covered.
    """
    weight = covered.to(image)[None, None]
    levels = [(image.permute(2, 0, 1)[None] * weight, weight)]
    while max(levels[-1][1].shape[-2:]) > 1:
        color, weight = (torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True) for x in levels[-1])
        levels.append((color / weight.clamp_min(1e-8), (weight > 0).to(weight)))
        levels[-1] = (levels[-1][0] * levels[-1][1], levels[-1][1])
    filled = levels[-1][0]
    for color, weight in reversed(levels[:-1]):
        filled = torch.nn.functional.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)[
            ..., : color.shape[-2], : color.shape[-1]
        ]
        filled = color * weight + filled * (1 - weight)
    return filled[0].permute(1, 2, 0).contiguous()


def bake(mesh: Mesh, attributes: Tensor, size: int) -> Tensor:
    """Texture [size, size, A] that shows attributes of vertices [V, A] through the mesh's coordinates.

    >>> from dataclasses import replace
    >>> from lumigrad.fit import bake, make_atlas
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(2)
    >>> uvs, uv_faces = make_atlas(ball.positions, ball.faces, size=64)
    >>> texture = bake(replace(ball, uvs=uvs, uv_faces=uv_faces), 0.5 + 0.5 * ball.positions, size=64)
    >>> texture.shape
    torch.Size([64, 64, 3])
    """
    if mesh.uvs is None or mesh.uv_faces is None:
        raise ValueError("mesh: expected texture coordinates, got none")
    u, v = mesh.uvs.unbind(-1)
    flat = torch.stack([2 * u - 1, 1 - 2 * v, torch.zeros_like(u), torch.ones_like(u)], dim=-1)
    frags = rasterize(flat[None], mesh.uv_faces, (size, size), derivatives=False)
    image = interpolate(attributes, frags, mesh.faces)[0]
    return fill_gaps(image, frags.tri[0] >= 0)
