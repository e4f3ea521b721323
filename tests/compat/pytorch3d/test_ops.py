"""Operations on meshes, clouds and volumes under PyTorch3D's names, in closed form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lumigrad.compat import pytorch3d as p3d
from lumigrad.compat.pytorch3d import ops, transforms
from lumigrad.compat.pytorch3d.io import IO
from lumigrad.compat.pytorch3d.io.experimental_gltf_io import MeshGlbFormat
from lumigrad.compat.pytorch3d.loss import point_mesh_edge_distance, point_mesh_face_distance
from lumigrad.compat.pytorch3d.loss.point_mesh_distance import face_point_distance, nearest_of, point_face_distance
from lumigrad.compat.pytorch3d.renderer import TexturesUV, TexturesVertex

TRIANGLE = torch.tensor([[[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]], dtype=torch.float64)
START = torch.tensor([0])
CUBE = torch.tensor(
    [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.float64
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("point", "expected"),
    [((1.0, 1, 2), 4.0), ((2, -1, 0), 1), ((-1, -1, 1), 3), ((4, 4, 0), 8), ((1, 1, 0), 0), ((6, 0, 0), 4)],
)
def test_points_are_near_the_inside_an_edge_or_a_corner(point: tuple[float, ...], expected: float) -> None:
    spot = torch.tensor([point], dtype=torch.float64, requires_grad=True)
    distance = point_face_distance(spot, START, TRIANGLE, START, 1)
    assert distance.tolist() == pytest.approx([expected])
    assert face_point_distance(spot, START, TRIANGLE, START, 1).tolist() == pytest.approx([expected])
    distance.sum().backward()
    assert spot.grad is not None
    assert spot.grad.norm().item() == pytest.approx(2 * math.sqrt(expected))


def test_small_faces_are_their_edges() -> None:
    """The middle of a small triangle is 0 from it, and a third of its height from its edges."""
    small = TRIANGLE / 100
    middle = small.mean(1)
    assert point_face_distance(middle, START, small, START, 1, 0.0).item() == pytest.approx(0, abs=1e-20)
    assert point_face_distance(middle, START, small, START, 1).item() == pytest.approx((0.04 / math.sqrt(18)) ** 2)


def test_the_nearest_face_of_many() -> None:
    points, corners = random(50, 3), random(200, 3, 3, seed=1)
    one_by_one = [point_face_distance(points, START, face[None], START, 50, 0.0) for face in corners]
    expected, which = torch.stack(one_by_one).min(0)
    assert torch.allclose(point_face_distance(points, START, corners, START, 50, 0.0), expected)
    assert torch.equal(nearest_of(points, START, corners, START, 0.0), which)
    back = torch.stack(one_by_one).min(1).values
    assert torch.allclose(face_point_distance(points, START, corners, START, 200, 0.0), back)


def test_point_mesh_losses() -> None:
    """A point over the first mesh's face, one beside the second's edge; each is its mesh's only one."""
    meshes = p3d.Meshes([TRIANGLE[0], TRIANGLE[0]], [torch.tensor([[0, 1, 2]])] * 2)
    clouds = p3d.Pointclouds([torch.tensor([[1.0, 1, 2]]).double(), torch.tensor([[2.0, -1, 0]]).double()])
    assert point_mesh_face_distance(meshes, clouds).item() == pytest.approx((4 + 1) / 2 * 2)
    # To edges: (1, 1, 2) is sqrt(5) from two and sqrt(2 + 4) from the slanted one.
    expected = (5 + 1) / 2 + ((5 + 5 + 6) / 3 + (1 + 5 + 4.5) / 3) / 2
    assert point_mesh_edge_distance(meshes, clouds).item() == pytest.approx(expected)


@pytest.mark.parametrize("edges", [False, True])
def test_point_mesh_gradients(edges: bool) -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])

    def loss(verts: Tensor, points: Tensor) -> Tensor:
        meshes, clouds = p3d.Meshes([verts], [faces]), p3d.Pointclouds([points])
        return point_mesh_edge_distance(meshes, clouds) if edges else point_mesh_face_distance(meshes, clouds)

    inputs = random(4, 3).requires_grad_(), random(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)


def test_farthest_points() -> None:
    line = torch.tensor([[[0.0], [1], [2], [10], [5]], [[0.0], [3], [1], [9], [9]]])
    points, idx = ops.sample_farthest_points(line, K=3)
    assert idx.tolist() == [[0, 3, 4], [0, 3, 1]]
    assert points[..., 0].tolist() == [[0, 10, 5], [0, 9, 3]]
    _, idx = ops.sample_farthest_points(line, lengths=torch.tensor([5, 2]), K=torch.tensor([1, 3]))
    assert idx.tolist() == [[0, -1, -1], [0, 1, -1]]


@pytest.mark.parametrize("scaled", [False, True])
def test_alignment_finds_the_transform(scaled: bool) -> None:
    points, weights = random(2, 40, 3), torch.rand(2, 40).double()
    R = transforms.axis_angle_to_matrix(random(2, 3, seed=1) / 10)
    T, s = random(2, 3, seed=2) / 20, torch.tensor([1.05, 0.98]).double() if scaled else torch.ones(2).double()
    moved = s[:, None, None] * points @ R + T[:, None]
    for found in (
        ops.corresponding_points_alignment(points, moved, weights, estimate_scale=scaled),
        ops.iterative_closest_point(points, moved.flip(1), estimate_scale=scaled).RTs,
    ):
        for got, expected in zip(found, (R, T, s)):
            assert torch.allclose(got, expected, atol=1e-9)


def test_alignment_mirrors_only_when_it_may() -> None:
    points = random(1, 20, 3)
    mirrored = points * torch.tensor([-1.0, 1, 1])
    assert torch.det(ops.corresponding_points_alignment(points, mirrored).R).item() == pytest.approx(1)
    assert torch.det(ops.corresponding_points_alignment(points, mirrored, allow_reflection=True).R).item() < 0


def test_icp_of_clouds_of_different_sizes() -> None:
    clouds = p3d.Pointclouds([random(30, 3), random(20, 3, seed=1)])
    shift = torch.tensor([0.05, -0.02, 0.03]).double()
    solution = ops.iterative_closest_point(clouds, clouds.offset(shift.expand(50, 3)))
    assert solution.converged
    assert isinstance(solution.Xt, p3d.Pointclouds)
    assert torch.allclose(solution.RTs.T, shift.expand(2, 3), atol=1e-9)
    assert solution.rmse is not None
    assert solution.rmse.max().item() < 1e-9


@pytest.mark.parametrize("mode", ["centers", "extrinsics"])
def test_cameras_are_aligned(mode: str) -> None:
    R, T = p3d.look_at_view_transform(3.0, torch.arange(5.0) * 20, torch.arange(5.0) * 50)
    target = p3d.FoVPerspectiveCameras(R=R.double(), T=T.double())
    # The same cameras in a world that is turned, moved and half as large.
    turn, shift, scale = transforms.axis_angle_to_matrix(random(3)), random(3, seed=1), 0.5
    source = p3d.FoVPerspectiveCameras(R=turn @ target.R, T=scale * target.T + (shift @ turn @ target.R))
    aligned = ops.corresponding_cameras_alignment(source, target, mode=mode)
    assert torch.allclose(aligned.R, target.R, atol=1e-6)
    assert torch.allclose(aligned.T, target.T, atol=1e-6)


def test_graph_convolution_sums_neighbours() -> None:
    layer, directed = ops.GraphConv(2, 3), ops.GraphConv(2, 3, directed=True)
    directed.load_state_dict(layer.state_dict())
    rows, edges = random(4, 2).float(), torch.tensor([[0, 1], [1, 2], [0, 3]])
    adjacent = torch.zeros(4, 4)
    adjacent[edges[:, 0], edges[:, 1]] = 1
    own, others = layer.w0(rows), layer.w1(rows)
    assert torch.allclose(directed(rows, edges), own + adjacent @ others, atol=1e-6)
    assert torch.allclose(layer(rows, edges), own + (adjacent + adjacent.T) @ others, atol=1e-6)


def test_features_of_images_at_vertices() -> None:
    x = torch.linspace(-1, 1, 5).expand(1, 1, 4, 5)
    y = torch.linspace(-1, 1, 4)[:, None].expand(1, 1, 4, 5)
    points = torch.rand(1, 6, 3) * 2 - 1
    assert torch.allclose(ops.vert_align([x, y], points), points[..., :2], atol=1e-6)
    meshes = p3d.Meshes([points[0], points[0, :3]], [torch.tensor([[0, 1, 2]])] * 2)
    rows = ops.vert_align(torch.cat((x, y), 1).expand(2, -1, -1, -1), meshes, return_packed=True)
    assert torch.allclose(rows, meshes.verts_packed()[:, :2], atol=1e-6)


@pytest.mark.parametrize(("align", "low", "high"), [("topleft", -1.0, 3.0), ("corner", -1, 1), ("center", -2, 2)])
def test_cubes_of_voxels(align: str, low: float, high: float) -> None:
    """2 x 2 x 3 voxels without one at a corner: a closed surface around as many cells."""
    voxels = torch.ones(1, 3, 2, 2)
    voxels[0, 2, 1, 1] = 0.2
    mesh = ops.cubify(voxels, 0.5, align=align)
    verts, faces = mesh.verts_packed(), mesh.faces_packed()
    assert (len(verts), len(faces)) == (3 * 3 * 4 - 2, 2 * (2 * 4 + 2 * 6 + 2 * 6))
    assert (verts[:, 0].min().item(), verts[:, 0].max().item()) == (low, high)
    a, b, c = verts[faces].unbind(1)
    step = (verts.amax(0) - verts.amin(0)) / torch.tensor([2.0, 2, 3])
    volume = (a * torch.linalg.cross(b, c)).sum() / 6 / step.prod()
    assert volume.item() == pytest.approx(11)
    assert len(ops.cubify(voxels * 0, 0.5)) == 1


def test_cubes_have_colors() -> None:
    feats = torch.rand(1, 3, 1, 2, 2)
    mesh = ops.cubify(torch.ones(1, 1, 2, 2), 0.5, feats=feats, align="center")
    # Each face lies around the centre of its voxel, which is at -1 or 1 along x and y.
    middle = mesh.verts_packed()[mesh.faces_packed()].mean(1)
    expected = feats[0, :, 0, (middle[:, 1] > 0).long(), (middle[:, 0] > 0).long()].T
    assert torch.equal(mesh.textures.atlas_packed()[:, 0, 0], expected)
    with pytest.raises(ValueError, match='align="center"'):
        ops.cubify(torch.ones(1, 1, 2, 2), 0.5, feats=feats)


def test_marching_cubes() -> None:
    at = torch.linspace(-1, 1, 20).double()
    ball = 0.7 - (at[:, None, None] ** 2 + at[:, None] ** 2 + at**2).sqrt()
    (verts,), (faces,) = ops.marching_cubes(ball[None], 0.0)
    assert torch.allclose(verts.norm(dim=1), torch.full((len(verts),), 0.7).double(), atol=5e-3)
    a, b, c = verts[faces].unbind(1)
    assert (a * torch.linalg.cross(b, c)).sum().item() / 6 == pytest.approx(4 / 3 * math.pi * 0.7**3, rel=0.02)
    (rows,), _ = ops.marching_cubes(ball[None], 0.0, return_local_coords=False)
    assert torch.allclose(rows / 9.5 - 1, verts)
    (flat,), _ = ops.marching_cubes(torch.arange(3.0).expand(1, 2, 4, 3), 0.5, return_local_coords=False)
    assert flat[:, 0].unique().tolist() == [0.5]


def test_boxes_in_common() -> None:
    half = CUBE + torch.tensor([0.5, 0.25, 0])
    turned = (CUBE - 0.5) @ transforms.axis_angle_to_matrix(torch.tensor([0, 0, math.pi / 4]).double()) + 0.5
    far, small = CUBE + 5, CUBE * 0.5 + 0.25
    volume, iou = ops.box3d_overlap(CUBE[None], torch.stack((CUBE, half, turned, far, small)))
    octagon = 2 * (math.sqrt(2) - 1)  # the area that a square has in common with itself, turned by 45 degrees
    assert volume[0].tolist() == pytest.approx([1, 0.375, octagon, 0, 0.125], abs=1e-6)
    assert iou[0].tolist() == pytest.approx([1, 0.375 / 1.625, octagon / (2 - octagon), 0, 0.125], abs=1e-6)
    mirrored = CUBE * torch.tensor([-1.0, 1, 1])
    assert ops.box3d_overlap(mirrored[None], mirrored[None])[0].item() == pytest.approx(1)


def test_boxes_in_common_at_random() -> None:
    """Beside points drawn in the first box."""
    boxes = [(CUBE - 0.5) @ transforms.random_rotation().double() * 2 + random(3, seed=n) / 3 for n in range(2)]
    volume, _ = ops.box3d_overlap(boxes[0][None], boxes[1][None])
    draws = torch.rand(100000, 3, generator=torch.Generator().manual_seed(0)).double()
    sides = [box[[1, 3, 4]] - box[0] for box in boxes]
    place = (boxes[0][0] + draws @ sides[0] - boxes[1][0]) @ torch.linalg.inv(sides[1])
    share = ((place > 0) & (place < 1)).all(1).double().mean().item()
    assert volume.item() == pytest.approx(8 * share, abs=8 * 4 * 0.5 / math.sqrt(100000))


def test_taubin_smoothing_keeps_the_size() -> None:
    sphere = p3d.ico_sphere(3)
    rough = sphere.offset_verts(0.05 * random(len(sphere.verts_packed()), 3).float())
    smooth = ops.taubin_smoothing(rough)
    radius = smooth.verts_packed().norm(dim=1)
    assert radius.std().item() < 0.4 * rough.verts_packed().norm(dim=1).std().item()
    assert radius.mean().item() == pytest.approx(1, abs=0.02)


def test_glb_and_off_files(tmp_path: Path) -> None:
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    colors, faces = torch.tensor([[0.2, 0.4, 0.6]] * 3), torch.tensor([[0, 1, 2]])
    io = IO()
    io.register_meshes_format(MeshGlbFormat())
    for name in ("a.off", "a.glb"):
        io.save_mesh(p3d.Meshes([verts], [faces], TexturesVertex([colors])), tmp_path / name)
        mesh = io.load_mesh(tmp_path / name)
        assert torch.equal(mesh.verts_packed()[mesh.faces_packed()], verts[faces])
        assert torch.allclose(mesh.textures.verts_features_packed(), colors, atol=1e-2)
        assert io.load_mesh(tmp_path / name, include_textures=False).textures is None
    image = torch.rand(4, 4, 3)
    io.save_mesh(p3d.Meshes([verts], [faces], TexturesUV([image], [faces], [verts[:, :2]])), tmp_path / "b.glb")
    back = io.load_mesh(tmp_path / "b.glb").textures
    assert torch.allclose(back.maps_padded()[0], image, atol=3e-3)
    corners = back.verts_uvs_padded()[0][back.faces_uvs_padded()[0]]
    assert torch.allclose(corners, verts[faces][..., :2], atol=1e-6)


def test_figures() -> None:
    pytest.importorskip("plotly")
    from lumigrad.compat.pytorch3d.vis.plotly_vis import AxisArgs, plot_batch_individually, plot_scene

    mesh = p3d.ico_sphere(1).extend(2)
    mesh.textures = TexturesVertex(torch.rand(2, 42, 3))
    cloud = p3d.Pointclouds(torch.rand(1, 50, 3), features=torch.rand(1, 50, 3))
    cameras = p3d.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0, 3]]))
    figure = plot_scene({"one": {"mesh": mesh, "points": cloud, "camera": cameras}}, axis_args=AxisArgs(showgrid=True))
    assert [trace.name for trace in figure.data] == ["mesh", "points", "camera"]
    assert len(figure.data[0].x) == 84
    assert figure.layout.scene.xaxis.showgrid
    assert len(plot_batch_individually([mesh, cloud], viewpoint_cameras=cameras, ncols=2).data) == 4
    with pytest.raises(TypeError, match="colour"):
        plot_scene({}, colour=1)
