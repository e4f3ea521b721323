"""The reference interpolation against closed forms."""

from __future__ import annotations

import pytest
import torch
from meshes import grid, perspective, random_triangles, to_clip

from lumigrad.reference import interpolate, rasterize


def test_linear_attributes_are_reproduced() -> None:
    """Positions in camera space, interpolated, are the points where the rays of the pixels hit the plane."""
    positions, tri = grid(3, 4)
    points = positions.double()
    points[:, 2] = 0.4 * points[:, 0] - 0.3 * points[:, 1] - 2
    frags = rasterize(to_clip(points, perspective(40.0)), tri, (20, 20))
    hit, hit_d = interpolate(points, frags, tri, derivatives=True)
    seen = frags.tri >= 0
    assert seen.sum() > 300
    assert not hit[~seen].any()
    assert not hit_d[~seen].any()
    x, y, z = hit[seen].unbind(-1)
    assert torch.allclose(z, 0.4 * x - 0.3 * y - 2, atol=1e-12)
    _, row, col = seen.nonzero().double().unbind(1)
    f = perspective(40.0)[0, 0]
    assert torch.allclose(f * x / -z, (2 * col + 1) / 20 - 1, atol=1e-12)
    assert torch.allclose(f * y / -z, 1 - (2 * row + 1) / 20, atol=1e-12)
    # the projection is smooth: central differences over one pixel come close
    left, right = hit[0, 10, 8:11:2]
    assert torch.allclose(hit_d[0, 10, 9, :, 0], (right - left) / 2, rtol=2e-2, atol=1e-3)
    above, below = hit[0, 9:12:2, 9]
    assert torch.allclose(hit_d[0, 10, 9, :, 1], (below - above) / 2, rtol=2e-2, atol=1e-3)


def test_batches_channels_and_missing_vertices() -> None:
    pos, tri = random_triangles(10, seed=1, size=0.8)
    frags = rasterize(torch.stack((pos, pos.flip(0))), tri, (9, 8))
    attr = torch.rand(2, len(pos), 5)
    out, out_d = interpolate(attr, frags, tri, derivatives=True)
    assert out.shape == (2, 9, 8, 5)
    some, some_d = interpolate(attr, frags, tri, derivatives=[3, -5])
    assert torch.equal(some, out)
    assert torch.equal(some_d, out_d[..., [3, 0], :])
    shared = interpolate(attr[0], frags, tri)
    assert torch.equal(shared, interpolate(attr[:1], frags, tri))
    assert torch.equal(shared[0], out[0])

    other = tri.clone()
    other[:, 1] = -1
    kept = interpolate(torch.ones(len(pos), 1), frags, other)
    assert torch.allclose(kept[..., 0], (1 - frags.bary[..., 1]) * (frags.tri >= 0), atol=1e-6)


def test_gradients() -> None:
    pos, tri = random_triangles(6, seed=3, size=0.8)
    frags = rasterize(pos.double(), tri, (4, 5))
    attr = torch.rand(len(pos), 2, dtype=torch.float64, requires_grad=True)
    bary, bary_d = frags.bary.requires_grad_(), frags.bary_d.requires_grad_()

    def outputs(a, b, d):
        return interpolate(a, frags._replace(bary=b, bary_d=d), tri, derivatives=True)

    assert torch.autograd.gradcheck(outputs, (attr, bary, bary_d))


def test_unsound_arguments_are_named() -> None:
    pos, tri = random_triangles(2, size=0.8)
    frags = rasterize(pos, tri, (4, 4))
    attr = torch.rand(6, 3)
    with pytest.raises(TypeError, match=r"^attr:"):
        interpolate(attr.int(), frags, tri)
    with pytest.raises(ValueError, match=r"^attr:"):
        interpolate(attr.expand(2, -1, -1), frags, tri)
    with pytest.raises(ValueError, match=r"^tri:"):
        interpolate(attr[:5], frags, tri)
    with pytest.raises(ValueError, match=r"^frags:"):
        interpolate(attr, frags, tri[:0])
    with pytest.raises(ValueError, match=r"^frags:"):
        interpolate(attr, frags._replace(bary_d=None), tri, derivatives=True)
    with pytest.raises(ValueError, match=r"^derivatives:"):
        interpolate(attr, frags, tri, derivatives=[3])
