"""Ops on fragments packed into one image, as in `lumigrad.compat.nvdiffrast`.

``rast`` [N, H, W, 4] holds (u, v, depth, triangle + 1), zeros where nothing is seen; ``rast_db`` [N, H, W, 4] what
``bary_d`` does. The kernels read and write these images themselves. All follow nvdiffrast's rules: gradients pass the
clamps of u and v, depth has none, and only own edges are antialiased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.surface._antialias import _op as _antialias
from lumigrad.ops.surface._edge_topology import topology_of
from lumigrad.ops.surface._interpolate import _op as _interpolate
from lumigrad.ops.surface._interpolate import check_attributes
from lumigrad.ops.surface._rasterize import _op as _rasterize
from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments

EXACT_IDS = 1 << 24  # float32 holds every integer up to here
ID_BITS = 0x4A800000  # added to a larger id: the bits of 2**24 as float32 are ID_BITS + 2**24
MAX_IDS = 0x7F800000 - ID_BITS  # from here on, the bits would be infinity or NaN


def rasterize_packed(
    pos: Tensor, tri: Tensor, ranges: Tensor | None, size: tuple[int, int], subpixel_bits: int
) -> tuple[Tensor, Tensor]:
    """``rast`` and ``rast_db`` of checked arguments."""
    if needs_reference("rasterize", pos):
        frags = reference.rasterize(pos, tri, size, ranges, True, subpixel_bits=subpixel_bits, straight_through=True)
        return pack(frags, tri.shape[0])
    out = _rasterize(pos, tri, ranges, *size, True, False, subpixel_bits, True, None, None, False, True)
    return out[5], out[3].flatten(-2)


def peel_packed(
    pos: Tensor, tri: Tensor, ranges: Tensor | None, size: tuple[int, int], layers: int, subpixel_bits: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Layer after layer, each strictly deeper than the one before."""
    if needs_reference("peel", pos, "rasterize"):
        for frags in reference.peel(
            pos, tri, size, layers, ranges, True, True, subpixel_bits=subpixel_bits, straight_through=True
        ):
            yield pack(frags, tri.shape[0])
        return
    before: tuple[Tensor | None, Tensor | None] = (None, None)
    for _ in range(layers):
        out = _rasterize(pos, tri, ranges, *size, True, True, subpixel_bits, True, *before, True, True)
        before = out[0], out[4]
        yield out[5], out[3].flatten(-2)


def interpolate_packed(
    attr: Tensor, rast: Tensor, tri: Tensor, rast_db: Tensor | None, channels: Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    """The attributes, and the derivatives [.., 2 K] of K channels; all images as `check_packed` returns them."""
    check_attributes(attr, rast.shape[0], "rast")
    channels = channels or None
    if needs_reference("interpolate", attr):
        out, *derivatives = _reference_interpolate(attr, unpack(rast, tri.shape[0], rast_db), tri, channels)
    else:
        db = rast_db.contiguous() if channels and rast_db is not None else None
        out, *derivatives = _interpolate(attr.contiguous(), tri, None, None, db, rast.contiguous(), channels)
    return out, derivatives[0].flatten(-2) if channels else out.new_empty((*out.shape[:-1], 0))


def _reference_interpolate(
    attr: Tensor, frags: Fragments, tri: Tensor, channels: Sequence[int] | None
) -> tuple[Tensor, ...]:
    found = reference.interpolate(attr, frags, tri, channels or False)
    return (found,) if isinstance(found, Tensor) else found


def antialias_packed(color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor, topology: Tensor | None) -> Tensor:
    """The blended colours; `rast` as `check_packed` returns it."""
    check.shape("color", color, (*rast.shape[:3], "C"))
    check.shape("pos", pos, (rast.shape[0], "V", 4) if pos.dim() == 3 else ("V", 4))
    topology = topology_of(tri, topology)
    rast = rast.detach()
    if needs_reference("antialias", color):
        return reference.antialias(color, unpack(rast, tri.shape[0], None), pos, tri, topology, own_edges=True)
    return _antialias(color.contiguous(), None, None, rast.contiguous(), pos.contiguous(), tri, topology, True)[0]


def check_packed(rast: Any, rast_db: Any = None) -> tuple[Tensor, Tensor | None]:
    """The images that `rasterize_packed` has made, checked."""
    rast = check.floating("rast", rast)
    check.shape("rast", rast, ("N", "H", "W", 4))
    if rast_db is not None:
        rast_db = check.floating("rast_db", rast_db, rast, "rast")
        check.shape("rast_db", rast_db, rast.shape)
    return rast, rast_db


# ---- Without a kernel --------------------------------------------------------------------------------------------


def pack(frags: Fragments, triangles: int) -> tuple[Tensor, Tensor]:
    ids = ids_to_floats(frags.tri + 1, triangles, frags.bary.dtype)
    assert frags.bary_d is not None
    return torch.cat((frags.bary, frags.depth.detach()[..., None], ids[..., None]), -1), frags.bary_d.flatten(-2)


def unpack(rast: Tensor, triangles: int, rast_db: Tensor | None) -> Fragments:
    seen = floats_to_ids(rast[..., 3].detach(), triangles) - 1
    return Fragments(seen, rast[..., :2], rast[..., 2], None if rast_db is None else rast_db.unflatten(-1, (2, 2)))


def ids_to_floats(ids: Tensor, max_id: int, dtype: torch.dtype) -> Tensor:
    """int32 ids from 0 to `max_id`, below `MAX_IDS`, in the form of the fourth channel of ``rast``."""
    if max_id <= EXACT_IDS or dtype == torch.float64:
        return ids.to(dtype)
    return torch.where(ids <= EXACT_IDS, ids.float(), (ids + ID_BITS).view(torch.float32))


def floats_to_ids(values: Tensor, max_id: int) -> Tensor:
    """The inverse of `ids_to_floats`; ids are int32."""
    if max_id <= EXACT_IDS or values.dtype == torch.float64:
        return values.to(torch.int32)
    return torch.where(values <= EXACT_IDS, values.to(torch.int32), values.view(torch.int32) - ID_BITS)
