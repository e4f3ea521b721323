"""Marching tetrahedra: closed forms, watertightness, gradients, kaolin's numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from implicit_common import area, euler_number, is_watertight, volume
from torch import Tensor

import lumigrad as lg


def kuhn(size: int, half: float) -> tuple[Tensor, Tensor]:
    """A cube of size^3 cells, each of six tetrahedra."""
    at = torch.linspace(-half, half, size + 1, dtype=torch.float64)
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    stride = (1, size + 1, (size + 1) ** 2)
    base = torch.tensor(
        [a * stride[0] + b * stride[1] + c * stride[2] for a, b, c in itertools.product(range(size), repeat=3)]
    )
    tets = []
    for order in itertools.permutations(range(3)):
        steps = list(itertools.accumulate((stride[axis] for axis in order), initial=0))
        tets.append(base[:, None] + torch.tensor(steps))
    return torch.stack([x, y, z], -1).view(-1, 3), torch.cat(tets)


def test_sphere() -> None:
    vertices, tets = kuhn(14, 1.2)
    values = (vertices.norm(dim=-1) - 1).requires_grad_()
    verts, faces = lg.marching_tetrahedra(vertices, tets, values)
    assert is_watertight(faces)
    assert euler_number(verts, faces) == 2
    found = volume(verts, faces)
    assert found.item() == pytest.approx(4 / 3 * math.pi, rel=0.03)
    (slope,) = torch.autograd.grad(found, values)
    assert -slope.sum().item() == pytest.approx(4 * math.pi, rel=0.03)


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_watertight(seed: int) -> None:
    vertices, tets = kuhn(6, 1.0)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-2, 3, (len(vertices),), generator=generator).double()
    values[::11] = torch.nan
    values[(vertices.abs() > 0.99).any(-1)] = 1.0
    turned = torch.rand(len(tets), generator=generator) < 0.5
    tets = torch.where(turned[:, None], tets[:, [1, 0, 2, 3]], tets)
    verts, faces = lg.marching_tetrahedra(vertices, tets, values)
    assert is_watertight(faces)
    assert verts.isfinite().all()


def test_gradcheck() -> None:
    vertices, tets = kuhn(2, 1.0)
    values = torch.randn(len(vertices), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = torch.tensor(0.1, dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda v, s, c: lg.marching_tetrahedra(v, tets, s, c)[0],
        [value.requires_grad_() for value in (vertices, values, level)],
    )


def test_empty() -> None:
    vertices, tets = kuhn(1, 1.0)
    for corners, cells in ((vertices, tets), (vertices, tets[:0]), (vertices[:0], tets[:0])):
        verts, faces = lg.marching_tetrahedra(corners, cells, corners.new_ones(len(corners)))
        assert verts.shape == (0, 3)
        assert faces.shape == (0, 3)


def test_kaolin(shared) -> None:
    stored = {k: torch.from_numpy(v) for k, v in np.load(shared / "oracles" / "iso_marching_tetrahedra.npz").items()}
    vertices, values = stored["vertices"].requires_grad_(), stored["sdf"].requires_grad_()
    verts, faces = lg.marching_tetrahedra(vertices, stored["tets"], values)
    assert verts.shape == stored["out_v"].shape
    assert faces.shape == stored["out_f"].shape
    assert torch.cdist(verts, stored["out_v"], compute_mode="donot_use_mm_for_euclid_dist").min(1).values.max() < 1e-9
    # Quadrilaterals are divided along either diagonal.
    for name, found, close in (
        ("vertex_moment", (verts**2).sum(), 1e-9),
        ("volume", volume(verts, faces), 0.02),
        ("area", area(verts, faces), 0.02),
    ):
        assert found.item() == pytest.approx(stored[name].item(), rel=close)
        slopes = torch.autograd.grad(found, (values, vertices), retain_graph=True)
        for ours, theirs in zip(slopes, (stored[f"{name}.grad_sdf"], stored[f"{name}.grad_vertices"]), strict=True):
            assert (ours - theirs).norm() < (1e-9 if close < 0.01 else 0.15) * theirs.norm()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vertices": torch.ones(4, 2)}, ValueError, r"vertices: expected shape \[V, 3\], got \(4, 2\)"),
        ({"tets": torch.ones(1, 4)}, TypeError, r"tets: expected int32 or int64, got float32"),
        ({"tets": torch.ones(1, 3).int()}, ValueError, r"tets: expected shape \[T, 4\], got \(1, 3\)"),
        ({"tets": torch.tensor([[0, 1, 2, 4]])}, ValueError, r"tets: expected indices of 4 vertices, got 0 to 4"),
        ({"values": torch.ones(3)}, ValueError, r"values: expected shape \[4\], got \(3,\)"),
        ({"values": torch.ones(4).double()}, TypeError, r"values: expected torch.float32 like vertices"),
    ],
)
def test_wrong_arguments(change: dict, error: type[Exception], message: str) -> None:
    values = {"vertices": torch.rand(4, 3), "tets": torch.tensor([[0, 1, 2, 3]]), "values": torch.ones(4)}
    with pytest.raises(error, match=message):
        lg.marching_tetrahedra(**{**values, **change})
