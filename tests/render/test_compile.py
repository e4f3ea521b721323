"""Cameras, meshes, renderers and gradient methods as one graph under torch.compile: the eager result and gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ops_common import run_python
from torch import Tensor

import lumigrad as lg
from lumigrad.compat import gsplat
from lumigrad.render import render, render_mesh
from lumigrad.scene import Mesh, OrthographicCamera, PerspectiveCamera, icosphere

BALL = icosphere(1)
SIZE = (20, 24)


def camera(azimuth: float | Tensor = 30.0) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(azimuth, 20.0, 3.0, 45.0, SIZE)


def of_method(method: str) -> Callable[[Tensor], Tensor]:
    def image(positions: Tensor) -> Tensor:
        clip = camera().project(positions)[None]
        frags = lg.rasterize(clip, BALL.faces, SIZE)
        return lg.gradients.apply(lg.interpolate(positions, frags, BALL.faces), frags, clip, BALL.faces, method)

    return image


def by_gsplat(means: Tensor) -> Tensor:
    quats, scales = torch.ones(42, 4), torch.full((42, 3), 0.1)
    intrinsics = torch.tensor([[[30.0, 0, 12], [0, 30, 10], [0, 0, 1]]])
    moved = means + torch.tensor([0.0, 0, 4])
    view = torch.eye(4)[None]
    image: Tensor = gsplat.rasterization(
        moved, quats, scales, torch.full((42,), 0.5), means.detach(), view, intrinsics, SIZE[1], SIZE[0]
    )[0]
    return image


CASES = {
    "orbit": lambda x: PerspectiveCamera.orbit(x[0, 0] * 40, 20.0, 3.0, 45.0, SIZE).project(x),
    "orthographic": lambda x: OrthographicCamera.orbit(x[0, 0] * 40, 20.0, 3.0, 2.0, SIZE).project(x),
    "render_mesh": lambda x: render_mesh(Mesh(x, BALL.faces), camera()).color,
    "render_mesh batch": lambda x: render_mesh(Mesh(torch.stack([x, 2 * x]), BALL.faces), camera()).color,
    "render phong": lambda x: render(Mesh(x, BALL.faces), camera(), shading="phong").image,
    "opendr": of_method("opendr"),
    "gsplat": by_gsplat,
}


def compare(name: str) -> None:
    """Raise where the compiled function differs from the eager one."""
    torch.compiler.reset()
    compiled = torch.compile(CASES[name], fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, CASES[name]):
        positions = BALL.positions.clone().requires_grad_()
        out = function(positions)
        results.append((out, torch.autograd.grad(out.square().sum(), positions)[0]))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_one_graph() -> None:
    """In a process of its own: here, signatures are checked by functions that torch.compile cannot trace."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_compile
for name in test_compile.CASES:
    test_compile.compare(name)
    print(name)
"""
    assert run_python(code, timeout=200).splitlines() == list(CASES)


def test_values_are_still_checked_otherwise() -> None:
    with pytest.raises(ValueError, match="indices in"):
        Mesh(BALL.positions, BALL.faces + 40)
    with pytest.raises(ValueError, match="coincides"):
        PerspectiveCamera.orbit(0.0, 0.0, 0.0, 45.0, SIZE)
