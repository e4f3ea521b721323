"""Rasterization, defined in plain PyTorch: visibility first, then the attributes of what is visible.

Visibility is discrete and is decided with exact arithmetic: triangles are clipped in homogeneous
coordinates (Sutherland & Hodgman 1974), snapped to fixed point, and covered by integer edge functions with
the top-left rule (Pineda 1988), so a pixel centre on a shared edge belongs to exactly one triangle. It does
not depend on the dtype of the positions other than through their values: all of it is float64, integers, and
a float32 depth.

Attributes are smooth functions of the positions and are evaluated from the unsnapped and unclipped
homogeneous vertices, after Olano & Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates",
and Laine et al. 2020, "Modular primitives for high-performance differentiable rendering", section 3.2.
Autograd differentiates them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from lumigrad.reference.surface._interpolate import interpolate
from lumigrad.types.fragments import Fragments

MAX_SIZE = 32768  # pixels along a side of the image
GUARD_EXTENT = 65536.0  # pixels along a side of the guard band, centred on the image
PAIRS_PER_CHUNK = 1 << 20  # (triangle, pixel) pairs examined at once: bounds the memory, not the result
BACKGROUND_KEY = torch.iinfo(torch.int64).max
LOW_WORD = 0xFFFFFFFF

Vertex = tuple[float, float, float, float]
Real = TypeVar("Real", float, Tensor)


class _Setup(NamedTuple):
    """K screen triangles, ready to be tested against pixels: see `_set_up`."""

    image: Tensor  # int64 [K]
    tri: Tensor  # int64 [K]
    edges: Tensor  # int64 [K, 3, 3]: a, b, c; inside where aX + bY + c >= 0 for all three, (X, Y) in sub-pixels
    box: Tensor  # int64 [K, 4]: first column, first row, columns, rows
    plane: Tensor  # float32 [K, 3]: depth at the first pixel of the box, change per column, change per row
    depth_range: Tensor  # float32 [K, 2]


def rasterize(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    ranges: Tensor | None = None,
    derivatives: bool = True,
    attributes: Tensor | None = None,
    *,
    subpixel_bits: int = 8,
    straight_through: bool = False,
) -> Fragments:
    """Find the nearest triangle at every pixel centre, and the point on it.

    Args:
        pos: clip-space positions, float32 or float64, [N, V, 4] (instanced: every image draws all of ``tri``)
            or [V, 4] (one image, or N images with ``ranges``). OpenGL clip space: visible where -w <= x, y, z
            <= w.
        tri: vertex indices [T, 3], int32 or int64.
        size: (H, W) in pixels.
        ranges: integers [N, 2], (first, count) of the triangles that image n draws. Only with ``pos`` [V, 4].
        derivatives: whether to compute ``bary_d``.
        attributes: attributes of the vertices [V, C], [N, V, C] or [1, V, C], to be interpolated at the visible points.
        subpixel_bits: fractional bits of the fixed-point screen coordinates, at most 8: with those of the guard band
            they fill the kernels' integers.
        straight_through: let gradients pass the clamps of bary and depth unchanged (as nvdiffrast does);
            otherwise a clamped value has zero gradient.

    Returns:
        `Fragments`; ``bary``, ``depth`` and ``bary_d`` have the dtype of ``pos`` and carry gradients to it.
        Triangles with NaN or infinite positions are not drawn. Triangle indices are absolute, also with
        ``ranges``.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape, device or range.
    """
    tri_id, _ = visibility(pos, tri, size, ranges, subpixel_bits)
    frags = points_seen(pos, tri, tri_id, derivatives, straight_through=straight_through)
    if attributes is None:
        return frags
    if attributes.shape[-2] != pos.shape[-2]:
        raise ValueError(f"attributes: expected {pos.shape[-2]} vertices like pos, got {list(attributes.shape)}")
    values = interpolate(attributes, frags, tri)
    assert isinstance(values, Tensor)
    return frags._replace(attributes=values)


def visibility(
    pos: Tensor,
    tri: Tensor,
    size: tuple[int, int],
    ranges: Tensor | None = None,
    subpixel_bits: int = 8,
    after: tuple[Tensor, Tensor] | None = None,
    *,
    drop_coincident: bool = False,
) -> tuple[Tensor, Tensor]:
    """The first fragment of every pixel in the order (depth ascending, triangle index descending).

    Args:
        pos, tri, size, ranges, subpixel_bits: as in `rasterize`.
        after: (triangle index, depth) of an earlier result: find the first fragment strictly after it. A
            pixel that was background stays so.
        drop_coincident: with ``after``, skip every fragment at the depth of the earlier one, whatever its
            index.

    Returns:
        Triangle index int32 [N, H, W] (-1: background) and visibility depth float32 [N, H, W] (0 at
        background; never -0). This depth is z/w interpolated linearly on the screen between the snapped
        vertices; it decides the order and is not the differentiable depth of `Fragments`.
    """
    check_arguments(pos, tri, size, ranges, subpixel_bits)
    height, width = size
    # Devices without float64 (mps) get the same exact result from the CPU.
    device = torch.device("cpu") if pos.device.type == "mps" else pos.device
    corners, image, tri_id = _gather_triangles(pos.detach().to(device), tri.to(device), ranges)
    corners, image, tri_id = _clip(corners, image, tri_id, height, width)
    setup = _set_up(corners, image, tri_id, height, width, subpixel_bits)

    images = _image_count(pos, ranges)
    best = torch.full((images * height * width,), BACKGROUND_KEY, dtype=torch.int64, device=device)
    floor = None
    if after is not None:
        floor = _encode(after[1].to(device), after[0].to(device)).flatten()
        if drop_coincident:
            floor = floor | LOW_WORD
    pairs = setup.box[:, 2] * setup.box[:, 3]
    ends = pairs.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, PAIRS_PER_CHUNK):
        pair = torch.arange(start, min(start + PAIRS_PER_CHUNK, total), device=device)
        pixel, key = _fragments(setup, ends, pairs, pair, height, width, subpixel_bits)
        if floor is not None:
            behind = key > floor[pixel]
            pixel, key = pixel[behind], key[behind]
        best.scatter_reduce_(0, pixel, key, "amin")
    tri_map, depth_map = _decode(best.view(images, height, width))
    return tri_map.to(pos.device), depth_map.to(pos.device)


def points_seen(
    pos: Tensor, tri: Tensor, tri_id: Tensor, derivatives: bool = True, *, straight_through: bool = False
) -> Fragments:
    """Barycentrics, depth and screen derivatives of the triangles seen at the pixel centres, differentiably.

    With p_i' = (x_i - f_x w_i, y_i - f_y w_i), where (f_x, f_y) is the pixel centre in NDC, and a0 = p1' x
    p2', a1 = p2' x p0', a2 = p0' x p1': u = a0/S, v = a1/S with S = a0+a1+a2, and z/w = sum z_i a_i / sum w_i
    a_i. The last denominator is det[x y w], the same at every pixel. Vertices behind the eye need no special
    case.

    Where snapping made a pixel centre lie slightly outside the exact triangle, u, v and depth are clamped: u
    to [0, 1], then v to [0, 1-u], depth to [-1, 1]. A value clamped to a constant has zero gradient, v = 1-u
    has that of 1-u; with ``straight_through`` all gradients pass as if nothing were clamped.
    ``bary_d`` belongs to the unclamped values. A triangle that is exactly edge-on (det or S zero), or whose
    values overflow, gets zeros without gradient.

    Args:
        pos, tri, derivatives, straight_through: as in `rasterize`.
        tri_id: int32 [N, H, W] triangle indices, -1 where there is none.
    """
    images, height, width = tri_id.shape
    image, row, col = (tri_id >= 0).nonzero().unbind(1)
    index = tri.long()[tri_id[image, row, col].long()]
    fx = _pixel_centre(col, width, pos)
    fy = -_pixel_centre(row, height, pos)
    with torch.no_grad():
        u, v, depth, _ = _evaluate(_corners(pos, image, index), fx, fy, None)
        valid = u.isfinite() & v.isfinite() & depth.isfinite()
    image, row, col, index, fx, fy = (t[valid] for t in (image, row, col, index, fx, fy))

    scale = (2 / width, -2 / height) if derivatives else None
    u, v, depth, bary_d = _evaluate(_corners(pos, image, index), fx, fy, scale)
    u = _clamp(u, 0.0, 1.0, straight_through)
    v = _clamp(v, 0.0, 1 - u, straight_through)
    depth = _clamp(depth, -1.0, 1.0, straight_through)

    def spread(values: Tensor) -> Tensor:
        full = values.new_zeros((images, height, width, *values.shape[1:]))
        return full.index_put((image, row, col), values)

    return Fragments(tri_id, spread(torch.stack((u, v), -1)), spread(depth), None if bary_d is None else spread(bary_d))


def check_arguments(
    pos: Tensor, tri: Tensor, size: tuple[int, int], ranges: Tensor | None, subpixel_bits: int = 8
) -> None:
    """Raise TypeError or ValueError unless the arguments of `rasterize` are sound."""
    check_mesh(pos, tri)
    if len(size) != 2 or not all(1 <= side <= MAX_SIZE for side in size):
        raise ValueError(f"size: expected (H, W), each from 1 to {MAX_SIZE}, got {tuple(size)}")
    if not 1 <= subpixel_bits <= 8:
        raise ValueError(f"subpixel_bits: expected 1 to 8, got {subpixel_bits}")
    if ranges is None:
        return
    if pos.ndim != 2:
        raise ValueError(f"ranges: expected None with instanced pos [N, V, 4], got ranges and pos {list(pos.shape)}")
    if ranges.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"ranges: expected int32 or int64, got {ranges.dtype}")
    if ranges.ndim != 2 or ranges.shape[1] != 2:
        raise ValueError(f"ranges: expected shape [N, 2], got {list(ranges.shape)}")
    if ranges.numel() and (int(ranges.min()) < 0 or int(ranges.long().sum(1).max()) > len(tri)):
        raise ValueError(f"ranges: expected (first, count) within the {len(tri)} triangles, got {ranges.tolist()}")


def check_mesh(pos: Tensor, tri: Tensor) -> None:
    """Raise TypeError or ValueError unless ``pos`` holds clip positions and ``tri`` indexes them."""
    if not isinstance(pos, Tensor) or pos.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"pos: expected a float32 or float64 tensor, got {getattr(pos, 'dtype', type(pos))}")
    if pos.ndim not in (2, 3) or pos.shape[-1] != 4:
        raise ValueError(f"pos: expected shape [N, V, 4] or [V, 4], got {list(pos.shape)}")
    if not isinstance(tri, Tensor) or tri.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"tri: expected an int32 or int64 tensor, got {getattr(tri, 'dtype', type(tri))}")
    if tri.ndim != 2 or tri.shape[1] != 3:
        raise ValueError(f"tri: expected shape [T, 3], got {list(tri.shape)}")
    if tri.device != pos.device:
        raise ValueError(f"tri: expected the device of pos, {pos.device}, got {tri.device}")
    if tri.numel() and (int(tri.min()) < 0 or int(tri.max()) >= pos.shape[-2]):
        raise ValueError(
            f"tri: expected indices from 0 to {pos.shape[-2] - 1}, got {int(tri.min())} to {int(tri.max())}"
        )


# ---- triangles


def _image_count(pos: Tensor, ranges: Tensor | None) -> int:
    if pos.ndim == 3:
        return pos.shape[0]
    return 1 if ranges is None else len(ranges)


def _gather_triangles(pos: Tensor, tri: Tensor, ranges: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Corners float64 [K, 3, 4], image int64 [K] and index int64 [K] of all triangles of all images."""
    every = torch.arange(len(tri), device=pos.device)
    if ranges is None:
        images = _image_count(pos, None)
        image = torch.arange(images, device=pos.device).repeat_interleave(len(tri))
        tri_id = every.repeat(images)
    else:
        spans = [(int(first), int(count)) for first, count in ranges.tolist()]
        counts = torch.tensor([count for _, count in spans], dtype=torch.int64)
        image = torch.arange(len(spans)).repeat_interleave(counts).to(pos.device)
        tri_id = torch.cat([every[:0], *(every[first : first + count] for first, count in spans)])
    return _corners(pos, image, tri.long()[tri_id]).double(), image, tri_id


def _corners(pos: Tensor, image: Tensor, index: Tensor) -> Tensor:
    """Positions [K, 3, 4] of the vertices ``index`` [K, 3] in the images ``image`` [K]."""
    return pos[index] if pos.ndim == 2 else pos[image[:, None], index]


def _plane_distances(x: Real, y: Real, z: Real, w: Real, guard: tuple[float, float]) -> tuple[Real, ...]:
    """Signed distances to near, far and the four sides of the guard band, inside when >= 0."""
    gx, gy = guard
    return z + w, w - z, gx * w + x, gx * w - x, gy * w + y, gy * w - y


def _guard_band(height: int, width: int) -> tuple[float, float]:
    """Half extents of the guard band in NDC. It keeps snapped coordinates small enough for exact integers."""
    margin_x, margin_y = (GUARD_EXTENT - width) / 2, (GUARD_EXTENT - height) / 2
    return 1 + 2 * margin_x / width, 1 + 2 * margin_y / height


def _clip(corners: Tensor, image: Tensor, tri_id: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Drop triangles that cannot be visible; replace those that straddle a plane by a fan of the remaining polygon."""
    guard = _guard_band(height, width)
    finite = corners.isfinite().flatten(1).all(1)
    x, y, z, w = corners.unbind(-1)
    outside = torch.stack(_plane_distances(x, y, z, w, guard), -1) < 0  # [K, vertex, plane]
    seen = finite & ~outside.all(1).any(1)
    straddles = outside.flatten(1).any(1)

    whole = seen & ~straddles & (w > 0).all(1)
    pieces: list[list[Vertex]] = []
    source: list[int] = []
    for k in (seen & straddles).nonzero().flatten().tolist():
        for piece in _clip_triangle([tuple(p) for p in corners[k].tolist()], guard):
            pieces.append(piece)
            source.append(k)
    kept = torch.cat((whole.nonzero().flatten(), torch.tensor(source, dtype=torch.int64, device=image.device)))
    clipped = torch.tensor(pieces, dtype=torch.float64, device=image.device).view(-1, 3, 4)
    return torch.cat((corners[whole], clipped)), image[kept], tri_id[kept]


def _clip_triangle(polygon: list[Vertex], guard: tuple[float, float]) -> list[list[Vertex]]:
    """Clip against the six planes in turn (Sutherland & Hodgman 1974) and cut the rest into a fan from its
    first vertex.

    Each vertex is followed by the crossing on its outgoing edge, so the polygon starts with vertex 0 of the triangle if
    that is inside. A polygon with w <= 0 anywhere, or with a component that overflowed, is dropped.
    """
    for plane in range(6):
        distances = [_plane_distances(*p, guard)[plane] for p in polygon]
        clipped = []
        for k, (p, dp) in enumerate(zip(polygon, distances, strict=True)):
            following = (k + 1) % len(polygon)
            q, dq = polygon[following], distances[following]
            if dp >= 0:
                clipped.append(p)
            if (dp >= 0) != (dq >= 0):
                clipped.append(_crossing(p, dp, q, dq) if dp >= 0 else _crossing(q, dq, p, dp))
        polygon = clipped
    if not all(p[3] > 0 and all(abs(c) < float("inf") for c in p) for p in polygon):
        return []
    return [[polygon[0], polygon[k], polygon[k + 1]] for k in range(1, len(polygon) - 1)]


def _crossing(a: Vertex, da: float, b: Vertex, db: float) -> Vertex:
    """The point of the plane on the edge from ``a``, inside, to ``b``, outside.

    Always from the inside to the outside: the two triangles of a shared edge must find the same point.
    """
    t = da / (da - db)
    x, y, z, w = (ca + t * (cb - ca) for ca, cb in zip(a, b, strict=True))
    return x, y, z, w


def _set_up(corners: Tensor, image: Tensor, tri_id: Tensor, height: int, width: int, bits: int) -> _Setup:
    """Snap the triangles to fixed point and compute their edge functions, pixel boxes and depth planes."""
    sub = 1 << bits
    x, y, z, w = corners.unbind(-1)
    half_x, half_y = width * sub / 2, height * sub / 2
    # Clipped points close to the eye (w ~ 0) may overshoot planes by their rounding error: the limits, those
    # of the guard band and the depth range, keep the integers small and the depth finite.
    spare_x, spare_y = (GUARD_EXTENT - width) / 2 * sub, (GUARD_EXTENT - height) / 2 * sub
    xs = torch.round((x / w * half_x + half_x).clamp(-spare_x, width * sub + spare_x)).long()
    ys = torch.round((half_y - y / w * half_y).clamp(-spare_y, height * sub + spare_y)).long()
    zs = (z / w).clamp(-1, 1).float()

    area2 = _cross(xs, ys)
    order = torch.tensor(((0, 1, 2), (0, 2, 1)), device=xs.device)[(area2 < 0).long()]
    xs, ys, zs = (t.gather(1, order) for t in (xs, ys, zs))
    area2 = area2.abs()

    # Smallest and largest column and row whose centre, at (index + 1/2) sub, lies within the bounds.
    first_col = ((xs.amin(1) + sub // 2 - 1) >> bits).clamp(min=0)
    first_row = ((ys.amin(1) + sub // 2 - 1) >> bits).clamp(min=0)
    cols = ((xs.amax(1) - sub // 2) >> bits).clamp(max=width - 1) - first_col + 1
    rows = ((ys.amax(1) - sub // 2) >> bits).clamp(max=height - 1) - first_row + 1
    box = torch.stack((first_col, first_row, cols, rows), 1)

    drawn = (area2 > 0) & (cols > 0) & (rows > 0)
    image, tri_id, box = image[drawn], tri_id[drawn], box[drawn]
    xs, ys, zs, area2 = xs[drawn], ys[drawn], zs[drawn], area2[drawn]
    depth_range = torch.stack((zs.amin(1), zs.amax(1)), 1)
    return _Setup(image, tri_id, _edges(xs, ys), box, _depth_plane(xs, ys, zs, area2, box, sub), depth_range)


def _cross(x: Tensor, y: Tensor) -> Tensor:
    """Twice the signed area of triangles with corners x, y [K, 3]; positive is clockwise on the screen."""
    return (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])


def _edges(x: Tensor, y: Tensor) -> Tensor:
    """Edge functions [K, 3, 3] with the top-left rule folded in (Pineda 1988).

    The edge from A to B has E(C) = (xB-xA)(yC-yA) - (yB-yA)(xC-xA), positive inside; a point with E = 0
    belongs to the triangle if the edge is a top edge (horizontal, pointing right) or a left edge (pointing
    up).
    """
    dx, dy = x.roll(-1, 1) - x, y.roll(-1, 1) - y
    top_left = ((dy == 0) & (dx > 0)) | (dy < 0)
    return torch.stack((-dy, dx, dy * x - dx * y - (~top_left).long()), -1)


def _depth_plane(x: Tensor, y: Tensor, z: Tensor, area2: Tensor, box: Tensor, sub: int) -> Tensor:
    """Depth at the first pixel of the box and its change per column and row: float64, rounded to float32."""
    z0, z1, z2 = z.double().unbind(1)
    x, y, area2 = x.double(), y.double(), area2.double()
    x0, y0 = x[:, 0], y[:, 0]
    dx1, dx2, dy1, dy2 = x[:, 1] - x0, x[:, 2] - x0, y[:, 1] - y0, y[:, 2] - y0
    per_col = ((z1 - z0) * dy2 - (z2 - z0) * dy1) / area2 * sub
    per_row = ((z2 - z0) * dx1 - (z1 - z0) * dx2) / area2 * sub
    cols = (box[:, 0].double() * sub + sub / 2 - x0) / sub
    rows = (box[:, 1].double() * sub + sub / 2 - y0) / sub
    return torch.stack((z0 + per_col * cols + per_row * rows, per_col, per_row), 1).float()


# ---- fragments


def _fragments(
    setup: _Setup, ends: Tensor, pairs: Tensor, pair: Tensor, height: int, width: int, bits: int
) -> tuple[Tensor, Tensor]:
    """Flat pixel index and key of those (triangle, pixel) pairs that are covered.

    The pixels of all boxes are numbered consecutively; ``ends`` holds the end of each box's numbers.
    """
    k = torch.searchsorted(ends, pair, right=True)
    within = pair - (ends - pairs)[k]
    cols = setup.box[k, 2]
    step_row, step_col = within // cols, within % cols
    row, col = setup.box[k, 1] + step_row, setup.box[k, 0] + step_col
    half = 1 << (bits - 1)
    cx, cy = (col << bits) + half, (row << bits) + half
    inside = torch.ones_like(k, dtype=torch.bool)
    for edge in range(3):
        a, b, c = setup.edges[:, edge].unbind(1)
        inside &= a[k] * cx + b[k] * cy + c[k] >= 0

    k, row, col, step_row, step_col = (t[inside] for t in (k, row, col, step_row, step_col))
    start, per_col, per_row = setup.plane[k].unbind(1)
    low, high = setup.depth_range[k].unbind(1)
    depth = (start + per_row * step_row.float()) + per_col * step_col.float()
    depth = torch.maximum(low, torch.minimum(high, depth))
    return (setup.image[k] * height + row) * width + col, _encode(depth, setup.tri[k])


def _encode(depth: Tensor, tri_id: Tensor) -> Tensor:
    """One int64 that sorts by depth ascending, then triangle index descending; background comes last."""
    bits = (depth + 0.0).view(torch.int32)  # + 0.0: -0 and 0 are equal depths and must have equal bits
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # floats order as sign and magnitude
    key = (ordered << 32) | (LOW_WORD - tri_id.long())
    return torch.where(tri_id < 0, BACKGROUND_KEY, key)


def _decode(key: Tensor) -> tuple[Tensor, Tensor]:
    """Triangle index int32 and depth float32 from the keys of `_encode`."""
    background = key == BACKGROUND_KEY
    ordered = (key >> 32).int()
    depth = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32)
    tri_id = (LOW_WORD - (key & LOW_WORD)).int()
    return tri_id.masked_fill(background, -1), depth.masked_fill(background, 0.0)


# ---- attributes


def _pixel_centre(index: Tensor, size: int, like: Tensor) -> Tensor:
    """NDC coordinate (2i+1)/size - 1 of pixel centres, growing with the index."""
    return (2 * index + 1).to(like.dtype) / size - 1


def _evaluate(
    corners: Tensor, fx: Tensor, fy: Tensor, scale: tuple[float, float] | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Unclamped u, v, depth [P], and bary_d [P, 2, 2] given the NDC step (per column, per row)."""
    x, y, z, w = corners.unbind(-1)
    x, y = x - fx[:, None] * w, y - fy[:, None] * w
    x1, y1, w1 = (c.roll(-1, 1) for c in (x, y, w))  # the vertex after that of a weight
    x2, y2, w2 = (c.roll(-2, 1) for c in (x, y, w))  # and the next one
    a = x1 * y2 - y1 * x2
    total = a.sum(1, keepdim=True)
    bary = (a / total)[:, :2]
    depth = (z * a).sum(1) / (w * a).sum(1)
    if scale is None:
        return bary[:, 0], bary[:, 1], depth, None
    # d x_i'/d f_x = -w_i and d y_i'/d f_y = -w_i
    a_d = torch.stack(((y1 * w2 - w1 * y2) * scale[0], (w1 * x2 - x1 * w2) * scale[1]), -1)
    bary_d = (a_d[:, :2] - bary[..., None] * a_d.sum(1, keepdim=True)) / total[..., None]
    return bary[:, 0], bary[:, 1], depth, bary_d


def _clamp(value: Tensor, low: float, high: Tensor | float, straight_through: bool) -> Tensor:
    """Clamp. With ``straight_through``, the gradient nevertheless passes to ``value``."""
    clamped = torch.where(value < low, low, value)
    clamped = torch.where(value > high, high, clamped)
    return clamped.detach() + (value - value.detach()) if straight_through else clamped
