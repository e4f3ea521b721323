"""Lists of the Gaussians that reach each tile of an image, encoded as gsplat encodes them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.gsplat._visible import MIN_ALPHA
from lumigrad.types import validation as check

DEPTH_BITS = 32


class _Pairs(NamedTuple):
    """Gaussians and tiles that meet: rows of the flattened Gaussians, their images, columns and rows of tiles."""

    rows: Tensor
    images: Tensor
    x: Tensor
    y: Tensor

    def where(self, kept: Tensor) -> _Pairs:
        return _Pairs(*(value[kept] for value in self))


@torch.no_grad()
def isect_tiles(
    means2d: Tensor,
    radii: Tensor,
    depths: Tensor,
    tile_size: int,
    tile_width: int,
    tile_height: int,
    sort: bool = True,
    segmented: bool = False,
    packed: bool = False,
    n_images: int | None = None,
    image_ids: Tensor | None = None,
    gaussian_ids: Tensor | None = None,
    conics: Tensor | None = None,
    opacities: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """List the tiles that the boxes of projected Gaussians overlap.

    Args:
        means2d, radii, depths: [..., N, 2], [..., N, 2] and [..., N]; [nnz, ...] with `packed`.
        tile_size: pixels per side. tile_width, tile_height: tiles along the image's sides.
        sort: by image, then tile, then depth.
        n_images, image_ids: with `packed`, how many images there are, and each Gaussian's [nnz].
        conics, opacities: [..., N, 3] and [..., N]. With both, tiles in which no point has an opacity of 1/255 are
            left out.
        segmented, gaussian_ids: have no effect.

    Returns:
        The number of tiles of each Gaussian (int32, [..., N] or [nnz]); for each pair of tile and Gaussian, an int64
        with the image and the tile in the upper half, in as few bits as their numbers need, and the float32 depth in
        the lower half; and the row of the Gaussian among all of them (int32).

    Raises:
        ValueError: `packed` without `n_images` and `image_ids`, or with `segmented`.
    """
    if packed and segmented:
        raise ValueError("segmented: expected False with packed=True, got True")
    counts = tuple(means2d.shape[:-1])
    images, n_images = _images(counts, means2d, packed, n_images, image_ids)
    pairs = _pairs(means2d, radii, images, tile_size, (tile_width, tile_height))
    if conics is not None and opacities is not None:
        pairs = pairs.where(_meet(pairs, means2d, conics, opacities, tile_size))
    tiles = pairs.images << _bits(tile_width * tile_height) | pairs.y * tile_width + pairs.x
    ids, flatten_ids = tiles << DEPTH_BITS | _depth_bits(depths)[pairs.rows], pairs.rows.int()
    if sort:
        ids, order = torch.sort(ids, stable=True)
        flatten_ids = flatten_ids[order]
    return torch.bincount(pairs.rows, minlength=images.numel()).int().view(counts), ids, flatten_ids


@torch.no_grad()
def isect_offset_encode(isect_ids: Tensor, n_images: int, tile_width: int, tile_height: int) -> Tensor:
    """Where the list of each tile begins among the sorted ids of `isect_tiles`: int32 [n_images, height, width]."""
    tiles = tile_width * tile_height
    upper, bits = isect_ids >> DEPTH_BITS, _bits(tiles)
    places = (upper >> bits) * tiles + (upper & ((1 << bits) - 1))
    counts = torch.bincount(places, minlength=n_images * tiles)
    return (counts.cumsum(0) - counts).int().view(n_images, tile_height, tile_width)


@torch.no_grad()
def isect_tiles_sparse(
    means2d: Tensor,
    radii: Tensor,
    depths: Tensor,
    tile_mask: Tensor,
    active_tiles: Tensor,
    n_images: int,
    tile_size: int,
    tile_width: int,
    tile_height: int,
    image_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Lists as of `isect_tiles`, of some tiles alone.

    Args:
        means2d, radii, depths: [I, N, ...], or [nnz, ...] with `image_ids` [nnz].
        tile_mask: bool [n_images, tile_height, tile_width], true for the tiles that are wanted.
        active_tiles: their numbers image * tiles + y * tile_width + x, ascending, int32 [A].

    Returns:
        Where the list of each of these tiles begins, with the end of the last one (int32 [A + 1]), and the rows of
        the Gaussians, near to far (int32).

    Raises:
        TypeError, ValueError: wrong types or shapes.
    """
    check.shape("tile_mask", tile_mask, (n_images, tile_height, tile_width))
    if tile_mask.dtype != torch.bool or active_tiles.dtype != torch.int32:
        raise TypeError(
            f"tile_mask, active_tiles: expected bool and int32, got {tile_mask.dtype} and {active_tiles.dtype}"
        )
    images, _ = _images(tuple(means2d.shape[:-1]), means2d, means2d.dim() == 2, n_images, image_ids)
    pairs = _pairs(means2d, radii, images, tile_size, (tile_width, tile_height))
    pairs = pairs.where(tile_mask[pairs.images, pairs.y, pairs.x])
    places = (pairs.images * tile_height + pairs.y) * tile_width + pairs.x
    order = torch.sort(places << DEPTH_BITS | _depth_bits(depths)[pairs.rows], stable=True).indices
    starts = torch.searchsorted(places[order], active_tiles.long())
    return torch.cat((starts, starts.new_tensor([len(order)]))).int(), pairs.rows[order].int()


@torch.no_grad()
def build_sparse_tile_layout(
    pixels: Tensor, image_ids: Tensor, n_images: int, tile_size: int, tile_width: int, tile_height: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sort pixels by tiles.

    Args:
        pixels: (row, column) of different pixels [P, 2]. image_ids: their images [P].

    Returns:
        The numbers of the tiles that have any, ascending (int32 [A]); which tiles these are (bool [n_images,
        tile_height, tile_width]); their pixels as bits, row by row (uint64 [A, words]); how many pixels there are up
        to and with each tile (int64 [A], or one zero if there are none); and the order of pixels by tiles (int64 [P]).

    Raises:
        ValueError: wrong shapes.
    """
    check.shape("pixels", pixels, ("P", 2))
    check.shape("image_ids", image_ids, (len(pixels),))
    words, area = (tile_size * tile_size + 63) // 64, tile_width * tile_height
    row, column = pixels.long().unbind(-1)
    tiles = image_ids.long() * area + (row // tile_size) * tile_width + column // tile_size
    inside = (row % tile_size) * tile_size + column % tile_size
    order = torch.argsort(tiles * (tile_size * tile_size) + inside, stable=True)
    active, place, counts = torch.unique(tiles, return_inverse=True, return_counts=True)
    bits = torch.zeros(len(active) * words, dtype=torch.int64, device=pixels.device)
    bits.index_add_(0, place * words + inside // 64, torch.ones_like(inside) << inside % 64)
    mask = torch.zeros(n_images * area, dtype=torch.bool, device=pixels.device)
    mask[active] = True
    ends = counts.cumsum(0) if len(active) else counts.new_zeros(1)
    return (
        active.int(), mask.view(n_images, tile_height, tile_width), bits.view(-1, words).view(torch.uint64), ends, order
    )  # fmt: skip


def _images(
    counts: tuple[int, ...], like: Tensor, packed: bool, n_images: int | None, image_ids: Tensor | None
) -> tuple[Tensor, int]:
    """The image of each row, and how many images there are."""
    if packed:
        if n_images is None or image_ids is None:
            raise ValueError("n_images, image_ids: expected both with packed Gaussians, got None")
        check.shape("image_ids", image_ids, counts)
        return image_ids.long(), n_images
    total = int(torch.Size(counts[:-1]).numel())
    return torch.arange(total, device=like.device).repeat_interleave(counts[-1]), total


def _pairs(means2d: Tensor, radii: Tensor, images: Tensor, tile_size: int, tiles: tuple[int, int]) -> _Pairs:
    """The tiles that the boxes overlap, Gaussian by Gaussian, row by row."""
    centre, reach = means2d.reshape(-1, 2) / tile_size, radii.reshape(-1, 2) / tile_size
    last = torch.tensor(tiles, device=means2d.device)
    low = torch.minimum((centre - reach).floor().clamp(min=0).long(), last)
    high = torch.minimum((centre + reach).ceil().clamp(min=0).long(), last)
    sides = torch.where((reach > 0).all(-1, keepdim=True), (high - low).clamp(min=0), 0)
    counts = sides.prod(-1)
    rows = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    step = torch.arange(len(rows), device=counts.device) - (counts.cumsum(0) - counts)[rows]
    width = sides[rows, 0]
    return _Pairs(rows, images[rows], low[rows, 0] + step % width, low[rows, 1] + step // width)


def _meet(pairs: _Pairs, means2d: Tensor, conics: Tensor, opacities: Tensor, tile_size: int) -> Tensor:
    """Whether a Gaussian has an opacity of 1/255 anywhere in the tile: the least of its quadratic form there."""
    centre = means2d.reshape(-1, 2)[pairs.rows].double()
    a, b, c = conics.reshape(-1, 3)[pairs.rows].double().unbind(-1)
    corner = torch.stack((pairs.x, pairs.y), -1) * tile_size - centre
    low, high = corner, corner + tile_size
    inside = ((low <= 0) & (high >= 0)).all(-1)
    least = torch.full_like(a, torch.inf)
    for x in (low[:, 0], high[:, 0]):
        y = torch.minimum(torch.maximum(-b * x / c, low[:, 1]), high[:, 1])
        least = torch.minimum(least, a * x * x + 2 * b * x * y + c * y * y)
    for y in (low[:, 1], high[:, 1]):
        x = torch.minimum(torch.maximum(-b * y / a, low[:, 0]), high[:, 0])
        least = torch.minimum(least, a * x * x + 2 * b * x * y + c * y * y)
    reach = 2 * (opacities.reshape(-1)[pairs.rows].double() / MIN_ALPHA).log()
    return inside & (reach >= 0) | (least <= reach + 1e-6)


def _depth_bits(depths: Tensor) -> Tensor:
    """The bits of float32 depths, in int64; those of positive numbers have the order of the numbers."""
    return depths.reshape(-1).float().contiguous().view(torch.int32).long() & 0xFFFFFFFF


def _bits(count: int) -> int:
    return (count - 1).bit_length()
