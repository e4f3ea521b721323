"""Results that PyTorch3D programs rely on, against closed forms and values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lumigrad.compat import pytorch3d as p3d
from lumigrad.compat.pytorch3d import transforms
from lumigrad.compat.pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes_python
from lumigrad.compat.pytorch3d.renderer.opengl import MeshRasterizerOpenGL
from lumigrad.compat.pytorch3d.renderer.points.rasterize_points import rasterize_points_python

FLOOR = p3d.Meshes(
    [torch.tensor([[-50.0, -1, -3], [50, -1, -3], [50, -1, 6], [-50, -1, 6]])], [torch.tensor([[0, 1, 2], [0, 2, 3]])]
)
FAR = p3d.Meshes([torch.tensor([[0.0, 5, 0.1], [0.001, 5, 0.1], [0, 5.001, 0.1]])], [torch.tensor([[0, 1, 2]])])


def depths(camera: p3d.CamerasBase, meshes: p3d.Meshes) -> Tensor:
    fragments = p3d.MeshRasterizer(camera, p3d.RasterizationSettings(image_size=64))(meshes)
    return fragments.zbuf[0, :, 32, 0]


@pytest.mark.parametrize(
    "camera",
    [p3d.PerspectiveCameras(), p3d.FoVPerspectiveCameras(fov=90.0), p3d.FoVPerspectiveCameras(fov=90.0, znear=0.01)],
)
def test_a_floor_under_the_camera_is_seen_to_the_lower_edge(camera: p3d.CamerasBase) -> None:
    """It begins behind the camera. A row at y < 0 sees it at z = -1 / y, whatever else is in the batch."""
    y = 1 - (2 * torch.arange(64) + 1) / 64.0
    expected = torch.where((y < 0) & (-1 / y < 6), -1 / y, -1.0)
    alone = depths(camera, FLOOR)
    assert torch.allclose(alone, expected, atol=1e-4)
    assert torch.equal(depths(camera, p3d.join_meshes_as_batch([FLOOR, FAR])), alone)


POINT = torch.tensor([[[0.5, -0.25, 2.0]]])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (p3d.PerspectiveCameras, {"focal_length": 3.0}),
        (p3d.PerspectiveCameras, {"principal_point": ((0.25, -0.5),)}),
        (p3d.OrthographicCameras, {"focal_length": 3.0}),
        (p3d.FoVPerspectiveCameras, {"fov": 30.0}),
        (p3d.FoVPerspectiveCameras, {"znear": 0.5}),
        (p3d.FoVOrthographicCameras, {"max_x": 3.0}),
        (p3d.FoVOrthographicCameras, {"scale_xyz": ((0.5, 2.0, 1.0),)}),
    ],
)
def test_keywords_of_a_call_replace_the_cameras_parameters(kind: Any, options: dict[str, Any]) -> None:
    given = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in options.items()}
    made, called = kind(**options), kind()
    expected = made.transform_points(POINT)
    assert not torch.allclose(expected, kind().transform_points(POINT))
    assert torch.allclose(called.transform_points(POINT, **given), expected)


def test_keywords_of_a_call_reach_the_picture() -> None:
    square = p3d.Meshes(
        [torch.tensor([[-1.0, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]])], [torch.tensor([[0, 1, 2], [0, 2, 3]])]
    )
    rasterizer = p3d.MeshRasterizer(p3d.PerspectiveCameras(), p3d.RasterizationSettings(image_size=8))
    assert (rasterizer(square).pix_to_face >= 0).sum() == 16  # half of the side
    assert (rasterizer(square, focal_length=torch.tensor([1.5])).pix_to_face >= 0).sum() == 36  # three quarters


def test_screen_without_a_flip_is_the_negative() -> None:
    """NDC (0.25, -0.125), +x left and +y up, is (0.75, 1.125) * 50 right and down of the upper left corner."""
    camera = p3d.PerspectiveCameras(image_size=((100, 100),))
    plain = camera.transform_points_screen(POINT, with_xyflip=False)
    assert torch.allclose(plain, torch.tensor([[[-37.5, -56.25, 0.5]]]))
    assert torch.allclose(camera.transform_points_screen(POINT), torch.tensor([[[37.5, 56.25, 0.5]]]))


def test_scale_takes_one_number_for_each_transform() -> None:
    """As in PyTorch3D, a tensor [N] gives N uniform scales, not x, y and z."""
    scaled = transforms.Transform3d().scale(torch.tensor([2.0, 3.0, 4.0]))
    points = scaled.transform_points(torch.ones(3, 1, 3))
    assert points.tolist() == [[[2.0] * 3], [[3.0] * 3], [[4.0] * 3]]
    assert transforms.Scale(2.0, 3.0, 4.0).transform_points(torch.ones(1, 3)).tolist() == [[2.0, 3.0, 4.0]]


OBJ = """
mtllib scene.mtl
v 0 0 0
v 1 0 0
v 0 1 0
v 1 0 0
vt 0 0
vt 1 0
vt 0 1
vn 0 0 1
usemtl red
f 1/1/1 2/2/1 3/3/1
usemtl plain
f 3/3/1 2/2/1 4/1/1
usemtl blue
f -4/-3 -3/-2 -2/-1
"""
MTL = """
newmtl blue
map_Kd blue.png
newmtl red
map_Kd red.png
Ns 12
newmtl plain
Kd 0.25 0.5 0.75
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (4, 2), (255, 0, 0)).save(tmp_path / "red.png")
    image.new("RGB", (2, 2), (0, 0, 255)).save(tmp_path / "blue.png")
    (tmp_path / "scene.mtl").write_text(MTL)
    (tmp_path / "scene.obj").write_text(OBJ)
    return tmp_path / "scene.obj"


def test_obj_files_keep_their_order_and_materials(scene: Path) -> None:
    """Vertices at one place stay two; materials are numbered in the order of the mtl file, as in PyTorch3D."""
    verts, faces, aux = p3d.load_obj(scene)
    assert verts.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert faces.verts_idx.tolist() == [[0, 1, 2], [2, 1, 3], [0, 1, 2]]
    assert faces.textures_idx.tolist() == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]
    assert faces.normals_idx.tolist() == [[0, 0, 0], [0, 0, 0], [-1, -1, -1]]
    names = list(aux.material_colors)
    assert [names[index] for index in faces.materials_idx.tolist()] == ["red", "plain", "blue"]
    assert aux.texture_images["red"].shape == (2, 4, 3)
    assert aux.texture_images["red"][0, 0].tolist() == [1, 0, 0]
    assert torch.allclose(aux.material_colors["plain"]["diffuse_color"], torch.tensor([0.25, 0.5, 0.75]))
    assert aux.material_colors["red"]["shininess"].tolist() == [12]


def test_loaded_meshes_have_all_materials(scene: Path) -> None:
    textures = p3d.load_objs_as_meshes([scene]).textures
    fragments = p3d.Fragments(
        torch.tensor([0, 1, 2]).reshape(1, 1, 3, 1), torch.ones(1, 1, 3, 1), torch.full((1, 1, 3, 1, 3), 1 / 3), None
    )
    colors = textures.sample_textures(fragments)[0, 0, :, 0]
    assert torch.allclose(colors, torch.tensor([[1.0, 0, 0], [0.25, 0.5, 0.75], [0, 0, 1]]), atol=1e-6)


def test_lights_and_materials_have_any_number_of_channels() -> None:
    """Five channels under ambient light are the five colours times the light."""
    features = torch.rand(1, 3, 5, generator=torch.Generator().manual_seed(0))
    triangle = torch.tensor([[3.0, -1, 2], [-1, -1, 2], [-1, 3, 2]])
    mesh = p3d.Meshes([triangle], [torch.tensor([[0, 1, 2]])], p3d.TexturesVertex(features))
    cameras, light = p3d.PerspectiveCameras(), (0.1, 0.2, 0.3, 0.4, 0.5)
    fragments = p3d.MeshRasterizer(cameras, p3d.RasterizationSettings(image_size=4))(mesh)
    assert (fragments.pix_to_face[0] >= 0).any()
    materials = p3d.Materials(ambient_color=((1.0,) * 5,), diffuse_color=((1.0,) * 5,), specular_color=((1.0,) * 5,))
    lights = p3d.AmbientLights(ambient_color=(light,))
    colors = mesh.sample_textures(fragments)
    out = p3d.phong_shading(mesh, fragments, lights, cameras, materials, colors)
    assert torch.allclose(out, colors * torch.tensor(light))


def rasterized(verts: list[list[float]], **options: Any) -> tuple[Tensor, ...]:
    return p3d.rasterize_meshes(p3d.Meshes([torch.tensor(verts)], [torch.tensor([[0, 1, 2]])]), **options)


def test_faces_without_an_area_have_no_blur() -> None:
    edge_on = [[0.4269, 0.5562, 3.33], [0.631, 0.3036, 3.5526], [0.631, 0.3036, 3.1074]]
    for perspective in (False, True):
        found = rasterized(edge_on, image_size=24, blur_radius=0.05, perspective_correct=perspective)[0]
        assert (found >= 0).sum() == 0
    there = [[0.4269, 0.5562, 3.33], [0.631, 0.3036, 3.5526], [0.531, 0.3036, 3.1074]]
    assert (rasterized(there, image_size=24, blur_radius=0.05)[0] >= 0).any()


def test_affine_weights_beyond_a_face_are_not_behind_the_camera() -> None:
    """Without clipped weights depth goes on beyond the face, here to below zero."""
    steep = [[0.8249, -0.7029, 2.3341], [-0.181, 0.2265, 1.9037], [-0.0899, 0.1504, 2.4789]]
    face, zbuf, bary, dists = rasterized(steep, image_size=24, blur_radius=0.2, faces_per_pixel=2)
    found = face >= 0
    assert found.any()
    assert (zbuf[found] >= 0).all()
    assert (zbuf[~found] == -1).all()
    assert (bary[~found] == -1).all()
    assert (dists[~found] == -1).all()


def test_culling_to_the_frustum_leaves_out_what_is_beside_the_image() -> None:
    beside = [[1.1, -1.0, 1.0], [1.2, 0.0, 1.0], [1.1, 1.0, 1.0]]
    assert (rasterized(beside, image_size=8, blur_radius=0.1)[0] >= 0).any()
    assert (rasterized(beside, image_size=8, blur_radius=0.1, cull_to_frustum=True)[0] < 0).all()


def test_clipped_faces_lead_back_to_the_faces() -> None:
    """Clipping leaves one triangle if one corner is in front of z = 1, and two if two corners are."""
    one = torch.tensor([[0.0, 0, 2], [2, 0, 0], [-2, 0, 0]])
    two = torch.tensor([[0.0, 0, 0], [2, 0, 2], [-2, 0, 2]])
    faces = torch.stack((one, two, two + 2, one - 5)).requires_grad_()
    frustum = p3d.renderer.mesh.ClipFrustum(z_clip_value=1.0)
    clipped = p3d.renderer.mesh.clip_faces(faces, torch.tensor([0, 1]), torch.tensor([1, 3]), frustum)
    assert clipped.num_faces_per_mesh.tolist() == [1, 3]
    assert clipped.mesh_to_face_first_idx.tolist() == [0, 1]
    assert clipped.faces_clipped_to_unclipped_idx is not None
    assert clipped.faces_clipped_to_unclipped_idx.tolist() == [0, 1, 1, 2]
    assert clipped.clipped_faces_neighbor_idx is not None
    assert clipped.clipped_faces_neighbor_idx.tolist() == [-1, 2, 1, -1]
    assert clipped.face_verts[0].tolist() == [[1, 0, 1], [-1, 0, 1], [0, 0, 2]]
    assert clipped.face_verts[1].tolist() == [[1, 0, 1], [2, 0, 2], [-1, 0, 1]]
    found = torch.arange(4).reshape(1, 1, 4, 1)
    thirds = torch.full((1, 1, 4, 1, 3), 1 / 3)
    face, bary = p3d.renderer.mesh.convert_clipped_rasterization_to_original_faces(found, thirds, clipped)
    assert face.flatten().tolist() == [0, 1, 1, 2]
    middles = torch.einsum("fk,fkd->fd", bary.reshape(4, 3), faces[face.flatten()])
    assert torch.allclose(middles, clipped.face_verts.mean(1))
    clipped.face_verts.sum().backward()
    assert faces.grad is not None
    assert faces.grad.isfinite().all()


def test_points_are_seen_within_their_radius_nearest_first() -> None:
    """Pixel centres are 0.25 apart; a disc of 0.2 around one has one, and of 0.26 five."""
    points = torch.tensor([[0.125, 0.125, 2.0], [0.125, 0.125, 1.0]])
    cloud = p3d.Pointclouds([points], features=[torch.tensor([[1.0], [0.0]])])
    for radius, count in ((0.2, 1), (0.26, 5)):
        idx, zbuf, dists = p3d.rasterize_points(cloud, 8, radius, points_per_pixel=3)
        assert (idx[..., 0] >= 0).sum() == count
        assert idx[0, 3, 3].tolist() == [1, 0, -1]
        assert zbuf[0, 3, 3].tolist() == [1, 2, -1]
        assert dists[0, 3, 3].tolist() == [0, 0, -1]
    assert (p3d.rasterize_points(cloud, 8, 0.25)[0][..., 0] >= 0).sum() == 1  # a centre on the edge is outside
    for one, other in zip(rasterize_points_python(cloud, 8, 0.26), p3d.rasterize_points(cloud, 8, 0.26)):
        assert torch.equal(one, other)


def test_slow_rasterizer_of_meshes_is_the_fast_one() -> None:
    ball = p3d.ico_sphere(1)
    ball = ball.offset_verts(torch.tensor([0.0, 0, 3]).expand(len(ball.verts_packed()), 3))
    for one, other in zip(rasterize_meshes_python(ball, 16, 0.01, 4), p3d.rasterize_meshes(ball, 16, 0.01, 4)):
        assert torch.allclose(one, other, atol=1e-5)


def test_opengl_rasterizer_sees_between_near_and_far() -> None:
    verts = torch.tensor([[-9.0, -9, 2], [9, -9, 2], [0, 9, 2]])
    mesh = p3d.Meshes([verts, verts + 1], [torch.tensor([[0, 1, 2]])] * 2)
    cameras = p3d.FoVPerspectiveCameras(znear=1.0, zfar=2.5)
    found = MeshRasterizerOpenGL(cameras, p3d.RasterizationSettings(image_size=4))(mesh)
    assert found.dists is None
    assert found.pix_to_face[0, 2, 2].tolist() == [0]
    assert found.pix_to_face[1, 2, 2].tolist() == [-1]
    with pytest.raises(ValueError, match="only works with FoV"):
        MeshRasterizerOpenGL(p3d.PerspectiveCameras())(mesh)
    with pytest.raises(NotImplementedError, match="z-clipping"):
        MeshRasterizerOpenGL(cameras, p3d.RasterizationSettings(z_clip_value=1.0))


def test_pulsar_as_a_points_renderer() -> None:
    """A white sphere ahead, on black; (0, 0) of the image is its upper left, as with other renderers."""
    cloud = p3d.Pointclouds([torch.tensor([[0.5, 0.25, 2.0]])], features=[torch.ones(1, 3)])
    settings = p3d.PointsRasterizationSettings(image_size=32, radius=0.1)
    renderer = p3d.PulsarPointsRenderer(p3d.PointsRasterizer(p3d.PerspectiveCameras(), settings))
    image = renderer(cloud, gamma=(1e-4,), znear=(0.5,), zfar=(10.0,))
    assert image.shape == (1, 32, 32, 3)
    rows, columns = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    weight = image[0, ..., 0] / image[0, ..., 0].sum()
    # NDC (0.25, 0.125): left and up of the centre.
    assert abs((weight * columns).sum() - 16 * 0.75) < 0.3
    assert abs((weight * rows).sum() - 16 * 0.875) < 0.3
    with pytest.raises(ValueError, match="gamma is a required"):
        renderer(cloud)
    assert math.isclose(image.max().item(), 1, abs_tol=1e-3)
