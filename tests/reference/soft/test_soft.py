"""The definition of soft rasterization against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from meshes import random_triangles
from soft_common import SIZE

from lumigrad import blending
from lumigrad.reference import soft_attributes, soft_colors, soft_interpolate, soft_rasterize, soft_silhouette
from lumigrad.types.fragments import SoftFragments

TRIANGLE = torch.tensor([[-0.5, -0.5, 0.25, 1], [0.5, -0.5, 0.25, 1], [-0.5, 0.5, 0.25, 1]], dtype=torch.float64)
TRI = torch.tensor([[0, 1, 2]])


def test_right_triangle() -> None:
    """Distances and weights of five pixels of a row, read off a drawing; centres at x = -0.8 ... 0.8, y = 0."""
    frags = soft_rasterize(TRIANGLE, TRI, (5, 5), 1, 10.0)
    middle = frags.dist[0, 2, :, 0]
    expected = [0.3**2, -(0.1**2), 0.0, 0.08, 0.32]  # left edge twice, then the slanted edge x + y = 0
    assert torch.allclose(middle, torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    weights = torch.tensor([[0.4, 0.1, 0.5], [0.0, 0.5, 0.5]], dtype=torch.float64)
    assert torch.allclose(frags.bary[0, 2, 1:3, 0], weights, atol=1e-12)
    assert torch.allclose(frags.z, torch.full_like(frags.z, 0.25))
    # Beyond the slanted edge the negative weight is dropped and the others are scaled.
    assert torch.allclose(frags.bary[0, 2, 3, 0], torch.tensor([0.0, 0.9 / 1.4, 0.5 / 1.4], dtype=torch.float64))
    raw = soft_rasterize(TRIANGLE, TRI, (5, 5), 1, 10.0, clip_barycentrics=False)
    assert torch.allclose(raw.bary[0, 2, 3, 0], torch.tensor([-0.4, 0.9, 0.5], dtype=torch.float64))


def test_blur_radius_is_a_squared_distance() -> None:
    for blur, hits in ((0.0, 2), (0.0799, 2), (0.0801, 3), (0.0901, 4), (0.33, 5)):
        frags = soft_rasterize(TRIANGLE, TRI, (5, 5), 1, blur)
        assert (frags.tri[0, 2] >= 0).sum() == hits


def test_perspective_weights() -> None:
    """With w = 1 + x the point half-way between two vertices on the screen is nearer to the nearer one."""
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -3, 0, 3], [0, 3, 0, 1]], dtype=torch.float64)
    pos[1, :2] = torch.tensor([3.0, -3.0])
    frags = soft_rasterize(pos, TRI, (1, 1), 1)
    plain = soft_rasterize(pos, TRI, (1, 1), 1, perspective_correct=False)
    assert torch.allclose(plain.bary[0, 0, 0, 0], torch.tensor([0.375, 0.375, 0.25], dtype=torch.float64))
    scaled = torch.tensor([0.375, 0.375 / 3, 0.25], dtype=torch.float64)
    assert torch.allclose(frags.bary[0, 0, 0, 0], scaled / scaled.sum())


def test_order_is_by_depth_then_number() -> None:
    layers = torch.cat([TRIANGLE + torch.tensor([0, 0, z, 0]) for z in (0.3, -0.5, 0.3, 0.0)])
    tri = torch.arange(12).view(4, 3)
    assert soft_rasterize(layers, tri, (5, 5), 4).tri[0, 2, 1].tolist() == [1, 3, 0, 2]
    assert soft_rasterize(layers, tri, (5, 5), 2).tri[0, 2, 1].tolist() == [1, 3]


def test_nothing_is_nearer_than_the_near_plane() -> None:
    pos = torch.tensor([[-1.0, -0.5, -2, 1], [1, -1, 0, 1], [1, 1, 0, 1]], dtype=torch.float64)
    frags = soft_rasterize(pos, TRI, (20, 20), 1, 0.1)
    row_dist, row_z, found = frags.dist[0, 10, :, 0], frags.z[0, 10, :, 0], frags.tri[0, 10, :, 0] == 0
    assert found[7:18].all()
    assert (row_dist[7:10] > 0).all()  # x < 0: cut away
    assert (row_z[7:10] == -1).all()
    assert (row_dist[10:18] < 0).all()
    assert (row_z[10:18] > -1).all()


def test_attributes_of_given_faces() -> None:
    pos, tri = random_triangles(10, seed=3)
    frags = soft_rasterize(pos.double(), tri, SIZE, 3, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(soft_attributes(pos.double(), tri, frags.tri), frags))


# ---- Blending ---------------------------------------------------------------------------------------------------


def fragments(dist: list[float], z: list[float] | None = None) -> SoftFragments:
    """One pixel with these faces and one pad."""
    count = len(dist)
    tri = torch.tensor([*range(count), -1], dtype=torch.int32)
    values = torch.tensor([[*dist, 0.0], [*(z or [0.0] * count), 0.0]], dtype=torch.float64)
    dist, z = values.view(2, 1, 1, 1, -1)
    return SoftFragments(tri.view(1, 1, 1, -1), z, dist, torch.zeros(1, 1, 1, count + 1, 3))


def test_silhouettes_by_hand() -> None:
    frags = fragments([0.5, -1.0])
    p = [1 / (1 + math.exp(0.5 / 0.5)), 1 / (1 + math.exp(-1.0 / 0.5))]
    assert math.isclose(blending.silhouette(frags, 0.5).item(), 1 - (1 - p[0]) * (1 - p[1]))
    assert blending.silhouette(frags, 0.5, "exponential").item() == 1
    far = fragments([0.5, 1.0])
    expected = 1 - (1 - math.exp(-1)) * (1 - math.exp(-2))
    assert math.isclose(blending.silhouette(far, 0.5, "exponential").item(), expected)
    assert blending.silhouette(fragments([]), 0.5).item() == 0


@pytest.mark.parametrize("mode", blending.MODES)
def test_colors_by_hand(mode: str) -> None:
    frags = fragments([-0.1, 0.2], [0.0, -0.5])
    colors = torch.tensor([[1.0], [3.0], [1e9]], dtype=torch.float64).view(1, 1, 1, 3, 1)
    near = blending.nearness(frags, torch.zeros(1, 4), torch.zeros(2, 3, dtype=torch.int32))
    assert near.flatten().tolist() == [0.5, 0.75, 0.5]
    image = blending.soft_blend(colors, frags, near, 0.3, 0.2, 7.0, mode).flatten().tolist()
    p = [1 / (1 + math.exp(-0.1 / 0.3)), 1 / (1 + math.exp(0.2 / 0.3))]
    eps, least = {"softras": (1e-3, 0), "pytorch3d": (1e-10, 1e-10)}[mode]
    weights = [p[0] * math.exp((0.5 - 0.75) / 0.2), p[1], max(math.exp((eps - 0.75) / 0.2), least)]
    expected = (weights[0] * 1 + weights[1] * 3 + weights[2] * 7) / sum(weights)
    assert math.isclose(image[0], expected, rel_tol=1e-12)
    assert math.isclose(image[1], 1 - (1 - p[0]) * (1 - p[1]), rel_tol=1e-12)


def test_nearness_by_w() -> None:
    pos = torch.tensor([[[-4.0, -4, 1, 2], [4, -4, 1, 2], [0, 4, 1, 2]]], dtype=torch.float64)
    frags = soft_rasterize(pos, TRI, (2, 2), 1)
    assert torch.allclose(blending.nearness(frags, pos, TRI, (1.0, 5.0))[frags.tri >= 0], torch.tensor(0.75).double())


def test_default_blur_radius_is_where_faces_are_negligible() -> None:
    for falloff in blending.FALLOFFS:
        blur = blending.default_blur_radius(0.01, falloff)
        assert math.isclose(blending.probability(fragments([blur]), 0.01, falloff)[..., 0].item(), 1e-4)


def test_pads_have_no_gradient() -> None:
    frags = fragments([0.5])
    frags = frags._replace(dist=frags.dist.requires_grad_(), z=frags.z.requires_grad_())
    colors = torch.ones(1, 1, 1, 2, 3, dtype=torch.float64)
    image = blending.soft_blend(colors, frags, (1 - frags.z) / 2, 0.1, 1e-4)
    grads = torch.autograd.grad(image.sum(), (frags.dist, frags.z))
    assert all(g.isfinite().all() and g[..., 1] == 0 for g in grads)


def test_all_faces_are_all_faces() -> None:
    pos, tri = random_triangles(30, seed=5)
    pos, attr = pos.double(), torch.rand(90, 2, dtype=torch.float64)
    frags = soft_rasterize(pos, tri, SIZE, 30, blending.default_blur_radius(1e-3))
    assert torch.allclose(soft_silhouette(pos, tri, SIZE, 1e-3), blending.silhouette(frags, 1e-3))
    image = blending.soft_blend(
        soft_interpolate(attr, frags, tri), frags, blending.nearness(frags, pos, tri), 1e-3, 0.1, 0.5
    )
    assert torch.allclose(soft_colors(pos, tri, attr, SIZE, 1e-3, 0.1, 0.5), image)
