"""PyTorch3D's cameras against its own numbers on a 200 x 320 image, and as round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lumigrad.scene import Camera, OrthographicCamera, PerspectiveCamera, RadialTangentialDistortion, orbit_view
from lumigrad.scene import pytorch3d as p3d

F64 = torch.float64
SIZE = (200, 320)


def make(kind: str, R: torch.Tensor, T: torch.Tensor) -> Camera:
    """The cameras whose projections the oracle holds."""
    if kind == "fov_persp":
        return p3d.from_pytorch3d_fov(R, T, SIZE, fov=55.0, znear=0.5, zfar=20.0)
    if kind == "persp_ndc":
        return p3d.from_pytorch3d_perspective(R, T, SIZE, (1.7, 1.9), (0.1, -0.05))
    if kind == "persp_screen":
        return p3d.from_pytorch3d_perspective(R, T, SIZE, (210.0, 190.0), (150.0, 90.0), in_ndc=False)
    return p3d.from_pytorch3d_fov_orthographic(R, T, SIZE, max_x=1.5, min_x=-1.5, max_y=1.2, min_y=-1.2)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", ["fov_persp", "persp_ndc", "persp_screen", "ortho"])
def test_pixels_are_pytorch3ds(shared: Path, kind: str, number: int) -> None:
    path = shared / "oracles" / "p3d_cameras.npz"
    if not path.is_file():
        pytest.skip("needs the camera numbers of PyTorch3D")
    numbers = np.load(path)
    assert tuple(numbers["image_size"]) == SIZE
    R, T = (torch.from_numpy(numbers[f"{kind}_{number}_{name}"]).double() for name in "RT")
    ours = make(kind, R, T)
    points = torch.from_numpy(numbers["points"]).double()
    screen, ndc = (numbers[f"{kind}_{number}_{space}"] for space in ("screen", "ndc"))
    # Their numbers are float32, of up to some hundred pixels.
    np.testing.assert_allclose(ours.pixels(points), screen[:, :2], atol=1e-4)
    unit, middle = 0.5 * min(SIZE), torch.tensor([0.5 * SIZE[1], 0.5 * SIZE[0]])
    np.testing.assert_allclose((middle - ours.pixels(points)) / unit, ndc[:, :2], atol=1e-6)
    depth = ours.depth(points)
    expected = {
        "fov_persp": 20 / 19.5 * (1 - 0.5 / depth),
        "ortho": (depth - 1) / 99,
    }.get(kind, 1 / depth)
    np.testing.assert_allclose(expected, ndc[:, 2], atol=1e-5)


def posed(kind: type[Camera]) -> Camera:
    matrix = orbit_view(torch.tensor([10.0, 130.0], dtype=F64), 25.0, 3.0)
    return kind(matrix, 170.0, 180.0, 83.0, 31.5, (100, 160), 0.5, 20.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PerspectiveCamera, OrthographicCamera])
@pytest.mark.parametrize("in_ndc", [False, True])
def test_round_trip(kind: type[Camera], in_ndc: bool) -> None:
    ours = posed(kind)
    theirs = p3d.to_pytorch3d(ours, in_ndc)
    assert theirs.pop("image_size").tolist() == [[100, 160]] * 2
    back = p3d.from_pytorch3d_perspective if kind is PerspectiveCamera else p3d.from_pytorch3d_orthographic
    points = torch.rand(20, 3, dtype=F64) - 0.5
    again = back(size=ours.size, **theirs)
    torch.testing.assert_close(again.pixels(points), ours.pixels(points), atol=1e-9, rtol=0)


def test_fov_round_trip() -> None:
    matrix = orbit_view(torch.tensor([10.0, 130.0], dtype=F64), 25.0, 3.0)
    ours = PerspectiveCamera(matrix, 170.0, 180.0, 50.0, 80.0, (160, 100), 0.5, 20.0)  # type: ignore[arg-type]
    again = p3d.from_pytorch3d_fov(size=ours.size, **p3d.to_pytorch3d_fov(ours))
    points = torch.rand(20, 3, dtype=F64) - 0.5
    torch.testing.assert_close(again.project(points), ours.project(points))
    with pytest.raises(ValueError, match="principal point"):
        p3d.to_pytorch3d_fov(posed(PerspectiveCamera))  # type: ignore[arg-type]


def test_gradients_reach_pytorch3ds_parameters() -> None:
    points = torch.rand(4, 3, dtype=F64) - 0.5
    R, T = torch.eye(3, dtype=F64), torch.tensor([0.1, 0.2, 3.0], dtype=F64)
    focal, centre = torch.tensor([1.5, 1.6], dtype=F64), torch.tensor([0.1, 0.0], dtype=F64)
    inputs = [value.clone().requires_grad_() for value in (R, T, focal, centre)]
    assert torch.autograd.gradcheck(
        lambda R, T, f, c: p3d.from_pytorch3d_perspective(R, T, SIZE, f, c).pixels(points), inputs
    )


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="R: expected"):
        p3d.from_pytorch3d_fov(torch.eye(4), torch.zeros(3), SIZE)
    with pytest.raises(ValueError, match="T: expected"):
        p3d.from_pytorch3d_fov(torch.eye(3), torch.zeros(4), SIZE)
    with pytest.raises(ValueError, match="principal_point: expected"):
        p3d.from_pytorch3d_perspective(torch.eye(3), torch.zeros(3), SIZE, 1.0, 0.0)
    distortion = RadialTangentialDistortion(0.1)
    matrix = torch.eye(4)
    with pytest.raises(ValueError, match="without distortion"):
        p3d.to_pytorch3d(PerspectiveCamera(matrix, 1.0, 1.0, 1.0, 1.0, (2, 2), distortion=distortion))  # type: ignore[arg-type]
