"""Compositing of lists of Gaussians, tile by tile, with gsplat's signatures.

Each tile becomes an image of its own, in which the place in the tile's list is the depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.gsplat._arguments import refuse
from lumigrad.compat.gsplat._visible import MAX_ALPHA, MIN_ALPHA, STOP
from lumigrad.ops import splat
from lumigrad.types import validation as check

ADVICE = {"absgrad": "gradients of means2d are sums with signs"}
CHUNK = 1 << 22  # numbers of a table that is made at once


class Tiles(NamedTuple):
    """Lists of Gaussians: for each tile its place on the image, its image, and a range of `flatten_ids`."""

    x: Tensor
    y: Tensor
    images: Tensor
    starts: Tensor
    lengths: Tensor
    flatten_ids: Tensor
    side: int

    @classmethod
    def dense(cls, offsets: Tensor, flatten_ids: Tensor, side: int, masks: Tensor | None = None) -> Tiles:
        """All tiles; `offsets` [..., rows, columns] are their lists' beginnings."""
        rows, columns = offsets.shape[-2:]
        numbers = torch.arange(offsets.numel(), device=offsets.device)
        return cls._of(numbers, rows, columns, offsets.reshape(-1).long(), flatten_ids, side, masks)

    @classmethod
    def sparse(
        cls, active: Tensor, offsets: Tensor, flatten_ids: Tensor, side: int, columns: int, rows: int,
        masks: Tensor | None = None,
    ) -> Tiles:  # fmt: skip
        """The tiles with the numbers `active`; `offsets` has one more."""
        check.shape("tile_offsets", offsets, (len(active) + 1,))
        return cls._of(active.long(), rows, columns, offsets[:-1].long(), flatten_ids, side, masks)

    @classmethod
    def _of(
        cls, numbers: Tensor, rows: int, columns: int, starts: Tensor, flatten_ids: Tensor, side: int,
        masks: Tensor | None,
    ) -> Tiles:  # fmt: skip
        ends = torch.cat((starts[1:], starts.new_tensor([len(flatten_ids)])))
        lengths = ends - starts
        if masks is not None:
            lengths = torch.where(masks.reshape(-1)[numbers], lengths, 0)
        images, inside = numbers // (rows * columns), numbers % (rows * columns)
        return cls(inside % columns, inside // columns, images, starts, lengths, flatten_ids.long(), side)

    def chunks(self, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Some tiles at a time, those with lists of similar lengths together.

        Yields their numbers [T], their lists [T, L], and which places are within the list. `width` is how many
        numbers a place needs.
        """
        order = torch.argsort(self.lengths)
        lengths = self.lengths[order].tolist()
        first = 0
        while first < len(order):
            last = first + 1
            while last < len(order) and (last + 1 - first) * max(lengths[last], 1) * width <= CHUNK:
                last += 1
            numbers = order[first:last]
            places = torch.arange(lengths[last - 1], device=order.device)
            within = places < self.lengths[numbers, None]
            rows = self.flatten_ids[torch.where(within, self.starts[numbers, None] + places, 0)]
            yield numbers, rows, within
            first = last


class Flat(NamedTuple):
    """Projected Gaussians of all images in one row."""

    means2d: Tensor
    conics: Tensor
    opacities: Tensor
    each: int  # how many an image has; 0 if packed

    @classmethod
    def of(cls, means2d: Tensor, conics: Tensor, opacities: Tensor) -> Flat:
        means2d = check.floating("means2d", means2d)
        if means2d.dim() < 2 or means2d.shape[-1] != 2:
            raise ValueError(f"means2d: expected shape [..., N, 2] or [nnz, 2], got {tuple(means2d.shape)}")
        leading = tuple(means2d.shape[:-1])
        for name, value, tail in (("conics", conics, (3,)), ("opacities", opacities, ())):
            check.shape(name, check.floating(name, value, means2d, "means2d"), (*leading, *tail))
        count = leading[-1] if len(leading) > 1 else 0
        return cls(means2d.reshape(-1, 2), conics.reshape(-1, 3), opacities.reshape(-1), count)

    def own(self, rows: Tensor) -> Tensor:
        """Indices among the Gaussians of an image."""
        return rows % self.each if self.each else rows


def rasterize_to_pixels(
    means2d: Tensor,
    conics: Tensor,
    colors: Tensor,
    opacities: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    isect_offsets: Tensor,
    flatten_ids: Tensor,
    backgrounds: Tensor | None = None,
    masks: Tensor | None = None,
    packed: bool = False,
    absgrad: bool = False,
) -> tuple[Tensor, Tensor]:
    """Composite the Gaussians that each tile lists, in the order of the lists.

    Args:
        means2d, conics, colors, opacities: [..., N, 2], [..., N, 3], [..., N, D] and [..., N]; [nnz, ...] if packed.
        isect_offsets, flatten_ids: from `isect_offset_encode` [..., tile_height, tile_width] and `isect_tiles`.
        backgrounds: [..., D]. masks: bool [..., tile_height, tile_width]; where False, background alone is drawn.

    Returns:
        Image [..., image_height, image_width, D] and alpha [..., image_height, image_width, 1]. Gradients reach every
        tensor of floating-point numbers.

    Raises:
        TypeError, ValueError: wrong types, shapes or devices.
        NotImplementedError: `absgrad`.
    """
    refuse(ADVICE, absgrad=absgrad)
    tiles = Tiles.dense(isect_offsets, flatten_ids, tile_size, masks)
    image, alpha = _composite(Flat.of(means2d, conics, opacities), colors, backgrounds, tiles)
    size, dims = (image_height, image_width), tuple(isect_offsets.shape)
    return _assemble(image, dims, tile_size, size), _assemble(alpha[..., None], dims, tile_size, size)


def rasterize_to_pixels_sparse(
    means2d: Tensor,
    conics: Tensor,
    colors: Tensor,
    opacities: Tensor,
    image_ids: Tensor,
    active_tiles: Tensor,
    tile_offsets: Tensor,
    flatten_ids: Tensor,
    tile_pixel_mask: Tensor,
    tile_pixel_cumsum: Tensor,
    pixel_map: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    tile_width: int,
    tile_height: int,
    backgrounds: Tensor | None = None,
    masks: Tensor | None = None,
    packed: bool = False,
    absgrad: bool = False,
) -> tuple[Tensor, Tensor]:
    """Composite some pixels: those of a layout by `build_sparse_tile_layout`, with lists by `isect_tiles_sparse`.

    Returns:
        Colours [P, D] and alphas [P, 1], in the order of the pixels that the layout was made of. Other arguments,
        gradients and errors: `rasterize_to_pixels`.
    """
    refuse(ADVICE, absgrad=absgrad)
    tiles = Tiles.sparse(active_tiles, tile_offsets, flatten_ids, tile_size, tile_width, tile_height, masks)
    image, alpha = _composite(Flat.of(means2d, conics, opacities), colors, backgrounds, tiles)
    layout = tile_pixel_mask, pixel_map
    return pick(image.flatten(1, 2), layout, tile_size), pick(alpha.flatten(1)[..., None], layout, tile_size)


def _composite(flat: Flat, colors: Tensor, backgrounds: Tensor | None, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Images [T, side, side, D] and alphas [T, side, side] of the tiles."""
    colors = check.floating("colors", colors, flat.means2d, "means2d")
    channels = colors.shape[-1]
    colors = colors.reshape(-1, channels)
    if len(colors) != len(flat.means2d):
        raise ValueError(f"colors: expected one row for each of {len(flat.means2d)} Gaussians, got {len(colors)}")
    if backgrounds is not None:
        backgrounds = check.floating("backgrounds", backgrounds, flat.means2d, "means2d").reshape(-1, channels)
    parts, numbers = [], []
    for chunk, rows, within in tiles.chunks(6 + channels):
        corner = torch.stack((tiles.x[chunk], tiles.y[chunk]), -1)[:, None] * tiles.side
        places = torch.arange(rows.shape[1], device=rows.device).to(flat.means2d)
        out = splat.splat(
            flat.means2d[rows] - corner, flat.conics[rows], torch.where(within, places, torch.nan), colors[rows],
            (tiles.side, tiles.side), flat.opacities[rows],
            None if backgrounds is None else backgrounds[tiles.images[chunk]],
            max_alpha=MAX_ALPHA, min_alpha=MIN_ALPHA, stop=STOP,
        )  # fmt: skip
        parts.append((out.image, out.alpha))
        numbers.append(chunk)
    if not parts:
        empty = flat.means2d.new_zeros(0, tiles.side, tiles.side, channels)
        return empty, empty.sum(-1)
    order = torch.argsort(torch.cat(numbers))
    image, alpha = map(torch.cat, zip(*parts))
    return image[order], alpha[order]


def _assemble(values: Tensor, dims: tuple[int, ...], side: int, size: tuple[int, int]) -> Tensor:
    """[T, side, side, C] as images [..., H, W, C]; `dims` are (..., rows, columns) of tiles."""
    *batch, rows, columns = dims
    images = torch.Size(batch).numel()
    whole = values.reshape(images, rows, columns, side, side, values.shape[-1]).transpose(2, 3)
    whole = whole.reshape(*batch, rows * side, columns * side, values.shape[-1])
    if whole.shape[-3] < size[0] or whole.shape[-2] < size[1]:
        raise ValueError(
            f"isect_offsets: expected tiles for {size[0]} x {size[1]} pixels, got {rows} x {columns} of {side}"
        )
    return whole[..., : size[0], : size[1], :]


def assemble(values: Tensor, dims: tuple[int, ...], side: int, size: tuple[int, int]) -> Tensor:
    """[T, side * side, ...] as images [..., H, W, ...]."""
    tail = values.shape[2:]
    whole = _assemble(values.reshape(len(values), side, side, tail.numel()), dims, side, size)
    return whole.unflatten(-1, tail) if tail else whole[..., 0]


def pick(values: Tensor, layout: tuple[Tensor, Tensor], side: int) -> Tensor:
    """Of tiles' pixels [A, side * side, ...] those of a layout [P, ...], in the order of its pixels."""
    mask, order = layout
    places = torch.arange(side * side, device=values.device)
    bits = mask.view(torch.int64)[:, places // 64] >> (places % 64) & 1
    wanted = values[bits.bool()]
    return torch.zeros_like(wanted).index_copy(0, order, wanted)
