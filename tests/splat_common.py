"""Scenes that the tests of spheres, points and Gaussians share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import lumigrad as lg

# The stored images of Pulsar.
PULSAR = ["ortho", "pinhole", "pinhole_features8", "pinhole_opacity", "pinhole_righthanded_rotated", "pinhole_sharp"]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform in [-1, 1), the same for the same arguments."""
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype) - 1


def cameras(dtype: torch.dtype = torch.float64, views: int = 2, size: tuple[int, int] = (20, 26)) -> dict[str, Tensor]:
    """The tensors of a View: cameras at some distance from the origin, turned a little, with unequal focal lengths."""
    matrices = []
    for i in range(views):
        z = 0.2 - 0.3 * i
        turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.1, -z], [-0.1, 0, 0.15], [z, -0.15, 0]]))
        matrix = torch.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = torch.tensor([0.1, -0.05 * i, -4.0])
        matrices.append(matrix)
    number = torch.arange(views, dtype=dtype)
    return {
        "matrix": torch.stack(matrices).to(dtype),
        "fx": 24.0 + number,
        "fy": 22.0 - number,
        "cx": size[1] / 2 + 0.3 * number,
        "cy": size[0] / 2 - 0.2 - 0.1 * number,
    }


def cameras_of(
    projection: str, size: tuple[int, int] = (20, 26), dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """`cameras` whose focal lengths suit the projection."""
    camera = cameras(dtype, size=size)
    if projection == "orthographic":
        camera["fx"], camera["fy"] = camera["fx"] / 4, camera["fy"] / 4
    return camera


def straight(size: tuple[int, int], focal: float, dtype: torch.dtype = torch.float64, **options: Any) -> lg.View:
    """A camera at the origin, looking along -z."""
    return lg.View(torch.eye(4, dtype=dtype), focal, focal, size[1] / 2, size[0] / 2, size, **options)


def call(op: Callable, **values: Any) -> Any:
    """Call an op with the parts of its view among its keyword arguments, where each can be a leaf of its own."""
    parts = {name: values.pop(name) for name in lg.View._fields if name in values}
    return op(**values, view=lg.View(**parts))


def sphere_scene(
    count: int = 12, dtype: torch.dtype = torch.float64, channels: int = 3, seed: int = 0
) -> dict[str, Tensor]:
    return {
        "positions": random(count, 3, seed=seed, dtype=dtype) * 1.3,
        "radii": 0.25 + 0.2 * random(count, seed=seed + 1, dtype=dtype),
        "features": random(count, channels, seed=seed + 2, dtype=dtype),
        "opacities": 0.6 + 0.35 * random(count, seed=seed + 3, dtype=dtype),
        "background": random(channels, seed=seed + 4, dtype=dtype),
    }


def gaussian_scene(count: int = 12, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    return {
        "means": random(count, 3, seed=seed, dtype=dtype) * 1.3,
        "quats": random(count, 4, seed=seed + 1, dtype=dtype),
        "scales": 0.2 + 0.15 * random(count, 3, seed=seed + 2, dtype=dtype),
    }


def surfel_scene(
    count: int = 12, dtype: torch.dtype = torch.float64, channels: int = 3, seed: int = 0
) -> dict[str, Tensor]:
    return {
        "means": random(count, 3, seed=seed, dtype=dtype) * 1.3,
        "quats": random(count, 4, seed=seed + 1, dtype=dtype),
        "scales": 0.2 + 0.15 * random(count, 2, seed=seed + 2, dtype=dtype),
        "opacities": 0.6 + 0.35 * random(count, seed=seed + 3, dtype=dtype),
        "features": random(count, channels, seed=seed + 4, dtype=dtype),
        "background": random(channels, seed=seed + 5, dtype=dtype),
    }


def disc_scene(count: int = 12, dtype: torch.dtype = torch.float64, channels: int = 3) -> dict[str, Tensor]:
    return {
        "positions": random(count, 3, dtype=dtype) * 1.3,
        "normals": random(count, 3, seed=1, dtype=dtype),
        "radii": 0.15 + 0.1 * random(count, seed=2, dtype=dtype),
        "features": random(count, channels, seed=3, dtype=dtype),
        "background": random(channels, seed=4, dtype=dtype),
    }


def flat_scene(
    footprint: str, count: int = 12, views: int = 2, dtype: torch.dtype = torch.float64, channels: int = 3,
    size: tuple[int, int] = (20, 26), seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors that `splat` takes."""
    extent = torch.tensor([size[1], size[0]], dtype=dtype)
    a, c = (0.15 + 0.1 * random(views, count, seed=seed + k, dtype=dtype) for k in (1, 2))
    b = 0.5 * random(views, count, seed=seed + 3, dtype=dtype) * (a * c).sqrt()
    radii = 4 + 2 * random(views, count, seed=seed + 1, dtype=dtype)
    return {
        "xy": (0.55 + 0.6 * random(views, count, 2, seed=seed, dtype=dtype)) * extent,
        "shapes": torch.stack((a, b, c), -1) if footprint == "gaussian" else radii,
        "depths": 5 + random(views, count, seed=seed + 4, dtype=dtype),
        "features": random(count, channels, seed=seed + 5, dtype=dtype),
        "opacities": 0.6 + 0.35 * random(count, seed=seed + 6, dtype=dtype),
        "background": random(channels, seed=seed + 7, dtype=dtype),
    }


def splat_outputs(dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs and gradients of the splatting ops in their main modes."""
    size = (70, 90)
    camera = cameras(dtype, size=size)
    gaussians = gaussian_scene(300, dtype)
    calls = {
        "spheres": (lg.spheres, {**sphere_scene(300, dtype), **camera}, {"min_depth": 0.5, "max_depth": 9.0}),
        "project": (lg.project_gaussians, {**gaussians, **camera}, {}),
        "gaussian": (lg.splat, flat_scene("gaussian", 300, dtype=dtype, size=size), {}),
        "disc": (lg.splat, flat_scene("disc", 300, dtype=dtype, size=size, channels=5), {"footprint": "disc"}),
        "square": (lg.splat, flat_scene("square", 300, dtype=dtype, size=size),
                   {"footprint": "square", "blend": "normalised"}),
        "surfels": (lg.surfels, {**surfel_scene(300, dtype), **camera}, {"distortion_range": (0.2, 100.0)}),
        "discs": (lg.surface_splats, {**disc_scene(300, dtype), **camera}, {"visibility_gradient": True}),
    }  # fmt: skip
    result = {}
    for name, (op, inputs, options) in calls.items():
        leaves = {k: v.requires_grad_() for k, v in inputs.items()}
        made = call(op, **leaves, size=size, **options) if op is not lg.splat else op(**leaves, size=size, **options)
        outputs = [o for o in made if o is not None]
        floats = [o for o in outputs if o.requires_grad]
        loss = sum((o.nan_to_num() * random(*o.shape, seed=i, dtype=dtype)).sum() for i, o in enumerate(floats))
        grads = torch.autograd.grad(loss, list(leaves.values()))
        result.update({f"{name} {i}": o for i, o in enumerate(outputs)})
        result.update({f"{name} grad {k}": g for k, g in zip(leaves, grads)})
    return result


def assert_near_pulsar(image: Tensor, expected: Tensor) -> None:
    """Pulsar's exponential is an approximation that is off by up to 6 %, which its images show: single pixels differ by
    one percent, the mean by a tenth of that."""
    assert image.shape == expected.shape
    assert (image - expected).abs().max() < 0.013
    assert (image - expected).abs().mean() < 1.6e-3


def assert_near_coarse_pulsar(image: Tensor, expected: Tensor, name: str) -> None:
    """With `coarse_exp` for an exponential nearly all pixels agree to 2e-3. Not all: Pulsar multiplies it up each time
    a nearer depth becomes the largest, and with opacities that happens often."""
    difference = (image - expected).abs()
    opaque = "opacity" not in name and "rotated" not in name
    assert difference.mean() < (1e-4 if opaque else 7e-4)
    assert difference.amax(-1).quantile(0.98 if opaque else 0.8) < 2e-3


def coarse_exp(x: Tensor) -> Tensor:
    """Schraudolph's exponential: the bits of a float32 as a straight line, off by up to 4 %."""
    bits = x.double() * (2**23 / math.log(2)) + (127 * 2**23 - 486411)
    return bits.clamp(0, 2**31 - 256).int().view(torch.float32).to(x.dtype)
