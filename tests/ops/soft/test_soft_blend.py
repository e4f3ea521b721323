"""Fused soft images against blended fragments, PyTorch3D's silhouettes and differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from meshes import random_triangles
from ops_common import gradcheck, random, scaled_error, sphere_views, threads
from soft_common import SCENES, SIZE, scene, weighted
from torch import Tensor

import lumigrad as lg
from lumigrad import blending, memory

BOUNDS = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-10)}


@pytest.mark.parametrize("falloff", blending.FALLOFFS)
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("dtype", BOUNDS)
def test_silhouette(name: str, falloff: str, dtype: torch.dtype) -> None:
    pos, tri = scene(name, dtype)
    results = []
    for op, start in ((lg.soft_silhouette, pos), (lg.reference.soft_silhouette, pos.double())):
        moving = start.clone().requires_grad_()
        mask = op(moving, tri, SIZE, 2e-3, falloff=falloff)
        results.append((mask, *torch.autograd.grad(weighted(mask), moving)))
    (mask, grad), (wanted, wanted_grad) = results
    assert mask.dtype == dtype
    assert scaled_error(mask, wanted) < BOUNDS[dtype][0]
    assert scaled_error(grad, wanted_grad) < BOUNDS[dtype][1]


@pytest.mark.parametrize("depth_range", [None, (0.5, 4.0)])
@pytest.mark.parametrize("mode", blending.MODES)
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("dtype", BOUNDS)
def test_colors(name: str, mode: str, depth_range: tuple[float, float] | None, dtype: torch.dtype) -> None:
    pos, tri = scene(name, dtype)
    # Attributes with indices of their own, some per face, and a background that is an image.
    own = torch.arange(tri.numel()).view(-1, 3) // 2
    start = pos, random(int(own.max()) + 1, 3, seed=5, dtype=dtype), random(1, *SIZE, 3, seed=6, dtype=dtype)
    results = []
    for op, cast in ((lg.soft_colors, dtype), (lg.reference.soft_colors, torch.float64)):
        inputs = [value.to(cast).clone().requires_grad_() for value in start]
        image = op(inputs[0], tri, inputs[1], SIZE, 2e-3, 5e-2, inputs[2], mode, depth_range=depth_range, attr_tri=own)
        results.append((image, torch.autograd.grad(weighted(image), inputs)))
    (image, grads), (wanted, wanted_grads) = results
    assert scaled_error(image, wanted) < BOUNDS[dtype][0]
    for grad, wanted_grad in zip(grads, wanted_grads):
        assert scaled_error(grad, wanted_grad) < BOUNDS[dtype][1]


def test_sharp_colors_in_which_the_background_is_limited() -> None:
    """With a small gamma the background of mode "pytorch3d" has its least weight, and the nearest face feels it."""
    pos, tri = random_triangles(6, seed=8, size=0.8)
    attr = random(18, 2, seed=1, dtype=torch.float64)
    results = []
    for op in (lg.soft_colors, lg.reference.soft_colors):
        moving = pos.double().requires_grad_()
        image = op(moving, tri, attr, SIZE, 5e-2, 1e-2, 1e9, "pytorch3d")
        results.append((image, *torch.autograd.grad(weighted(image[..., :2]), moving)))
    assert scaled_error(results[0][0], results[1][0]) < 1e-10
    assert scaled_error(results[0][1], results[1][1]) < 1e-9


def test_hard_limit_is_the_nearest_face() -> None:
    """With vanishing sigma and gamma, what `rasterize` and `interpolate` give."""
    pos, tri = sphere_views(2, 1, torch.float64)
    attr = random(pos.shape[1], 3, seed=2, dtype=torch.float64)
    soft = lg.soft_colors(pos, tri, attr, (40, 50), 1e-9, 1e-5, 0.5)
    hard = lg.rasterize(pos, tri, (40, 50))
    image = torch.where(hard.tri[..., None] >= 0, lg.interpolate(attr, hard, tri), 0.5)
    near = (soft[..., :3] - image).abs().amax(-1) < 1e-3
    assert near.double().mean() > 0.99


@pytest.mark.parametrize("mesh", ["suzanne", "spot"])
def test_pytorch3d_silhouette(mesh: str, shared: Path) -> None:
    data = np.load(shared / "oracles" / f"p3d_shade_{mesh}_soft_silhouette.npz")
    verts = torch.tensor(data["verts"]).double().requires_grad_()
    rotation, shift = torch.tensor(data["R"]).double(), torch.tensor(data["T"]).double()
    x, y, z = (verts @ rotation + shift).unbind(-1)  # row vectors; x to the left
    scale = 1 / np.tan(np.radians(float(data["fov"])) / 2)
    pos = torch.stack((-scale * x, scale * y, z - 1, z), -1)
    sigma = float(data["sigma"])
    # Its fragments were the 20 nearest. At a pixel of spot two faces are equally deep at the twentieth place.
    frags = lg.soft_rasterize(pos, torch.tensor(data["faces"]), (64, 64), 20, blending.default_blur_radius(sigma))
    mask = blending.silhouette(frags, sigma)
    expected = torch.tensor(data["image"])[None, ..., 3:].double()
    assert ((mask - expected).abs() > 1e-4).sum() <= (mesh == "spot")
    assert (mask - expected).abs().max() < 1e-3
    weights = torch.tensor(data["grad_image"])[None, ..., 3:].double()
    (grad,) = torch.autograd.grad((mask * weights).sum(), verts)
    error = (grad - torch.tensor(data["grad_verts"])).abs()
    assert (error > 1e-3 * error.new_tensor(data["grad_verts"]).abs().max()).sum() <= 9 * (mesh == "spot")


@pytest.mark.parametrize("name", ["loose", "straddler"])
@pytest.mark.parametrize("falloff", blending.FALLOFFS)
def test_gradcheck_silhouette(name: str, falloff: str) -> None:
    pos, tri = (random_triangles(3, seed=11, size=0.5)[0].double(), None) if name == "loose" else scene(name)
    tri = random_triangles(3)[1] if tri is None else tri

    def run(p: Tensor) -> Tensor:
        return lg.soft_silhouette(p, tri, (4, 5), 2e-2, 5.0, falloff)

    assert gradcheck(run, (pos.requires_grad_(),), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", blending.MODES)
def test_gradcheck_colors(mode: str) -> None:
    pos, tri = random_triangles(3, seed=11, size=0.6)
    inputs = pos.double(), random(9, 2, dtype=torch.float64), random(2, dtype=torch.float64)

    def run(p: Tensor, a: Tensor, background: Tensor) -> Tensor:
        return lg.soft_colors(p, tri, a, (4, 5), 2e-2, 0.3, background, mode, 5.0)

    inputs = tuple(value.requires_grad_() for value in inputs)
    assert gradcheck(run, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 5, 33])
def test_channels_are_alike(channels: int) -> None:
    pos, tri = sphere_views(1, 2)
    attr = random(2, pos.shape[1], channels, seed=3)
    together = lg.soft_colors(pos, tri, attr, SIZE, 1e-3, 1e-2)
    for c in range(channels):
        alone = lg.soft_colors(pos, tri, attr[..., c : c + 1], SIZE, 1e-3, 1e-2)
        assert torch.equal(alone[..., 0], together[..., c])


@pytest.mark.cpu_only
def test_memory_is_that_of_the_image() -> None:
    """A quarter of what fragments of 50 faces take is the goal; it is far less."""
    pos, tri = sphere_views(4, 2)
    moving = pos.clone().requires_grad_()
    with threads(2):
        lg.soft_silhouette(moving, tri, (256, 256), 1e-5, 1e-4).sum().backward()
        before = memory.stats()["in_use"]
        memory.reset_peak_memory()
        lg.soft_silhouette(moving, tri, (256, 256), 1e-5, 1e-4).sum().backward()
    assert memory.stats()["peak"] - before < 0.05 * 48 * 2 * 256 * 256 * 50


def far_reaching(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """A near face that many pixels only reach through the blur, far out where its probability underflows, before a
    large one: positions, faces, colours."""
    near = [[0.5, -0.9, -0.5, 1], [0.9, -0.9, -0.5, 1], [0.5, 0.9, -0.5, 1]]
    far = [[-0.9, -0.9, 0.5, 1], [0.4, -0.9, 0.5, 1], [-0.9, 0.9, 0.5, 1]]
    color = torch.tensor([[1.0, 0, 0]] * 3 + [[0, 1.0, 0]] * 3, dtype=dtype)
    return torch.tensor(near + far, dtype=dtype), torch.tensor([[0, 1, 2], [3, 4, 5]]), color


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("sigma", "gamma"), [(1e-4, 1e-4), (1e-5, 1e-4), (1e-5, 1e-3), (1e-3, 1e-2)])
def test_weights_that_underflow(sigma: float, gamma: float, dtype: torch.dtype) -> None:
    """Colours are the mean over a softmax of logarithms, which do not underflow."""
    pos, tri, color = far_reaching(dtype)
    pos.requires_grad_()
    frags = lg.soft_rasterize(pos, tri, (16, 16), 2, blur_radius=0.05)
    colors, nearness = lg.soft_interpolate(color, frags, tri), blending.nearness(frags, pos, tri)
    present = frags.tri >= 0
    logits = torch.where(present, nearness / gamma - torch.nn.functional.softplus(frags.dist / sigma), -torch.inf)
    weights = torch.cat((logits, torch.full_like(logits[..., :1], 1e-3 / gamma)), -1).softmax(-1)
    expected = (weights[..., :-1, None] * colors).sum(-2)
    blended = blending.soft_blend(colors, frags, nearness, sigma, gamma)
    fused = lg.soft_colors(pos, tri, color, (16, 16), sigma, gamma, blur_radius=0.05)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9  # of exponents of up to 1e4
    for image in (blended, fused):
        assert scaled_error(image[..., :3], expected) < tolerance
        (grad,) = torch.autograd.grad(image.sum(), pos, retain_graph=True)
        assert grad.isfinite().all()
    covered = (lg.rasterize(pos, tri, (16, 16)).tri >= 0).detach()
    assert (fused[covered][:, :3].sum(-1) > 0.4).all()


def test_gradcheck_where_weights_underflow() -> None:
    pos, tri, color = far_reaching(torch.float64)
    pos[:, 0] += 0.0137  # no outline passes through a centre, where squared distances have a kink

    def run(p: Tensor, c: Tensor) -> Tensor:
        return lg.soft_colors(p, tri, c, (5, 6), 1e-3, 1e-3, blur_radius=0.05)

    assert gradcheck(run, (pos.requires_grad_(), color.requires_grad_()), eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("what", ["silhouette", "colors"])
def test_gradients_without_a_view_are_zero(what: str) -> None:
    """Memory that held something else is used for them."""
    pos, tri, color = far_reaching(torch.float32)
    pos = pos.repeat(50, 1).requires_grad_()
    ranges = torch.zeros(0, 2, dtype=torch.int64)
    if what == "silhouette":
        image = lg.soft_silhouette(pos, tri, (8, 8), 0.01, ranges=ranges)
    else:
        image = lg.soft_colors(pos, tri, color.repeat(50, 1), (8, 8), 0.01, 0.1, ranges=ranges)
    for _ in range(3):
        (grad,) = torch.autograd.grad(image, pos, torch.zeros_like(image), retain_graph=True)
        assert not grad.any()
        grad.fill_(1e30)
        del grad


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_equally_near_faces_have_one_gradient_of_the_nearest(copies: int) -> None:
    """Where the background's weight is limited, the nearest face's depth counts by itself: once, not for each copy.

    The definition splits it among them, which is the same for faces of the same vertices.
    """
    pos = torch.tensor([[-0.5, -0.4, 0.1, 1], [0.6, -0.5, 0.2, 1], [0.1, 0.7, -0.1, 1]], dtype=torch.float64)
    attr, tri = random(3, 2, dtype=torch.float64), torch.tensor([[0, 1, 2]]).repeat(copies, 1)
    grads = []
    for op in (lg.soft_colors, lg.reference.soft_colors):
        moving = pos.clone().requires_grad_()
        # Outside of the face it counts about as little as the background does at least.
        image = op(moving, tri, attr, (15, 16), 0.01, 1e-3, 0.3, "pytorch3d", blur_radius=1.0)
        grads.append(torch.autograd.grad(weighted(image), moving)[0])
    assert scaled_error(*grads) < 1e-9
