"""The kernels on real meshes, in float32, against the float64 reference on the same positions.

An error is relative to the largest magnitude of its tensor, 1e-5 forward and 1e-4 backward; measured here:
5e-6 and 6e-7. Finer measures follow, for which there are outliers:

* u and v are compared absolutely, 1e-5. The worst (5e-6) are in triangles seen nearly edge-on, where they
  change by about 1 from pixel to pixel and so feel the rounding of the pixel's place.
* bary_d is compared pixel by pixel with its own norm, 1e-4. Measured: 5e-6.
* Gradients are compared vertex by vertex with the norm of the vertex's own gradient, 1e-3, as long as that
  is over a millionth of the largest: sums over the pixels of a triangle cancel, rounding does not. Measured:
  5e-5.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from meshes import load_obj, view_mesh
from ops_common import random, scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad.ops.surface._antialias import antialias_with

MESHES = {
    "spot": (256, 256, 30, 20),
    "suzanne": (300, 400, -50, 10),
    "stanford-bunny": (384, 512, 110, -15),
}
Scene = tuple[Tensor, Tensor, tuple[int, int]]


@pytest.fixture(scope="module", params=MESHES)
def scene(request: pytest.FixtureRequest, shared: Path) -> Scene:
    """Positions float32, faces, size."""
    height, width, azimuth, elevation = MESHES[request.param]
    points, tri = load_obj(shared / "data" / "meshes" / f"{request.param}.obj")
    return view_mesh(points, azimuth, elevation, distance=1.6, aspect=width / height), tri, (height, width)


def norm_error(actual: Tensor, expected: Tensor, dims: int, floor: float) -> float:
    """The largest error relative to the norm over the last `dims` dimensions, of at least `floor` x the largest."""
    difference = (actual.double() - expected).flatten(-dims).norm(dim=-1)
    norm = expected.flatten(-dims).norm(dim=-1)
    return (difference / norm.clamp(min=floor * norm.max())).max().item()


def test_rasterize(scene: Scene) -> None:
    pos, tri, size = scene
    ours, theirs = pos.clone().requires_grad_(), pos.double().requires_grad_()
    frags = lg.rasterize(ours, tri, size)
    expected = lg.reference.rasterize(theirs, tri, size)
    assert (frags.tri >= 0).float().mean() > 0.1
    assert torch.equal(frags.tri, expected.tri)
    assert (frags.bary - expected.bary).abs().max() < 1e-5
    assert norm_error(frags.bary_d.detach(), expected.bary_d.detach(), 2, 1e-12) < 1e-4
    for i, name in enumerate(("bary", "depth", "bary_d")):
        value, wanted = getattr(frags, name), getattr(expected, name)
        assert scaled_error(value, wanted) < 1e-5
        weight = random(*value.shape, seed=i)
        (grad,) = torch.autograd.grad((value * weight).sum(), ours, retain_graph=True)
        (wanted,) = torch.autograd.grad((wanted * weight).sum(), theirs, retain_graph=True)
        assert scaled_error(grad, wanted) < 1e-4
        assert norm_error(grad, wanted, 1, 1e-6) < 1e-3


def test_interpolate(scene: Scene) -> None:
    pos, tri, size = scene
    results = []
    frags = lg.rasterize(pos, tri, size)
    for op, dtype in ((lg.interpolate, torch.float32), (lg.reference.interpolate, torch.float64)):
        attr = random(len(pos), 5, seed=3).to(dtype).requires_grad_()
        bary, bary_d = (value.to(dtype).requires_grad_() for value in (frags.bary, frags.bary_d))
        outputs = op(attr, frags._replace(bary=bary, bary_d=bary_d), tri, derivatives=True)
        loss = sum((out * random(*out.shape, seed=i)).sum() for i, out in enumerate(outputs))
        results.append((outputs, torch.autograd.grad(loss, (attr, bary, bary_d))))
    (ours, grads), (theirs, wanted) = results
    assert all(scaled_error(value, expected) < 1e-5 for value, expected in zip(ours, theirs))
    assert all(scaled_error(grad, expected) < 1e-4 for grad, expected in zip(grads, wanted))
    assert norm_error(grads[0], wanted[0], 1, 1e-6) < 1e-3


@pytest.mark.parametrize("own_edges", [False, True])
def test_antialias(scene: Scene, own_edges: bool) -> None:
    """With the depth of the kernel's fragments in both, so that ties between pixels fall the same way."""
    pos, tri, size = scene
    frags = lg.rasterize(pos, tri, size)
    precise = lg.Fragments(frags.tri, *(value.double() for value in frags[1:4]))
    color = random(1, *size, 3, seed=8)
    topology = lg.edge_topology(tri)
    ours = color.clone().requires_grad_(), pos.clone().requires_grad_()
    theirs = color.double().requires_grad_(), pos.double().requires_grad_()
    out = antialias_with(ours[0], frags, ours[1], tri, topology, own_edges)
    expected = lg.reference.antialias(theirs[0], precise, theirs[1], tri, topology, own_edges=own_edges)
    assert torch.equal((out != color).any(-1), (expected != theirs[0]).any(-1))
    assert (out != color).any(-1).sum() > 100
    assert scaled_error(out, expected) < 1e-5
    weight = random(*color.shape, seed=9)
    grads = torch.autograd.grad((out * weight).sum(), ours)
    wanted = torch.autograd.grad((expected * weight).sum(), theirs)
    assert scaled_error(grads[0], wanted[0]) < 1e-5
    assert scaled_error(grads[1], wanted[1]) < 1e-4
    assert norm_error(grads[1], wanted[1], 1, 1e-6) < 1e-3


def test_peel(scene: Scene) -> None:
    pos, tri, size = scene
    ours = lg.peel(pos, tri, size, 3, derivatives=False)
    theirs = lg.reference.peel(pos.double(), tri, size, 3, derivatives=False)
    for frags, expected in zip(ours, theirs):
        assert torch.equal(frags.tri, expected.tri)
        assert scaled_error(frags.depth, expected.depth) < 1e-5
