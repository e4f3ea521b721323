"""The interpolation kernel against the reference, and its gradients against differences."""

from __future__ import annotations

import pytest
import torch
from meshes import grid, random_triangles
from ops_common import gradcheck, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments

MODES = [False, True, [0], [2, 0], []]


def leaves(frags: Fragments) -> Fragments:
    """The same fragments, as inputs of their own that ask for gradients."""
    return frags._replace(
        bary=frags.bary.detach().clone().requires_grad_(), bary_d=frags.bary_d.detach().clone().requires_grad_()
    )


@pytest.mark.parametrize("derivatives", MODES)
@pytest.mark.parametrize("batch", [(), (1,), (2,)])
def test_gradients(batch: tuple[int, ...], derivatives: bool | list[int]) -> None:
    """Bilinear in attributes and barycentrics: differences are exact for every scene."""
    pos, tri = random_triangles(4, seed=5, size=1.0)
    frags = lg.rasterize(torch.stack((pos, pos.flip(0))).double(), tri, (4, 5))
    assert (frags.tri >= 0).sum() > 8
    attr = random(*batch, 12, 3, seed=1, dtype=torch.float64).requires_grad_()

    def run(a: Tensor, bary: Tensor, bary_d: Tensor) -> Tensor | tuple[Tensor, ...]:
        return lg.interpolate(a, frags._replace(bary=bary, bary_d=bary_d), tri, derivatives)

    fixed = leaves(frags)
    inputs = attr, fixed.bary, fixed.bary_d
    if not isinstance(derivatives, list) or derivatives:
        assert gradcheck(run, inputs, eps=1e-4, atol=1e-8, rtol=1e-6)
    for i in range(3):  # one at a time: the kernel is told what is wanted
        alone = [value.detach().requires_grad_(i == k) for k, value in enumerate(inputs)]
        together = torch.autograd.grad(total(run(*inputs)), inputs, allow_unused=True)
        if together[i] is None:
            assert not total(run(*alone)).requires_grad
        else:
            assert torch.equal(torch.autograd.grad(total(run(*alone)), alone[i])[0], together[i])


def total(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    return sum((o * random(*o.shape, seed=i, dtype=o.dtype)).sum() for i, o in enumerate(outputs))


@pytest.mark.parametrize("derivatives", MODES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(dtype: torch.dtype, channels: int, derivatives: bool | list[int]) -> None:
    """float32 sums of a triangle's pixels are taken tile by tile: 1e-4 of the largest gradient, met with room."""
    if isinstance(derivatives, list):
        derivatives = [c % channels for c in derivatives]
    forward, backward = (1e-5, 1e-4) if dtype == torch.float32 else (1e-12, 1e-12)
    pos, tri = sphere_views(2, 2, dtype)
    frags = lg.rasterize(pos, tri, (67, 70))
    for batch in ((), (2,)):
        attr = random(*batch, pos.shape[1], channels, seed=channels, dtype=dtype)
        results = []
        for op, precise in ((lg.interpolate, False), (lg.reference.interpolate, True)):
            cast = torch.float64 if precise else dtype
            fixed = leaves(Fragments(frags.tri, *(value.to(cast) for value in frags[1:4])))
            inputs = [attr.detach().to(cast).requires_grad_(), fixed.bary, fixed.bary_d]
            outputs = op(inputs[0], fixed, tri, derivatives)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            weights = [random(*o.shape, seed=i, dtype=dtype).to(cast) for i, o in enumerate(outputs)]
            loss = sum((o * w).sum() for o, w in zip(outputs, weights))
            results.append((outputs, torch.autograd.grad(loss, inputs, allow_unused=True)))
        (ours, grads), (theirs, wanted) = results
        for value, expected in zip(ours, theirs):
            assert value.dtype == dtype
            assert scaled_error(value, expected) < forward
        for grad, expected in zip(grads, wanted):
            if expected is None:
                assert grad is None or not grad.any()
            else:
                assert scaled_error(grad, expected) < backward


def test_other_indices_than_the_positions() -> None:
    """Attributes with an index buffer of their own, as textured meshes have."""
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos, tri, (40, 40))
    own = torch.arange(tri.numel()).view(-1, 3)
    attr = random(42, 4, seed=2)
    split = lg.interpolate(attr[tri.long().flatten()], frags, own)
    assert torch.equal(split, lg.interpolate(attr, frags, tri))


def test_negative_index_is_a_vertex_of_zeros() -> None:
    pos, tri = sphere_views(1, 1, torch.float64)
    frags = leaves(lg.rasterize(pos, tri, (30, 30)))
    holes = tri.clone()
    holes[::3, 1] = -1
    holes[1::3] = -7
    results = []
    for op in (lg.interpolate, lg.reference.interpolate):
        attr = random(42, 5, seed=3, dtype=torch.float64).requires_grad_()
        outputs = op(attr, frags, holes, True)
        results.append((*outputs, *torch.autograd.grad(total(outputs), (attr, frags.bary, frags.bary_d))))
    for ours, theirs in zip(*results):
        assert scaled_error(ours, theirs) < 1e-12


def test_derivatives_are_differences_of_neighbours() -> None:
    """Of an attribute that is linear on the screen, to the last pixel: no perspective, one plane."""
    points, tri = grid(1, 1)
    pos = torch.cat((1.5 * points[:, :2], torch.zeros(4, 1), torch.ones(4, 1)), 1).double()
    out, out_d = lg.interpolate(points[:, :2].double(), lg.rasterize(pos, tri, (8, 10)), tri, True)
    across, down = out[:, :, 1:] - out[:, :, :-1], out[:, 1:] - out[:, :-1]
    assert torch.allclose(out_d[:, :, 1:, :, 0], across, atol=1e-12)
    assert torch.allclose(out_d[:, 1:, :, :, 1], down, atol=1e-12)


def test_background_is_zero_and_gets_no_gradient() -> None:
    pos, tri = random_triangles(3, size=0.3)
    frags = leaves(lg.rasterize(pos, tri, (50, 50)))
    attr = torch.full((9, 2), torch.nan)
    out = lg.interpolate(torch.ones(9, 2), frags, tri)
    empty = frags.tri < 0
    assert not out[empty].any()
    assert torch.allclose(out[~empty], torch.ones(()))
    nothing = frags._replace(tri=torch.full_like(frags.tri, -1))
    out, out_d = lg.interpolate(attr.requires_grad_(), nothing, tri, True)
    assert not out.any()
    assert not out_d.any()
    grads = torch.autograd.grad(total((out, out_d)), (attr, frags.bary, frags.bary_d))
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 63, 65, 130])
def test_gradients_of_background_pixels_go_nowhere(width: int, channels: int) -> None:
    """Whatever arrives there, NaN included; on rows that end anywhere within the sixteen pixels of a step."""
    pos, tri = random_triangles(40, seed=width, size=0.4)
    frags = leaves(lg.rasterize(pos, tri, (30, width)))
    empty = frags.tri < 0
    assert 0 < empty.sum() < empty.numel()
    attr = random(pos.shape[0], channels, seed=channels).requires_grad_()
    grad_out = random(1, 30, width, channels, seed=2)
    found = torch.autograd.grad(
        lg.interpolate(attr, frags, tri), (attr, frags.bary), grad_out.masked_fill(empty[..., None], torch.nan)
    )
    expected = torch.autograd.grad(
        lg.reference.interpolate(attr, frags, tri), (attr, frags.bary), grad_out.masked_fill(empty[..., None], 0)
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert scaled_error(mine, theirs) < 1e-5
    assert not found[1][empty].any()


@pytest.mark.parametrize("width", [512, 516, 517])
def test_zeros_of_large_images(width: int) -> None:
    """Images of over a megabyte, whose zeros are written past the caches, in memory that held something else."""
    square, tri = grid(2, 2)
    attr = torch.ones(square.shape[0], 3)
    for scale in (2.0, 0.1):  # covers everything, then little
        pos = torch.cat((square * scale, torch.ones(square.shape[0], 1)), -1)
        frags = lg.rasterize(pos, tri, (512, width))
        seen = frags.tri >= 0
        frags = leaves(frags)
        out = lg.interpolate(attr, frags, tri)
        grad = torch.autograd.grad(out.sum() + (out * out).sum(), frags.bary)[0]
        for image in (frags.bary, frags.depth, frags.bary_d, out, grad):
            assert not image[~seen].any()
        assert (out[seen] - 1).abs().max() < 1e-5
        del out, grad, frags


@pytest.mark.parametrize(
    ("attr_shape", "faces", "image"),
    [
        ((5, 0), 2, (1, 3, 4)),
        ((0, 3), 0, (1, 3, 4)),
        ((5, 3), 0, (2, 1, 1)),
        ((5, 3), 2, (0, 3, 4)),
        ((0, 5, 3), 2, (0, 3, 4)),
        ((5, 3), 2, (1, 0, 4)),
    ],
)
def test_empty(attr_shape: tuple[int, ...], faces: int, image: tuple[int, int, int]) -> None:
    attr = torch.ones(attr_shape).requires_grad_()
    tri = torch.tensor([[0, 1, 2], [2, 3, 4]])[:faces].reshape(-1, 3)
    ids = torch.full(image, 0 if faces else -1, dtype=torch.int32)
    frags = Fragments(ids, torch.zeros(*image, 2), torch.zeros(image), torch.zeros(*image, 2, 2))
    out, out_d = lg.interpolate(attr, frags, tri, derivatives=True)
    assert out.shape == (*image, attr_shape[-1])
    assert out_d.shape == (*image, attr_shape[-1], 2)
    (out.sum() + out_d.sum()).backward()
    assert attr.grad.shape == attr.shape
