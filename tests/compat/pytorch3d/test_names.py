"""Transforms, point clouds, operations, losses and files under PyTorch3D's names, in closed form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lumigrad.compat import pytorch3d as p3d
from lumigrad.compat.pytorch3d import ops, transforms

SQUARE = p3d.Meshes(
    [torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]])], [torch.tensor([[0, 1, 2], [0, 2, 3]])]
)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_transforms_are_row_vectors_and_compose_from_left_to_right() -> None:
    moved = transforms.Translate(1.0, 0, 0).scale(2.0)
    assert moved.transform_points(torch.tensor([[1.0, 1, 1]])).tolist() == [[4, 2, 2]]
    assert moved.inverse().transform_points(torch.tensor([[4.0, 2, 2]])).tolist() == [[1, 1, 1]]
    assert moved.transform_normals(torch.tensor([[0.0, 1, 0]])).tolist() == [[0, 0.5, 0]]
    turned = transforms.RotateAxisAngle(90, "Z").transform_points(torch.tensor([[1.0, 0, 0]]))
    assert torch.allclose(turned, torch.tensor([[0.0, 1, 0]]), atol=1e-6)


def test_rotations_lead_from_one_kind_to_the_others() -> None:
    vector = points(6, 3) * 2 - 1
    matrix = transforms.axis_angle_to_matrix(vector)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(6, 3, 3)
    assert torch.allclose(transforms.hat(vector), skew)
    assert torch.allclose(matrix, torch.linalg.matrix_exp(skew))
    assert torch.allclose(transforms.so3_exp_map(vector), torch.linalg.matrix_exp(skew))
    assert torch.allclose(transforms.so3_log_map(matrix), vector)
    assert torch.allclose(transforms.matrix_to_axis_angle(matrix), vector)
    quaternion = transforms.matrix_to_quaternion(matrix)
    assert torch.allclose(quaternion[:, 0], torch.cos(vector.norm(dim=1) / 2))
    assert torch.allclose(transforms.quaternion_to_matrix(quaternion), matrix)
    angles = transforms.matrix_to_euler_angles(matrix, "ZYX")
    assert torch.allclose(transforms.euler_angles_to_matrix(angles, "ZYX"), matrix)
    assert torch.allclose(transforms.rotation_6d_to_matrix(transforms.matrix_to_rotation_6d(matrix)), matrix)
    spot = points(6, 3, seed=1)
    assert torch.allclose(transforms.quaternion_apply(quaternion, spot), (matrix @ spot[..., None])[..., 0])
    log = torch.cat((spot, vector), 1)
    assert torch.allclose(transforms.se3_log_map(transforms.se3_exp_map(log)), log)


def test_nearest_points() -> None:
    one, other = points(2, 30, 3), points(2, 40, 3, seed=1)
    lengths = torch.tensor([40, 25])
    distances = torch.cdist(one, other).square()
    distances[1, :, 25:] = torch.inf
    expected, order = distances.sort(dim=2)
    near = p3d.knn_points(one, other, lengths2=lengths, K=4, return_nn=True)
    assert torch.equal(near.idx, order[..., :4])
    assert torch.allclose(near.dists, expected[..., :4])
    assert near.knn is not None
    assert torch.allclose((near.knn - one[:, :, None]).square().sum(-1), near.dists)
    ball = p3d.ball_query(one, other, lengths2=lengths, K=3, radius=0.4)
    for n, p in ((0, 0), (1, 17)):
        inside = (distances[n, p] < 0.16).nonzero()[:3, 0].tolist()
        assert ball.idx[n, p].tolist() == inside + [-1] * (3 - len(inside))


def test_chamfer_distance() -> None:
    """The square's corners, and their middle, which is sqrt(1.25) from each of them."""
    corners = SQUARE.verts_padded()
    more = torch.cat((corners, torch.tensor([[[1.0, 0.5, 0]]])), 1)
    assert p3d.chamfer_distance(corners, more)[0].item() == pytest.approx(1.25 / 5)
    assert p3d.chamfer_distance(corners, more, single_directional=True)[0].item() == 0
    assert p3d.chamfer_distance(corners, more, norm=1)[0].item() == pytest.approx(1.5 / 5)
    assert p3d.chamfer_distance(corners, more, point_reduction="max")[0].item() == pytest.approx(1.25)
    cloud = p3d.Pointclouds([corners[0], more[0]])
    assert p3d.chamfer_distance(cloud, cloud)[0].item() == 0


def test_samples_lie_on_the_faces_in_proportion_to_their_areas() -> None:
    torch.manual_seed(0)
    spots, normals = p3d.sample_points_from_meshes(SQUARE, 4000, return_normals=True)
    assert torch.equal(spots[..., 2], torch.zeros(1, 4000))
    assert torch.allclose(normals, torch.tensor([0.0, 0, 1]).expand(1, 4000, 3))
    assert torch.allclose(spots.mean(1), torch.tensor([[1.0, 0.5, 0]]), atol=0.05)
    assert torch.allclose(spots.var(1)[:, :2], torch.tensor([[4 / 12, 1 / 12]]), rtol=0.1)


def test_areas_subdivision_and_laplacians() -> None:
    areas, normals = ops.mesh_face_areas_normals(SQUARE.verts_packed(), SQUARE.faces_packed())
    assert areas.tolist() == [1, 1]
    assert normals.tolist() == [[0, 0, 1]] * 2
    finer = p3d.SubdivideMeshes()(SQUARE)
    assert (len(finer.verts_packed()), len(finer.faces_packed())) == (9, 8)
    assert torch.allclose(finer.faces_areas_packed(), torch.full((8,), 0.25))
    laplacian = ops.laplacian(SQUARE.verts_packed(), SQUARE.edges_packed()).to_dense()
    assert torch.allclose(laplacian.sum(1), torch.zeros(4), atol=1e-6)
    assert laplacian.diagonal().tolist() == [-1] * 4


def test_point_clouds() -> None:
    clouds = p3d.Pointclouds([points(3, 3), points(5, 3, seed=1)], features=[points(3, 2), points(5, 2)])
    assert clouds.num_points_per_cloud().tolist() == [3, 5]
    assert clouds.points_padded().shape == (2, 5, 3)
    assert clouds.packed_to_cloud_idx().tolist() == [0] * 3 + [1] * 5
    assert torch.equal(clouds[1].features_packed(), points(5, 2))
    joined = p3d.join_pointclouds_as_scene(clouds)
    assert torch.equal(joined.points_packed(), clouds.points_packed())
    flat = p3d.Pointclouds([torch.cat((points(30, 2), torch.zeros(30, 1)), 1)])
    normals = flat.estimate_normals(neighborhood_size=8)
    assert torch.allclose(normals.abs(), torch.tensor([0.0, 0, 1]).to(normals).expand_as(normals), atol=1e-6)


def test_compositors() -> None:
    """Two points of weights 0.5 and 0.25, colours 1 and 3, over a third of none."""
    idx = torch.tensor([0, 1, -1]).reshape(1, 3, 1, 1)
    weights = torch.tensor([0.5, 0.25, 0.9]).reshape(1, 3, 1, 1)
    colors = torch.tensor([[1.0, 3.0]])
    assert p3d.alpha_composite(idx, weights, colors).item() == pytest.approx(0.5 + 0.5 * 0.25 * 3)
    assert p3d.weighted_sum(idx, weights, colors).item() == pytest.approx(0.5 + 0.75)
    assert p3d.norm_weighted_sum(idx, weights, colors).item() == pytest.approx(1.25 / 0.75)


def test_fisheye_cameras_bend_rays_and_straighten_them() -> None:
    """Without distortion they are pinholes; with radial_1 the radius r becomes r (1 + k theta^2), theta = atan r."""
    ahead = torch.tensor([[[0.3, -0.2, 1.5], [-0.4, 0.1, 2.0]]])
    plain = p3d.FishEyeCameras(use_radial=False, use_tangential=False, use_thin_prism=False)
    pinhole = ahead / ahead[..., 2:]
    assert torch.allclose(plain.transform_points(ahead)[..., :2], pinhole[..., :2], atol=1e-5)
    bent = p3d.FishEyeCameras(
        radial_params=torch.tensor([[0.1, 0, 0, 0, 0, 0]]), use_tangential=False, use_thin_prism=False
    )
    theta = torch.atan(pinhole[..., :2].norm(dim=-1, keepdim=True))
    expected = pinhole[..., :2] / pinhole[..., :2].norm(dim=-1, keepdim=True) * theta * (1 + 0.1 * theta**2)
    seen = bent.transform_points(ahead)
    assert torch.allclose(seen[..., :2], expected, atol=1e-5)
    back = bent.unproject_points(torch.cat((seen[..., :2], ahead[..., 2:]), -1))
    assert torch.allclose(back, pinhole, atol=1e-4)


def test_torus() -> None:
    """Of ring radius 4 and tube radius 1."""
    mesh = p3d.torus(1.0, 4.0, 8, 12)
    x, y, z = mesh.verts_packed().unbind(1)
    assert torch.allclose((torch.hypot(x, y) - 4).square() + z.square(), torch.ones(96), atol=1e-5)
    assert len(mesh.faces_packed()) == 2 * 96
    outwards = mesh.verts_normals_packed() * (
        mesh.verts_packed() - 4 * torch.stack((x, y, 0 * z), 1) / torch.hypot(x, y)[:, None]
    )
    assert (outwards.sum(1) > 0.8).all()


def test_files_lead_back_to_the_mesh(tmp_path: Path) -> None:
    verts, faces = SQUARE.verts_packed(), SQUARE.faces_packed()
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    image = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(0))
    pytest.importorskip("PIL.Image")
    p3d.save_obj(tmp_path / "a.obj", verts, faces, verts_uvs=uv, faces_uvs=faces, texture_map=image)
    there, indices, aux = p3d.load_obj(tmp_path / "a.obj")
    assert torch.equal(there, verts)
    assert torch.equal(indices.verts_idx, faces)
    assert torch.equal(indices.textures_idx, faces)
    assert torch.equal(aux.verts_uvs, uv)
    assert torch.allclose(next(iter(aux.texture_images.values())), image, atol=1 / 255)
    for ascii in (False, True):
        p3d.save_ply(tmp_path / "a.ply", verts, faces, ascii=ascii)
        there, triangles = p3d.load_ply(tmp_path / "a.ply")
        assert torch.equal(there, verts)
        assert torch.equal(triangles, faces)
    p3d.IO().save_mesh(SQUARE, tmp_path / "b.ply")
    assert torch.equal(p3d.IO().load_mesh(tmp_path / "b.ply").verts_packed(), verts)


def test_pixels_lead_back_to_points() -> None:
    R, T = p3d.look_at_view_transform(3, 20, 30)
    spots = points(1, 5, 3).float() - 0.5
    for camera in (p3d.FoVPerspectiveCameras(R=R, T=T), p3d.PerspectiveCameras(R=R, T=T, focal_length=2.0)):
        depth = camera.get_world_to_view_transform().transform_points(spots)[..., 2:]
        ndc = torch.cat((camera.transform_points_ndc(spots)[..., :2], depth), -1)
        assert torch.allclose(camera.unproject_points(ndc), spots, atol=1e-5)
        assert torch.allclose(camera.get_camera_center().norm(), torch.tensor(3.0), atol=1e-5)
    assert math.isclose(p3d.camera_position_from_spherical_angles(3, 20, 30).norm().item(), 3, rel_tol=1e-6)
