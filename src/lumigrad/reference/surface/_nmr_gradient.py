"""The gradient of the Neural 3D Mesh Renderer, defined in plain PyTorch (Kato, Ushiku and Harada 2018).

The image stays as it is. For each pixel along the lines of the image, a vertex's gradient considers how far the vertex
would have to move until an edge of its triangle passed over the pixel, and the effect on the loss: the change of colour
divided by the distance. Only moves that lower the loss count, so this is not the derivative of any function, and it is
not linear in the incoming gradient.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.reference.surface._surface import check_image, image_positions
from lumigrad.types.fragments import Fragments

EPSILON = 1e-4  # NDC units added to every distance, as in the authors' renderer


def nmr_gradient(
    color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, reach: int | None = None, eps: float = EPSILON
) -> Tensor:
    """`color`, with the position gradient of the Neural 3D Mesh Renderer.

    Take one row of pixel centres, a triangle T that is seen on it, and an edge (a, b) of T that crosses it at
    x* = omega_a x_a + omega_b x_b. Of the two centres on either side of x*, the inner one is on T's side, the
    outer one on the other. With the incoming gradient g,

    - if the inner pixel shows T, every pixel p from the outer one away from T could come to show its colour:
      Delta = sum_c (I_p - I_inner) g_p;
    - if the outer pixel is in the image, every pixel p from the inner one inwards that shows T could come to
      show the outer's: Delta = sum_c (I_p - I_outer) g_p.

    Where Delta > 0, and finite, both ends v of the edge get -Delta / (delta + eps sign(delta)) as gradient of
    their x in NDC, delta = (x_p - x*) / omega_v being the move of v that takes the edge to p. Columns likewise
    for y. An edge crosses lines from its lower end inclusive to its upper end exclusive; a centre exactly on it
    is inner.

    Args:
        color: [N, H, W, C], float32 or float64.
        frags: what `rasterize` gave for these positions.
        pos, tri: as given to `rasterize`.
        reach: pixels farther than this many from the edge do not count; None: the whole line, as published.
        eps: added to the distance, in NDC.

    Returns:
        [N, H, W, C], the values of `color`. Gradients reach `color` unchanged, and x, y and w of `pos`.
        Triangles with a corner at w <= 0 get none.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or range.
    """
    check_image(color, frags, pos, tri)
    return _Nmr.apply(color, pos, frags.tri, tri.long(), reach, eps)  # type: ignore[no-untyped-call]


class _Nmr(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, color: Tensor, pos: Tensor, seen: Tensor, tri: Tensor, reach: int | None, eps: float
    ) -> Tensor:
        ctx.save_for_backward(color, pos, seen, tri)
        ctx.reach, ctx.eps = reach, eps
        return color.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        color, pos, seen, tri = ctx.saved_tensors
        grad_pos = _position_gradient(color, pos, seen, tri, grads[0], ctx.reach, ctx.eps)
        return grads[0], grad_pos, None, None, None, None


def _position_gradient(
    color: Tensor, pos: Tensor, seen: Tensor, tri: Tensor, grad: Tensor, reach: int | None, eps: float
) -> Tensor:
    images, height, width = seen.shape
    p = image_positions(pos, images).double()
    w = torch.where(p[..., 3] > 0, p[..., 3], torch.nan)  # otherwise nowhere on the screen
    x, y = p[..., 0] / w, p[..., 1] / w
    columns, rows = (x + 1) * (width / 2) - 0.5, (1 - y) * (height / 2) - 0.5  # with centres at whole numbers
    color, grad = color.double(), grad.double()
    rowwise = _Lines(color, grad, seen, columns, rows, 2 / max(1, width))
    turned_color, turned_grad, turned_seen = (image.transpose(1, 2) for image in (color, grad, seen))
    columnwise = _Lines(turned_color, turned_grad, turned_seen, rows, columns, 2 / max(1, height))
    grad_x = _pull(rowwise, tri, reach, eps)
    grad_y = -_pull(columnwise, tri, reach, eps)
    grad_w = -(grad_x * x + grad_y * y)
    out = (torch.stack((grad_x, grad_y, torch.zeros_like(x), grad_w), -1) / w[..., None]).nan_to_num(0.0)
    return (out.sum(0) if pos.ndim == 2 else out).to(pos.dtype)


class _Lines(NamedTuple):
    """An image as lines of pixels, and the mesh in their coordinates."""

    color: Tensor  # [N, lines, S, C]
    grad: Tensor
    seen: Tensor  # int32 [N, lines, S]
    along: Tensor  # [N, V], in pixels, pixel i of a line at i
    across: Tensor  # [N, V], line r at r
    step: float  # NDC per pixel


def _pull(image: _Lines, tri: Tensor, reach: int | None, eps: float) -> Tensor:
    """The gradient [N, V] of each vertex's position along the lines, in NDC that grows with the pixel's number."""
    total = torch.zeros_like(image.along)
    lines = image.seen.shape[1]
    which, _, _ = (image.seen >= 0).nonzero().unbind(1)
    shown = torch.unique(torch.stack((which, image.seen[image.seen >= 0].long()), 1), dim=0)
    for n, t in shown.tolist():
        for k in range(3):
            a, b, opposite = (int(tri[t, (k + turn) % 3]) for turn in (1, 2, 3))
            (ta, tb, to), (sa, sb, so) = (v[n, [a, b, opposite]].tolist() for v in (image.along, image.across))
            if not all(map(math.isfinite, (ta, tb, to, sa, sb, so))) or sa == sb:  # NaN behind the eye
                continue
            side = to - ((sb - so) / (sb - sa) * ta + (so - sa) / (sb - sa) * tb)
            rows = torch.arange(lines, dtype=torch.float64)
            rows = rows[(rows >= min(sa, sb)) & (rows < max(sa, sb))]
            omega = torch.stack(((sb - rows) / (sb - sa), (rows - sa) / (sb - sa)), 1)  # [R, 2]
            crossing = omega[:, 0] * ta + omega[:, 1] * tb
            if side != 0 and len(rows):
                grad = _pull_edge(image, n, t, rows.long(), omega, crossing, 1 if side > 0 else -1, reach, eps)
                total[n, a] += grad[0]
                total[n, b] += grad[1]
    return total


def _pull_edge(
    image: _Lines, n: int, t: int, rows: Tensor, omega: Tensor, crossing: Tensor, side: int,
    reach: int | None, eps: float,
) -> Tensor:  # fmt: skip
    """The gradients [2] of an edge's two ends due to its crossings [R] with lines."""
    size = image.seen.shape[2]
    inner = (crossing.ceil() if side > 0 else crossing.floor()).clamp(-2, size + 1).long()
    outer = inner - side
    color, grad, seen = image.color[n, rows], image.grad[n, rows], image.seen[n, rows] == t  # [R, S, ..]
    line = torch.arange(len(rows))
    in_image = [(i >= 0) & (i < size) for i in (inner, outer)]
    inner_pixel, outer_pixel = (i.clamp(0, size - 1) for i in (inner, outer))
    depth = side * (torch.arange(size) - inner[:, None])  # pixels inwards from the inner pixel
    max_depth = size if reach is None else reach
    outwards = (depth < 0) & (depth >= -max_depth) & (in_image[0] & seen[line, inner_pixel])[:, None]
    inwards = (depth >= 0) & (depth < max_depth) & seen & in_image[1][:, None]
    distance = (torch.arange(size) - crossing[:, None]).abs() * image.step
    total = torch.zeros(2, dtype=torch.float64)
    for pixels, shows, sign in ((outwards, inner_pixel, -side), (inwards, outer_pixel, side)):
        delta = ((color - color[line, shows][:, None]) * grad).sum(-1)
        delta = torch.where(pixels & (delta > 0) & delta.isfinite(), delta, 0.0)[..., None]
        weight = omega[:, None]
        pull = torch.where(weight > 0, delta * weight / (distance[..., None] + eps * weight), 0.0)
        total -= sign * pull.sum((0, 1))
    return total
