"""Meshes, textures and the rasterizer under PyTorch3D's names, against its numbers and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from meshes import cube, icosphere, uv_sphere
from ops_common import random, scaled_error
from soft_common import Oracle
from torch import Tensor

from lumigrad.compat import pytorch3d as p3d

ORACLES = [
    f"p3d_mesh_{mesh}_{kind}"
    for mesh in ("suzanne", "spot")
    for kind in ("hard_square", "hard_wide", "soft_square", "soft_tall_affine")
]


def batch(dtype: torch.dtype = torch.float32) -> p3d.Meshes:
    """A sphere, a cube and nothing, in front of the camera, in NDC and view z."""
    sphere, box = icosphere(1), cube()
    away = torch.tensor([0.1, -0.2, 3.0])
    verts = [(sphere[0] * 0.7 + away).to(dtype), (box[0] * 0.4 + away).to(dtype), torch.zeros(0, 3, dtype=dtype)]
    return p3d.Meshes(verts, [sphere[1], box[1], torch.zeros(0, 3, dtype=torch.int64)])


# ---- Meshes -----------------------------------------------------------------------------------------------


def test_views_of_a_batch() -> None:
    meshes = batch()
    counts = meshes.num_verts_per_mesh().tolist()
    assert counts == [len(v) for v in meshes.verts_list()]
    assert len(meshes) == 3
    assert not meshes.isempty()
    assert torch.equal(meshes.verts_packed(), torch.cat(meshes.verts_list()))
    padded, faces = meshes.verts_padded(), meshes.faces_padded()
    assert padded.shape == (3, max(counts), 3)
    assert faces.shape == (3, 80, 3)
    for n, (v, f) in enumerate(zip(meshes.verts_list(), meshes.faces_list())):
        assert torch.equal(padded[n, : len(v)], v)
        assert not padded[n, len(v) :].any()
        assert torch.equal(faces[n, : len(f)], f)
        assert (faces[n, len(f) :] == -1).all()
        mine = meshes.faces_packed_to_mesh_idx() == n
        corners = meshes.verts_packed()[meshes.faces_packed()[mine]]
        assert torch.equal(corners, v[f])
        assert torch.equal(meshes.verts_packed_to_mesh_idx()[meshes.faces_packed()[mine]], torch.full_like(f, n))
    again = p3d.Meshes(verts=padded, faces=faces)
    assert all(torch.equal(a, b) for a, b in zip(again.faces_list(), meshes.faces_list()))
    assert torch.equal(again.num_faces_per_mesh(), meshes.num_faces_per_mesh())
    boxes = meshes[:2].get_bounding_boxes()
    assert torch.allclose(boxes[1].mean(1), torch.tensor([0.1, -0.2, 3.0]))


def test_indices_pick_meshes() -> None:
    meshes = batch()
    meshes.textures = p3d.TexturesVertex([v + 1 for v in meshes.verts_list()])
    picked = meshes[[1, 0, 1]]
    assert torch.equal(picked.verts_list()[2], meshes.verts_list()[1])
    assert torch.equal(picked.textures.verts_features_packed(), picked.verts_packed() + 1)
    assert len(meshes[-1]) == 1
    assert meshes[-1].isempty()
    twice = meshes[:2].extend(2)
    assert twice.num_verts_per_mesh().tolist() == [42, 42, 8, 8]
    assert len(twice.textures) == 4
    joined = p3d.join_meshes_as_batch([meshes[1], meshes[0]])
    assert torch.equal(joined.verts_packed(), meshes[[1, 0]].verts_packed())
    assert torch.equal(joined.textures.verts_features_packed(), meshes[[1, 0]].textures.verts_features_packed())
    with pytest.raises(IndexError):
        meshes[3]


def test_changes_return_another_batch() -> None:
    meshes = batch()[:2]
    before = meshes.verts_packed().clone()
    step = torch.randn(before.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    moved = meshes.offset_verts(step)
    assert torch.equal(moved.verts_packed(), before + step)
    (moved.verts_padded() * 2).sum().backward()
    assert (step.grad == 2).all()
    assert torch.equal(meshes.scale_verts(2.0).verts_packed(), 2 * before)
    scaled = meshes.scale_verts(torch.tensor([2.0, 3.0]))
    assert torch.equal(scaled.verts_list()[1], 3 * meshes.verts_list()[1])
    assert torch.equal(meshes.update_padded(meshes.verts_padded() + 1).verts_packed(), before + 1)
    assert moved.clone().verts_packed().requires_grad
    assert not moved.detach().verts_packed().requires_grad
    assert torch.equal(meshes.to("cpu").verts_packed(), before)
    assert torch.equal(meshes.verts_packed(), before)


def test_normals_and_edges() -> None:
    """Normals of a sphere point away from its middle; a closed mesh without holes has V - E + F = 2."""
    meshes = batch()[:2]
    middle = torch.tensor([0.1, -0.2, 3.0])
    outwards = torch.nn.functional.normalize(meshes.verts_list()[0] - middle, dim=1)
    assert torch.allclose(meshes.verts_normals_list()[0], outwards, atol=0.02)
    assert torch.allclose(meshes.faces_normals_packed().norm(dim=1), torch.ones(92), atol=1e-6)
    assert torch.allclose(meshes.faces_areas_packed()[80:].sum(), torch.tensor(6 * 0.8**2))
    edges, owner = meshes.edges_packed(), meshes.edges_packed_to_mesh_idx()
    assert len(edges) == 42 + 80 - 2 + 8 + 12 - 2
    assert torch.equal(owner.bincount(), torch.tensor([120, 18]))


def wrong_calls() -> dict[str, tuple[Callable[[], Any], type, str]]:
    v, f = torch.zeros(4, 3), torch.tensor([[0, 1, 2]])
    mesh = p3d.Meshes([v], [f])
    uv = torch.zeros(3, 2)
    return {
        "another count": (lambda: p3d.Meshes([v], [f, f]), ValueError, "^faces: expected 1 meshes as in verts, got 2"),
        "no vertex": (lambda: p3d.Meshes([v], [f + 2]), ValueError, "^faces: expected vertices 0 to 3 in mesh 0"),
        "one tensor": (
            lambda: p3d.Meshes(v, [f]),
            ValueError,
            "^Verts and Faces must be either a list or a tensor with shape .*got Tensor and list",
        ),
        "no tensor": (lambda: p3d.Meshes([[1.0]], [f]), TypeError, "^verts: expected tensors, got list"),
        "flat": (lambda: p3d.Meshes([v[:, :2]], [f]), ValueError, r"^verts: expected shape \[R, 3\]"),
        "offsets": (lambda: mesh.offset_verts(v[:2]), ValueError, "^vert_offsets_packed: expected shape"),
        "padded": (lambda: mesh.update_padded(v), ValueError, "^new_verts_padded: expected shape"),
        "scale": (lambda: mesh.scale_verts(torch.ones(2)), ValueError, "^scale: expected a number or"),
        "extend": (lambda: mesh.extend(0), ValueError, "^N: expected a positive integer, got 0"),
        "no textures": (lambda: mesh.sample_textures(None), ValueError, "^Meshes does not have textures"),
        "features": (lambda: p3d.TexturesVertex(v), ValueError, "^Expected verts_features to be of shape"),
        "padding": (
            lambda: p3d.TexturesUV([torch.zeros(2, 2, 3)], [f], [uv], padding_mode="wrap"),
            ValueError,
            "^padding_mode: expected one of border, zeros, reflection, got 'wrap'",
        ),
        "uvs": (
            lambda: p3d.TexturesUV([torch.zeros(2, 2, 3)], [f, f], [uv]),
            ValueError,
            "^Expected one texture map per mesh in the batch: maps: 2, got 1",
        ),
        "faces": (
            lambda: p3d.interpolate_face_attributes(torch.zeros(1, 1, 1, 1).long(), torch.zeros(1, 1, 1, 1, 3), v),
            ValueError,
            "^.*expected shape",
        ),
        "no cameras": (lambda: p3d.MeshRasterizer()(mesh), ValueError, "^Cameras must be specified .* MeshRasterizer"),
        "cameras": (
            lambda: p3d.MeshRasterizer(p3d.PerspectiveCameras(T=torch.zeros(2, 3)))(mesh),
            ValueError,
            "^Wrong number .2. of cameras for 1 meshes",
        ),
        "many": (
            lambda: p3d.rasterize_meshes(mesh, 4, faces_per_pixel=1025),
            ValueError,
            "^faces_per_pixel: expected an integer from 1 to 1024",
        ),
    }


@pytest.mark.parametrize("name", wrong_calls())
def test_wrong_calls(name: str) -> None:
    call, error, message = wrong_calls()[name]
    with pytest.raises(error, match=message):
        call()


# ---- Rasterizer ---------------------------------------------------------------------------------------------


def rasterized(oracle: Oracle) -> p3d.Fragments:
    meshes = p3d.Meshes([oracle.verts], [oracle.tri])
    return p3d.Fragments(
        *p3d.rasterize_meshes(
            meshes, oracle.size, oracle.blur, oracle.faces_per_pixel, perspective_correct=oracle.perspective,
            clip_barycentric_coords=oracle.clip, cull_backfaces=oracle.options[2],
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", ORACLES)
def test_fragments_are_pytorch3ds(name: str, shared: Path) -> None:
    """Other faces are found only at the same depth: beyond an edge, clipped weights put both of its faces there.

    Distances and weights are compared where the face is the same, in units of their largest magnitude; weights of
    thin faces are ill-conditioned in float32, hence their wider bound in PyTorch3D's numbers and ours.
    """
    oracle = Oracle(shared / "oracles" / f"{name}.npz", torch.float32)
    frags = rasterized(oracle)
    assert frags.pix_to_face.dtype == torch.int64
    expected = oracle.tensor("pix_to_face").long()[None]
    same = frags.pix_to_face == expected
    assert same.double().mean() > 0.999
    assert torch.equal(frags.pix_to_face < 0, expected < 0)
    assert torch.allclose(frags.zbuf[0], oracle.tensor("zbuf"), rtol=1e-5, atol=0)
    for value, key, bound in ((frags.dists, "dists", 1e-4), (frags.bary_coords, "bary", 2e-4)):
        assert scaled_error(value[same], oracle.tensor(key)[None][same]) < bound
        assert (value[expected < 0] == -1).all()


@pytest.mark.parametrize("name", [name for name in ORACLES if "hard" in name or "affine" in name])
def test_gradients_are_pytorch3ds(name: str, shared: Path) -> None:
    """End to end, through NDC x, y and view z. Where another face was found (at the same depth, see above), its
    vertices and those of PyTorch3D's are left out: gradients go to other vertices there.

    The blurred perspective oracles are held against the kernels' gradients in tests/ops/test_soft.py, which leaves
    out the faces for which PyTorch3D's limit on a denominator is at work.
    """
    oracle = Oracle(shared / "oracles" / f"{name}.npz", torch.float64)
    frags = rasterized(oracle)
    expected_faces = oracle.tensor("pix_to_face").long()[None]
    hit = expected_faces >= 0
    loss = sum(
        (value * oracle.tensor(f"grad_{key}")[None] * (hit[..., None] if value.ndim == 5 else hit)).sum()
        for value, key in ((frags.zbuf, "zbuf"), (frags.dists, "dists"), (frags.bary_coords, "bary"))
    )
    (grad,) = torch.autograd.grad(loss, oracle.verts)
    expected = oracle.tensor("grad_verts")
    other = frags.pix_to_face != expected_faces
    touched = torch.cat((frags.pix_to_face[other], expected_faces[other])).unique()
    usable = torch.ones(len(grad), dtype=torch.bool)
    usable[oracle.tri.long()[touched[touched >= 0]].flatten()] = False
    assert usable.double().mean() > 0.97
    assert scaled_error(grad[usable], expected[usable]) < 1e-3
    scale = expected[usable].abs()
    close = (grad - expected)[usable].abs() <= 1e-3 * scale + 1e-6 * scale.max()
    assert close.double().mean() > 0.998


@pytest.mark.parametrize("perspective", [True, False])
def test_a_batch_is_its_meshes(perspective: bool) -> None:
    """Bit for bit, with packed face numbers; the empty mesh shows nothing."""
    meshes = batch()
    options: dict[str, Any] = {"perspective_correct": perspective, "clip_barycentric_coords": True, "z_clip_value": 0.1}
    together = p3d.rasterize_meshes(meshes, (20, 28), 0.01, 5, **options)
    first = meshes.mesh_to_faces_packed_first_idx()
    for n in range(3):
        alone = p3d.rasterize_meshes(meshes[n], (20, 28), 0.01, 5, **options)
        number = torch.where(alone[0] >= 0, alone[0] + first[n], -1)
        assert torch.equal(together[0][n], number[0])
        for a, b in zip(alone[1:], together[1:]):
            assert torch.equal(a[0], b[n])
    assert (together[0][2] == -1).all()
    assert (together[0][:2] >= 0).any(-1).sum() > 200


@pytest.mark.parametrize("perspective", [True, False])
def test_gradcheck(perspective: bool) -> None:
    """All outputs of the rasterizer pass gradcheck with respect to x, y and z of two triangles."""
    verts = torch.tensor(
        [
            [-0.63, -0.52, 2.0],
            [0.71, -0.43, 2.5],
            [0.13, 0.77, 3.0],
            [-0.91, 0.31, 1.5],
            [0.47, 0.63, 3.5],
            [0.23, -0.93, 4.0],
        ],
        dtype=torch.float64,
        requires_grad=True,
    )
    tri = torch.tensor([[0, 1, 2], [3, 4, 5]])

    def run(v: Tensor) -> tuple[Tensor, ...]:
        return p3d.rasterize_meshes(
            p3d.Meshes([v], [tri]), (5, 6), 0.02, 2,
            perspective_correct=perspective, clip_barycentric_coords=True, z_clip_value=0.1,
        )[1:]  # fmt: skip

    assert torch.autograd.gradcheck(run, verts, eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("distance", [1e-3, 1.0, 1e3])
def test_a_wall_has_its_depth_at_any_distance(distance: float) -> None:
    verts = torch.tensor([[-3.0, -3, 1], [3, -3, 1], [3, 3, 1], [-3, 3, 1]]) * torch.tensor([1.0, 1.0, distance])
    wall = torch.tensor([[0, 1, 2], [0, 2, 3]])
    for perspective in (True, False):
        found, zbuf, bary, _ = p3d.rasterize_meshes(
            p3d.Meshes([verts, verts * torch.tensor([1, 1, 2.0])], [wall, wall]), 8, 0.0, 1,
            perspective_correct=perspective,
        )  # fmt: skip
        assert ((found >= 0).sum((1, 2, 3)) == 64).all()
        assert torch.allclose(zbuf[..., 0], torch.tensor([distance, 2 * distance]).view(2, 1, 1), rtol=1e-5)
        assert torch.allclose(bary.sum(-1), torch.ones(()), atol=1e-5)


def test_faces_behind_the_camera() -> None:
    """A floor that begins behind the eye is cut with perspective; without, its fragments in front are seen."""
    floor = torch.tensor([[-4.0, -1, -1], [4.0, -1, -1], [0.0, -1, 9]])
    ndc = torch.cat((floor[:, :2] / floor[:, 2:], floor[:, 2:]), 1)
    options = {"perspective_correct": True, "z_clip_value": 0.1}
    found, zbuf, *_ = p3d.rasterize_meshes(p3d.Meshes([ndc], [torch.tensor([[0, 1, 2]])]), 16, 0.0, 1, **options)
    # z = 1 / (-y) on the floor.
    rows = 1 - (2 * torch.arange(16) + 1) / 16
    seen_at = found[0, :, :, 0] >= 0
    assert seen_at.any()
    expected = (-1 / rows)[:, None].expand(16, 16)
    assert torch.allclose(zbuf[0, ..., 0][seen_at], expected[seen_at], rtol=1e-4)
    assert not seen_at[:8].any()
    behind = p3d.Meshes([ndc * torch.tensor([1.0, 1.0, -1.0])], [torch.tensor([[0, 1, 2]])])
    assert (p3d.rasterize_meshes(behind, 4, perspective_correct=True, z_clip_value=20.0)[0] == -1).all()


@pytest.mark.parametrize("perspective", [True, False])
def test_nothing_to_see(perspective: bool) -> None:
    """No meshes, a mesh without faces, and faces with corners that are not finite."""
    bad = torch.tensor([[0.0, 0, 1], [1, 0, math.nan], [0, 1, 1], [math.inf, 1, 1]])
    for meshes in (
        p3d.Meshes([], []),
        p3d.Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)]),
        p3d.Meshes([bad], [torch.tensor([[0, 1, 2], [0, 2, 3]])]),
    ):
        found, zbuf, bary, dists = p3d.rasterize_meshes(meshes, (3, 4), 0.1, 2, perspective_correct=perspective)
        assert found.shape == zbuf.shape == dists.shape == (len(meshes), 3, 4, 2)
        assert bary.shape == (*found.shape, 3)
        assert all((value == -1).all() for value in (found, zbuf, bary, dists))


def test_a_corner_in_the_eye_gives_no_nan() -> None:
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 3], [0, 1, 3]], requires_grad=True)
    meshes = p3d.Meshes([verts], [torch.tensor([[0, 1, 2]])])
    raster = p3d.MeshRasterizer(p3d.FoVPerspectiveCameras(), p3d.RasterizationSettings(8, 0.1, 2))
    frags = raster(meshes)
    (grad,) = torch.autograd.grad(sum(value.sum() for value in (frags.zbuf, frags.bary_coords, frags.dists)), verts)
    assert grad.isfinite().all()


def test_module_is_function_of_projected_meshes() -> None:
    positions, tri = uv_sphere(8, 12)
    R, T = p3d.look_at_view_transform(3.0, torch.tensor([10.0, 40.0]), torch.tensor([20.0, -60.0]))
    cameras = p3d.FoVPerspectiveCameras(R=R, T=T)
    meshes = p3d.Meshes([positions], [tri]).extend(2)
    settings = p3d.RasterizationSettings(image_size=(24, 36), blur_radius=1e-3, faces_per_pixel=3)
    rasterizer = p3d.MeshRasterizer(cameras, settings)
    frags = rasterizer(meshes)
    for n in range(2):
        verts = torch.cat(
            (
                cameras[n].transform_points(positions)[..., :2],
                cameras[n].get_world_to_view_transform().transform_points(positions)[..., 2:],
            ),
            -1,
        )
        expected = p3d.rasterize_meshes(
            p3d.Meshes([verts], [tri]), (24, 36), 1e-3, 3,
            perspective_correct=True, clip_barycentric_coords=True, z_clip_value=0.5,
        )  # fmt: skip
        same = frags.pix_to_face[n] == torch.where(expected[0][0] >= 0, expected[0][0] + n * len(tri), -1)
        assert same.double().mean() > 0.999
        assert torch.allclose(frags.zbuf[n], expected[1][0], atol=1e-5)
    pixels = p3d.PerspectiveCameras(20.0, ((18.0, 12.0),), R, T, in_ndc=False)
    assert (rasterizer(meshes, cameras=pixels).pix_to_face >= 0).any()


# ---- Textures -----------------------------------------------------------------------------------------------


def quad_fragments(uv: Tensor, image: Tensor, **options: Any) -> Tensor:
    """The texture [H, W, C] as sampled on one triangle whose corners have coordinates uv [3, 2], at its first one."""
    textures = p3d.TexturesUV(image[None], [torch.tensor([[0, 1, 2]])], [uv], **options)
    frags = p3d.Fragments(
        torch.zeros(1, 1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, 1),
        torch.tensor([1.0, 0, 0]).reshape(1, 1, 1, 1, 3), torch.zeros(1, 1, 1, 1),
    )  # fmt: skip
    return textures.sample_textures(frags)[0, 0, 0, 0]


def test_texture_coordinates_point_up_from_texel_centres() -> None:
    image = torch.arange(12.0).reshape(3, 4, 1)
    for uv, expected in (((0.0, 0.0), 8.0), ((1.0, 1.0), 3.0), ((0.5, 0.5), 5.5), ((1 / 3, 1.0), 1.0), ((-2, 3), 0.0)):
        corners = torch.tensor([uv, (0.0, 0.0), (1.0, 1.0)])
        assert torch.allclose(quad_fragments(corners, image), torch.tensor([expected]), atol=1e-5)
    corner = torch.tensor([[1.0 / 8, 1 / 6], [0, 0], [0, 0]])
    assert torch.allclose(quad_fragments(corner, image, align_corners=False), torch.tensor([8.0]), atol=1e-5)
    assert quad_fragments(torch.tensor([[-2.0, 0], [0, 0], [0, 0]]), image, padding_mode="zeros") == 0


def test_textures_of_different_sizes() -> None:
    """Each mesh keeps its own map; gradients reach the maps, and vertex colours are mixed by the weights."""
    meshes = batch()[:2]
    maps = [torch.full((4, 6, 3), 0.25).requires_grad_(), torch.full((5, 5, 3), 0.5).requires_grad_()]
    uvs = [random(len(v), 2) for v in meshes.verts_list()]
    meshes.textures = p3d.TexturesUV(maps, meshes.faces_list(), uvs)
    frags = p3d.Fragments(*p3d.rasterize_meshes(meshes, 16, faces_per_pixel=2, perspective_correct=True))
    colors = meshes.sample_textures(frags)
    seen = frags.pix_to_face >= 0
    for n, value in enumerate((0.25, 0.5)):
        assert torch.allclose(colors[n][seen[n]], torch.tensor(value))
    (colors * seen[..., None]).sum().backward()
    assert torch.allclose(torch.stack([m.grad.sum() for m in maps]), 3.0 * seen.sum((1, 2, 3)), rtol=1e-4)
    positions = p3d.TexturesVertex(meshes.verts_list()).sample_textures(frags, meshes.faces_packed())
    assert torch.allclose(positions[..., 2][seen], frags.zbuf[seen], atol=1e-5)
    assert not positions[~seen].any()


def test_oracle_is_read_as_written(shared: Path) -> None:
    """The oracle's own barycentrics give its depths, which the tests above assume."""
    data = np.load(shared / "oracles" / "p3d_mesh_spot_hard_square.npz")
    found = torch.tensor(data["pix_to_face"]).long()
    corners = torch.tensor(data["verts_ndc_xy_view_z"])[:, 2][torch.tensor(data["faces"]).long()][..., None]
    depth = p3d.interpolate_face_attributes(found[None], torch.tensor(data["bary"])[None], corners)[0, ..., 0]
    assert torch.allclose(depth[found >= 0], torch.tensor(data["zbuf"])[found >= 0], rtol=1e-5)
