"""Rasterization and depth peeling."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.nvdiffrast._contexts import RasterizeCudaContext
from lumigrad.compat.nvdiffrast._geometry import flip, without_bad_rows
from lumigrad.ops.surface._packed import MAX_IDS, peel_packed, rasterize_packed
from lumigrad.ops.surface._rasterize import check_geometry
from lumigrad.types import validation as check

SUBPIXEL_BITS = 4


def rasterize(
    glctx: RasterizeCudaContext,
    pos: Tensor,
    tri: Tensor,
    resolution: Sequence[int],
    ranges: Tensor | None = None,
    grad_db: bool = True,
) -> tuple[Tensor, Tensor]:
    """Find the triangle that every pixel sees.

    Args:
        glctx: a context of either kind.
        pos: clip-space positions; [N, V, 4] (instanced mode), or [V, 4] (range mode).
        tri: vertex indices [T, 3]. Triangles with an index that is no vertex's are not drawn.
        resolution: (height, width) in pixels.
        ranges: in range mode integers [N, 2]: image n draws ``tri[start : start + count]`` with
            (start, count) = ranges[n]. In instanced mode it has no meaning and is ignored.
        grad_db: whether the second output carries gradients. Otherwise its gradient is zero.

    Returns:
        Two tensors [N, H, W, 4], row 0 at the bottom. The first is (u, v, z/w, id), id the index into `tri`
        plus 1, zeros on the background; see `interpolate` for u and v. Ids above 2**24 are not their own
        value, but float32 with the bits 0x4a800000 + id (in float64 they are their value). The second is
        (du/dX, du/dY, dv/dX, dv/dY) per pixel, rightwards and upwards. Gradients go from u, v and the
        derivatives to x, y and w of `pos`.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices, or indices out of range.
    """
    pos, tri, ranges, height, width = _check_scene(glctx, pos, tri, ranges, resolution)
    rast, rast_db = rasterize_packed(flip(pos), tri, ranges, (height, width), SUBPIXEL_BITS)
    return rast, _with_gradient_if(grad_db, rast_db)


class DepthPeeler:
    """Depth peeling: a context manager whose `rasterize_next_layer` gives one layer after another.

    Layers behind the first keep only what is strictly behind the layer before: of surfaces at the same depth
    all but one are lost, unlike with :func:`lumigrad.peel`.

    Args: as `rasterize`.

    Raises:
        TypeError, ValueError: as `rasterize`.
    """

    def __init__(
        self,
        glctx: RasterizeCudaContext,
        pos: Tensor,
        tri: Tensor,
        resolution: Sequence[int],
        ranges: Tensor | None = None,
        grad_db: bool = True,
    ) -> None:
        self._scene = _check_scene(glctx, pos, tri, ranges, resolution)
        self._grad_db = grad_db
        self._layers: Iterator[tuple[Tensor, Tensor]] | None = None

    def __enter__(self) -> DepthPeeler:
        pos, tri, ranges, height, width = self._scene
        self._layers = peel_packed(flip(pos, shared=True), tri, ranges, (height, width), sys.maxsize, SUBPIXEL_BITS)
        return self

    def __exit__(self, *_: object) -> None:
        self._layers = None

    def rasterize_next_layer(self) -> tuple[Tensor, Tensor]:
        """The next layer, as `rasterize` returns it; the first call gives what `rasterize` gives.

        Raises:
            RuntimeError: outside of the ``with`` block.
        """
        if self._layers is None:
            raise RuntimeError("rasterize_next_layer: works only inside `with DepthPeeler(...) as peeler:`")
        rast, rast_db = next(self._layers)
        return rast, _with_gradient_if(self._grad_db, rast_db)


def _with_gradient_if(wanted: bool, rast_db: Tensor) -> Tensor:
    return rast_db if wanted else _WithoutGradient.apply(rast_db)  # type: ignore[no-untyped-call]


class _WithoutGradient(torch.autograd.Function):
    """Identity, whose gradient is zero."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.zeros_like(grad)


def _check_scene(
    glctx: Any, pos: Any, tri: Any, ranges: Any, resolution: Any
) -> tuple[Tensor, Tensor, Tensor | None, int, int]:
    if not isinstance(glctx, RasterizeCudaContext):
        raise TypeError(
            "glctx: expected a RasterizeCudaContext or RasterizeGLContext of lumigrad.compat.nvdiffrast, got "
            f"{type(glctx).__name__}"
        )
    instanced = isinstance(pos, Tensor) and pos.dim() == 3
    scene = check_geometry(pos, tri, None if instanced else ranges, check.size(resolution, "resolution"))
    if scene[0].dim() == 2 and ranges is None:
        raise ValueError(f"ranges: expected shape [N, 2] with pos {tuple(pos.shape)} (range mode), got None")
    if scene[1].shape[0] >= MAX_IDS:
        raise ValueError(f"tri: expected fewer than {MAX_IDS} triangles, got {scene[1].shape[0]}")
    return scene[0], without_bad_rows(scene[1], scene[0].shape[-2]), *scene[2:]
