"""Between lumigrad's fragments and the images that nvdiffrast packs them into."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.types import validation as check
from lumigrad.types.fragments import Fragments

EXACT_IDS = 1 << 24  # float32 holds every integer up to here
ID_BITS = 0x4A800000  # added to a larger id: the bits of 2**24 as float32 are ID_BITS + 2**24
MAX_IDS = 0x7F800000 - ID_BITS  # from here on the bits would be infinity or NaN


def flip(pos: Tensor) -> Tensor:
    """Positions with y downwards: lumigrad's row 0, at the top, is then nvdiffrast's, at the bottom."""
    # No product with a constant: autograd would keep that for one backward pass only, but the layers of a
    # DepthPeeler share these positions and may each have their own.
    x, y, z, w = pos.unbind(-1)
    return torch.stack((x, -y, z, w), -1)


def without_bad_rows(tri: Tensor, vertices: int) -> Tensor:
    """Triangles with an index that is no vertex's replaced by one without an area, which nothing draws."""
    bad = ((tri < 0) | (tri >= vertices)).any(1, keepdim=True)
    # On a device, asking whether there are any would wait for it.
    return tri if tri.device.type == "cpu" and not bad.any() else torch.where(bad, 0, tri)


class _WithoutGradient(torch.autograd.Function):
    """Identity, whose gradient is zero."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.zeros_like(grad)


def pack(frags: Fragments, triangles: int, grad_db: bool) -> tuple[Tensor, Tensor]:
    ids = ids_to_floats(frags.tri + 1, triangles, frags.bary.dtype)
    rast = torch.cat((frags.bary, frags.depth.detach()[..., None], ids[..., None]), -1)
    assert frags.bary_d is not None
    rast_db = frags.bary_d.flatten(-2)
    if grad_db:
        return rast, rast_db
    return rast, _WithoutGradient.apply(rast_db)  # type: ignore[no-untyped-call]


def unpack(rast: Any, triangles: int, rast_db: Any = None) -> Fragments:
    """The fragments that `rasterize` has packed."""
    rast = check.floating("rast", rast)
    check.shape("rast", rast, ("N", "H", "W", 4))
    if rast_db is not None:
        rast_db = check.floating("rast_db", rast_db, rast, "rast")
        check.shape("rast_db", rast_db, rast.shape)
        rast_db = rast_db.unflatten(-1, (2, 2))
    seen = floats_to_ids(rast[..., 3].detach(), triangles) - 1
    return Fragments(seen, rast[..., :2], rast[..., 2], rast_db)


def ids_to_floats(ids: Tensor, max_id: int, dtype: torch.dtype) -> Tensor:
    """int32 ids from 0 to `max_id`, below `MAX_IDS`, as the fourth channel of ``rast`` holds them."""
    if max_id <= EXACT_IDS or dtype == torch.float64:
        return ids.to(dtype)
    return torch.where(ids <= EXACT_IDS, ids.float(), (ids + ID_BITS).view(torch.float32))


def floats_to_ids(values: Tensor, max_id: int) -> Tensor:
    """The inverse of `ids_to_floats`; ids are int32."""
    if max_id <= EXACT_IDS or values.dtype == torch.float64:
        return values.to(torch.int32)
    return torch.where(values <= EXACT_IDS, values.to(torch.int32), values.view(torch.int32) - ID_BITS)
