"""Lists of tiles and their compositing: against loops, whole images, and `lumigrad.splat`."""

from __future__ import annotations

import struct

import pytest
import torch
from gsplat_common import small_scene
from ops_common import random, scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad.compat import gsplat

WIDTH, HEIGHT = 21, 18
STEPS = {"max_alpha": 0.99, "min_alpha": 1 / 255, "stop": 1e-4}


class Projected:
    """40 Gaussians in two images, and their lists for tiles of a size."""

    def __init__(self, side: int = 4, packed: bool = False, dtype: torch.dtype = torch.float64) -> None:
        scene = small_scene(40)
        scene["Ks"][:, 0, 2], scene["Ks"][:, 1, 2] = 10.0, 9.0
        self.colors, self.opacities = scene["colors"].to(dtype), scene["opacities"].expand(2, -1).to(dtype)
        values = gsplat.fully_fused_projection(
            scene["means"], None, scene["quats"], 0.3 * scene["scales"], scene["viewmats"], scene["Ks"], WIDTH, HEIGHT
        )
        self.radii, self.means2d, self.depths, self.conics = values[0], *(v.to(dtype) for v in values[1:4])
        self.colors = self.colors.expand(2, -1, -1)
        self.ids = {}
        if packed:
            seen = (self.radii > 0).all(-1)
            self.ids = {"n_images": 2, "image_ids": seen.nonzero()[:, 0], "gaussian_ids": seen.nonzero()[:, 1]}
            for name in ("radii", "means2d", "depths", "conics", "opacities", "colors"):
                setattr(self, name, getattr(self, name)[seen])
        self.side, self.packed = side, packed
        self.tiles = -(-WIDTH // side), -(-HEIGHT // side)
        self.counts, self.isect_ids, self.flatten_ids = gsplat.isect_tiles(
            self.means2d, self.radii, self.depths, side, *self.tiles, packed=packed, **self.ids
        )
        self.offsets = gsplat.isect_offset_encode(self.isect_ids, 2, *self.tiles)

    def lists(self) -> tuple:
        return WIDTH, HEIGHT, self.side, self.offsets, self.flatten_ids

    def ranges(self) -> tuple:
        """The arguments of the functions that list contributors."""
        return self.means2d, self.conics, self.opacities, self.offsets, self.flatten_ids, WIDTH, HEIGHT, self.side


def reference(p: Projected, **options: object) -> lg.Splats:
    """All Gaussians in all pixels."""
    depths = torch.where((p.radii > 0).all(-1), p.depths, torch.nan)
    return lg.splat(p.means2d, p.conics, depths, p.colors, (HEIGHT, WIDTH), p.opacities, **STEPS, **options)


@pytest.mark.parametrize("packed", [False, True])
def test_lists(packed: bool) -> None:
    """Each Gaussian is listed in every tile that its box overlaps, by images, tiles and depths."""
    p = Projected(packed=packed)
    means, radii, depths = p.means2d.reshape(-1, 2), p.radii.reshape(-1, 2), p.depths.reshape(-1)
    images = p.ids["image_ids"] if packed else torch.arange(2).repeat_interleave(40)
    expected, counts = [], []
    for row in range(len(means)):
        count = 0
        for y in range(p.tiles[1]):
            for x in range(p.tiles[0]):
                low, high = torch.tensor([x, y]) * 4, torch.tensor([x + 1, y + 1]) * 4
                over = (means[row] + radii[row] > low) & (means[row] - radii[row] < high)
                if over.all() and (radii[row] > 0).all():
                    bits = struct.unpack("<I", struct.pack("<f", depths[row].item()))[0]
                    tile = int(images[row]) * 2 ** (p.tiles[0] * p.tiles[1] - 1).bit_length() + y * p.tiles[0] + x
                    expected.append((tile << 32 | bits, row))
                    count += 1
        counts.append(count)
    assert p.counts.dtype == p.flatten_ids.dtype == torch.int32
    assert p.counts.flatten().tolist() == counts
    assert list(zip(p.isect_ids.tolist(), p.flatten_ids.tolist())) == sorted(expected)
    unsorted = gsplat.isect_tiles(p.means2d, p.radii, p.depths, 4, *p.tiles, sort=False, packed=packed, **p.ids)
    assert list(zip(unsorted[1].tolist(), unsorted[2].tolist())) == expected
    lengths = torch.cat((p.offsets.flatten(), torch.tensor([len(expected)]))).diff()
    for image in range(2):
        for y in range(p.tiles[1]):
            for x in range(p.tiles[0]):
                key = image * 2 ** (p.tiles[0] * p.tiles[1] - 1).bit_length() + y * p.tiles[0] + x
                place = (image * p.tiles[1] + y) * p.tiles[0] + x
                assert lengths[place] == sum(code >> 32 == key for code, _ in expected)


def test_tight_lists() -> None:
    """With conics and opacities a tile lists a Gaussian if and only if it reaches 1/255 somewhere in the tile."""
    p = Projected(side=4)
    opacities = 0.05 * p.opacities
    counts, ids, rows = gsplat.isect_tiles(
        p.means2d, p.radii, p.depths, 4, *p.tiles, conics=p.conics, opacities=opacities
    )
    assert 0 < counts.sum() < p.counts.sum()
    bits = (p.tiles[0] * p.tiles[1] - 1).bit_length()
    tight = {((code >> 32) & (2**bits - 1), row) for code, row in zip(ids.tolist(), rows.tolist())}
    inner = torch.linspace(0, 4, 161, dtype=torch.float64)
    y, x = torch.meshgrid(inner, inner, indexing="ij")
    for code, row in zip(p.isect_ids.tolist(), p.flatten_ids.tolist()):
        tile = (code >> 32) & (2**bits - 1)
        (mx, my), (a, b, c) = p.means2d.reshape(-1, 2)[row], p.conics.reshape(-1, 3)[row]
        dx, dy = tile % p.tiles[0] * 4 + x - mx, tile // p.tiles[0] * 4 + y - my
        alpha = opacities.flatten()[row] * (-(a * dx * dx + c * dy * dy) / 2 - b * dx * dy).exp()
        if (alpha.max() - 1 / 255).abs() > 1e-5:  # the samples miss the extremum by less
            assert ((tile, row) in tight) == (alpha.max() > 1 / 255).item()


@pytest.mark.parametrize("side", [1, 4, 16, 32])
@pytest.mark.parametrize("packed", [False, True])
def test_whole_images(side: int, packed: bool) -> None:
    p, back = Projected(side, packed), random(2, 3, seed=6, dtype=torch.float64)
    image, alpha = gsplat.rasterize_to_pixels(
        p.means2d, p.conics, p.colors, p.opacities, *p.lists(), backgrounds=back, packed=packed
    )
    whole = reference(Projected(side), background=back)
    assert scaled_error(image, whole.image) < 1e-12
    assert scaled_error(alpha[..., 0], whole.alpha) < 1e-12


def test_gradients_and_masks() -> None:
    p, back = Projected(), random(2, 3, seed=6, dtype=torch.float64)
    masks = torch.ones(2, p.tiles[1], p.tiles[0], dtype=torch.bool)
    masks[0, 1, 2] = masks[1, 3, 0] = False

    def run(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        return gsplat.rasterize_to_pixels(*leaves[:4], *p.lists(), backgrounds=leaves[4], masks=masks)

    leaves = [v.detach().clone().requires_grad_() for v in (p.means2d, p.conics, p.colors, p.opacities, back)]
    image, alpha = run(*leaves)
    assert torch.equal(image[0, 4:8, 8:12], back[0].expand(4, 4, 3))
    assert not alpha[1, 12:16, :4].any()
    whole = reference(p, background=back)
    assert torch.allclose(image[0, :4], whole.image[0, :4], atol=1e-12)
    weights = random(*image.shape, seed=4, dtype=torch.float64)
    weights[0, 4:8, 8:12] = weights[1, 12:16, :4] = 0
    grads = torch.autograd.grad((image * weights).sum(), leaves)
    same = [v.detach().clone().requires_grad_() for v in leaves]
    depths = torch.where((p.radii > 0).all(-1), p.depths, torch.nan)
    out = lg.splat(same[0], same[1], depths, same[2], (HEIGHT, WIDTH), same[3], same[4], **STEPS)
    for grad, expected in zip(grads, torch.autograd.grad((out.image * weights).sum(), same)):
        assert scaled_error(grad, expected) < 1e-10


def test_contributors() -> None:
    """Indices and weights are those of `lumigrad.splat`, counts and alphas their number and sum."""
    p = Projected()
    whole = reference(p, contributors=40)
    counts, alphas = gsplat.rasterize_num_contributing_gaussians(*p.ranges())
    assert torch.equal(counts, (whole.ids >= 0).sum(-1).int())
    assert scaled_error(alphas, whole.alpha) < 1e-12
    ids, weights = gsplat.rasterize_contributing_gaussian_ids(*p.ranges(), counts)
    most = int(counts.max())
    assert ids.dtype == torch.int32
    assert torch.equal(ids, whole.ids[..., :most])
    assert scaled_error(weights, whole.weights[..., :most]) < 1e-12
    for k in (1, 3, most + 2):
        top, top_weights = gsplat.rasterize_top_contributing_gaussian_ids(*p.ranges(), k)
        assert top.shape == (2, HEIGHT, WIDTH, k)
        strongest = torch.nn.functional.pad(weights, (0, k)).sort(-1, descending=True).values[..., :k]
        assert torch.equal(top_weights.sort(-1, descending=True).values, strongest)
        for at in [(0, 9, 10), (1, 3, 4), (1, 17, 20)]:
            chosen = [g for g, w in zip(ids[at].tolist(), weights[at]) if g >= 0 and w >= strongest[at].min()]
            assert [g for g in top[at].tolist() if g >= 0] == chosen
    with pytest.raises(ValueError, match="num_depth_samples: expected a positive integer"):
        gsplat.rasterize_top_contributing_gaussian_ids(*p.ranges(), 0)


def test_in_steps() -> None:
    """The pairs of all steps, composited one after the other, make the whole image."""
    p = Projected(side=2)  # steps of four Gaussians
    image, alpha = torch.zeros(2, HEIGHT, WIDTH, 3).double(), torch.zeros(2, HEIGHT, WIDTH, 1).double()
    total = 0
    for step in range(12):
        through = 1 - alpha
        pairs = gsplat.rasterize_to_indices_in_range(
            step, step + 1, through[..., 0], p.means2d, p.conics, p.opacities, *p.lists()
        )
        total += len(pairs[0])
        part, covered = gsplat.accumulate(p.means2d, p.conics, p.opacities, p.colors, *pairs, WIDTH, HEIGHT)
        image, alpha = image + through * part, alpha + through * covered
    whole = reference(p)
    assert scaled_error(image, whole.image) < 1e-12
    assert scaled_error(alpha[..., 0], whole.alpha) < 1e-12
    assert total == gsplat.rasterize_num_contributing_gaussians(*p.ranges())[0].sum()
    pairs = gsplat.rasterize_to_indices_in_range(
        0, 2**30, torch.ones(2, HEIGHT, WIDTH).double(), p.means2d, p.conics, p.opacities, *p.lists()
    )

    leaves = [v.detach().clone().requires_grad_() for v in (p.means2d, p.conics, p.opacities, p.colors)]
    image, _ = gsplat.accumulate(*leaves, *pairs, WIDTH, HEIGHT)
    assert scaled_error(image, whole.image) < 1e-12
    weights = random(*image.shape, seed=4, dtype=torch.float64)
    grads = torch.autograd.grad((image * weights).sum(), leaves)
    depths = torch.where((p.radii > 0).all(-1), p.depths, torch.nan)
    out = lg.splat(leaves[0], leaves[1], depths, leaves[3], (HEIGHT, WIDTH), leaves[2], **STEPS)
    for grad, expected in zip(grads, torch.autograd.grad((out.image * weights).sum(), leaves)):
        assert scaled_error(grad, expected) < 1e-10


@pytest.mark.parametrize("side", [4, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_some_pixels(side: int, packed: bool) -> None:
    """For a layout of scattered pixels, all values equal those of whole images at these pixels."""
    p = Projected(side, packed)
    chosen = torch.randperm(2 * HEIGHT * WIDTH, generator=torch.Generator().manual_seed(0))[:90]
    images, pixels = chosen // (HEIGHT * WIDTH), chosen % (HEIGHT * WIDTH)
    pixels = torch.stack((pixels // WIDTH, pixels % WIDTH), -1)
    active, mask, bits, ends, order = gsplat.build_sparse_tile_layout(pixels, images, 2, side, *p.tiles)
    where = {}
    for i, (image, (y, x)) in enumerate(zip(images.tolist(), pixels.tolist())):
        tile = (image * p.tiles[1] + y // side) * p.tiles[0] + x // side
        where.setdefault(tile, []).append(((y % side) * side + x % side, i))
    assert active.tolist() == sorted(where) == mask.flatten().nonzero()[:, 0].tolist()
    assert [sorted(where[tile]) for tile in active.tolist()] == [
        [(place, i) for place, i in part] for part in _split(order, ends, pixels, side)
    ]
    for tile, words in zip(active.tolist(), bits.view(torch.int64).tolist()):
        number = sum((word & (2**64 - 1)) << 64 * i for i, word in enumerate(words))
        assert number == sum(1 << place for place, _ in where[tile])
    image_ids = p.ids.get("image_ids")
    offsets, rows = gsplat.isect_tiles_sparse(
        p.means2d, p.radii, p.depths, mask, active, 2, side, *p.tiles, image_ids=image_ids
    )
    assert offsets.tolist()[-1] == len(rows)
    layout = (active, offsets, rows, bits, ends, order)
    at = images, pixels[:, 0], pixels[:, 1]
    back = random(2, 3, seed=6, dtype=torch.float64)
    image, alpha = gsplat.rasterize_to_pixels_sparse(
        p.means2d, p.conics, p.colors, p.opacities, images, *layout, WIDTH, HEIGHT, side, *p.tiles,
        backgrounds=back, packed=packed,
    )  # fmt: skip
    whole = reference(Projected(side), background=back)
    assert scaled_error(image, whole.image[at]) < 1e-12
    assert scaled_error(alpha[:, 0], whole.alpha[at]) < 1e-12
    args = (p.means2d, p.conics, p.opacities, *layout)
    size = (WIDTH, HEIGHT, side, *p.tiles)
    counts, alphas = gsplat.rasterize_num_contributing_gaussians_sparse(*args, *size)
    dense, _ = gsplat.rasterize_num_contributing_gaussians(*p.ranges())
    assert torch.equal(counts, dense[at])
    assert scaled_error(alphas, whole.alpha[at]) < 1e-12
    ids, _ = gsplat.rasterize_contributing_gaussian_ids_sparse(*args, counts, *size)
    all_ids, _ = gsplat.rasterize_contributing_gaussian_ids(*p.ranges(), counts)
    assert torch.equal(ids, all_ids[at])
    top, _ = gsplat.rasterize_top_contributing_gaussian_ids_sparse(*args, *size, 2)
    assert torch.equal(top, gsplat.rasterize_top_contributing_gaussian_ids(*p.ranges(), 2)[0][at])


def _split(order: Tensor, ends: Tensor, pixels: Tensor, side: int) -> list[list[tuple[int, int]]]:
    parts, first = [], 0
    for end in ends.tolist():
        rows = order[first:end].tolist()
        parts.append([(int((pixels[i, 0] % side) * side + pixels[i, 1] % side), i) for i in rows])
        first = end
    return parts


def test_nothing() -> None:
    """Calls without Gaussians or without pixels work."""
    p = Projected()
    empty = [v[:, :0] for v in (p.means2d, p.radii, p.depths, p.conics, p.opacities, p.colors)]
    counts, ids, rows = gsplat.isect_tiles(*empty[:3], 4, *p.tiles)
    assert counts.shape == (2, 0)
    offsets = gsplat.isect_offset_encode(ids, 2, *p.tiles)
    image, alpha = gsplat.rasterize_to_pixels(
        empty[0], empty[3], empty[5], empty[4], WIDTH, HEIGHT, 4, offsets, rows, backgrounds=torch.ones(2, 3).double()
    )
    assert (image == 1).all()
    assert not alpha.any()
    found, _ = gsplat.rasterize_num_contributing_gaussians(
        empty[0], empty[3], empty[4], offsets, rows, WIDTH, HEIGHT, 4
    )
    assert not found.any()
    none = torch.zeros(0, 2, dtype=torch.int64)
    active, mask, bits, ends, order = gsplat.build_sparse_tile_layout(none, none[:, 0], 2, 4, *p.tiles)
    assert (len(active), bits.shape, ends.tolist(), mask.any().item()) == (0, (0, 1), [0], False)
    starts, rows = gsplat.isect_tiles_sparse(p.means2d, p.radii, p.depths, mask, active, 2, 4, *p.tiles)
    assert (starts.tolist(), len(rows)) == ([0], 0)
    image, alpha = gsplat.rasterize_to_pixels_sparse(
        p.means2d, p.conics, p.colors, p.opacities, none[:, 0], active, starts, rows, bits, ends, order, WIDTH, HEIGHT,
        4, *p.tiles,
    )  # fmt: skip
    assert (image.shape, alpha.shape) == ((0, 3), (0, 1))


def test_wrong_calls() -> None:
    p = Projected()
    with pytest.raises(ValueError, match="n_images, image_ids: expected both"):
        gsplat.isect_tiles(p.means2d[0], p.radii[0], p.depths[0], 4, *p.tiles, packed=True)
    with pytest.raises(ValueError, match="conics: expected shape"):
        gsplat.rasterize_to_pixels(p.means2d, p.conics[:, 1:], p.colors, p.opacities, *p.lists())
    with pytest.raises(ValueError, match="isect_offsets: expected tiles for 18 x 40 pixels"):
        gsplat.rasterize_to_pixels(p.means2d, p.conics, p.colors, p.opacities, 40, HEIGHT, 4, p.offsets, p.flatten_ids)
    with pytest.raises(NotImplementedError, match="absgrad: not offered"):
        gsplat.rasterize_to_pixels(p.means2d, p.conics, p.colors, p.opacities, *p.lists(), absgrad=True)
