"""Marching cubes: closed forms, watertightness on noise, the definition, gradients, other libraries' numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from implicit_common import (
    area,
    box,
    centres,
    edge_counts,
    euler_number,
    is_watertight,
    noise,
    padded,
    sphere,
    torus,
    volume,
)

import lumigrad as lg
from lumigrad.reference.implicit._cube_cases import cube_cases

DTYPES = (torch.float32, torch.float64)
SHAPES = [(7, 5, 9), (2, 2, 2), (3, 4, 65), (2, 3, 130), (5, 2, 64), (4, 1, 6), (1, 1, 1), (1, 7, 70), (6, 6, 1)]
MANY_ROWS = (130, 130, 2)  # whose counts are added up in parts


def test_table() -> None:
    cases = cube_cases()
    assert len(cases.triangles) == 656
    assert int(cases.ambiguous.sum(1).max()) == 6
    assert cases.loops.max() == 4


@pytest.mark.parametrize("size", [16, 33])
def test_sphere(size: int) -> None:
    half, radius = 1.2, 1.0
    h = 2 * half / size
    values = sphere(size, half, radius).requires_grad_()
    verts, faces = lg.marching_cubes(values, box=box(half))
    off = verts.detach().norm(dim=-1) - radius
    assert -1.01 * h * h / (8 * radius) <= off.min()
    assert off.max() < 1e-12
    assert is_watertight(faces)
    assert euler_number(verts, faces) == 2
    found = volume(verts, faces)
    assert -(h**2) * 5 < found.item() - 4 / 3 * math.pi < 0
    (slope,) = torch.autograd.grad(found, values)
    assert slope.sum().item() == pytest.approx(-4 * math.pi, rel=2 * h * h)


def test_torus() -> None:
    values = torus(48, 1.6, 1.0, 0.4).requires_grad_()
    verts, faces = lg.marching_cubes(values, box=box(1.6))
    assert is_watertight(faces)
    assert euler_number(verts, faces) == 0
    found = volume(verts, faces)
    assert found.item() == pytest.approx(2 * math.pi**2 * 0.16, rel=0.01)
    assert area(verts, faces).item() == pytest.approx(4 * math.pi**2 * 0.4, rel=0.01)
    (slope,) = torch.autograd.grad(found, values)
    assert -slope.sum().item() == pytest.approx(4 * math.pi**2 * 0.4, rel=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_plane(dtype: torch.dtype) -> None:
    """A linear function: vertices on the plane, and the level moves it by level / slope."""
    normal = torch.tensor([0.3, -0.5, 0.8], dtype=dtype)
    level = torch.tensor(0.07, dtype=dtype, requires_grad=True)
    values = centres((6, 7, 8), 1.0, dtype) @ normal
    verts, faces = lg.marching_cubes(values, level, box(1.0))
    assert (verts @ normal - level).abs().max() < 4 * torch.finfo(dtype).eps
    a, b, c = verts[faces.long()].unbind(1)
    facing = torch.linalg.cross(b - a, c - a) @ normal  # outwards is up
    assert facing.min() > -1e-6
    assert facing.sum() > 0
    (slope,) = torch.autograd.grad((verts @ normal).mean(), level)
    assert slope.item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_noise_is_watertight(seed: int, levels: int) -> None:
    """Random values with all their ambiguous faces; with few levels, many values equal the level."""
    shape = ((12, 13, 14), (3, 4, 70))[seed % 2]
    values = padded(noise(shape, seed, levels=levels), 2.0)
    verts, faces = lg.marching_cubes(values)
    assert is_watertight(faces)
    assert faces.min() == 0
    assert len(faces.unique()) == faces.max() + 1 == len(verts)
    corners = faces.long().sort(1).values
    assert len(corners.unique(dim=0)) == len(corners)
    assert (corners[:, 0] < corners[:, 1]).all()
    assert (corners[:, 1] < corners[:, 2]).all()


def test_noise_is_a_manifold() -> None:
    """Around every vertex the triangles form one closed fan."""
    verts, faces = lg.marching_cubes(padded(noise((9, 10, 11), 3)))
    following: dict[int, dict[int, int]] = {}
    for triangle in faces.tolist():
        for k in range(3):
            following.setdefault(triangle[k], {})[triangle[(k + 1) % 3]] = triangle[(k + 2) % 3]
    assert len(following) == len(verts)
    for fan in following.values():
        first = next(iter(fan))
        corner, around = fan[first], 1
        while corner != first:
            corner, around = fan[corner], around + 1
        assert around == len(fan)


def test_every_case_of_a_cell() -> None:
    """All 256 cases of a cell, each among random neighbours."""
    for case in range(256):
        values = noise((4, 4, 4), case).abs() * torch.randint(
            0, 2, (4, 4, 4), generator=torch.Generator().manual_seed(case)
        ).mul(2).sub(1)
        for corner in range(8):
            x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
            value = values[1 + z, 1 + y, 1 + x]
            value.copy_(-value.abs() if case >> corner & 1 else value.abs())
        assert is_watertight(lg.marching_cubes(padded(values))[1]), case


@pytest.mark.parametrize("joined", [False, True])
def test_ambiguous_face(joined: bool) -> None:
    """Two inside corners across a face are joined where the saddle between them is inside."""
    values = torch.tensor([[-3.0, 1.0], [1.0, -3.0]] if joined else [[-1.0, 3.0], [3.0, -1.0]]).repeat(3, 1, 1)
    _, faces = lg.marching_cubes(values)
    parts = torch.arange(int(faces.max()) + 1)
    for _ in range(len(parts)):
        for triangle in faces.long():
            parts[triangle] = parts[triangle].min()
    # Joined: the two outside corners are cut off. Apart: the two inside ones are. Two sheets either way.
    assert len(parts.unique()) == 2
    verts = lg.marching_cubes(values)[0]
    for part in parts.unique():
        middle = verts[parts == part].mean(0)[:2] - 1.0
        assert (middle[0] * middle[1] < 0) == joined


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, MANY_ROWS])
def test_reference(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    for seed, level in ((0, 0.0), (1, -0.3), (2, 1.0)):
        values = noise(shape, seed, dtype, levels=3 * (seed == 2)).requires_grad_()
        outcome = []
        for module in (lg, lg.reference):
            verts, faces = module.marching_cubes(values, level, [[-1, 0, 2], [1, 3, 2.5]])
            assert verts.dtype == dtype
            assert faces.dtype == torch.int32
            weights = torch.linspace(-1, 2, verts.numel(), dtype=dtype).view_as(verts)
            (slope,) = torch.autograd.grad((verts * weights).sum(), values, allow_unused=True)
            outcome.append((verts.detach(), faces, torch.zeros_like(values) if slope is None else slope))
        ours, theirs = outcome
        assert torch.equal(ours[1], theirs[1])
        close = 2e-6 if dtype == torch.float32 else 1e-13
        assert torch.allclose(ours[0], theirs[0], rtol=0, atol=close)
        assert torch.allclose(ours[2], theirs[2], rtol=1e-3 if dtype == torch.float32 else 1e-10, atol=close)


def test_gradcheck() -> None:
    values = noise((4, 5, 6), 4).requires_grad_()
    level = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    corners = torch.tensor([[-1.0, 0.0, 2.0], [1.0, 3.0, 2.5]], dtype=torch.float64, requires_grad=True)
    assert len(lg.marching_cubes(values)[0]) > 100
    torch.autograd.gradcheck(lambda v, s, b: lg.marching_cubes(v, s, b)[0], (values, level, corners))


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 1), (5, 5, 5)])
def test_empty(shape: tuple[int, int, int]) -> None:
    values = torch.ones(shape, requires_grad=True)
    for module in (lg, lg.reference):
        verts, faces = module.marching_cubes(values)
        assert verts.shape == (0, 3)
        assert faces.shape == (0, 3)
    lg.marching_cubes(values)[0].sum().backward()
    assert torch.equal(values.grad, torch.zeros_like(values))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite(dtype: torch.dtype) -> None:
    """NaN is outside; the surface stays closed and finite, and no gradient is NaN."""
    values = noise((6, 7, 8), 5, dtype)
    values.view(-1)[::7] = torch.nan
    values.view(-1)[3::31] = torch.inf
    values.view(-1)[5::37] = -torch.inf
    values.view(-1)[8::41] = torch.finfo(dtype).max
    values.view(-1)[9::43] = -torch.finfo(dtype).max
    values = padded(values).requires_grad_()
    for module in (lg, lg.reference):
        verts, faces = module.marching_cubes(values)
        assert is_watertight(faces)
        assert verts.isfinite().all()
        (slope,) = torch.autograd.grad(verts.sum(), values)
        assert slope.isfinite().all()
        assert (slope[~values.isfinite()] == 0).all()


def test_order_of_memory() -> None:
    values = noise((5, 6, 7), 6)
    for ours, theirs in zip(
        lg.marching_cubes(values.permute(2, 0, 1)), lg.marching_cubes(values.permute(2, 0, 1).contiguous()), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: lg.marching_cubes(v.tolist()), TypeError, r"values: expected a torch.Tensor, got list"),
        (lambda v: lg.marching_cubes(v.int()), TypeError, r"values: expected float32 or float64, got int32"),
        (lambda v: lg.marching_cubes(v[0]), ValueError, r"values: expected shape \[D, H, W\], got \(3, 4\)"),
        (lambda v: lg.marching_cubes(v, "a"), TypeError, r"level: expected a number, got 'a'"),
        (lambda v: lg.marching_cubes(v, v), ValueError, r"level: expected one number, got shape \(2, 3, 4\)"),
        (lambda v: lg.marching_cubes(v, v[0, 0, 0].double()), TypeError, r"level: expected torch.float32 like values"),
        (lambda v: lg.marching_cubes(v, box=[0, 1]), ValueError, r"box: expected shape \[2, 3\], got \(2,\)"),
        (lambda v: lg.marching_cubes(v, box="ab"), TypeError, r"box: expected two corners of three numbers, got 'ab'"),
        (lambda v: lg.marching_cubes(v, box=[[0, 0, 0], [1, 0, 1]]), ValueError, r"box: expected a lower and an upper"),
        (lambda v: lg.marching_cubes(v, box=torch.ones(2, 3).int()), TypeError, r"box: expected float32 or float64"),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(torch.ones(2, 3, 4))


@pytest.mark.parametrize("name", ["sphere", "torus", "gyroid", "random"])
def test_scikit_image(shared, name: str) -> None:
    """The vertices on edges are scikit-image's; so are area, volume and topology where no face is ambiguous."""
    stored = np.load(shared / "oracles" / "vol_skimage_marching_cubes.npz")
    field, level = torch.from_numpy(stored[f"{name}.field"]), float(stored[f"{name}.level"])
    verts, faces = lg.marching_cubes(field.double(), level)
    theirs = torch.from_numpy(stored[f"{name}.lewiner.v"]).flip(-1).double() + 0.5
    if name == "random":  # Lewiner's table has other centres
        theirs = torch.from_numpy(stored[f"{name}.lorensen.v"]).flip(-1).double() + 0.5
        verts = verts[: len(theirs)]
    assert len(verts) == len(theirs)
    assert torch.cdist(verts, theirs).min(1).values.max() < 1e-5
    if name == "random":
        return
    assert len(faces) == len(stored[f"{name}.lewiner.f"])
    assert area(verts, faces).item() == pytest.approx(float(stored[f"{name}.lewiner.area"]), rel=0.02)
    if name != "gyroid":
        assert volume(verts, faces).item() == pytest.approx(float(stored[f"{name}.lewiner.volume"]), rel=1e-3)
    assert euler_number(verts, faces) == int(stored[f"{name}.lewiner.euler"])
    assert int((edge_counts(faces).sum(1) == 1).sum()) == int(stored[f"{name}.lewiner.open_edges"])
