"""FlexiCubes: closed forms, watertightness, gradients, the original's numbers."""

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
from torch import Tensor

import lumigrad as lg
from lumigrad.reference.implicit._cube_cases import EDGES

# The corners at the ends of the original's edges.
THEIR_EDGES = [(0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4)]


def weights(shape: tuple[int, int, int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """alpha, beta and gamma of a grid [D, H, W]."""
    cells = [size - 1 for size in shape]
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*cells, *more, generator=generator, dtype=torch.float64) for more in ((8,), (12,), ()))


@pytest.mark.parametrize("training", [False, True])
def test_sphere_and_torus(training: bool) -> None:
    for values, half, euler, expected in (
        (sphere(24, 1.2, 1.0), 1.2, 2, 4 / 3 * math.pi),
        (torus(32, 1.6, 1.0, 0.4), 1.6, 0, 2 * math.pi**2 * 0.16),
    ):
        verts, faces, deviation = lg.flexicubes(values, box=box(half), training=training)
        assert is_watertight(faces)
        assert euler_number(verts, faces) == euler
        assert volume(verts, faces).item() == pytest.approx(expected, rel=0.03)
        assert deviation.min() >= 0
        assert deviation.mean() < 0.1 * 2 * half / 24


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("seed", range(6))
def test_noise_is_watertight(seed: int, levels: int) -> None:
    """No edge has four triangles, though ambiguous faces lie side by side."""
    values = padded(padded(noise((9, 10, 11), seed, levels=levels), 1.0), 1.0)
    values[2, 2, ::5] = torch.nan
    verts, faces, deviation = lg.flexicubes(values, *weights(tuple(values.shape), seed))
    assert is_watertight(faces)
    assert len(edge_counts(faces)) > 1000
    assert verts.isfinite().all()
    assert deviation.isfinite().all()


@pytest.mark.parametrize("training", [False, True])
def test_gradcheck(training: bool) -> None:
    values = noise((3, 3, 4), 1)
    alpha, beta, gamma = weights((3, 3, 4), 2)
    vertices = centres((3, 3, 4), 1.0) + 0.05 * noise((3, 3, 4), 3)[..., None]
    level = torch.tensor(0.05, dtype=torch.float64)
    inputs = [value.requires_grad_() for value in (values, alpha, beta, gamma, vertices, level)]

    def extract(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        verts, _, deviation = lg.flexicubes(*arguments, training=training)
        return verts, deviation

    torch.autograd.gradcheck(extract, inputs)


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (3, 3, 3), (2, 2, 2)])
def test_empty(shape: tuple[int, int, int]) -> None:
    for training in (False, True):
        verts, faces, deviation = lg.flexicubes(torch.ones(shape), training=training)
        assert (verts.shape, faces.shape, deviation.shape) == ((0, 3), (0, 3), (0,))


@pytest.mark.parametrize("mode", ["eval", "train", "plain"])
def test_the_original(shared, mode: str) -> None:
    stored = {k: torch.from_numpy(v) for k, v in np.load(shared / "oracles" / "iso_flexicubes.npz").items()}
    # Theirs run through x first.
    ours = [EDGES.index((axis, min(a, b))) for a, b in THEIR_EDGES for axis in [(a ^ b) // 2]]
    inputs = {
        "grid": stored["grid"].view(11, 11, 11, 3).transpose(0, 2),
        "sdf": stored["sdf"].view(11, 11, 11).transpose(0, 2),
        "alpha": stored["alpha"].view(10, 10, 10, 8).transpose(0, 2),
        "beta": stored["beta"].view(10, 10, 10, 12)[..., torch.tensor(ours).argsort()].transpose(0, 2),
        "gamma": stored["gamma"].view(10, 10, 10).transpose(0, 2),
    }
    inputs = {name: value.double().contiguous().requires_grad_() for name, value in inputs.items()}
    parts = () if mode == "plain" else (inputs["alpha"], inputs["beta"], inputs["gamma"])
    if mode == "plain":
        parts = (None, None, None)
    verts, faces, deviation = lg.flexicubes(inputs["sdf"], *parts, inputs["grid"], training=mode == "train")
    assert verts.shape == stored[f"{mode}.v"].shape
    assert faces.shape == stored[f"{mode}.f"].shape
    assert (
        torch.cdist(verts, stored[f"{mode}.v"].double(), compute_mode="donot_use_mm_for_euclid_dist")
        .min(1)
        .values.max()
        < 2e-6
    )
    theirs = stored[f"{mode}.L_dev"].double().sort().values
    assert torch.allclose(deviation.detach().sort().values, theirs, atol=2e-6)
    if mode == "plain":
        return
    found = {"volume": volume(verts, faces), "area": area(verts, faces), "L_dev_mean": deviation.mean()}
    found["vertex_moment"] = (verts**2).sum()
    for name, value in found.items():
        assert value.item() == pytest.approx(stored[f"{mode}.{name}"].item(), rel=1e-5)
        for key, leaf in inputs.items():
            if f"{mode}.{name}.grad_{key}" not in stored:
                continue
            (slope,) = torch.autograd.grad(value, leaf, retain_graph=True)
            if key == "beta":
                slope = slope[..., ours]
            expected = stored[f"{mode}.{name}.grad_{key}"].double().view(slope.shape).transpose(0, 2)
            assert (slope - expected).norm() < 1e-4 * expected.norm(), (name, key)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": torch.ones(3)}, ValueError, r"values: expected shape \[D, H, W\], got \(3,\)"),
        ({"alpha": torch.ones(2, 2, 2)}, ValueError, r"alpha: expected shape \[2, 2, 2, 8\], got \(2, 2, 2\)"),
        ({"beta": torch.ones(2, 2, 2, 12).int()}, TypeError, r"beta: expected float32 or float64, got int32"),
        ({"level": "a"}, TypeError, r"level: expected a number, got 'a'"),
        (
            {"values": torch.ones(3, 3, 3, device="meta")},
            ValueError,
            r"values: expected values, got .* meta",
        ),
        ({"gamma": torch.ones(2, 2, 2).double()}, TypeError, r"gamma: expected torch.float32 like values"),
        ({"vertices": torch.ones(3, 3, 3)}, ValueError, r"vertices: expected shape \[3, 3, 3, 3\], got \(3, 3, 3\)"),
    ],
)
def test_wrong_arguments(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lg.flexicubes(**{"values": torch.ones(3, 3, 3), **change})
