"""Cameras under PyTorch3D's names, against numbers that it gave and against closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ops_common import random

from lumigrad.compat import pytorch3d as p3d
from lumigrad.scene.cameras import pytorch3d as converters

# What the cameras of the oracle were made with.
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "fov_persp": (p3d.FoVPerspectiveCameras, {"fov": 55.0, "znear": 0.5, "zfar": 20.0}),
    "persp_ndc": (p3d.PerspectiveCameras, {"focal_length": ((1.7, 1.9),), "principal_point": ((0.1, -0.05),)}),
    "persp_screen": (
        p3d.PerspectiveCameras,
        {"focal_length": ((210.0, 190.0),), "principal_point": ((150.0, 90.0),), "in_ndc": False},
    ),
    "ortho": (p3d.FoVOrthographicCameras, {"max_x": 1.5, "min_x": -1.5, "max_y": 1.2, "min_y": -1.2}),
}


@pytest.fixture(scope="module")
def oracle(shared: Path) -> dict[str, np.ndarray]:
    path = shared / "oracles" / "p3d_cameras.npz"
    if not path.exists():
        pytest.skip("needs the oracle of cameras")
    return dict(np.load(path))


@pytest.mark.parametrize("view", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_oracle(oracle: dict[str, np.ndarray], kind: str, view: int) -> None:
    azimuth, elevation, distance = oracle["poses"][view].tolist()
    R, T = p3d.look_at_view_transform(distance, elevation, azimuth)
    name = f"{kind}_{view}_"
    assert np.abs(R[0].numpy() - oracle[name + "R"]).max() < 1e-6
    assert np.abs(T[0].numpy() - oracle[name + "T"]).max() < 1e-6
    size = tuple(oracle["image_size"].tolist())
    cls, options = KINDS[kind]
    points = torch.from_numpy(oracle["points"]).double()
    exact = {
        "R": torch.from_numpy(oracle[name + "R"]).double()[None],
        "T": torch.from_numpy(oracle[name + "T"]).double(),
    }
    camera = cls(**options, **exact, **({"image_size": (size,)} if "in_ndc" in options else {}))
    ndc, screen = camera.transform_points_ndc(points), camera.transform_points_screen(points, image_size=(size,))
    expected = oracle[name + "ndc"]
    assert np.abs(ndc.numpy() - expected).max() < 3e-6 * np.abs(expected).max()
    expected = oracle[name + "screen"]
    assert np.abs(screen.numpy() - expected).max() < 1e-6 * np.abs(expected).max()


def test_batches_centres_and_gradients() -> None:
    distance = torch.tensor([2.0, 3.0, 4.0], requires_grad=True)
    R, T = p3d.look_at_view_transform(distance, torch.tensor([10.0, -20.0, 35.0]), 40.0, at=((0.1, 0.2, 0.3),))
    cameras = p3d.FoVPerspectiveCameras(R=R, T=T, fov=torch.tensor([40.0, 50.0, 60.0]))
    assert len(cameras) == 3
    away = (cameras.get_camera_center() - torch.tensor([0.1, 0.2, 0.3])).norm(dim=1)
    assert torch.allclose(away, distance, atol=1e-5)
    middle = cameras.transform_points(torch.tensor([[0.1, 0.2, 0.3]]))
    assert middle[..., :2].abs().max() < 1e-6
    assert torch.equal(cameras[1].transform_points(random(4, 3)), cameras.transform_points(random(4, 3))[1])
    (grad,) = torch.autograd.grad(middle[..., 2].sum(), distance)
    assert (grad > 0).all()
    with pytest.raises(ValueError, match=r"non-broadcastable sizes .3, 2, 1, 1"):
        p3d.PerspectiveCameras(R=R, T=T[:2])
    with pytest.raises(ValueError, match=r"image_size=\(height, width\) needs to be specified"):
        cameras.transform_points_screen(random(4, 3))


def test_straight_down_has_a_view() -> None:
    R = p3d.look_at_rotation(((0.0, 3.0, 0.0),))
    assert R.isfinite().all()
    assert torch.allclose(R[0, :, 2], torch.tensor([0.0, -1.0, 0.0]))


def test_transforms() -> None:
    points = random(2, 5, 3, dtype=torch.float64)
    R, _ = p3d.look_at_view_transform(1.0, 20.0, torch.tensor([30.0, 70.0], dtype=torch.float64))
    move = p3d.Transform3d(torch.float64).scale(2.0, 3.0, 0.5).rotate(R).translate(random(2, 3, dtype=torch.float64))
    expected = (points * torch.tensor([2.0, 3.0, 0.5])) @ R + random(2, 3, dtype=torch.float64)[:, None]
    assert torch.allclose(move.transform_points(points), expected)
    assert torch.allclose(move.inverse().transform_points(expected), points)
    assert torch.allclose(move.compose(move.inverse()).get_matrix(), torch.eye(4, dtype=torch.float64))
    tangent, normal = random(2, 1, 3, seed=1, dtype=torch.float64), random(2, 1, 3, seed=2, dtype=torch.float64)
    normal = torch.linalg.cross(normal, tangent)
    moved = move.transform_points(points[:, :1] + tangent) - move.transform_points(points[:, :1])
    assert (moved * move.transform_normals(normal)).sum(-1).abs().max() < 1e-12
    with pytest.raises(ValueError, match=r"^matrix: expected shape"):
        p3d.Transform3d(matrix=torch.eye(3))


def test_perspective_on_the_screen_is_the_same_camera() -> None:
    """f_ndc = 2 f / min(H, W), p_ndc = -2 (p - (W, H) / 2) / min(H, W)."""
    size = ((120, 200),)
    pixels = p3d.PerspectiveCameras(((150.0, 140.0),), ((90.0, 70.0),), in_ndc=False, image_size=size)
    ndc = p3d.PerspectiveCameras(((150 / 60, 140 / 60),), ((-(90 - 100) / 60, -(70 - 60) / 60),), image_size=size)
    points = random(6, 3) + torch.tensor([0, 0, 3.0])
    assert torch.allclose(pixels.transform_points_ndc(points), ndc.transform_points_ndc(points), atol=1e-5)
    screen = pixels.transform_points_screen(points)
    x, y, z = points.unbind(-1)
    assert torch.allclose(screen[:, :2], torch.stack((90 - 150 * x / z, 70 - 140 * y / z), -1), atol=1e-4)


@pytest.mark.parametrize(
    ("theirs", "convert", "options"),
    [
        (p3d.FoVPerspectiveCameras, converters.from_pytorch3d_fov, {"fov": 50.0, "aspect_ratio": 1.25}),
        (
            p3d.FoVOrthographicCameras,
            converters.from_pytorch3d_fov_orthographic,
            {"min_x": -1.5, "max_x": 2.0, "min_y": -1.0, "max_y": 1.25, "scale_xyz": ((1.5, 0.75, 1.0),)},
        ),
        (p3d.PerspectiveCameras, converters.from_pytorch3d_perspective, {"focal_length": ((1.5, 2.0),)}),
        (p3d.OrthographicCameras, converters.from_pytorch3d_orthographic, {"principal_point": ((0.1, -0.2),)}),
    ],
)
def test_converted_cameras_see_the_same_pixels(theirs: Any, convert: Any, options: dict[str, Any]) -> None:
    R, T = p3d.look_at_view_transform(3.0, 20.0, torch.tensor([30.0, 70.0], dtype=torch.float64))
    points = random(6, 3, dtype=torch.float64)
    screen = theirs(R=R, T=T, **options).transform_points_screen(points, image_size=((120, 200),))
    assert torch.allclose(screen[..., :2], convert(R, T, (120, 200), **options).pixels(points))


def test_the_type_of_points_decides() -> None:
    """Rotations made of numpy's numbers are float64, translations of Python's integers int64."""
    R, T = p3d.look_at_view_transform(3.0, 20, 40)
    mixed = p3d.FoVPerspectiveCameras(R=R.double(), T=torch.tensor([[0, 0, 3]]))
    plain = p3d.FoVPerspectiveCameras(R=R, T=T)
    mesh = p3d.ico_sphere(1)
    mesh.textures = p3d.TexturesVertex(torch.ones_like(mesh.verts_padded()))
    pictures = []
    for cameras in (mixed, plain):
        settings = p3d.RasterizationSettings(image_size=16)
        renderer = p3d.MeshRenderer(p3d.MeshRasterizer(cameras, settings), p3d.SoftPhongShader(cameras=cameras))
        pictures.append(renderer(mesh))
    assert pictures[0].dtype == torch.float32
    assert torch.allclose(*pictures, atol=1e-4)
    lights = p3d.PointLights(location=torch.tensor([[0.0, 1, 0]], dtype=torch.float64))
    assert torch.allclose(renderer(mesh, lights=lights).float(), renderer(mesh, lights=p3d.PointLights()), atol=1e-4)
    assert mixed.transform_points(mesh.verts_padded()).dtype == torch.float32
