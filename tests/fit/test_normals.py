"""Normals of depth images: planes, and surfels on a sphere."""

from __future__ import annotations

import pytest
import torch

import lumigrad as lg
from lumigrad.fit import normal_consistency, normals_from_depth
from lumigrad.scene import PerspectiveCamera


def camera(size: tuple[int, int] = (24, 30)) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(20.0, 15.0, 3.0, 40.0, size)


def test_plane() -> None:
    """The depth of a plane gives its normal everywhere except at the border."""
    seen = camera()
    normal = torch.nn.functional.normalize(torch.tensor([0.4, 0.3, 1.0]), dim=0)
    origins, directions = seen.rays()
    along = -(origins @ normal) / (directions @ normal)
    depth = seen.depth((origins + along[..., None] * directions).flatten(0, 1)).view(24, 30)
    depth[5, 5] = 0
    normals = normals_from_depth(depth, seen)
    lacking = torch.ones(24, 30, dtype=torch.bool)
    lacking[1:-1, 1:-1] = False
    lacking[5, 4:7] = lacking[4:7, 5] = True
    assert torch.equal((normals == 0).all(-1), lacking)
    assert torch.allclose(normals[~lacking], normal.expand_as(normals[~lacking]), atol=1e-4)
    with pytest.raises(ValueError, match="depth: expected shape"):
        normals_from_depth(depth[1:], seen)


def sphere_of_surfels(turn: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres on a sphere, and rotations of surfels that lie on it but for a turn about some axis in their plane."""
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(3000, 3, generator=generator), dim=1)
    x, y, z = points.unbind(1)
    quats = torch.stack((1 + z, -y, x, 0 * x), 1)
    quats = quats / quats.norm(dim=1, keepdim=True)
    w, a, b, c = quats.unbind(1)
    return points, torch.stack((w - turn * a, a + turn * w, b + turn * c, c - turn * b), 1)


def test_consistency() -> None:
    """It is small for surfels that lie on their surface, grows when they are turned, and turns them back."""
    seen = camera((48, 48))
    scales, opacities = torch.full((3000, 2), 0.08), torch.full((3000,), 0.9)
    errors = []
    for turn in (0.0, 0.3):
        points, quats = sphere_of_surfels(turn)
        quats.requires_grad_()
        out = lg.surfels(points, quats, scales, opacities, points, seen.view())
        for median in (False, True):
            errors.append(normal_consistency(out, seen, median))
    assert errors[0] < 0.04
    assert errors[2] > 2 * errors[0]
    assert errors[3] > errors[1]
    quats = quats.detach().requires_grad_()
    optimizer = torch.optim.Adam([quats], 0.02)
    for _ in range(15):
        out = lg.surfels(points, quats, scales, opacities, points, seen.view())
        loss = normal_consistency(out, seen)
        optimizer.zero_grad()
        loss.backward()
        assert quats.grad is not None
        assert quats.grad.isfinite().all()
        optimizer.step()
    assert loss < 0.5 * errors[2]
