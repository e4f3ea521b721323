"""Attributes that rasterize interpolates in its own pass: the values of interpolate, and the gradients of both ops."""

from __future__ import annotations

import pickle

import pytest
import torch
from meshes import random_triangles
from ops_common import gradcheck, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg

SIZE = (67, 70)
CHANNELS = [0, 1, 2, 3, 4, 5, 9]


def scene(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """Positions, faces and ranges of two images."""
    if name == "views":
        return *sphere_views(2, 2, dtype), None
    pos, tri = random_triangles(40, seed=3, behind=0.1)
    return pos.to(dtype), tri, torch.tensor([[0, 25], [15, 25]])


def loss_of(frags: lg.Fragments) -> Tensor:
    """A fixed sum of all that is differentiable."""
    values = [value for value in frags[1:] if value is not None]
    return sum((value * random(*value.shape, seed=i, dtype=value.dtype)).sum() for i, value in enumerate(values))


def separate(pos: Tensor, tri: Tensor, ranges: Tensor | None, attr: Tensor, derivatives: bool) -> lg.Fragments:
    frags = lg.rasterize(pos, tri, SIZE, ranges, derivatives)
    return frags._replace(attributes=lg.interpolate(attr, frags, tri))


@pytest.mark.parametrize("derivatives", [False, True])
@pytest.mark.parametrize("batch", [(), (1,), (2,)])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", ["views", "ranges"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_like_two_ops(dtype: torch.dtype, name: str, channels: int, batch: tuple[int, ...], derivatives: bool) -> None:
    """The same bits, and gradients that differ by the rounding of their sums."""
    pos, tri, ranges = scene(name, dtype)
    attr = random(*batch, pos.shape[-2], channels, seed=channels, dtype=dtype)
    leaves = pos.requires_grad_(), attr.requires_grad_()
    frags = lg.rasterize(pos, tri, SIZE, ranges, derivatives, attr)
    expected = separate(pos, tri, ranges, attr, derivatives)
    for value, other in zip(frags, expected, strict=True):
        assert value is other is None or torch.equal(value, other)
    found, wanted = (torch.autograd.grad(loss_of(f), leaves) for f in (frags, expected))
    for grad, other in zip(found, wanted):
        assert scaled_error(grad, other) < (1e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, channels: int) -> None:
    pos, tri, ranges = scene("views", dtype)
    attr = random(2, pos.shape[-2], channels, seed=1, dtype=dtype)
    results = []
    for op, type_ in ((lg.rasterize, dtype), (lg.reference.rasterize, torch.float64)):
        leaves = [value.detach().to(type_).requires_grad_() for value in (pos, attr)]
        frags = op(leaves[0], tri, SIZE, ranges, attributes=leaves[1])
        assert frags.attributes.dtype == type_
        weight = random(*frags.attributes.shape, dtype=dtype).to(type_)
        results.append([frags.attributes, *torch.autograd.grad((frags.attributes * weight).sum(), leaves)])
    for value, expected in zip(*results):
        assert scaled_error(value, expected) < (1e-4 if dtype == torch.float32 else 1e-11)


def test_linear_attributes_are_linear_on_the_screen() -> None:
    """In closed form: a triangle without perspective over the whole image, with x and y of its vertices."""
    pos = torch.tensor([[-1.0, -1.0, 0.0, 1.0], [3.0, -1.0, 0.0, 1.0], [-1.0, 3.0, 0.0, 1.0]]).double().requires_grad_()
    attr = pos.detach()[:, :2].clone().requires_grad_()
    frags = lg.rasterize(pos, torch.tensor([[0, 1, 2]]), (5, 8), attributes=attr)
    x, y = (2 * torch.arange(8.0).double() + 1) / 8 - 1, 1 - (2 * torch.arange(5.0).double() + 1) / 5
    assert (frags.attributes[0, ..., 0] - x).abs().max() < 1e-15
    assert (frags.attributes[0, ..., 1] - y[:, None]).abs().max() < 1e-15
    grad_pos, grad_attr = torch.autograd.grad(frags.attributes[..., 0].sum(), (pos, attr))
    # Whatever moves a point of the triangle by (dx, dy) moves another one, whose x is less by dx, into its pixel.
    assert torch.allclose(grad_pos.sum(0)[:2], torch.tensor([-40.0, 0.0]).double(), atol=1e-12)
    assert torch.allclose(grad_attr.sum(0), torch.tensor([40.0, 0.0]).double(), atol=1e-12)


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_gradients(channels: int) -> None:
    pos, tri = random_triangles(4, seed=5, size=1.0)
    pos = torch.stack((pos, pos.flip(0))).double()
    expected = lg.rasterize(pos, tri, (4, 5)).tri
    assert (expected >= 0).sum() > 8
    for seed in range(8):  # no pixel is so near an edge that a difference quotient sees it change its triangle
        moved = pos + 2e-6 * random(*pos.shape, seed=seed, dtype=pos.dtype)
        assert torch.equal(lg.rasterize(moved, tri, (4, 5)).tri, expected)
    attr = random(12, channels, seed=1, dtype=torch.float64)

    def run(p: Tensor, a: Tensor) -> tuple[Tensor, ...]:
        return lg.rasterize(p, tri, (4, 5), attributes=a)[1:]

    assert gradcheck(run, (pos.requires_grad_(), attr.requires_grad_()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradient_of_one_alone() -> None:
    """The kernel is told which gradients are wanted, and which there are."""
    pos, tri, _ = scene("views", torch.float32)
    attr = random(pos.shape[-2], 3)
    weight = random(2, *SIZE, 3, seed=1)

    def gradients(of: str, p: Tensor, a: Tensor) -> list[Tensor | None]:
        frags = lg.rasterize(p, tri, SIZE, attributes=a)
        value = getattr(frags, of)
        loss = (value * (weight if of == "attributes" else 1)).sum()
        return list(torch.autograd.grad(loss, [v for v in (p, a) if v.requires_grad], materialize_grads=True))

    def leaf(value: Tensor, asks: bool) -> Tensor:
        return value.detach().clone().requires_grad_(asks)

    # Not the same bits: CUDA adds in any order.
    both = gradients("attributes", leaf(pos, True), leaf(attr, True))
    assert scaled_error(gradients("attributes", leaf(pos, True), leaf(attr, False))[0], both[0]) < 1e-5
    assert scaled_error(gradients("attributes", leaf(pos, False), leaf(attr, True))[0], both[1]) < 1e-5
    for name in ("bary", "depth", "bary_d"):
        of_pos, of_attr = gradients(name, leaf(pos, True), leaf(attr, True))
        plain = leaf(pos, True)
        expected = torch.autograd.grad(getattr(lg.rasterize(plain, tri, SIZE), name).sum(), plain)[0]
        assert scaled_error(of_pos, expected) < 1e-5
        assert not of_attr.any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 65, 130])
def test_gradients_of_background_pixels_go_nowhere(width: int, channels: int) -> None:
    """Whatever arrives there, NaN included; on rows that end anywhere within the sixteen pixels of a step."""
    pos, tri = random_triangles(40, seed=width, size=0.4)
    attr = random(len(pos), channels)
    leaves = pos.requires_grad_(), attr.requires_grad_()
    frags = lg.rasterize(pos, tri, (30, width), attributes=attr)
    empty = (frags.tri < 0)[..., None]
    assert empty.any()
    assert not frags.attributes[empty.expand_as(frags.attributes)].any()
    grad = random(*frags.attributes.shape, seed=2)
    found, expected = (
        torch.autograd.grad(frags.attributes, leaves, grad.masked_fill(empty, value), retain_graph=True)
        for value in (torch.nan, 0.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_zeros_of_a_large_image() -> None:
    """Over a megabyte, written past the caches, in memory that held something else."""
    pos, tri = sphere_views(1, 2)
    torch.full((512, 516, 4), torch.nan)
    frags = lg.rasterize(pos[0] * torch.tensor([0.2, 0.2, 1.0, 1.0]), tri, (512, 516), attributes=torch.ones(42, 4))
    seen = frags.tri >= 0
    assert not frags.attributes[~seen].any()
    assert (frags.attributes[seen] - 1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("vertices", "faces", "views", "channels"), [(3, 0, 1, 3), (0, 0, 1, 3), (3, 1, 0, 3), (3, 1, 1, 0), (0, 0, 0, 5)]
)
def test_empty(vertices: int, faces: int, views: int, channels: int) -> None:
    pos = torch.ones(views, vertices, 4).requires_grad_()
    attr = torch.ones(vertices, channels).requires_grad_()
    tri = torch.tensor([[0, 1, 2]])[:faces]
    frags = lg.rasterize(pos, tri, (3, 4), attributes=attr)
    assert frags.attributes.shape == (views, 3, 4, channels)
    (frags.attributes.sum() + frags.depth.sum()).backward()
    assert pos.grad.shape == pos.shape
    assert attr.grad.shape == attr.shape
    assert not attr.grad.any()


@pytest.mark.parametrize(
    ("attributes", "kind", "message"),
    [
        ([1.0], TypeError, "attributes: expected a torch.Tensor, got list"),
        (torch.ones(162, 3, dtype=torch.int32), TypeError, "attributes"),
        (torch.ones(162, 3, dtype=torch.float64), TypeError, "attributes"),
        (torch.ones(41, 3), ValueError, r"attributes: expected shape \[162, C\] or \[2 or 1, 162, C\].*\(41, 3\)"),
        (torch.ones(162), ValueError, "attributes: expected shape"),
        (torch.ones(3, 162, 3), ValueError, "attributes: expected shape"),
    ],
)
def test_wrong_attributes(attributes: object, kind: type[Exception], message: str) -> None:
    pos, tri, _ = scene("views", torch.float32)
    with pytest.raises(kind, match=message):
        lg.rasterize(pos, tri, SIZE, attributes=attributes)


def test_derivatives_are_wanted_or_not() -> None:
    pos, tri, _ = scene("views", torch.float32)
    with pytest.raises(TypeError, match="derivatives: expected a bool, got ''"):
        lg.rasterize(pos, tri, SIZE, derivatives="")


def test_the_op_takes_one_to_four_channels() -> None:
    pos, tri, _ = scene("views", torch.float32)
    for channels in (0, 5):
        with pytest.raises(ValueError, match=f"attr: expected 1 to 4 channels, got {channels}"):
            torch.ops.lumigrad.rasterize_attributes(pos, tri, None, torch.ones(162, channels), *SIZE, False, 8)


def test_fragments_without_attributes() -> None:
    """They are the last field, None by default, so that four values still make fragments."""
    pos, tri, _ = scene("views", torch.float32)
    frags = lg.rasterize(pos, tri, SIZE)
    assert frags.attributes is None
    assert lg.Fragments(*frags[:4]).attributes is None
    full = lg.rasterize(pos, tri, SIZE, attributes=pos[0])
    copy = pickle.loads(pickle.dumps(full))
    assert all(torch.equal(a, b) for a, b in zip(copy, full, strict=True))
