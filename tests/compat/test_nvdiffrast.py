"""`lumigrad.compat.nvdiffrast` against nvdiffrast's contract, written out pixel by pixel in float64.

Pixel (x, y) has its centre at NDC ((2x+1)/W - 1, (2y+1)/H - 1): row 0 is the bottom.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from cuda_kernels import skip_where_devices_are_silent
from meshes import icosphere, random_triangles, view_mesh

import lumigrad as lg
import lumigrad.compat.nvdiffrast as dr
from lumigrad.ops.surface import _packed as packing

H, W = 20, 24
CTX = dr.RasterizeCudaContext()


# ---- The contract, brute force --------------------------------------------------------------------------


def cross2(a, b):
    return a[0] * b[1] - a[1] * b[0]


def weights(p, x, y):
    """The three homogeneous weights (a0, a1, a2) of a triangle p [3, 4] at pixel coordinates (x, y)."""
    fx, fy = (2 * x + 1) / W - 1, (2 * y + 1) / H - 1
    q = p[:, :2] - np.array([fx, fy]) * p[:, 3:]
    return np.array([cross2(q[1], q[2]), cross2(q[2], q[0]), cross2(q[0], q[1])])


def bary_at(p, x, y):
    """(u, v, z/w), without clamps."""
    a = weights(p, x, y)
    return np.array([a[0] / a.sum(), a[1] / a.sum(), (p[:, 2] * a).sum() / (p[:, 3] * a).sum()])


def bary_d_at(p, x, y, eps=1e-4):
    """(du/dX, du/dY, dv/dX, dv/dY) by finite differences."""
    d_x = (bary_at(p, x + eps, y) - bary_at(p, x - eps, y)) / (2 * eps)
    d_y = (bary_at(p, x, y + eps) - bary_at(p, x, y - eps)) / (2 * eps)
    return np.array([d_x[0], d_y[0], d_x[1], d_y[1]])


def hits_at(pos, tri, ids, x, y):
    """(z/w, id) of all triangles at pixel (x, y), nearest first, and whether that is beyond doubt."""
    hits, sure = [], True
    for t in ids:
        p = pos[tri[t]]
        a = weights(p, x, y)
        slope_x = weights(p, x + 1, y) - a
        slope_y = weights(p, x, y + 1) - a
        # Distance of the pixel's centre to the lines of the edges, in pixels: a is linear in x and y.
        if (np.abs(a) < 0.1 * np.hypot(slope_x, slope_y)).any():
            sure = False
        b = a / a.sum()
        point = b @ p
        if (b < 0).any() or point[3] <= 0:
            continue
        z = point[2] / point[3]
        if abs(abs(z) - 1) < 1e-2:
            sure = False
        if abs(z) <= 1:
            hits.append((z, t))
    hits.sort()
    if any(b[0] - a[0] < 0.02 for a, b in itertools.pairwise(hits)):
        sure = False
    return hits, sure


def scene(seed=0, count=5, behind=0.0, dtype=torch.float32):
    pos, tri = random_triangles(count, seed=seed, size=0.9, behind=behind)
    return pos.to(dtype)[None], tri


def check_layers(rast, rast_db, pos, tri, ids, layer=0):
    """Compare an image with brute force where that is beyond doubt; how many covered pixels were compared."""
    covered = sure_pixels = 0
    pos, tri = pos.double().numpy(), tri.numpy()
    for y, x in np.ndindex(H, W):
        hits, sure = hits_at(pos, tri, ids, x, y)
        if not sure:
            continue
        sure_pixels += 1
        got, got_db = rast[y, x].double().numpy(), rast_db[y, x].double().numpy()
        if len(hits) <= layer:
            assert (got == 0).all()
            assert (got_db == 0).all()
            continue
        covered += 1
        t = hits[layer][1]
        assert got[3] == t + 1
        np.testing.assert_allclose(got[:3], bary_at(pos[tri[t]], x, y), rtol=2e-4, atol=2e-4)
        expected_db = bary_d_at(pos[tri[t]], x, y)
        np.testing.assert_allclose(got_db, expected_db, rtol=2e-3, atol=2e-3 * np.abs(expected_db).max())
    assert sure_pixels > 0.5 * H * W
    return covered


# ---- Rasterization --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_rasterize(seed):
    pos, tri = scene(seed)
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
    assert rast.shape == rast_db.shape == (1, H, W, 4)
    assert rast.dtype == rast_db.dtype == torch.float32
    assert check_layers(rast[0], rast_db[0], pos[0], tri, range(len(tri))) > 50


def test_rasterize_clips():
    covered = 0
    for seed in range(3):
        pos, tri = scene(seed, count=3, behind=0.3)
        rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
        covered += check_layers(rast[0], rast_db[0], pos[0], tri, range(len(tri)))
    assert covered > 100


def test_row_zero_is_the_bottom():
    pos = torch.tensor([[[-1.0, -1, 0, 1], [1, -1, 0, 1], [-1, -0.5, 0, 1], [1, -0.5, 0, 1]]])
    tri = torch.tensor([[0, 1, 2], [1, 3, 2]])
    seen = dr.rasterize(CTX, pos, tri, (H, W))[0][0, ..., 3] > 0
    assert seen[: H // 4].all()
    assert not seen[H // 4 :].any()


def pixel_rectangle(x0, y0, x1, y1):
    """Two triangles over a rectangle given in pixels."""
    corners = [[2 * x / W - 1, 2 * y / H - 1, 0.0, 1.0] for y in (y0, y1) for x in (x0, x1)]
    return torch.tensor([corners], dtype=torch.float64), torch.tensor([[0, 1, 2], [3, 2, 1]])


def test_low_edges_are_inclusive():
    pos, tri = pixel_rectangle(4.5, 3.5, 8.5, 6.5)
    seen = dr.rasterize(CTX, pos, tri, (H, W))[0][0, ..., 3] > 0
    expected = torch.zeros(H, W, dtype=torch.bool)
    expected[3:6, 4:8] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize(("offset", "first"), [(1 / 40, 4), (1 / 25, 5)])
def test_vertices_snap_to_a_sixteenth_of_a_pixel(offset, first):
    pos, tri = pixel_rectangle(4.5 + offset, 3.2, 8.2, 6.2)
    rast = dr.rasterize(CTX, pos, tri, (H, W))[0]
    assert int((rast[0, 4, :, 3] > 0).nonzero()[0]) == first


def test_gradients_ignore_clamps():
    pos, tri = pixel_rectangle(4.5 + 1 / 40, 3.2, 8.2, 6.2)
    pos.requires_grad_()
    rast = dr.rasterize(CTX, pos, tri, (H, W))[0]
    # Triangle 0 has v = 0 along its left edge, beyond which pixel (4, 4) lies.
    assert rast[0, 4, 4, 3] == 1
    assert rast[0, 4, 4, 1] == 0
    (grad,) = torch.autograd.grad(rast[0, 4, 4, 1], pos)
    expected = numeric_gradient(lambda p: bary_at(p[0][tri[0]], 4, 4)[1], pos.detach())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_windings_and_equal_depth():
    pos = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]])
    for tri in ([[0, 1, 2]], [[0, 2, 1]]):
        assert (dr.rasterize(CTX, pos, torch.tensor(tri), (H, W))[0][..., 3] == 1).all()
    both = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 2, 0]])
    rast, _ = dr.rasterize(CTX, pos, both, (H, W))
    assert (rast[..., 3] == 3).all()  # the later triangle


def test_vertex_order_of_barycentrics():
    pos, tri = scene(3, count=1)
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    attr = torch.eye(3)[None]
    out, _ = dr.interpolate(attr, rast, tri)
    seen = rast[..., 3] > 0
    assert torch.equal(out[seen][:, :2], rast[seen][:, :2])
    torch.testing.assert_close(out[seen][:, 2], 1 - rast[seen][:, 0] - rast[seen][:, 1])


def numeric_gradient(f, pos, eps=1e-6):
    """Central differences of f(numpy array) by every entry of a float64 tensor."""
    values = pos.numpy().copy()
    grad = np.zeros_like(values)
    for i in np.ndindex(values.shape):
        keep = values[i]
        values[i] = keep + eps
        high = f(values)
        values[i] = keep - eps
        grad[i] = (high - f(values)) / (2 * eps)
        values[i] = keep
    return grad


@pytest.mark.parametrize("grad_db", [True, False])
def test_rasterize_gradients(grad_db):
    pos, tri = scene(1, count=3, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    g, g_db = (torch.randn(H, W, 4, generator=random, dtype=torch.float64) for _ in range(2))
    pos.requires_grad_()
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W), grad_db=grad_db)
    loss = (rast[0] * g).sum() + (rast_db[0] * g_db).sum()
    (grad,) = torch.autograd.grad(loss, pos)
    ids = rast[0, ..., 3].detach().numpy().astype(int) - 1
    index = tri.numpy()

    def value(p):
        total = 0.0
        for y, x in zip(*np.nonzero(ids >= 0)):
            corners = p[0][index[ids[y, x]]]
            total += bary_at(corners, x, y)[:2] @ g[y, x, :2].numpy()
            if grad_db:
                total += bary_d_at(corners, x, y) @ g_db[y, x].numpy()
        return total

    expected = numeric_gradient(value, pos.detach(), 1e-5)
    expected[..., 2] = 0
    assert (grad[..., 2] == 0).all()
    np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_ranges():
    pos, tri = scene(0, count=6)
    ranges = torch.tensor([[0, 2], [2, 3], [5, 0], [1, 5]], dtype=torch.int32)
    rast, rast_db = dr.rasterize(CTX, pos[0], tri, (H, W), ranges)
    assert rast.shape == (4, H, W, 4)
    for n, (first, count) in enumerate(ranges.tolist()):
        check_layers(rast[n], rast_db[n], pos[0], tri, range(first, first + count))
    # Range mode goes on through the other functions.
    attr = pos[0, :, :3].contiguous()
    out, _ = dr.interpolate(attr, rast, tri)
    assert torch.equal(out[1:2], dr.interpolate(attr, rast[1:2], tri)[0])
    smooth = dr.antialias(out, rast, pos[0], tri)
    one = dr.antialias(out[1:2], rast[1:2], pos, tri)
    assert torch.equal(smooth[1:2], one)


def test_ranges_mean_nothing_to_instances():
    pos, tri = scene(0)
    expected = dr.rasterize(CTX, pos, tri, (H, W))
    given = dr.rasterize(CTX, pos, tri, (H, W), ranges=torch.tensor([[0, 1]], dtype=torch.int32))
    assert all(map(torch.equal, expected, given))


def test_triangles_without_vertices_are_not_drawn():
    """Meshes padded by rows of -1, or by indices of another mesh."""
    pos, tri = scene(1, dtype=torch.float64)
    padded = torch.cat((tri, torch.tensor([[-1, -1, -1], [0, 1, 10**6], [-3, 0, 1]])))
    plain, more = (dr.rasterize(CTX, pos, t, (H, W))[0] for t in (tri, padded))
    assert torch.equal(plain, more)
    color = torch.rand(1, H, W, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    smooth = dr.antialias(color, more, pos, padded)
    assert torch.equal(smooth, dr.antialias(color, plain, pos, tri))
    topology = dr.antialias_construct_topology_hash(padded)
    assert torch.equal(dr.antialias(color, more, pos, padded, topology), smooth)
    peeled = []
    for t in (tri, padded):
        with dr.DepthPeeler(CTX, pos, t, (H, W)) as peeler:
            peeler.rasterize_next_layer()
            peeled.append(peeler.rasterize_next_layer()[0])
    assert torch.equal(*peeled)


def test_derivatives_without_a_gradient():
    """Derivatives without a gradient may nevertheless be part of a differentiated loss."""
    pos, tri = scene(0, dtype=torch.float64)
    pos.requires_grad_()
    _, rast_db = dr.rasterize(CTX, pos, tri, (H, W), grad_db=False)
    (grad,) = torch.autograd.grad(rast_db.sum(), pos)
    assert not grad.any()


def test_instances_are_independent():
    pos = torch.cat([scene(seed)[0] for seed in range(3)])
    tri = scene()[1]
    rast, rast_db = dr.rasterize(CTX, pos, tri, [H, W])
    for n in range(3):
        one, one_db = dr.rasterize(CTX, pos[n : n + 1], tri, [H, W])
        assert torch.equal(rast[n], one[0])
        assert torch.equal(rast_db[n], one_db[0])


def test_devices_without_kernels(monkeypatch):
    """The reference implementations give the same results on devices without kernels."""
    pos, tri = scene(1)
    expected = dr.rasterize(CTX, pos, tri, (H, W))
    with dr.DepthPeeler(CTX, pos, tri, (H, W)) as peeler:
        layers = [peeler.rasterize_next_layer()[0] for _ in range(3)]
    monkeypatch.setattr("lumigrad.ops.surface._packed.needs_reference", lambda *_: True)
    for got, want in zip(dr.rasterize(CTX, pos, tri, (H, W)), expected):
        torch.testing.assert_close(got, want)
    with dr.DepthPeeler(CTX, pos, tri, (H, W)) as peeler:
        for want in layers:
            torch.testing.assert_close(peeler.rasterize_next_layer()[0], want)


def test_agrees_with_lumigrad_upside_down():
    """Away from what snapping decides, the images are lumigrad's own, from bottom to top."""
    pos, tri = scene(2)
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
    frags = lg.rasterize(pos, tri, (H, W))
    same = frags.tri.flip(1) + 1 == rast[..., 3]
    assert same.float().mean() > 0.97
    torch.testing.assert_close(rast[..., :2][same], frags.bary.flip(1)[same], rtol=1e-3, atol=1e-3)
    sign = torch.tensor([1, -1])  # dY points the other way
    torch.testing.assert_close(
        rast_db.unflatten(-1, (2, 2))[same], (frags.bary_d.flip(1) * sign)[same], rtol=1e-3, atol=1e-3
    )


# ---- Ids ------------------------------------------------------------------------------------------------


def test_ids_above_2_24_are_bits():
    ids = torch.tensor([0, 1, 5, 2**24 - 1, 2**24, 2**24 + 1, 2**24 + 2, 2**25 + 3, packing.MAX_IDS - 1])
    ids = ids.to(torch.int32)
    values = packing.ids_to_floats(ids, packing.MAX_IDS - 1, torch.float32)
    assert values.isfinite().all()
    assert (values[1:] > values[:-1]).all()
    assert torch.equal(values[:5], ids[:5].float())
    large = ids > 2**24
    assert torch.equal(values[large].view(torch.int32), ids[large] + 0x4A800000)
    # rast holds them in a channel, which is not contiguous.
    channel = torch.stack((values, values), -1)[:, 1]
    assert torch.equal(packing.floats_to_ids(channel, packing.MAX_IDS - 1), ids)
    double = packing.ids_to_floats(ids, packing.MAX_IDS - 1, torch.float64)
    assert torch.equal(double, ids.double())
    assert torch.equal(packing.floats_to_ids(double, packing.MAX_IDS - 1), ids)


def test_many_triangles():
    """A mesh with more than 2**24 triangles, of which only the last ones have an area."""
    count = 2**24 + 5
    tri = torch.zeros(count, 3, dtype=torch.int32)
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1], [-1, -1, -0.5, 1], [3, -1, -0.5, 1]])
    tri[-3:] = torch.tensor([[0, 1, 2], [3, 4, 2], [0, 0, 0]])
    ranges = torch.tensor([[count - 3, 1], [count - 3, 3]])
    rast, _ = dr.rasterize(CTX, pos, tri, (4, 21), ranges)
    assert (rast[0, ..., 3].view(torch.int32) == 0x4A800000 + count - 2).all()
    attr = torch.arange(5.0)[:, None]
    out, _ = dr.interpolate(attr, rast, tri)
    u, v = rast[1, ..., :1], rast[1, ..., 1:2]
    torch.testing.assert_close(out[1], u * 3 + v * 4 + (1 - u - v) * 2)


# ---- Images that a program changes ------------------------------------------------------------------------


def test_images_in_any_layout():
    pos, tri = scene(1, dtype=torch.float64)
    rast, rast_db = dr.rasterize(CTX, torch.cat((pos, pos.flip(0) * 0.8)), tri, (H, W))
    attr = torch.rand(1, 15, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    color = torch.rand(2, H, W, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain, plain_da = dr.interpolate(attr, rast, tri, rast_db, "all")
    part = (slice(1, None), slice(2, 9), slice(None, None, 3))
    out, out_da = dr.interpolate(attr, rast[part], tri, rast_db[part], "all")
    assert torch.equal(out, plain[part])
    assert torch.equal(out_da, plain_da[part])
    planes = rast.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    assert torch.equal(dr.interpolate(attr, planes, tri)[0], plain)
    smooth = dr.antialias(color, planes, pos[0], tri)
    assert torch.equal(smooth, dr.antialias(color, rast, pos[0], tri))


def test_images_that_are_changed_in_place():
    """Images changed in place count with their values at the time of use."""
    pos, tri = scene(1)
    pos.requires_grad_()
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    rast[:, : H // 2] = 0
    rast.detach().numpy()[:, :, : W // 2] = 0  # behind autograd's back
    out, _ = dr.interpolate(torch.ones(15, 1), rast, tri)
    assert out.any()
    assert torch.equal(out > 0, rast[..., 3:] > 0)
    assert not out[:, : H // 2].any()
    assert not out[:, :, : W // 2].any()
    (grad,) = torch.autograd.grad(rast[..., 0].sum(), pos)
    fresh = dr.rasterize(CTX, pos, tri, (H, W))[0]
    (expected,) = torch.autograd.grad(fresh[:, H // 2 :, :, 0].sum(), pos)
    assert torch.equal(grad, expected)
    color = torch.rand(1, H, W, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dr.antialias(color, torch.zeros_like(rast), pos, tri), color)


def test_gradients_reach_images_made_by_hand():
    """Gradients reach u, v and derivatives of hand-made images (by finite differences); the other two values have
    none."""
    _, tri = scene(1, dtype=torch.float64)
    random = torch.Generator().manual_seed(2)
    rast, rast_db = (torch.rand(1, 2, 19, 4, generator=random, dtype=torch.float64) for _ in range(2))
    rast[..., 3] = torch.randint(0, 6, (1, 2, 19), generator=random)
    attr = torch.rand(1, 15, 2, generator=random, dtype=torch.float64)
    inputs = [value.requires_grad_() for value in (attr, rast, rast_db)]

    def values(attr, rast, rast_db):
        # The step of finite differences must not turn a triangle into another.
        fixed = torch.cat((rast[..., :3], rast[..., 3:].detach().round()), -1)
        out, out_da = dr.interpolate(attr, fixed, tri, rast_db, "all")
        return torch.cat((out, out_da), -1) + dr.interpolate(attr, fixed, tri)[0].sum(-1, keepdim=True)

    assert torch.autograd.gradcheck(values, inputs)
    (grad,) = torch.autograd.grad(values(*inputs).sum(), rast)
    assert grad[..., :2].any()
    assert not grad[..., 2:].any()


# ---- Depth peeling --------------------------------------------------------------------------------------


def test_depth_peeler():
    pos, tri = scene(0, count=6)
    pos.requires_grad_()
    counts = []
    with dr.DepthPeeler(CTX, pos, tri, (H, W)) as peeler:
        for layer in range(5):
            rast, rast_db = peeler.rasterize_next_layer()
            if layer == 0:
                first, first_db = dr.rasterize(CTX, pos, tri, (H, W))
                assert torch.equal(rast, first)
                assert torch.equal(rast_db, first_db)
            if bool((rast[..., 3] > 0).any()):
                rast[..., :2].sum().backward()  # each layer has a graph of its own
            rast, rast_db = rast.detach(), rast_db.detach()
            counts.append(check_layers(rast[0], rast_db[0], pos[0].detach(), tri, range(len(tri)), layer))
    assert counts[1] > 20
    assert counts == sorted(counts, reverse=True)
    assert pos.grad.abs().sum() > 0
    with pytest.raises(RuntimeError, match=r"with DepthPeeler"):
        peeler.rasterize_next_layer()


def test_depth_peeler_loses_coincident_surfaces():
    pos = torch.tensor([[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]])
    pos = torch.cat((pos, pos + torch.tensor([0, 0, 0.5, 0])))
    tri = torch.tensor([[0, 1, 2], [0, 1, 2], [3, 4, 5]])
    with dr.DepthPeeler(CTX, pos[None], tri, (H, W), grad_db=False) as peeler:
        ids = [peeler.rasterize_next_layer()[0][..., 3] for _ in range(3)]
    assert [int(layer.unique()) for layer in ids] == [2, 3, 0]


# ---- Interpolation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["V A", "1 V A", "N V A"])
@pytest.mark.parametrize("diff_attrs", [None, "all", [2, 0], []])
def test_interpolate(shape, diff_attrs):
    pos = torch.cat([scene(seed, dtype=torch.float64)[0] for seed in (0, 1)])
    tri = scene()[1]
    random = torch.Generator().manual_seed(1)
    size = {"V A": (15, 3), "1 V A": (1, 15, 3), "N V A": (2, 15, 3)}[shape]
    attr = torch.randn(size, generator=random, dtype=torch.float64)
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
    out, out_da = dr.interpolate(attr, rast, tri, rast_db, diff_attrs)
    channels = {None: [], "all": [0, 1, 2]}.get(diff_attrs if not isinstance(diff_attrs, list) else 0, diff_attrs)
    assert out.shape == (2, H, W, 3)
    assert out_da.shape == (2, H, W, 2 * len(channels))
    per_image = attr.expand(2, -1, -1).numpy()
    for n, y, x in np.ndindex(2, H, W):
        t = int(rast[n, y, x, 3]) - 1
        if t < 0:
            assert (out[n, y, x] == 0).all()
            assert (out_da[n, y, x] == 0).all()
            continue
        a = per_image[n][tri[t].numpy()]
        p = pos[n].numpy()[tri[t].numpy()]
        u, v = rast[n, y, x, :2].tolist()
        np.testing.assert_allclose(out[n, y, x], u * a[0] + v * a[1] + (1 - u - v) * a[2], atol=1e-12)
        d = bary_d_at(p, x, y)
        expected = [d[k] * (a[0, c] - a[2, c]) + d[2 + k] * (a[1, c] - a[2, c]) for c in channels for k in (0, 1)]
        np.testing.assert_allclose(out_da[n, y, x], expected, rtol=1e-5, atol=1e-6)


def test_channels_from_the_end_and_none():
    pos, tri = scene(0)
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
    attr = torch.rand(1, pos.shape[1], 4, generator=torch.Generator().manual_seed(1))
    expected = dr.interpolate(attr, rast, tri, rast_db, diff_attrs=[3, 1])
    assert all(map(torch.equal, expected, dr.interpolate(attr, rast, tri, rast_db, diff_attrs=[-1, -3])))
    assert dr.interpolate(attr, rast, tri, rast_db, diff_attrs=[])[1].shape == (1, H, W, 0)
    assert dr.interpolate(attr, rast, tri, diff_attrs=[])[1].shape == (1, H, W, 0)


def test_functions_under_ops():
    assert all(getattr(dr.ops, name) is getattr(dr, name) for name in dr.ops.__all__)


def test_interpolate_negative_index_is_zero():
    pos, tri = scene(0, count=2)
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    partial = tri.clone()
    partial[1, 2] = -1
    attr = torch.rand(1, 6, 2)
    zeroed = torch.cat((attr, torch.zeros(1, 1, 2)), 1)
    explicit = partial.where(partial >= 0, 6)
    assert torch.equal(dr.interpolate(attr, rast, partial)[0], dr.interpolate(zeroed, rast, explicit)[0])


def test_interpolate_gradients():
    pos, tri = scene(1, count=3, dtype=torch.float64)
    rast, rast_db = (t.requires_grad_() for t in dr.rasterize(CTX, pos, tri, (6, 7)))
    attr = torch.randn(1, 9, 2, dtype=torch.float64, requires_grad=True)

    def of_inputs(attr, bary, rast_db):
        whole = torch.cat((bary, rast[..., 2:].detach()), -1)
        return dr.interpolate(attr, whole, tri, rast_db, "all")

    assert torch.autograd.gradcheck(of_inputs, (attr, rast[..., :2].detach().requires_grad_(), rast_db))


def test_rast_may_be_changed_on_the_way():
    """Gradients pass through whatever is done with rast, here a masked copy of a slice."""
    pos, tri = scene(0, dtype=torch.float64)
    pos.requires_grad_()
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    attr = torch.rand(1, 15, 2, dtype=torch.float64)
    (whole,) = torch.autograd.grad(dr.interpolate(attr, rast, tri)[0].sum(), pos, retain_graph=True)
    top, bottom = (rast * (torch.arange(H)[:, None, None] // 10 == k) for k in (0, 1))
    halves = dr.interpolate(attr, top, tri)[0].sum() + dr.interpolate(attr, bottom, tri)[0].sum()
    torch.testing.assert_close(torch.autograd.grad(halves, pos)[0], whole)


# ---- Textures -------------------------------------------------------------------------------------------


def texel(tex, x, y, boundary):
    height, width = tex.shape[:2]
    if boundary == "wrap":
        return tex[y % height, x % width]
    if boundary == "clamp":
        return tex[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
    return tex[y, x] if 0 <= x < width and 0 <= y < height else np.zeros(tex.shape[2])


def sample(tex, uv, linear, boundary):
    height, width = tex.shape[:2]
    u, v = uv
    if boundary == "clamp":
        u, v = min(max(u, 0), 1), min(max(v, 0), 1)
    if not linear:
        return texel(tex, math.floor(u * width), math.floor(v * height), boundary)
    s, t = u * width - 0.5, v * height - 0.5
    x, y = math.floor(s), math.floor(t)
    fx, fy = s - x, t - y
    rows = [(1 - fx) * texel(tex, x, y + k, boundary) + fx * texel(tex, x + 1, y + k, boundary) for k in (0, 1)]
    return (1 - fy) * rows[0] + fy * rows[1]


def halve(tex):
    for axis in (0, 1):
        if tex.shape[axis] > 1:
            tex = (tex.take(range(0, tex.shape[axis], 2), axis) + tex.take(range(1, tex.shape[axis], 2), axis)) / 2
    return tex


def level_of(d, width, height, bias, top):
    """The contract's mip level for d = (du/dX, du/dY, dv/dX, dv/dY)."""
    s_x, s_y, t_x, t_y = d[0] * width, d[1] * width, d[2] * height, d[3] * height
    a, b, c = s_x**2 + t_x**2, s_y**2 + t_y**2, s_x * s_y + t_x * t_y
    squared = (a + b) / 2 + math.sqrt((a - b) ** 2 / 4 + c**2)
    return min(max(math.log2(squared) / 2 + bias, 0), top)


def lookup(tex, uv, filter_mode, boundary, level):
    pyramid = [tex]
    while max(pyramid[-1].shape[:2]) > 1:
        pyramid.append(halve(pyramid[-1]))
    if "mipmap" not in filter_mode:
        return sample(tex, uv, filter_mode == "linear", boundary)
    low = math.floor(level)
    below = sample(pyramid[low], uv, True, boundary)
    if filter_mode.endswith("nearest") or low == level:
        return below
    return below + (level - low) * (sample(pyramid[low + 1], uv, True, boundary) - below)


def texture_case(seed=0, size=(16, 8), n=2):
    random = torch.Generator().manual_seed(seed)
    tex = torch.rand(n, *size, 3, generator=random, dtype=torch.float64)
    uv = 3 * torch.rand(2, 5, 6, 2, generator=random, dtype=torch.float64) - 1
    uv_da = torch.randn(2, 5, 6, 4, generator=random, dtype=torch.float64)
    uv_da = uv_da * torch.logspace(-2, 0, 6, dtype=torch.float64)[:, None] * 0.5
    bias = torch.randn(2, 5, 6, generator=random, dtype=torch.float64)
    return tex, uv, uv_da, bias


@pytest.mark.parametrize("boundary", ["wrap", "clamp", "zero"])
@pytest.mark.parametrize("filter_mode", ["nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear"])
@pytest.mark.parametrize("images", [1, 2])
def test_texture(filter_mode, boundary, images):
    tex, uv, uv_da, bias = texture_case(n=images)
    args = (uv_da, bias) if "mipmap" in filter_mode else (None, None)
    out = dr.texture(tex, uv, *args, filter_mode=filter_mode, boundary_mode=boundary, max_mip_level=3)
    for n, y, x in np.ndindex(2, 5, 6):
        level = level_of(uv_da[n, y, x].tolist(), 8, 16, float(bias[n, y, x]), 3)
        of_image = tex[n % images].numpy()
        expected = lookup(of_image, uv[n, y, x].tolist(), filter_mode, boundary, level)
        np.testing.assert_allclose(out[n, y, x], expected, atol=1e-9)


def test_texture_auto_filter():
    tex, uv, uv_da, bias = texture_case()
    for levels in ((uv_da, None), (None, bias), (uv_da, bias)):
        mipmapped = dr.texture(tex, uv, *levels, filter_mode="linear-mipmap-linear")
        assert torch.equal(dr.texture(tex, uv, *levels), mipmapped)
    assert torch.equal(dr.texture(tex, uv), dr.texture(tex, uv, uv_da, filter_mode="linear"))
    assert torch.equal(dr.texture(tex, uv, uv_da, max_mip_level=0), dr.texture(tex, uv))
    # Without uv_da the bias is the level.
    top = dr.texture(tex, uv, mip_level_bias=torch.full_like(bias, 99))
    torch.testing.assert_close(top, tex.mean((1, 2))[:, None, None].expand_as(top))


def test_texture_gradients():
    tex, *lookups = texture_case(3, (4, 4))
    uv, uv_da, bias = (t[:, ::2, ::2].clone().requires_grad_() for t in lookups)
    tex = tex[..., :1].clone().requires_grad_()

    def look_up(tex, uv, uv_da, bias):
        return dr.texture(tex, uv, uv_da, bias)

    assert torch.autograd.gradcheck(look_up, (tex, uv, uv_da, bias))
    out = dr.texture(tex, uv, uv_da, bias, filter_mode="linear-mipmap-nearest")
    grads = torch.autograd.grad(out.sum(), (uv_da, bias), allow_unused=True)
    assert all(grad is None or not grad.any() for grad in grads)


def test_texture_mips_given():
    tex, uv, uv_da, _ = texture_case()
    tex.requires_grad_()
    built = dr.texture(tex, uv, uv_da)
    mip = dr.texture_construct_mip(tex)
    assert torch.equal(dr.texture(tex, uv, uv_da, mip=mip), built)
    levels, numpy_level = [], tex[0].detach().numpy()
    while max(numpy_level.shape[:2]) > 1:
        numpy_level = halve(numpy_level)
        levels.append(torch.from_numpy(numpy_level)[None])
    one = dr.texture(tex[:1], uv[:1], uv_da[:1], mip=levels)
    torch.testing.assert_close(one, built[:1])

    (expected,) = torch.autograd.grad(built.sum(), tex)
    for _ in range(2):  # the same mips serve for several backward passes
        out = dr.texture(tex, uv, uv_da, mip=mip)
        torch.testing.assert_close(torch.autograd.grad(out.sum(), tex)[0], expected)
    cut = dr.texture_construct_mip(tex, max_mip_level=1)
    assert torch.equal(dr.texture(tex, uv, uv_da, mip=cut), dr.texture(tex, uv, uv_da, max_mip_level=1))


@pytest.mark.parametrize("cube", [False, True])
@pytest.mark.parametrize("made", ["with a gradient", "under no_grad", "of a detached texture"])
def test_gradients_of_levels_reach_the_texture(made, cube):
    """Gradients of mip levels reach the texture as if `texture` had built them, however they were made."""
    shape = (1, 6, 8, 8, 2) if cube else (1, 8, 8, 2)
    mode = "cube" if cube else "wrap"
    tex = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    uv = torch.randn(1, 5, 6, 3 if cube else 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    bias = torch.full((1, 5, 6), 1.7, dtype=torch.float64)
    with torch.set_grad_enabled(made != "under no_grad"):
        mip = dr.texture_construct_mip(tex.detach() if "detached" in made else tex, cube_mode=cube)
    out = dr.texture(tex, uv, mip_level_bias=bias, mip=mip, boundary_mode=mode)
    (grad,) = torch.autograd.grad(out.square().sum(), tex)
    expected = dr.texture(tex, uv, mip_level_bias=bias, boundary_mode=mode)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), tex)
    assert torch.equal(out, expected)
    assert expected_grad.any()
    torch.testing.assert_close(grad, expected_grad)


def test_levels_of_another_texture():
    mip = dr.texture_construct_mip(torch.rand(2, 4, 4, 3))
    uv, bias = torch.rand(2, 3, 3, 2), torch.ones(2, 3, 3)
    with pytest.raises(ValueError, match=r"^mip"):
        dr.texture(torch.rand(2, 4, 4, 1, requires_grad=True), uv, mip_level_bias=bias, mip=mip)


@pytest.mark.parametrize("level", [1, 1.0, np.int64(1), np.float32(1), torch.tensor(1), torch.tensor(1.0)])
def test_max_mip_level_of_any_kind(level):
    tex, uv, bias = torch.rand(1, 6, 6, 1), torch.rand(1, 3, 3, 2), torch.ones(1, 3, 3)
    mip = dr.texture_construct_mip(tex, max_mip_level=level)
    expected = dr.texture(tex, uv, mip_level_bias=bias, mip=mip)
    assert torch.equal(dr.texture(tex, uv, mip_level_bias=bias, max_mip_level=level), expected)


@pytest.mark.parametrize("level", [-1, 0.5, float("nan"), float("inf"), "1", True, [1]])
def test_max_mip_level_that_is_no_level(level):
    with pytest.raises(ValueError, match=r"^max_mip_level: expected an integer of at least 0"):
        dr.texture_construct_mip(torch.rand(1, 8, 8, 1), max_mip_level=level)


def test_mip_levels_of_odd_sides():
    for sides in ((6, 8), (3, 4), (8, 3)):
        tex, uv, uv_da, _ = texture_case(size=sides)
        with pytest.raises(ValueError, match=r"^tex: expected sides that can be halved"):
            dr.texture_construct_mip(tex)
        with pytest.raises(ValueError, match=r"^tex: expected sides that can be halved"):
            dr.texture(tex, uv, uv_da)
        dr.texture(tex, uv, uv_da, filter_mode="linear")
    tex = texture_case(size=(12, 20))[0]
    dr.texture_construct_mip(tex, max_mip_level=2)
    with pytest.raises(ValueError, match=r"max_mip_level=2 would stop"):
        dr.texture_construct_mip(tex, max_mip_level=3)
    dr.texture_construct_mip(texture_case(size=(1, 8))[0])
    with pytest.raises(ValueError, match=r"halved"):
        dr.texture_construct_mip(torch.rand(1, 6, 6, 6, 1), cube_mode=True)


FACES = [  # OpenGL 4.6, table 8.19: axis and sign of m; of s; of t
    ((0, 1), (2, -1), (1, -1)),
    ((0, -1), (2, 1), (1, -1)),
    ((1, 1), (0, 1), (2, 1)),
    ((1, -1), (0, 1), (2, -1)),
    ((2, 1), (0, 1), (1, -1)),
    ((2, -1), (0, -1), (1, -1)),
]


def cube_face(d):
    x, y, z = np.abs(d)
    axis = 2 if z > max(x, y) else 1 if y > x else 0
    return 2 * axis + (d[axis] < 0)


def on_face(d, face):
    """(u, v) of a direction on the plane of a face."""
    (m, m_sign), (s, s_sign), (t, t_sign) = FACES[face]
    along = m_sign * d[m]
    return np.array([(s_sign * d[s] / along + 1) / 2, (t_sign * d[t] / along + 1) / 2])


def cube_case(size=4):
    random = torch.Generator().manual_seed(5)
    tex = torch.rand(1, 6, size, size, 2, generator=random, dtype=torch.float64)
    uv = torch.randn(2, 8, 9, 3, generator=random, dtype=torch.float64)
    uv_da = 0.3 * torch.randn(2, 8, 9, 6, generator=random, dtype=torch.float64)
    return tex, uv, uv_da


def test_cube_nearest_and_inner_linear():
    tex, uv, _ = cube_case()
    nearest = dr.texture(tex, uv, filter_mode="nearest", boundary_mode="cube")
    linear = dr.texture(tex, uv, boundary_mode="cube")
    inner = 0
    for n, y, x in np.ndindex(2, 8, 9):
        d = uv[n, y, x].numpy()
        face = cube_face(d)
        at = on_face(d, face)
        of_face = tex[0, face].numpy()
        np.testing.assert_array_equal(nearest[n, y, x], sample(of_face, at, False, "clamp"))
        if np.abs(at - 0.5).max() < 0.5 - 0.5 / 4:
            inner += 1
            np.testing.assert_allclose(linear[n, y, x], sample(of_face, at, True, "clamp"), atol=1e-12)
    assert inner > 20


def test_cube_ties_between_axes():
    tex = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 2, 2, 1)
    uv = torch.tensor([[1.0, 1, 1], [0.5, 1, 1], [1, 0.5, 1], [1, 1, 0.5], [-1, -1, -2], [0.0, 0, 0]])[None, None]
    out = dr.texture(tex, uv, filter_mode="nearest", boundary_mode="cube")
    assert out.flatten().tolist() == [0, 2, 0, 0, 5, 0]


def test_cube_is_seamless_and_corners_average():
    tex, _, _ = cube_case(2)
    # Across the edge between +x and +z, and to the corner of three faces.
    near = torch.tensor([[1.0, 0.3, 1 - 1e-9], [1 - 1e-9, 0.3, 1.0]], dtype=torch.float64)[None, None]
    a, b = dr.texture(tex, near, boundary_mode="cube")[0, 0]
    torch.testing.assert_close(a, b)
    corner = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    texels = [tex[0, f].numpy()[tuple((on_face(np.ones(3), f) > 0.5).astype(int)[::-1])] for f in (0, 2, 4)]
    out = dr.texture(tex, corner, boundary_mode="cube")[0, 0, 0]
    np.testing.assert_allclose(out, np.mean(texels, 0), atol=1e-12)


def test_cube_levels():
    tex, uv, uv_da = cube_case()
    out = dr.texture(tex, uv, uv_da, boundary_mode="cube")
    level = torch.zeros(2, 8, 9, dtype=torch.float64)
    eps = 1e-5
    for n, y, x in np.ndindex(2, 8, 9):
        d, steps = uv[n, y, x].numpy(), uv_da[n, y, x].view(3, 2).numpy().T
        face = cube_face(d)
        columns = [(on_face(d + eps * s, face) - on_face(d - eps * s, face)) / (2 * eps) for s in steps]
        on_screen = np.stack(columns, 1).flatten()
        level[n, y, x] = level_of(on_screen, 4, 4, 0, 2)
    by_level = dr.texture(tex, uv, mip_level_bias=level, boundary_mode="cube")
    assert 0 < level.mean() < 2
    torch.testing.assert_close(out, by_level, rtol=1e-6, atol=1e-6)
    mip = dr.texture_construct_mip(tex, cube_mode=True)
    assert torch.equal(dr.texture(tex, uv, uv_da, mip=mip, boundary_mode="cube"), out)
    with pytest.raises(ValueError, match=r"^mip: made with cube_mode=True"):
        dr.texture(tex[:, 0], uv[..., :2], uv_da[..., :4], mip=mip)


def test_texture_invalid_uv_gives_zero():
    tex = torch.ones(1, 4, 4, 1)
    uv = torch.tensor([[0.5, 0.5], [float("nan"), 0.5], [0.5, float("inf")]])[None, None]
    assert dr.texture(tex, uv).flatten().tolist() == [1, 0, 0]


# ---- Antialiasing ---------------------------------------------------------------------------------------


def opposite_vertices(tri):
    """{edge: [(triangle, its vertex opposite to the edge)]}."""
    edges = {}
    for t, corners in enumerate(tri):
        for k in range(3):
            edge = frozenset((corners[(k + 1) % 3], corners[(k + 2) % 3]))
            edges.setdefault(edge, []).append((t, corners[k]))
    return edges


def crossing(pos, tri, edges, t, centre, axis, direction):
    """The place where the silhouette of triangle t cuts the line of centres: the clamped dc, or None. axis: 0 for x."""
    other = 1 - axis
    screen = pos[:, :2] / pos[:, 3:] * (W / 2, H / 2) - centre  # pixels relative to the centre of T's pixel
    found = []
    for k in range(3):
        i, j, own = tri[t][(k + 1) % 3], tri[t][(k + 2) % 3], tri[t][k]
        a, b = screen[i], screen[j]
        if (a[other] < 0) == (b[other] < 0) or abs(b[other] - a[other]) < abs(b[axis] - a[axis]):
            continue

        def side(v, a=a, b=b):
            return np.sign(cross2(b - a, screen[v] - a))

        across = [v for s, v in edges[frozenset((i, j))] if s != t]
        if any(side(v) != side(own) for v in across):
            continue  # the surface goes on
        at = a[axis] - a[other] * (b[axis] - a[axis]) / (b[other] - a[other])
        inwards = np.zeros(2)
        inwards[axis] = -direction
        if np.sign(cross2(b - a, inwards)) != side(own):
            continue  # T ends on the other side of this edge
        if not -1 / 16 < direction * at < 17 / 16:
            continue  # the edge lies elsewhere
        found.append(min(max(direction * at, 0), 1))
    return min(found, default=None)


def brute_antialias(color, ids, depth, pos, tri):
    edges = opposite_vertices(tri)
    out = color.copy()
    for axis in (0, 1):
        for y, x in np.ndindex(H, W):
            x1, y1 = (x + 1, y) if axis == 0 else (x, y + 1)
            if x1 >= W or y1 >= H or ids[y, x] == ids[y1, x1]:
                continue
            first = ids[y, x] >= 0 and (ids[y1, x1] < 0 or depth[y, x] <= depth[y1, x1])
            t, tx, ty = (ids[y, x], x, y) if first else (ids[y1, x1], x1, y1)
            centre = np.array([tx + 0.5 - W / 2, ty + 0.5 - H / 2])
            ds = 1 if first else -1
            dc = crossing(pos, tri, edges, t, centre, axis, ds)
            if dc is None:
                continue
            alpha = ds * (0.5 - dc)
            into = (y, x) if alpha > 0 else (y1, x1)
            out[into] += alpha * (color[y1, x1] - color[y, x])
    return out


def antialias_scene(kind, seed):
    if kind == "triangles":
        pos, tri = scene(seed, count=6, dtype=torch.float64)
    else:
        verts, tri = icosphere(0)
        pos = view_mesh(verts.double(), 31.0 * seed + 5, 17.0 * seed, 1.5, aspect=W / H)[None]
    color = torch.rand(1, H, W, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    return color, rast, pos, tri


@pytest.mark.parametrize("kind", ["triangles", "sphere"])
@pytest.mark.parametrize("seed", range(3))
def test_antialias(kind, seed):
    color, rast, pos, tri = antialias_scene(kind, seed)
    out = dr.antialias(color, rast, pos, tri)
    ids, depth = rast[0, ..., 3].numpy().astype(int) - 1, rast[0, ..., 2].numpy()
    expected = brute_antialias(color[0].numpy(), ids, depth, pos[0].numpy(), tri.tolist())
    assert (np.abs(expected - color[0].numpy()).max(-1) > 0.01).sum() > 15
    np.testing.assert_allclose(out[0], expected, atol=1e-9)
    topology = dr.antialias_construct_topology_hash(tri)
    assert torch.equal(dr.antialias(color, rast, pos, tri, topology_hash=topology), out)


@pytest.mark.parametrize("kind", ["triangles", "sphere"])
def test_antialias_gradients(kind):
    color, rast, pos, tri = antialias_scene(kind, 1)
    g = torch.randn(1, H, W, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    ids, depth = rast[0, ..., 3].numpy().astype(int) - 1, rast[0, ..., 2].numpy()
    index = tri.tolist()
    color.requires_grad_()
    pos.requires_grad_()
    out = dr.antialias(color, rast, pos, tri)
    grad_color, grad_pos = torch.autograd.grad((out * g).sum(), (color, pos))

    def value(p):
        image = brute_antialias(color[0].detach().numpy(), ids, depth, p[0], index)
        return (image * g[0].numpy()).sum()

    some = pos.detach()[:, :18]
    rest = pos.detach()[:, 18:].numpy()
    expected = numeric_gradient(lambda p: value(np.concatenate((p, rest), 1)), some)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(grad_pos[:, :18].numpy(), expected, rtol=1e-4, atol=1e-5)
    # The result is linear in the colours.
    direction = torch.randn(1, H, W, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    change = dr.antialias(direction, rast, pos, tri)
    torch.testing.assert_close((grad_color * direction).sum(), (change * g).sum())

    boosted = dr.antialias(color, rast, pos, tri, pos_gradient_boost=3.0)
    assert torch.equal(boosted, out)
    boosted_color, boosted_pos = torch.autograd.grad((boosted * g).sum(), (color, pos))
    assert torch.equal(boosted_color, grad_color)
    torch.testing.assert_close(boosted_pos, 3 * grad_pos)


def test_antialias_may_leave_the_range_of_colours():
    """A pixel with a triangle smaller than itself, cut on three sides, gives away more than all it has."""
    pixels = [[4.3, 4.35], [4.7, 4.35], [4.5, 4.8]]
    pos = torch.tensor([[[2 * x / W - 1, 2 * y / H - 1, 0, 1] for x, y in pixels]], dtype=torch.float64)
    tri = torch.tensor([[0, 1, 2]])
    rast, _ = dr.rasterize(CTX, pos, tri, (H, W))
    color = (rast[..., 3:] > 0).double()
    assert color.sum() == 1
    out = dr.antialias(color, rast, pos, tri)
    below, aside = 0.15, 0.2 - 0.2 / 3
    expected = 1 - (0.5 - below) - 2 * (0.5 - aside)
    assert expected < 0
    assert float(out[0, 4, 4, 0]) == pytest.approx(expected)


# ---- The whole ------------------------------------------------------------------------------------------


def pipeline(pos, tri, uv, tex):
    rast, rast_db = dr.rasterize(CTX, pos, tri, (H, W))
    texc, texd = dr.interpolate(uv, rast, tri, rast_db, diff_attrs="all")
    color = dr.texture(tex, texc, texd, filter_mode="linear-mipmap-linear", max_mip_level=3)
    color = color * (rast[..., 3:] > 0)
    return dr.antialias(color, rast, pos, tri)


def test_pipeline():
    """Silhouettes, texture coordinates and texels all get gradients, in both precisions alike."""
    verts, tri = icosphere(1)
    random = torch.Generator().manual_seed(0)
    uv = torch.rand(1, len(verts), 2, generator=random)
    tex = torch.rand(1, 16, 16, 3, generator=random)
    target = torch.rand(1, H, W, 3, generator=random)
    grads = []
    for dtype in (torch.float32, torch.float64):
        pos = view_mesh(verts, 20, 10, 2.0, aspect=W / H)[None]
        leaves = [t.to(dtype).clone().requires_grad_() for t in (pos, uv, tex)]
        image = pipeline(leaves[0], tri, leaves[1], leaves[2])
        assert image.dtype == dtype
        ((image - target.to(dtype)) ** 2).mean().backward()
        grads.append([leaf.grad for leaf in leaves])
    for single, double in zip(*grads):
        assert double.abs().max() > 0
        assert single.isfinite().all()
        torch.testing.assert_close(single.double(), double, rtol=2e-2, atol=2e-3 * float(double.abs().max()))
    assert (grads[0][0][..., 2] == 0).all()


def test_pipeline_fits():
    """A program as users write them: an optimizer moves and colours a triangle to match an image."""
    pos = torch.tensor([[[-0.6, -0.6, 0, 1], [0.6, -0.5, 0, 1], [0.0, 0.6, 0, 1]]])
    tri = torch.tensor([[0, 1, 2]], dtype=torch.int32)

    def render(offset, color):
        moved = pos + torch.nn.functional.pad(offset, (0, 2))
        rast, _ = dr.rasterize(CTX, moved, tri, resolution=[H, W])
        image, _ = dr.interpolate(color, rast, tri)
        return dr.antialias(image, rast, moved, tri)

    goal = render(torch.tensor([0.15, -0.1]), torch.tensor([[[1.0, 0.2, 0.1]]]).expand(1, 3, 3).contiguous())
    offset = torch.zeros(2, requires_grad=True)
    color = torch.full((1, 3, 3), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([offset, color], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        ((render(offset, color) - goal) ** 2).mean().backward()
        optimizer.step()
    torch.testing.assert_close(offset.detach(), torch.tensor([0.15, -0.1]), atol=0.02, rtol=0)


# ---- Surface and wrong calls ----------------------------------------------------------------------------


def test_public_names():
    assert set(dr.__all__) == {
        "install",
        "RasterizeCudaContext", "RasterizeGLContext", "rasterize", "DepthPeeler", "interpolate", "texture",
        "texture_construct_mip", "antialias", "antialias_construct_topology_hash", "get_log_level",
        "set_log_level",
    }  # fmt: skip
    assert all(hasattr(dr, name) for name in dr.__all__)


def test_contexts():
    pos, tri = scene()
    expected = dr.rasterize(CTX, pos, tri, (H, W))[0]
    gl = dr.RasterizeGLContext(output_db=False, mode="manual", device="cuda:0")
    gl.set_context()
    for context in (gl, dr.RasterizeCudaContext(device="cpu"), dr.RasterizeGLContext()):
        assert torch.equal(dr.rasterize(context, pos, tri, (H, W))[0], expected)
    gl.release_context()
    for wrong in (None, "cuda", pos):
        with pytest.raises(TypeError, match=r"^glctx: expected a RasterizeCudaContext"):
            dr.rasterize(wrong, pos, tri, (H, W))
        with pytest.raises(TypeError, match=r"^glctx: expected a RasterizeCudaContext"):
            dr.DepthPeeler(wrong, pos, tri, (H, W))


def test_log_level():
    assert dr.get_log_level() == 1
    try:
        for level in range(4):
            dr.set_log_level(level)
            assert dr.get_log_level() == level
    finally:
        dr.set_log_level(1)
    for wrong in (-1, 4, "1", None, True):
        with pytest.raises(ValueError, match=r"^level: expected an integer from 0 to 3"):
            dr.set_log_level(wrong)


def test_empty_scenes():
    tri = torch.zeros(0, 3, dtype=torch.int32)
    rast, rast_db = dr.rasterize(CTX, torch.zeros(2, 0, 4), tri, (H, W))
    assert rast.shape == rast_db.shape == (2, H, W, 4)
    assert not rast.any()
    out, out_da = dr.interpolate(torch.zeros(2, 0, 3), rast, tri)
    assert not out.any()
    assert out_da.shape == (2, H, W, 0)
    color = torch.rand(2, H, W, 3)
    assert torch.equal(dr.antialias(color, rast, torch.zeros(2, 0, 4), tri), color)


POS, TRI = scene()
RAST, RAST_DB = dr.rasterize(CTX, POS, TRI, (H, W))
ATTR = torch.rand(1, 15, 2)
TEX, UV = torch.rand(1, 8, 8, 1), torch.rand(1, 3, 3, 2)
COLOR = torch.rand(1, H, W, 3)
WRONG_CALLS = {
    "pos": lambda: dr.rasterize(CTX, POS[..., :3], TRI, (H, W)),
    "pos: expected float32": lambda: dr.rasterize(CTX, POS.int(), TRI, (H, W)),
    "tri": lambda: dr.rasterize(CTX, POS, TRI.float(), (H, W)),
    "resolution": lambda: dr.rasterize(CTX, POS, TRI, (H, 0)),
    "ranges: expected shape": lambda: dr.rasterize(CTX, POS[0], TRI, (H, W)),
    "ranges": lambda: dr.rasterize(CTX, POS[0], TRI, (H, W), torch.tensor([[0, 99]])),
    "rast: expected shape": lambda: dr.interpolate(ATTR, RAST[..., :3], TRI),
    "rast: expected a torch.Tensor": lambda: dr.interpolate(ATTR, None, TRI),
    "rast_db: expected shape": lambda: dr.interpolate(ATTR, RAST, TRI, RAST_DB[..., :2], "all"),
    "rast_db: expected the second": lambda: dr.interpolate(ATTR, RAST, TRI, None, "all"),
    "attr: expected torch.float32 like rast": lambda: dr.interpolate(ATTR.double(), RAST, TRI),
    "attr: expected 1 or 1 images": lambda: dr.interpolate(ATTR.expand(2, -1, -1), RAST, TRI),
    "diff_attrs: expected channels": lambda: dr.interpolate(ATTR, RAST, TRI, RAST_DB, [2]),
    "diff_attrs: expected 'all'": lambda: dr.interpolate(ATTR, RAST, TRI, RAST_DB, "some"),
    "tex": lambda: dr.texture(TEX[0], UV),
    r"tex: expected shape \[N, 6": lambda: dr.texture(TEX, UV, boundary_mode="cube"),
    "uv": lambda: dr.texture(TEX, UV[..., :1]),
    "uv_da": lambda: dr.texture(TEX, UV, UV),
    "mip_level_bias": lambda: dr.texture(TEX, UV, mip_level_bias=UV),
    "mip: expected": lambda: dr.texture(TEX, UV, torch.rand(1, 3, 3, 4), mip=TEX),
    r"mips\[0\]": lambda: dr.texture(TEX, UV, torch.rand(1, 3, 3, 4), mip=[TEX]),
    "filter_mode: expected": lambda: dr.texture(TEX, UV, filter_mode="cubic"),
    "filter_mode: linear-mipmap-linear needs": lambda: dr.texture(TEX, UV, filter_mode="linear-mipmap-linear"),
    "boundary_mode": lambda: dr.texture(TEX, UV, boundary_mode="mirror"),
    "max_mip_level": lambda: dr.texture_construct_mip(TEX, -1),
    "color": lambda: dr.antialias(COLOR[:, 1:], RAST, POS, TRI),
    "pos: expected shape": lambda: dr.antialias(COLOR, RAST, POS[..., :3], TRI),
    "topology_hash": lambda: dr.antialias(COLOR, RAST, POS, TRI, topology_hash=TRI),
    "topology": lambda: dr.antialias(COLOR, RAST, POS, TRI, dr.antialias_construct_topology_hash(TRI[1:])),
}


@pytest.mark.parametrize("message", WRONG_CALLS)
def test_wrong_calls(message, kernels):
    skip_where_devices_are_silent(kernels, message)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        WRONG_CALLS[message]()
