"""Path-traced images in batches of samples: as many as requested, or as many as each part of the image needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.light import trace_paths
from lumigrad.render.path_bsdf import Bsdf, trace_paths_with
from lumigrad.render.path_lens import Aperture, traced_through
from lumigrad.render.path_scene import SEEDS
from lumigrad.types import Bvh, LitScene, TracedPaths

PATHS_PER_CALL = 2**19  # between calls, interrupts are handled and progress is shown
OWN_PATHS_PER_CALL, LENS_PATHS_PER_CALL = 2**15, 2**17  # for BSDFs in Python, or through a lens
TILE = 16  # pixels per side of the tiles whose noise is measured
MEASURED = 4  # batches after which it is measured
LARGEST_BATCH = 16  # samples
DIM = 0.1  # relative to the image's mean brightness: darker parts may be as noisy as parts of this brightness

Report = Callable[[float], None]


class Paths(NamedTuple):
    """Paths through an image whose rays at the corners of pixels are [H + 1, W + 1, 3].

    bsdfs: BSDFs in Python, by the numbers of materials.
    aperture: of the lens, instead of a pinhole.
    """

    scene: LitScene
    tree: Bvh
    origins: Tensor
    directions: Tensor
    max_depth: int | None
    seed: int
    gradient_seed: int
    bsdfs: Mapping[int, Bsdf] = {}
    aperture: Aperture | None = None

    def per_call(self, pixels: int) -> int:
        """Samples of this many pixels that are traced at once; may be 0."""
        if self.bsdfs:
            return OWN_PATHS_PER_CALL // pixels
        return (PATHS_PER_CALL if self.aperture is None else LENS_PATHS_PER_CALL) // pixels

    def trace(self, origins: Tensor, directions: Tensor, samples: int, batch: int) -> TracedPaths:
        """Trace paths for other rays. Batch 0 has the given seeds, others have seeds of their own."""
        seed, other = _of_batch(self.seed, batch), _of_batch(self.gradient_seed, batch)
        if self.aperture is None:
            return self._trace(origins, directions, samples, seed, other)
        return self._trace_through(self.aperture, origins, directions, samples, seed, other)

    def _trace(self, origins: Tensor, directions: Tensor, samples: int, seed: int, other: int) -> TracedPaths:
        scene, depth, tree = self.scene, self.max_depth, self.tree
        if self.bsdfs:
            return trace_paths_with(self.bsdfs, scene, origins, directions, samples, depth, seed, other, tree)
        return trace_paths(scene, origins, directions, samples, depth, seed, other, tree)

    def _trace_through(
        self, aperture: Aperture, origins: Tensor, directions: Tensor, samples: int, seed: int, other: int
    ) -> TracedPaths:
        """Gradients come from other paths, through other points of the lens."""

        def trace(begin: Tensor, onward: Tensor) -> TracedPaths:
            return self._trace(begin, onward, 1, seed, other)

        with torch.no_grad():
            image = traced_through(aperture, origins, directions, samples, seed, trace)
        if not torch.is_grad_enabled():
            return image
        moving = traced_through(aperture, origins, directions, samples, other, trace)
        return TracedPaths(*(_with_slope(a, b) for a, b in zip(image, moving, strict=True)))


def _with_slope(value: Tensor, moving: Tensor) -> Tensor:
    return value + (moving - moving.detach()) if moving.requires_grad else value


def _of_batch(seed: int, batch: int) -> int:
    return (seed + batch * 0xD1B54A32D192ED03) % SEEDS


def traced(paths: Paths, samples: int, report: Report) -> TracedPaths:
    """Means of `samples` paths of each pixel. report: receives the fraction of the work that is done."""
    height, width = (size - 1 for size in paths.directions.shape[:2])
    size = max(1, paths.per_call(height * width))
    found: list[TracedPaths] = []
    for batch, start in enumerate(range(0, samples, size)):
        count = min(size, samples - start)
        part = paths.trace(paths.origins, paths.directions, count, batch)
        share = count / samples
        parts = part if share == 1 else TracedPaths(*(share * value for value in part))
        found = [parts] if not found else [TracedPaths(*(a + b for a, b in zip(found[0], parts, strict=True)))]
        report((start + count) / samples)
    return found[0]


# ---- As many samples as needed -------------------------------------------------------------------------------------


def traced_until(paths: Paths, error: float, samples: int, report: Report) -> tuple[TracedPaths, Tensor]:
    """The image, and the number of samples of each pixel [H, W]: at most `samples`, in batches.

    A tile gets no more samples once its standard error, estimated from the differences of its batches, is at most
    `error` times its brightness.
    """
    tiles = _Tiles(paths)
    fitting = paths.per_call(tiles.count * TILE**2)
    size = max(1, min(samples // MEASURED, LARGEST_BATCH, fitting))
    batches = max(1, samples // size)
    sums = paths.directions.new_zeros(tiles.count, TILE, TILE, 14)
    squares, counts = torch.zeros_like(sums[..., :3]), sums.new_zeros(tiles.count, 1, 1, 1)
    active = torch.arange(tiles.count, device=sums.device)
    for batch in range(batches):
        found = tiles.trace(active, size, batch)
        sums = sums.index_add(0, active, found)
        squares.index_add_(0, active, found.detach()[..., :3] ** 2)
        counts[active] += 1
        if batch + 1 >= MEASURED:
            active = active[_noisy(sums.detach()[..., :3], squares, counts, tiles.inside, error)[active]]
        if not len(active):
            break
        report((batch + 1) / batches)
    report(1.0)
    image = tiles.image(sums / counts)
    radiance, alpha, depth, normals, albedo, through = image.split((3, 1, 1, 3, 3, 3), -1)
    numbers = tiles.image((size * counts).expand(-1, TILE, TILE, 1))[..., 0].to(torch.int32)
    return TracedPaths(radiance, alpha[..., 0], depth[..., 0], normals, albedo, through), numbers


def _noisy(sums: Tensor, squares: Tensor, counts: Tensor, inside: Tensor, error: float) -> Tensor:
    """Which tiles need more samples, bool [T], by sums and sums of squares [T, TILE, TILE, 3] over their batches."""
    mean = sums / counts
    variance = (squares / counts - mean**2).clamp_min(0) / (counts - 1).clamp_min(1)
    pixels = inside.sum((1, 2))
    noise, bright = ((inside * value.mean(-1)).sum((1, 2)) / pixels for value in (variance, mean))
    whole = (bright * pixels).sum() / pixels.sum()
    return noise.sqrt() > error * bright.clamp_min(DIM * whole)


class _Tiles:
    """The squares of TILE x TILE pixels of an image, traced one below the other as one image."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.size = [size - 1 for size in paths.directions.shape[:2]]
        self.grid = [-(-size // TILE) for size in self.size]
        self.count = self.grid[0] * self.grid[1]
        device = paths.directions.device
        rows, columns = (self._corners(axis).to(device) for axis in range(2))
        self.rows = rows.repeat_interleave(self.grid[1], 0)
        self.columns = columns.repeat(self.grid[0], 1)
        height, width = self.size
        self.inside = (self.rows[:, :-1, None] < height) & (self.columns[:, None, :-1] < width)

    def _corners(self, axis: int) -> Tensor:
        """The indices of pixel corners along an axis [tiles, TILE + 1]. Past the image, pixels have no size."""
        first = TILE * torch.arange(self.grid[axis])[:, None]
        return (first + torch.arange(TILE + 1)).clamp_max(self.size[axis])

    def trace(self, chosen: Tensor, samples: int, batch: int) -> Tensor:
        """Radiance, alpha, depth, normal, albedo and transmittance of some tiles [K, TILE, TILE, 14]."""
        rows, columns = self.rows[chosen, :, None], self.columns[chosen, None]
        origins, directions = (r[rows, columns].flatten(0, 1) for r in (self.paths.origins, self.paths.directions))
        found = self.paths.trace(origins, directions, samples, batch)
        values = torch.cat([value if value.dim() == 3 else value[..., None] for value in found], -1)
        # Between two tiles lies a row of pixels that belong to neither.
        padded: Tensor = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, 1))
        return padded.reshape(len(chosen), TILE + 1, *padded.shape[1:])[:, :-1]

    def image(self, values: Tensor) -> Tensor:
        """The image [H, W, C] of the values of all tiles."""
        rows, columns = self.grid
        whole = values.reshape(rows, columns, *values.shape[1:]).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        return whole[: self.size[0], : self.size[1]]
