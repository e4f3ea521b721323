"""Soft rasterization: the nearest K faces in reach of each pixel, with distances, barycentrics and depths.

Defined by :func:`lumigrad.reference.soft_rasterize`; the kernel is ``native/soft``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._interpolate import interpolate
from lumigrad.ops.surface._rasterize import check_geometry, geometry_sizes
from lumigrad.reference.soft.blending import check_soft_fragments
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments, SoftFragments
from lumigrad.types.shapes import Float, Int

PERSPECTIVE, CLIP, CULL = 1, 2, 4  # the kernel's flags
MAX_FACES_PER_PIXEL = 1024


def soft_rasterize(
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    size: tuple[int, int],
    faces_per_pixel: int = 8,
    blur_radius: float = 0.0,
    ranges: Int[Tensor, "views 2"] | None = None,
    perspective_correct: bool = True,
    clip_barycentrics: bool = True,
    cull_backfaces: bool = False,
) -> SoftFragments:
    """Find the faces that cover each pixel's centre or come close to it, nearest first.

    Args:
        pos: clip-space positions [N, V, 4] or [V, 4], as for :func:`~lumigrad.rasterize`.
        tri: vertex indices [T, 3], int32 or int64.
        size: (height, width) in pixels, at most 32768 each.
        faces_per_pixel: K, how many faces a pixel keeps at most, 1 to 1024.
        blur_radius: faces whose squared distance from the pixel's centre is below this take part, in units of
            half the image's shorter side (which spans [-1, 1]; both axes have the same unit).
        ranges: as for `rasterize`.
        perspective_correct: False for weights that are affine on the screen.
        clip_barycentrics: whether weights outside of a face are clamped to be non-negative, and scaled to sum to 1.
        cull_backfaces: leave out faces that are clockwise on the screen.

    Returns:
        :class:`~lumigrad.SoftFragments`: K faces a pixel, by depth, then by their number. ``z``,
        ``dist`` and ``bary`` carry true gradients to x, y, z and w of `pos`.

    A face that crosses the near plane is cut there and has distances to the edges of what remains; there is no
    far plane. A face with a NaN or infinite coordinate, or seen edge-on, is left out. A pixel on a shared edge
    belongs to both faces.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, ranges, or an index in `tri` without a vertex.

    Source: Liu et al. 2019, "Soft Rasterizer", section 3; Ravi et al. 2020, "Accelerating 3D Deep Learning with
    PyTorch3D", section 3.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2, blur_radius=0.1)
    >>> frags.dist.shape
    torch.Size([1, 8, 8, 2])
    >>> frags.tri[0, 4, 4].tolist(), (frags.dist[0, 4, 4, 0] < 0).item()  # one face, and the pixel inside it
    ([0, -1], True)
    >>> frags.tri[0, 4, 6].tolist(), (frags.dist[0, 4, 6, 0] > 0).item()  # outside, but in reach
    ([0, -1], True)
    """
    pos, tri, ranges, height, width = check_geometry(pos, tri, ranges, size)
    faces = faces_per_pixel_of(faces_per_pixel)
    blur = check.number("blur_radius", blur_radius)
    options = (bool(perspective_correct), bool(clip_barycentrics), bool(cull_backfaces))
    if needs_reference("soft_rasterize", pos):
        return reference.soft_rasterize(pos, tri, (height, width), faces, blur, ranges, *options)
    flags = PERSPECTIVE * options[0] + CLIP * options[1] + CULL * options[2]
    return SoftFragments(*_op(pos, tri, ranges, height, width, faces, blur, flags))


def soft_interpolate(
    attr: Float[Tensor, "#views vertices channels"] | Float[Tensor, "vertices channels"],
    frags: SoftFragments,
    tri: Int[Tensor, "triangles 3"],
) -> Float[Tensor, "views height width faces_per_pixel channels"]:
    """Interpolate vertex attributes at soft fragments.

    Args:
        attr: [V, A] or [N, V, A].
        frags: from :func:`soft_rasterize`.
        tri: vertex indices [T, 3] into `attr`; see :func:`~lumigrad.interpolate`.

    Returns:
        [N, H, W, K, A], zero at pads. Gradients reach `attr` and ``frags.bary``.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or indices out of range.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2)
    >>> colors = lg.soft_interpolate(torch.tensor([[1.0], [1.0], [0.0]]), frags, tri)
    >>> colors.shape
    torch.Size([1, 8, 8, 2, 1])
    >>> colors[0, 4, 4].flatten().tolist()
    [0.625, 0.0]
    """
    frags = check_soft_fragments(frags)
    index = frags.tri
    views, height, width, faces = index.shape
    # Weights sum to 1, so two of them suffice. A pixel's fragments are treated as neighbouring pixels.
    flat = Fragments(
        index.reshape(views, height, width * faces),
        frags.bary[..., :2].reshape(views, height, width * faces, 2),
        frags.z.reshape(views, height, width * faces),
    )
    return interpolate(attr, flat, tri).reshape(views, height, width, faces, attr.shape[-1])


def faces_per_pixel_of(value: Any) -> int:
    return check.integer("faces_per_pixel", value, 1, MAX_FACES_PER_PIXEL)


_op = declare(
    "soft_rasterize(Tensor pos, Tensor tri, Tensor? ranges, SymInt height, SymInt width, SymInt faces_per_pixel, "
    "float blur_radius, int flags)",
    sizes=("views vertices triangles shared_positions", geometry_sizes),
    outputs={
        "frag_tri": "views height width faces_per_pixel",
        "z": "views height width faces_per_pixel",
        "dist": "views height width faces_per_pixel",
        "bary": "views height width faces_per_pixel 3",
    },
)
