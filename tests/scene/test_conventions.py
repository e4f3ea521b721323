"""Converters: worked out by hand, and as round trips of pixels."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lumigrad.scene import (
    Distortion,
    FisheyeDistortion,
    PerspectiveCamera,
    RadialTangentialDistortion,
    orbit_view,
)
from lumigrad.scene.cameras import conventions

F64 = torch.float64
DISTORTIONS: list[Distortion | None] = [
    None,
    RadialTangentialDistortion(-0.2, 0.05, 0.002, -0.001, 0.01, 0.01, 0.002, 0.001),
    FisheyeDistortion(0.05, -0.01, 0.002, -0.0003),
]


def camera(distortion: Distortion | None = None) -> PerspectiveCamera:
    view = orbit_view(torch.tensor([10.0, 130.0, 260.0], dtype=F64), 25.0, 3.0)
    return PerspectiveCamera(view, 170.0, 180.0, 83.0, 31.5, (100, 160), distortion=distortion)  # type: ignore[arg-type]


def cloud() -> torch.Tensor:
    return torch.rand(30, 3, dtype=F64, generator=torch.Generator().manual_seed(1)) - 0.5


def check(ours: PerspectiveCamera, again: PerspectiveCamera) -> None:
    torch.testing.assert_close(again.pixels(cloud()), ours.pixels(cloud()), atol=1e-9, rtol=0)
    torch.testing.assert_close(again.depth(cloud()), ours.depth(cloud()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("integer_centers", [False, True])
def test_opencv_projects_like_its_formula(distortion: Distortion | None, integer_centers: bool) -> None:
    ours = camera(distortion)
    R, t, K = conventions.to_opencv(ours, integer_centers)
    local = cloud() @ R.transpose(-1, -2) + t[:, None]
    plane = local[..., :2] / local[..., 2:]
    if distortion is not None:
        plane = distortion.distort(plane)
    expected = plane @ K[:, :2, :2].transpose(-1, -2) + K[:, None, :2, 2] + (0.5 if integer_centers else 0.0)
    torch.testing.assert_close(ours.pixels(cloud()), expected, atol=1e-9, rtol=0)
    check(ours, conventions.from_opencv(R, t[..., None], K, ours.size, distortion, integer_centers=integer_centers))


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_colmap_round_trip(distortion: Distortion | None) -> None:
    qvec, tvec, model, params = conventions.to_colmap(camera(distortion))
    check(camera(distortion), conventions.from_colmap(qvec, tvec, model, params, (100, 160)))


def test_colmap_models() -> None:
    qvec, tvec = torch.tensor([1.0, 0, 0, 0], dtype=F64), torch.tensor([0.0, 0, 0], dtype=F64)

    def pixel(model: str, *params: float) -> list[float]:
        ours = conventions.from_colmap(qvec, tvec, model, params, (100, 100))
        # COLMAP looks along +z with y down; this point lies at (0.3, 0.4) of its image plane.
        return ours.pixels(torch.tensor([[0.6, 0.8, 2.0]], dtype=F64))[0].tolist()

    assert pixel("SIMPLE_PINHOLE", 100, 50, 40) == pytest.approx([80, 80])
    assert pixel("PINHOLE", 100, 200, 50, 40) == pytest.approx([80, 120])
    assert pixel("SIMPLE_RADIAL", 100, 50, 40, 0.4) == pytest.approx([83, 84])
    assert pixel("RADIAL", 100, 50, 40, 0.4, 0.16) == pytest.approx([83.3, 84.4])
    assert pixel("OPENCV", 100, 100, 50, 40, 0.4, 0.16, 0, 0) == pytest.approx([83.3, 84.4])
    theta = math.atan(0.5)
    bent = theta * (1 + 0.1 * theta**2)
    assert pixel("SIMPLE_RADIAL_FISHEYE", 100, 50, 40, 0.1) == pytest.approx([50 + 60 * bent, 40 + 80 * bent])
    assert pixel("RADIAL_FISHEYE", 100, 50, 40, 0.1, 0) == pytest.approx([50 + 60 * bent, 40 + 80 * bent])
    with pytest.raises(ValueError, match="model: expected one of SIMPLE_PINHOLE"):
        pixel("FOV", 1)
    with pytest.raises(ValueError, match="params: expected 4 for PINHOLE, got 3"):
        pixel("PINHOLE", 1, 2, 3)


def test_opengl_pose_by_hand() -> None:
    # At (0, 0, 5) and unturned: looks along -z at the origin.
    pose = torch.eye(4, dtype=F64)
    pose[2, 3] = 5
    ours = conventions.from_opengl(pose, 100.0, 100.0, 50.0, 50.0, (100, 100))
    pixels = ours.pixels(torch.tensor([[1.0, 2.0, 0.0]], dtype=F64))
    assert pixels[0].tolist() == pytest.approx([50 + 100 * 0.2, 50 - 100 * 0.4])
    torch.testing.assert_close(conventions.to_opengl(ours), pose)
    with pytest.raises(ValueError, match="camera_to_world: expected a rotation"):
        conventions.from_opengl(2 * pose, 1.0, 1.0, 0.0, 0.0, (4, 4))


def test_opengl_round_trip() -> None:
    ours = camera()
    pose = conventions.to_opengl(ours)[:, :3]
    check(ours, conventions.from_opengl(pose, ours.fx, ours.fy, ours.cx, ours.cy, ours.size))


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_transforms_round_trip(distortion: Distortion | None) -> None:
    document = conventions.to_transforms(camera(distortion), ["a.png", "b.png", "c.png"])
    assert document["frames"][1]["file_path"] == "b.png"
    check(camera(distortion), conventions.from_transforms(json.loads(json.dumps(document))))


def test_transforms_with_an_angle() -> None:
    frame = {"transform_matrix": torch.eye(4).tolist()}
    ours = conventions.from_transforms({"camera_angle_x": math.pi / 2, "w": 80, "h": 60, "frames": [frame]})
    assert (ours.fx.item(), ours.fy.item(), ours.cx.item(), ours.cy.item()) == pytest.approx((40, 40, 40, 30))
    for wrong, message in (
        ({"frames": []}, "frames: expected at least one"),
        ({"frames": [frame]}, "w, h"),
        ({"w": 4, "h": 4, "frames": [frame]}, "fl_x or camera_angle_x"),
        ({"w": 4, "h": 4, "fl_x": 4, "frames": [{}]}, "transform_matrix"),
    ):
        with pytest.raises(ValueError, match=message):
            conventions.from_transforms(wrong)


def test_photographs_with_poses(shared: Path) -> None:
    path = shared / "data" / "fox" / "transforms.json"
    if not path.is_file():
        pytest.skip("needs the photographs of the fox")
    document = json.loads(path.read_text())
    ours = conventions.from_transforms(document)
    assert ours.shape == (len(document["frames"]),)
    assert ours.size == (480, 270)
    R, t, _ = conventions.to_opencv(ours)
    expected = torch.tensor([frame["transform_matrix"] for frame in document["frames"]], dtype=F64)[:, :3, 3]
    torch.testing.assert_close(-torch.linalg.solve(R, t[..., None])[..., 0], expected)
    again = conventions.to_opengl(ours)[:, :3, 3]
    torch.testing.assert_close(again, expected)
    # The corners of the image come back through the lens.
    corners = torch.tensor([[0.0, 0.0], [270, 0], [0, 480], [270, 480]], dtype=F64)
    torch.testing.assert_close(ours.pixels(ours.unproject(corners, torch.ones(4, dtype=F64)))[0], corners)
    plain = replace(ours, distortion=None)
    assert float((plain.pixels(ours.unproject(corners, torch.ones(4, dtype=F64))) - corners).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": torch.eye(2)}, "R: expected"),
        ({"t": torch.zeros(2)}, "t: expected"),
        ({"intrinsics": torch.eye(4)}, "intrinsics: expected shape"),
        ({"intrinsics": torch.tensor([[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]])}, "intrinsics: expected no skew"),
    ],
)
def test_wrong_opencv_arguments(change: dict, message: str) -> None:
    good = {"R": torch.eye(3), "t": torch.zeros(3), "intrinsics": torch.eye(3), "size": (4, 4)}
    with pytest.raises(ValueError, match=message):
        conventions.from_opencv(**{**good, **change})
