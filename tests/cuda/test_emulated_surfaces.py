"""The CUDA kernels of surfels, surface splats and the visibility gradient, emulated, against the CPU's.

Their main modes are among those of test_emulated.py; here are groups of channels, single outputs, ties, bands of depth,
degenerate input and the order of blocks and threads.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cuda_kernels import emulated_cuda, library, set_order
from ops_common import random, scaled_error
from splat_common import call, cameras, disc_scene, flat_scene, straight, surfel_scene
from torch import Tensor

import lumigrad as lg
from lumigrad.ops.splat._surfel_projection import project_surfels
from lumigrad.ops.splat._visibility import pull_by_visibility

pytestmark = pytest.mark.skipif(library() is None, reason="needs the emulation (see tests/cuda_kernels.py)")

SIZE = (37, 50)


def results(run: Callable[..., tuple | dict], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs, and gradients of a fixed sum of those that have any."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    outputs = run(**leaves)
    named = outputs if isinstance(outputs, dict) else outputs._asdict()
    found = {name: value for name, value in named.items() if value is not None}
    floats = [value for value in found.values() if value.requires_grad]
    loss = sum((o.nan_to_num() * random(*o.shape, seed=i, dtype=o.dtype)).sum() for i, o in enumerate(floats))
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return found | {f"grad {name}": grad for name, grad in zip(leaves, grads) if grad is not None}


def compare(actual: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        if not value.dtype.is_floating_point:
            assert torch.equal(actual[name], value), name
            continue
        assert torch.equal(actual[name].isfinite(), value.isfinite()), name
        ours, theirs = actual[name].nan_to_num(), value.nan_to_num()
        scale = theirs.abs().max().clamp(min=1e-3) if theirs.numel() else 1  # rounding alone has no scale
        error = ((ours - theirs) / scale).abs()
        assert (error < (1e-4 if dtype == torch.float32 else 1e-10)).all(), f"{name}: {error.max():.2e}"


def surfels(channels: int, dtype: torch.dtype, count: int = 150) -> dict[str, Tensor]:
    """Some that are large, tiny, seen from the side, without extent, across the camera's plane, or no numbers."""
    camera = cameras(dtype, size=SIZE)
    scene = surfel_scene(count, dtype, channels)
    scene["means"][0] = torch.tensor([1.5, 0.3, 2.9], dtype=dtype)
    scene["scales"][0] = 1.5
    scene["scales"][1:9] = 0.003
    scene["scales"][9] = 0
    scene["scales"][10, 0] = 0
    scene["quats"][11] = 0
    scene["means"][12, 1] = scene["scales"][13, 0] = scene["quats"][14, 2] = scene["opacities"][15] = torch.nan
    scene["means"][16, 0] = torch.inf
    scene["opacities"][17:30] = 1.0
    return scene | camera


def discs(channels: int, dtype: torch.dtype, count: int = 200) -> dict[str, Tensor]:
    scene = disc_scene(count, dtype, channels)
    scene["radii"][:9] = torch.tensor([0, -1, torch.nan, torch.inf, 0.01, 2.0, 3.0, 0.1, 0.2], dtype=dtype)
    scene["normals"][9], scene["positions"][10, 2] = 0, torch.nan
    return scene | cameras(dtype, size=SIZE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 8, 14])
def test_channels_of_surfels(channels: int, dtype: torch.dtype) -> None:
    """With the normals in one group of channels and in several; depths count once, whatever their number."""

    def run(**inputs: Tensor) -> lg.Surfels:
        measure = None if channels == 8 else (0.5, 20.0)
        projection = "orthographic" if channels == 1 else "perspective"
        return call(lg.surfels, **inputs, size=SIZE, distortion_range=measure, projection=projection, contributors=4)

    inputs = surfels(channels, dtype)
    if channels == 1:
        inputs["fx"], inputs["fy"] = inputs["fx"] / 4, inputs["fy"] / 4
    expected = results(run, inputs)
    assert expected["distortion"].abs().max() > 1e-3
    assert (expected["median"] >= 0).any()
    with emulated_cuda():
        compare(results(run, inputs), expected, dtype)


@pytest.mark.parametrize("name", ["image", "alpha", "depth", "normals", "distortion", "median_depth"])
def test_gradients_of_one_output(name: str) -> None:
    inputs = surfels(9, torch.float64, 60)

    def run(**inputs: Tensor) -> dict[str, Tensor]:
        return {name: getattr(call(lg.surfels, **inputs, size=SIZE), name)}

    expected = results(run, inputs)
    assert expected["grad means"].any()
    with emulated_cuda():
        compare(results(run, inputs), expected, torch.float64)


def test_median_where_half_is_left() -> None:
    """The first lets exactly half through, the second a quarter: that is the median."""
    z = torch.tensor([-2.0, -3, -4])[:, None]
    means = torch.cat((torch.zeros(3, 2), z), 1)
    inputs = {"means": means, "quats": torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4), "scales": torch.full((3, 2), 1e5),
              "opacities": torch.full((3,), 0.5), "features": torch.eye(3)}  # fmt: skip

    def run(**inputs: Tensor) -> dict[str, Tensor]:
        out = lg.surfels(**inputs, view=straight((9, 9), 10.0, torch.float32))
        return {"median": out.median, "median_depth": out.median_depth}

    expected = results(run, inputs)
    assert (expected["median"] == 1).all()
    with emulated_cuda():
        compare(results(run, inputs), expected, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "merge"), [(3, 0.3), (12, 0.05), (3, None)])
def test_bands_of_surface_splats(channels: int, merge: float | None, dtype: torch.dtype) -> None:
    """What is merged and what is hidden, in one group of channels and in several."""
    inputs = discs(channels, dtype)

    def run(**inputs: Tensor) -> lg.Splats:
        return call(lg.surface_splats, **inputs, size=SIZE, merge=merge, visibility_gradient=True)

    expected = results(run, inputs)
    other = call(lg.surface_splats, **inputs, size=SIZE, merge=1.0)
    assert merge is None or not torch.equal(other.image, expected["image"])
    with emulated_cuda():
        compare(results(run, inputs), expected, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_projection_of_surfels(projection: str, dtype: torch.dtype) -> None:
    """The CPU's bit for bit; gradients of what is not drawn are zero."""
    scene = surfels(1, dtype, 700)
    inputs = {name: scene[name] for name in ("means", "quats", "scales", "matrix")}
    inputs["intrinsics"] = torch.stack([scene[name] for name in ("fx", "fy", "cx", "cy")], -1)

    def run(matrix: Tensor, intrinsics: Tensor, **surfels: Tensor) -> dict[str, Tensor]:
        view = lg.View(matrix, *intrinsics.unbind(-1), SIZE, projection)
        return project_surfels(**surfels, view=view, intrinsics=intrinsics)._asdict()

    expected = results(run, inputs)
    assert expected["depths"].isnan().any()
    with emulated_cuda():
        actual = results(run, inputs)
    for name in ("xy", "shapes", "depths", "normals"):
        assert torch.equal(actual[name].nan_to_num(), expected[name].nan_to_num()), name
    compare(actual, expected, dtype)
    for name in ("means", "quats", "scales"):
        assert not actual[f"grad {name}"][[12, 13, 14, 16]].any(), name


@pytest.mark.parametrize("size", [(1, 1), (37, 50), (1, 300), (300, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_visibility(size: tuple[int, int], dtype: torch.dtype) -> None:
    """Visibility gradients agree for radii from zero to more than the image, and for places outside it."""
    xy = flat_scene("disc", 40, 2, dtype, size=size)["xy"]
    radius = 6 + 6 * random(2, 40, seed=1, dtype=dtype)
    radius[0, :6] = torch.tensor([0, -1, torch.nan, torch.inf, 1e6, 1e-3], dtype=dtype)
    xy[1, 0], xy[1, 1], xy[1, 2] = torch.nan, torch.inf, 1e30
    xy[1, 3] = 0.5  # at a pixel's centre
    weights = random(2, *size, seed=2, dtype=dtype)

    def gradient() -> Tensor:
        places = xy.clone().requires_grad_()
        return torch.autograd.grad(pull_by_visibility(torch.zeros(2, *size, dtype=dtype), places, radius), places,
                                   weights)[0]  # fmt: skip

    expected = gradient()
    with emulated_cuda():
        actual = gradient()
        set_order(True)
        try:
            assert torch.equal(gradient(), actual)  # without being asked for
        finally:
            set_order(False)
    assert expected[0, 4].any()
    assert not actual[0, :4].any()
    assert not actual[1, :3].any()
    assert scaled_error(actual, expected) < (1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("name", ["surfels", "surface_splats"])
def test_deterministic(name: str) -> None:
    inputs = (surfels if name == "surfels" else discs)(9, torch.float32)
    options = {} if name == "surfels" else {"visibility_gradient": True}

    def run(**inputs: Tensor) -> tuple:
        return call(getattr(lg, name), **inputs, size=SIZE, **options)

    expected = results(run, inputs)
    with emulated_cuda():
        torch.use_deterministic_algorithms(True)
        try:
            first = results(run, inputs)
            set_order(True)
            second = results(run, inputs)
        finally:
            torch.use_deterministic_algorithms(False)
            set_order(False)
    assert [key for key in first if not torch.equal(first[key].nan_to_num(), second[key].nan_to_num())] == []
    compare(first, expected, torch.float32)


def test_nothing_to_draw() -> None:
    for op, scene in ((lg.surfels, surfel_scene(0, torch.float32)), (lg.surface_splats, disc_scene(0, torch.float32))):
        inputs = scene | cameras(torch.float32, size=SIZE)

        def run(**inputs: Tensor) -> tuple:
            return call(op, **inputs, size=SIZE)  # noqa: B023 - called within the loop's turn

        expected = results(run, inputs)
        with emulated_cuda():
            compare(results(run, inputs), expected, torch.float32)
