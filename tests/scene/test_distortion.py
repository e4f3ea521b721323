"""Lens distortion: OpenCV's formulas worked out for single points, inverses, derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from lumigrad.scene import Distortion, FisheyeDistortion, RadialTangentialDistortion

RATIONAL = RadialTangentialDistortion(-0.28, 0.09, 0.001, -0.002, 0.01, 0.02, -0.01, 0.003)
FISHEYE = FisheyeDistortion(0.05, -0.02, 0.004, -0.0008)


def disc(count: int = 200, radius: float = 0.8) -> torch.Tensor:
    points = torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return radius * points / points.norm(dim=-1).max()


def test_rational_model_by_hand() -> None:
    x, y = 0.3, -0.4
    r2 = 0.25
    g = (1 - 0.28 * r2 + 0.09 * r2**2 + 0.01 * r2**3) / (1 + 0.02 * r2 - 0.01 * r2**2 + 0.003 * r2**3)
    expected = [
        x * g + 2 * 0.001 * x * y - 0.002 * (r2 + 2 * x * x),
        y * g + 0.001 * (r2 + 2 * y * y) + 2 * -0.002 * x * y,
    ]
    result = RATIONAL.distort(torch.tensor([[x, y]], dtype=torch.float64))[0]
    assert result.tolist() == pytest.approx(expected, abs=1e-15)


def test_fisheye_model_by_hand() -> None:
    theta = 1.1
    bent = theta * (1 + 0.05 * theta**2 - 0.02 * theta**4 + 0.004 * theta**6 - 0.0008 * theta**8)
    ideal = torch.tensor([[0.6 * math.tan(theta), -0.8 * math.tan(theta)]], dtype=torch.float64)
    assert FISHEYE.distort(ideal)[0].tolist() == pytest.approx([0.6 * bent, -0.8 * bent], abs=1e-14)
    # Behind the image plane: 100 degrees from the axis.
    wide = math.radians(100)
    direction = torch.tensor([[math.sin(wide), 0.0, math.cos(wide)]], dtype=torch.float64)
    equidistant = FisheyeDistortion()
    torch.testing.assert_close(equidistant.image(direction), torch.tensor([[wide, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(equidistant.directions(equidistant.image(direction)), direction)


@pytest.mark.parametrize("distortion", [RATIONAL, FISHEYE, RadialTangentialDistortion(), FisheyeDistortion()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undistort_inverts_distort(distortion: Distortion, dtype: torch.dtype) -> None:
    points = disc().to(dtype)
    points[0] = 0
    tolerance = 2e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(distortion.undistort(distortion.distort(points)), points, atol=tolerance, rtol=0)
    seen = distortion.directions(distortion.distort(points))
    torch.testing.assert_close(seen[..., :2] / seen[..., 2:], points, atol=tolerance, rtol=0)


def test_strong_pincushion_and_far_points_converge() -> None:
    distortion = RadialTangentialDistortion(0.4, 0.2)
    points = disc(radius=4.0)
    torch.testing.assert_close(distortion.undistort(distortion.distort(points)), points, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", [RadialTangentialDistortion, FisheyeDistortion])
@pytest.mark.parametrize("way", ["distort", "undistort", "image", "directions", "homogeneous"])
def test_gradients(kind: type[Distortion], way: str) -> None:
    distortion = RATIONAL if kind is RadialTangentialDistortion else FISHEYE
    coefficients = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in vars(distortion).values()]
    points = disc(6)
    if way == "image":
        points = torch.cat([points, 0.5 + disc(6)[:, :1].abs()], dim=-1)
    if way == "homogeneous":  # in front, behind, and beyond what the lens images
        points = torch.cat([points, torch.tensor([[1.0], [0.7], [-0.5], [0.02], [0.0], [2.0]])], dim=-1)
    points = points.double().requires_grad_()

    def function(points: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return getattr(kind(*values), way)(points)

    assert torch.autograd.gradcheck(function, (points, *coefficients))


def test_gradients_at_the_centre() -> None:
    for distortion in (RATIONAL, FISHEYE):
        for way in (distortion.distort, distortion.undistort):
            centre = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
            jacobian = torch.autograd.functional.jacobian(way, centre)[0, :, 0]
            torch.testing.assert_close(jacobian, torch.eye(2, dtype=torch.float64))


def test_nothing_folds_back() -> None:
    # 1 - r^2 turns around at r = 1/sqrt(3), where the distorted radius is 0.385.
    distortion = RadialTangentialDistortion(-1.0)
    turn = math.sqrt(1 / 3)
    assert float(distortion.max_radius(disc())) == pytest.approx(turn, rel=2e-3)
    radii = torch.linspace(0, 5, 400, dtype=torch.float64)
    points = torch.stack([radii, torch.zeros_like(radii), torch.ones_like(radii)], dim=-1)
    bent = distortion.homogeneous(points)[:, 0]
    assert (bent.diff() > 0).all()
    torch.testing.assert_close(bent[radii < 0.57], (radii - radii**3)[radii < 0.57])
    # Through infinity to behind the camera without a jump.
    points = torch.stack([torch.ones_like(radii), torch.zeros_like(radii), 0.01 - 0.004 * radii], dim=-1)
    assert float(distortion.homogeneous(points)[:, 0].diff().abs().max()) < 1e-6


def test_unreachable_points_are_finite_and_carry_no_gradient() -> None:
    point = torch.tensor([[3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    result = RadialTangentialDistortion(-1.0).undistort(point)
    assert result.isfinite().all()
    result.sum().backward()
    assert point.grad is not None
    assert point.grad.tolist() == [[0, 0]]
    # The fisheye's angle is at its end; only the azimuth still follows the point.
    result = FisheyeDistortion(-0.3).directions(point)
    torch.testing.assert_close(result.norm(dim=-1), torch.ones(1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(result[0, 2], point)
    assert gradient.tolist() == [[0, 0]]


def test_opencv_vectors() -> None:
    vector = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    distortion = RadialTangentialDistortion.from_opencv(vector)
    assert (
        float(distortion.k1),
        float(distortion.k2),
        float(distortion.p1),
        float(distortion.p2),
        float(distortion.k3),
    ) == (1, 2, 3, 4, 5)
    assert distortion.to_opencv().tolist() == [1, 2, 3, 4, 5, 0, 0, 0]
    assert FisheyeDistortion.from_opencv([1, 2, 3, 4]).to_opencv().tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="coefficients: expected 4 or 5 or 8"):
        RadialTangentialDistortion.from_opencv([1.0, 2.0])
    with pytest.raises(TypeError, match="k2"):
        FisheyeDistortion(0.0, "much")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="k1: expected a floating tensor"):
        FisheyeDistortion(torch.tensor([1]))
    for distortion in (RATIONAL, FISHEYE):
        for way in (distortion.distort, distortion.undistort, distortion.directions):
            with pytest.raises(ValueError, match="points: expected shape"):
                way(torch.zeros(4, 3))


def test_batches_of_lenses() -> None:
    k1 = torch.tensor([-0.1, 0.0, 0.2], dtype=torch.float64)
    for kind in (RadialTangentialDistortion, FisheyeDistortion):
        batch = kind(k1).distort(disc())
        assert batch.shape == (3, 200, 2)
        for i in range(3):
            torch.testing.assert_close(batch[i], kind(float(k1[i])).distort(disc()))
            torch.testing.assert_close(kind(k1).undistort(batch)[i], disc(), atol=1e-12, rtol=0)
