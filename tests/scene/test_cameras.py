"""What all cameras have in common: unprojection, rays, batches, derivatives by every parameter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import lumigrad as lg
from lumigrad.scene import (
    Camera,
    Distortion,
    FisheyeDistortion,
    OrthographicCamera,
    PerspectiveCamera,
    RadialTangentialDistortion,
    orbit_view,
)

F64 = torch.float64
DISTORTIONS: list[Distortion | None] = [
    None,
    RadialTangentialDistortion(-0.2, 0.05, 0.002, -0.001, 0.01, 0.01),
    FisheyeDistortion(0.05, -0.01, 0.002, -0.0003),
]


def poses(count: int = 3) -> torch.Tensor:
    angles = torch.linspace(10, 200, count, dtype=F64)
    return orbit_view(angles, 0.2 * angles, torch.linspace(2.5, 4.0, count, dtype=F64), (0.1, 0.0, -0.1))


def camera(distortion: Distortion | None = None, matrix: torch.Tensor | None = None) -> PerspectiveCamera:
    matrix = poses() if matrix is None else matrix
    return PerspectiveCamera(matrix, 70.0, 80.0, 30.0, 27.0, (48, 64), 0.5, 50.0, distortion)  # type: ignore[arg-type]


def cameras() -> list[Camera]:
    ortho = OrthographicCamera(poses(), 20.0, 25.0, 30.0, 27.0, (48, 64), -1.0, 9.0)  # type: ignore[arg-type]
    return [*(camera(distortion) for distortion in DISTORTIONS), ortho]


def cloud(count: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, dtype=F64, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize("seen", cameras())
def test_unproject_inverts_projection(seen: Camera) -> None:
    points = cloud()
    again = seen.unproject(seen.pixels(points), seen.depth(points))
    torch.testing.assert_close(again, points.expand(3, -1, -1), atol=1e-10, rtol=0)


@pytest.mark.parametrize("seen", cameras())
def test_rays_pass_through_what_they_show(seen: Camera) -> None:
    points = cloud()
    origins, directions = seen.rays(seen.pixels(points))
    assert origins.shape == directions.shape == (3, 20, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, 20, dtype=F64))
    offset = points - origins
    off_ray = torch.linalg.cross(offset, directions).norm(dim=-1)
    assert float(off_ray.max()) < 1e-9
    assert ((offset * directions).sum(-1) > 0).all()
    torch.testing.assert_close(seen.towards(points), -directions, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seen", cameras())
def test_rays_of_all_pixels_meet_their_centres(seen: Camera) -> None:
    origins, directions = seen.rays()
    assert origins.shape == directions.shape == (3, 48, 64, 3)
    row, column = 13, 40
    point = (origins + 3 * directions)[:, row, column, None]
    expected = torch.tensor([[column + 0.5, row + 0.5]], dtype=F64).expand(3, 1, 2)
    torch.testing.assert_close(seen.pixels(point), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seen", cameras())
def test_clip_space_agrees_with_pixels_and_depth(seen: Camera) -> None:
    points = cloud()
    clip = seen.project(points)
    ndc = clip[..., :3] / clip[..., 3:]
    height, width = seen.size
    pixels = torch.stack([(ndc[..., 0] + 1) * width / 2, (1 - ndc[..., 1]) * height / 2], dim=-1)
    torch.testing.assert_close(pixels, seen.pixels(points))
    torch.testing.assert_close(seen.linear_depth(ndc[..., 2]), seen.depth(points))


@pytest.mark.parametrize("seen", cameras())
def test_rendered_depth_unprojects_onto_the_surface(seen: Camera) -> None:
    """A rasterized triangle's pixels, unprojected, lie in its plane: rasterizer and camera mean the same pixels."""
    if isinstance(seen, PerspectiveCamera) and seen.distortion is not None:
        pytest.skip("edges between distorted vertices stay straight")
    one = seen[0]
    points = torch.tensor([[-0.8, -0.5, 0.2], [0.9, -0.4, -0.3], [0.1, 0.8, 0.4]], dtype=F64)
    frags = lg.rasterize(one.project(points), torch.tensor([[0, 1, 2]]), one.size)
    rows, columns = torch.nonzero(frags.tri[0] == 0, as_tuple=True)
    assert len(rows) > 50
    pixels = torch.stack([columns + 0.5, rows + 0.5], dim=-1).double()
    world = one.unproject(pixels, one.linear_depth(frags.depth[0, rows, columns]))
    normal = torch.linalg.cross(points[1] - points[0], points[2] - points[0])
    assert float(((world - points[0]) @ normal).abs().max()) < 1e-6


@pytest.mark.parametrize("seen", cameras())
@pytest.mark.parametrize("way", ["project", "pixels", "unproject", "rays"])
def test_gradients_reach_every_parameter(seen: Camera, way: str) -> None:
    seen = seen[0]
    points = cloud(3)
    pixels, depth = seen.pixels(points).detach(), seen.depth(points).detach()
    distortion = getattr(seen, "distortion", None)
    names = [] if distortion is None else list(vars(distortion))
    values = [seen.world_to_camera[:3], seen.fx, seen.fy, seen.cx, seen.cy, points, pixels, depth]
    values += [getattr(distortion, name) for name in names]
    inputs = [value.clone().requires_grad_() for value in values]

    def function(*values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        pose, fx, fy, cx, cy, points, pixels, depth = values[:8]
        matrix = torch.cat([pose, torch.tensor([[0.0, 0, 0, 1]], dtype=F64)])
        changed = replace(seen, world_to_camera=matrix, fx=fx, fy=fy, cx=cx, cy=cy)
        if distortion is not None:
            changed = replace(changed, distortion=type(distortion)(**dict(zip(names, values[8:], strict=True))))
        if way == "unproject":
            return changed.unproject(pixels, depth)
        return changed.rays(pixels) if way == "rays" else getattr(changed, way)(points)

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("seen", cameras())
def test_batches_equal_single_cameras(seen: Camera) -> None:
    points = cloud()
    for i in range(3):
        one = seen[i]
        assert one.shape == ()
        torch.testing.assert_close(one.pixels(points), seen.pixels(points)[i])
        torch.testing.assert_close(one.project(points), seen.project(points)[i])
        torch.testing.assert_close(one.rays()[1], seen.rays()[1][i])
    assert seen[torch.tensor([2, 0])].shape == (2,)
    assert seen.to(torch.float32).pixels(points.float()).dtype == torch.float32


@pytest.mark.parametrize("seen", cameras())
def test_resized_keeps_the_image(seen: Camera) -> None:
    torch.testing.assert_close(seen.resized((24, 32)).pixels(cloud()), seen.pixels(cloud()) / 2)


def test_orthographic_projection_by_hand() -> None:
    # 4 units high over 100 rows: 25 pixels a unit.
    seen = OrthographicCamera.from_height(4.0, (100, 200), near=1.0, far=3.0)
    points = torch.tensor([[1.0, 0.5, -2.0], [0.0, 0.0, -1.0], [0.0, 0.0, -3.0]])
    torch.testing.assert_close(seen.pixels(points), torch.tensor([[125.0, 37.5], [100, 50], [100, 50]]))
    torch.testing.assert_close(seen.project(points)[:, 2:], torch.tensor([[0.0, 1], [-1, 1], [1, 1]]))
    torch.testing.assert_close(seen.towards(points), torch.tensor([[0.0, 0, 1]]).expand(3, 3))
    with pytest.raises(ValueError, match="height"):
        OrthographicCamera.from_height(0.0, (4, 4))


def test_orthographic_orbit_looks_at_its_target() -> None:
    seen = OrthographicCamera.orbit(30.0, 20.0, 3.0, 2.0, (10, 20), target=(1.0, 2.0, 3.0))
    torch.testing.assert_close(seen.pixels(torch.tensor([[1.0, 2.0, 3.0]])), torch.tensor([[10.0, 5.0]]))


@pytest.mark.parametrize("kind", [PerspectiveCamera, OrthographicCamera])
def test_ndc_intrinsics_are_the_projection_matrix(kind: type[Camera]) -> None:
    seen = kind.from_ndc((1.5, 2.0), (48, 64), (0.1, -0.2))
    matrix = seen.projection_matrix()
    torch.testing.assert_close(matrix[[0, 1], [0, 1]], torch.tensor([1.5, 2.0]))
    clip = seen.project(torch.tensor([[0.0, 0.0, -2.0]]))[0]
    torch.testing.assert_close(clip[:2] / clip[3], torch.tensor([0.1, -0.2]))
    with pytest.raises(ValueError, match="focal"):
        kind.from_ndc((1.0,), (4, 4))


def test_fisheye_sees_behind() -> None:
    seen = camera(FisheyeDistortion(), torch.eye(4, dtype=F64))
    pixels = torch.tensor([[30.0 + 70 * 2.0, 27.0]], dtype=F64)  # 2 radians from the axis, to the right
    _, direction = seen.rays(pixels)
    expected = torch.tensor([[2.0]]).sin().item(), 0.0, -torch.tensor([[2.0]]).cos().item()
    torch.testing.assert_close(direction[0], torch.tensor(expected, dtype=F64), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.pixels(direction), pixels)


@pytest.mark.parametrize(
    ("seen", "projection"),
    [(camera(), "perspective"), (cameras()[-1], "orthographic"), (camera(FisheyeDistortion())[0], "fisheye")],
)
def test_views_are_the_camera(seen: Camera, projection: str) -> None:
    view = seen.view()
    assert (view.projection, view.size, view.near, view.far) == (projection, seen.size, seen.near, seen.far)
    for name, tensor in zip(("world_to_camera", "fx", "fy", "cx", "cy"), view):
        assert tensor is getattr(seen, name)


@pytest.mark.parametrize("seen", [camera(), replace(cameras()[-1], near=0.5), camera(FisheyeDistortion())])
def test_primitives_are_seen_where_the_camera_says(seen: Camera) -> None:
    points = cloud()
    quats, scales = torch.ones(20, 4, dtype=F64), torch.ones(20, 3, dtype=F64)
    projected = lg.project_gaussians(points, quats, scales, seen.view())
    torch.testing.assert_close(projected.xy, seen.pixels(points), atol=1e-9, rtol=0)
    torch.testing.assert_close(projected.depths, seen.depth(points))
    single = lg.project_gaussians(points, quats, scales, seen[1].view())
    torch.testing.assert_close(single.xy[0], projected.xy[1])


@pytest.mark.parametrize("distortion", [FisheyeDistortion(0.05), RadialTangentialDistortion(0.1)])
def test_distorted_cameras_have_no_view(distortion: Distortion) -> None:
    with pytest.raises(ValueError, match=r"distortion: .*undistort the image first"):
        camera(distortion).view()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: camera("wide"), TypeError, "distortion: expected a Distortion"),
        (lambda: camera(FisheyeDistortion(torch.zeros(5))), ValueError, "k1: expected a scalar or shape"),
        (lambda: replace(camera(), near=-1.0), ValueError, "near, far: expected 0 < near < far"),
        (lambda: replace(cameras()[-1], far=-2.0), ValueError, "near, far: expected near < far"),
        (lambda: camera().rays(torch.zeros(3)), ValueError, "pixels: expected shape"),
        (lambda: camera().unproject(torch.zeros(3, 3), torch.ones(3)), ValueError, "pixels: expected shape"),
        (lambda: camera().depth(torch.zeros(3)), ValueError, "points: expected shape"),
    ],
)
def test_wrong_calls_name_the_culprit(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call()
