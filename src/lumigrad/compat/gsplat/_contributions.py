"""Which Gaussians of the tiles' lists make up each pixel, in plain PyTorch, with gsplat's signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lumigrad.compat.gsplat._compositing import Flat, Tiles, assemble, pick
from lumigrad.compat.gsplat._visible import MAX_ALPHA, MIN_ALPHA, STOP
from lumigrad.types import validation as check

Put = Callable[[Tensor], Tensor]  # tiles' pixels [T, side * side, ...] to where they belong
Pair = tuple[Tensor, Tensor]


class _Contributions(NamedTuple):
    """Of some tiles: their numbers [T], their lists [T, L], and for pixels [T, P, L] whether they count, and how."""

    chunk: Tensor
    rows: Tensor
    counted: Tensor
    weights: Tensor


def _contributions(flat: Flat, tiles: Tiles, before: Tensor | None = None) -> Iterator[_Contributions]:
    """`before` [T, P] is the transmittance in front of the lists, 1 by default."""
    inside = torch.arange(tiles.side * tiles.side, device=flat.means2d.device)
    for chunk, rows, within in tiles.chunks(tiles.side * tiles.side * 4):
        x = tiles.x[chunk, None] * tiles.side + inside % tiles.side + 0.5
        y = tiles.y[chunk, None] * tiles.side + inside // tiles.side + 0.5
        a, b, c = (value[:, None] for value in flat.conics[rows].unbind(-1))
        dx, dy = (v[:, :, None] - w[:, None] for v, w in zip((x, y), flat.means2d[rows].unbind(-1)))
        sigma = (a * dx * dx + c * dy * dy) / 2 + b * dx * dy
        alpha = (flat.opacities[rows][:, None] * (-sigma).exp()).clamp(max=MAX_ALPHA)
        alpha = torch.where(within[:, None] & (sigma >= 0) & (alpha >= MIN_ALPHA), alpha, 0)
        front = alpha.new_ones(alpha.shape[:2]) if before is None else before[chunk]
        after = front[..., None] * (1 - alpha).cumprod(-1)
        counted = (alpha > 0) & (after > STOP)
        ahead = torch.cat((front[..., None], after), -1)[..., :-1]
        yield _Contributions(chunk, rows, counted, torch.where(counted, alpha * ahead, 0))


def _each(flat: Flat, tiles: Tiles, put: Put, of: Callable[[_Contributions], Pair], empty: Pair) -> Pair:
    """Two results [T, P, ...] of each part, put together; `empty` is what they are of no tiles."""
    parts = [(part.chunk, *of(part)) for part in _contributions(flat, tiles)]
    if not parts:
        return put(empty[0]), put(empty[1])
    chunks, first, second = map(torch.cat, zip(*parts))
    order = torch.argsort(chunks)
    return put(first[order]), put(second[order])


def _count(flat: Flat, tiles: Tiles, put: Put) -> Pair:
    def count(part: _Contributions) -> Pair:
        return part.counted.sum(-1).int(), part.weights.sum(-1)

    blank = flat.means2d.new_zeros(0, tiles.side * tiles.side)
    return _each(flat, tiles, put, count, (blank.int(), blank))


def _listed(flat: Flat, tiles: Tiles, put: Put, count: int, strongest: bool) -> Pair:
    """Indices and weights of the first or the strongest `count` contributors, near to far."""

    def listed(part: _Contributions) -> Pair:
        length = part.counted.shape[-1]
        keys = part.weights if strongest else part.counted.int()
        places = torch.sort(keys, dim=-1, descending=True, stable=True).indices[..., :count]
        places = torch.where(part.counted.gather(-1, places), places, length).sort(-1).values
        chosen, places = places < length, places.clamp(max=max(length - 1, 0))
        rows = flat.own(part.rows)[:, None].expand_as(part.counted).gather(-1, places)
        ids, weights = torch.where(chosen, rows, -1), torch.where(chosen, part.weights.gather(-1, places), 0)
        missing = (0, count - places.shape[-1])
        return F.pad(ids.int(), missing, value=-1), F.pad(weights, missing)

    blank = flat.means2d.new_zeros(0, tiles.side * tiles.side, count)
    return _each(flat, tiles, put, listed, (blank.int(), blank))


@torch.no_grad()
def rasterize_num_contributing_gaussians(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    tile_offsets: Tensor,
    flatten_ids: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
) -> Pair:
    """How many Gaussians make up each pixel (int32), and its alpha: [..., image_height, image_width] both.

    Arguments: `rasterize_to_pixels`, whose `isect_offsets` are `tile_offsets` here.
    """
    tiles, put = _dense(tile_offsets, flatten_ids, tile_size, (image_height, image_width))
    return _count(Flat.of(means2d, conics, opacities), tiles, put)


@torch.no_grad()
def rasterize_num_contributing_gaussians_sparse(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
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
) -> Pair:
    """As `rasterize_num_contributing_gaussians`, for some pixels: [P] both. Arguments: `rasterize_to_pixels_sparse`."""
    tiles, put = _sparse(
        active_tiles, tile_offsets, flatten_ids, tile_size, (tile_width, tile_height), tile_pixel_mask, pixel_map
    )
    return _count(Flat.of(means2d, conics, opacities), tiles, put)


@torch.no_grad()
def rasterize_contributing_gaussian_ids(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    tile_offsets: Tensor,
    flatten_ids: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    num_contributing_gaussians: Tensor,
) -> Pair:
    """The Gaussians that make up each pixel, near to far, and their weights.

    Args:
        num_contributing_gaussians: from `rasterize_num_contributing_gaussians`; its maximum is K. The others are those
            of that function.

    Returns:
        Indices among the Gaussians of the image (of packed ones: among all), -1 where there are fewer, int32
        [..., image_height, image_width, K]; and weights of the same shape.
    """
    tiles, put = _dense(tile_offsets, flatten_ids, tile_size, (image_height, image_width))
    flat = Flat.of(means2d, conics, opacities)
    return _listed(flat, tiles, put, _most(num_contributing_gaussians), strongest=False)


@torch.no_grad()
def rasterize_contributing_gaussian_ids_sparse(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    active_tiles: Tensor,
    tile_offsets: Tensor,
    flatten_ids: Tensor,
    tile_pixel_mask: Tensor,
    tile_pixel_cumsum: Tensor,
    pixel_map: Tensor,
    num_contributing_gaussians: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    tile_width: int,
    tile_height: int,
) -> Pair:
    """As `rasterize_contributing_gaussian_ids`, for some pixels: [P, K] both."""
    tiles, put = _sparse(
        active_tiles, tile_offsets, flatten_ids, tile_size, (tile_width, tile_height), tile_pixel_mask, pixel_map
    )
    flat = Flat.of(means2d, conics, opacities)
    return _listed(flat, tiles, put, _most(num_contributing_gaussians), strongest=False)


@torch.no_grad()
def rasterize_top_contributing_gaussian_ids(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    tile_offsets: Tensor,
    flatten_ids: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    num_depth_samples: int,
) -> Pair:
    """The `num_depth_samples` Gaussians with the largest weights in each pixel, near to far, and their weights.

    Of equal weights the nearer ones are taken. Shapes and arguments: `rasterize_contributing_gaussian_ids`.
    """
    tiles, put = _dense(tile_offsets, flatten_ids, tile_size, (image_height, image_width))
    return _listed(Flat.of(means2d, conics, opacities), tiles, put, _positive(num_depth_samples), strongest=True)


@torch.no_grad()
def rasterize_top_contributing_gaussian_ids_sparse(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
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
    num_depth_samples: int,
) -> Pair:
    """As `rasterize_top_contributing_gaussian_ids`, for some pixels: [P, num_depth_samples] both."""
    tiles, put = _sparse(
        active_tiles, tile_offsets, flatten_ids, tile_size, (tile_width, tile_height), tile_pixel_mask, pixel_map
    )
    return _listed(Flat.of(means2d, conics, opacities), tiles, put, _positive(num_depth_samples), strongest=True)


@torch.no_grad()
def rasterize_to_indices_in_range(
    range_start: int,
    range_end: int,
    transmittances: Tensor,
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    isect_offsets: Tensor,
    flatten_ids: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of Gaussians and pixels, for compositing in steps.

    Args:
        range_start, range_end: the part of each tile's list, in units of tile_size^2 Gaussians.
        transmittances: in front of that part [..., image_height, image_width].

    Returns:
        Gaussians of the image, pixels row by row, and images, of each pair, int64 [M]; by image, pixel, and depth.
    """
    size, step = (image_height, image_width), tile_size * tile_size
    flat, dims = Flat.of(means2d, conics, opacities), tuple(isect_offsets.shape)
    tiles = Tiles.dense(isect_offsets, flatten_ids, tile_size)
    first = (tiles.lengths.clamp(max=range_start * step)).to(tiles.starts)
    last = tiles.lengths.clamp(max=range_end * step)
    tiles = tiles._replace(starts=tiles.starts + first, lengths=last - first)
    check.shape("transmittances", transmittances, (*dims[:-2], *size))
    before = _cut(transmittances.reshape(-1, *size), dims[-2:], tile_size)
    numbers = torch.arange(step, device=means2d.device)
    parts = []
    for part in _contributions(flat, tiles, before):
        tile, pixel, place = part.counted.nonzero(as_tuple=True)
        chunk = part.chunk[tile]
        row = tiles.y[chunk] * tile_size + numbers[pixel] // tile_size
        column = tiles.x[chunk] * tile_size + numbers[pixel] % tile_size
        inside = (row < image_height) & (column < image_width)
        pairs = (tiles.images[chunk], row * image_width + column, place, flat.own(part.rows[tile, place]))
        parts.append([value[inside] for value in pairs])
    if not parts:
        empty = means2d.new_zeros(0, dtype=torch.int64)
        return empty, empty, empty
    images, pixels, places, rows = (torch.cat(values) for values in zip(*parts))
    order = torch.argsort(places, stable=True)
    order = order[torch.argsort((images * image_height * image_width + pixels)[order], stable=True)]
    return rows[order], pixels[order], images[order]


def accumulate(
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    colors: Tensor,
    gaussian_ids: Tensor,
    pixel_ids: Tensor,
    image_ids: Tensor,
    image_width: int,
    image_height: int,
) -> Pair:
    """Composite pairs of Gaussians and pixels, as `rasterize_to_indices_in_range` gives them, by PyTorch's autograd.

    Args:
        means2d, conics, opacities, colors: [..., N, 2], [..., N, 3], [..., N], [..., N, D].
        gaussian_ids, pixel_ids, image_ids: [M].

    Returns:
        Image [..., image_height, image_width, D] and alpha [..., image_height, image_width, 1].
    """
    dims, count = tuple(means2d.shape[:-2]), means2d.shape[-2]
    rows = image_ids * count + gaussian_ids
    centre = torch.stack((pixel_ids % image_width, pixel_ids // image_width), -1) + 0.5
    dx, dy = (centre - means2d.reshape(-1, 2)[rows]).unbind(-1)
    a, b, c = conics.reshape(-1, 3)[rows].unbind(-1)
    sigma = (a * dx * dx + c * dy * dy) / 2 + b * dx * dy
    alpha = (opacities.reshape(-1)[rows] * (-sigma).exp()).clamp(max=MAX_ALPHA)
    pixels, rays = image_ids * image_height * image_width + pixel_ids, means2d[..., 0, 0].numel()
    weights = alpha * _ahead(alpha, pixels)
    flat = colors.reshape(-1, colors.shape[-1])[rows]
    image = flat.new_zeros(rays * image_height * image_width, flat.shape[-1])
    image = image.index_add(0, pixels, weights[:, None] * flat)
    total = image.new_zeros(len(image), 1).index_add(0, pixels, weights[:, None])
    return tuple(value.view(*dims, image_height, image_width, -1) for value in (image, total))  # type: ignore[return-value]


def _ahead(alpha: Tensor, pixels: Tensor) -> Tensor:
    """The transmittance in front of each pair [M]; pairs of a pixel follow one another, near to far."""
    _, segment, counts = torch.unique_consecutive(pixels, return_inverse=True, return_counts=True)
    if not len(counts):
        return alpha
    place = torch.arange(len(alpha), device=alpha.device) - (counts.cumsum(0) - counts)[segment]
    table = alpha.new_ones(len(counts), int(counts.max()) + 1).index_put((segment, place + 1), 1 - alpha)
    return table.cumprod(-1)[segment, place]


def _cut(values: Tensor, tiles: tuple[int, ...], side: int) -> Tensor:
    """Images [I, H, W] as tiles [T, side * side], zero outside the images."""
    rows, columns = tiles
    pad = (0, columns * side - values.shape[-1], 0, rows * side - values.shape[-2])
    whole = F.pad(values, pad).view(-1, rows, side, columns, side)
    return whole.transpose(2, 3).reshape(-1, side * side)


def _dense(offsets: Tensor, flatten_ids: Tensor, side: int, size: tuple[int, int]) -> tuple[Tiles, Put]:
    dims = tuple(offsets.shape)
    return Tiles.dense(offsets, flatten_ids, side), lambda values: assemble(values, dims, side, size)


def _sparse(
    active: Tensor, offsets: Tensor, flatten_ids: Tensor, side: int, tiles: tuple[int, int], mask: Tensor, order: Tensor
) -> tuple[Tiles, Put]:
    found = Tiles.sparse(active, offsets, flatten_ids, side, *tiles)
    return found, lambda values: pick(values, (mask, order), side)


def _most(counts: Tensor) -> int:
    return int(counts.max()) if counts.numel() else 0


def _positive(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"num_depth_samples: expected a positive integer, got {count!r}")
    return count
