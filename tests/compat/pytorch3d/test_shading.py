"""Lights, shaders, blending, losses and files under PyTorch3D's names, against its numbers and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from meshes import cube, icosphere
from ops_common import random, scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad.compat import pytorch3d as p3d
from lumigrad.compat.pytorch3d.renderer.mesh.rasterize_meshes import _clip_positions

SHADED = [
    f"{mesh}_{kind}"
    for mesh in ("spot", "suzanne")
    for kind in ("hard_phong_dir", "soft_phong_point", "soft_silhouette")
]


class Shaded:
    """One of PyTorch3D's shaded images, and the same by our renderer."""

    def __init__(self, name: str, shared: Path, dtype: torch.dtype) -> None:
        self.data = data = np.load(shared / "oracles" / f"p3d_shade_{name}.npz")
        self.dtype = dtype
        self.verts = self.tensor("verts").requires_grad_()
        colors = p3d.TexturesVertex([self.tensor("vertex_colors")])
        self.meshes = p3d.Meshes([self.verts], [torch.tensor(data["faces"])], colors)
        cameras = p3d.FoVPerspectiveCameras(R=self.tensor("R")[None], T=self.tensor("T")[None], fov=float(data["fov"]))
        sigma = float(data["sigma"])
        params = p3d.BlendParams(sigma, float(data["gamma"]), data["background"].tolist())
        blur, faces = (0.0, 1) if "hard" in name else (sigma * math.log(1 / 1e-4 - 1), 20)
        self.rasterizer = p3d.MeshRasterizer(cameras, p3d.RasterizationSettings(64, blur, faces))
        light, materials = self.tensor("light")[None], p3d.Materials(shininess=float(data["shininess"]))
        shader: torch.nn.Module
        if "silhouette" in name:
            shader = p3d.SoftSilhouetteShader(params)
        elif "hard" in name:
            lights: Any = p3d.DirectionalLights(direction=light)
            shader = p3d.HardPhongShader("cpu", cameras, lights, materials, params)
        else:
            shader = p3d.SoftPhongShader("cpu", cameras, p3d.PointLights(location=light), materials, params)
        self.renderer = p3d.MeshRenderer(self.rasterizer, shader)

    def tensor(self, name: str) -> Tensor:
        return torch.tensor(self.data[name]).to(self.dtype)

    @torch.no_grad()
    def beyond_horizon(self) -> Tensor:
        """Vertices of faces that some pixel in their blur sees beyond their horizon."""
        meshes = self.rasterizer.transform(self.meshes).detach()
        found = self.rasterizer(self.meshes).pix_to_face
        tri = meshes.faces_packed()
        pos = _clip_positions(meshes.verts_packed(), (64, 64), 0.5)
        raw = lg.reference.soft_attributes(pos[None], tri, found.int(), True, False)
        return tri[found[(found >= 0) & ((raw.bary.sum(-1) - 1).abs() > 0.1)]].unique()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHADED)
def test_images_are_pytorch3ds(name: str, dtype: torch.dtype, shared: Path) -> None:
    case = Shaded(name, shared, dtype)
    image = case.renderer(case.meshes)[0]
    # The soft colours have fewer digits in float32: depths are divided by gamma = 1e-4, and nearly equal ones decide.
    differ = (image - case.tensor("image")).abs().amax(-1) > 1e-4
    assert differ.double().mean() <= (1e-3 if dtype == torch.float32 and "soft_phong" in name else 0)


@pytest.mark.parametrize("name", SHADED)
def test_image_gradients_are_pytorch3ds(name: str, shared: Path) -> None:
    """End to end, in units of the largest gradient.

    Left out of the soft colours are the vertices of faces seen so edge-on that some pixel in their blur lies beyond
    their horizon. PyTorch3D limits a denominator there and its gradient ignores the limit: it reaches two million
    where all others are below a hundred.
    """
    case = Shaded(name, shared, torch.float64)
    (grad,) = torch.autograd.grad((case.renderer(case.meshes)[0] * case.tensor("grad_image")).sum(), case.verts)
    expected, usable = case.tensor("grad_verts"), torch.ones(len(grad), dtype=torch.bool)
    if "soft_phong" in name:
        usable[case.beyond_horizon()] = False
    assert (~usable).sum() < 40
    assert scaled_error(grad[usable], expected[usable]) < 1e-3


# ---- Lights -----------------------------------------------------------------------------------------------


def test_light_in_closed_form() -> None:
    normals, points = torch.tensor([[[0.0, 0, 2]]]), torch.tensor([[[1.0, 0, 0]]])
    point = p3d.PointLights(location=((1.0, 3.0, 4.0),), diffuse_color=((1.0, 0.5, 0.25),))
    assert torch.allclose(point.diffuse(normals, points)[0, 0], torch.tensor([0.8, 0.4, 0.2]))
    # The mirrored light goes to (0, -0.6, 0.8): seen from there at full strength, from above with cos^n.
    for eye, cosine in (((1.0, -6.0, 8.0), 1.0), ((1.0, 0.0, 5.0), 0.8), ((1.0, 8.0, 5.9), 0.0)):
        shine = point.specular(normals, points, torch.tensor([eye]), 3.0)
        assert torch.allclose(shine, torch.full((1, 1, 3), 0.2 * cosine**3), atol=1e-6)
    assert not point.specular(-normals, points, torch.tensor([[1.0, 6.0, -8.0]]), 3.0).any()
    sun = p3d.DirectionalLights(direction=((0.0, 6.0, 8.0),))
    assert torch.allclose(sun.diffuse(normals, points), torch.full((1, 1, 3), 0.24))
    assert not p3d.AmbientLights().diffuse(normals, points).any()
    with pytest.raises(ValueError, match=r"non-broadcastable sizes .2, 2, 1, 3"):
        p3d.PointLights(torch.zeros(2, 3), torch.zeros(2, 3), location=torch.zeros(3, 3))


def test_highlights_have_gradients_where_they_begin() -> None:
    """With exponents below one as well: zero, not NaN, where there is none."""
    normals = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]], requires_grad=True)
    shine = p3d.PointLights(location=((0.0, 0.0, 1.0),)).specular(normals, torch.zeros(1, 3, 3), torch.eye(3)[:1], 0.5)
    (grad,) = torch.autograd.grad(shine.sum(), normals)
    assert grad.isfinite().all()


def scene(views: int = 1) -> tuple[p3d.Meshes, Any]:
    positions, tri = icosphere(2)
    meshes = p3d.Meshes([positions], [tri], p3d.TexturesVertex([0.5 + 0.5 * positions])).extend(views)
    R, T = p3d.look_at_view_transform(2.7, 10.0, torch.arange(views) * 50.0)
    return meshes, p3d.FoVPerspectiveCameras(R=R, T=T)


@pytest.mark.parametrize(
    "shader", ["HardPhongShader", "SoftPhongShader", "HardGouraudShader", "SoftGouraudShader", "HardFlatShader"]
)
def test_shaders_agree_on_a_fine_sphere(shader: str) -> None:
    """Inside the outline all of them are near (ambient + diffuse) texture + specular at the sphere itself."""
    positions, tri = icosphere(4)
    meshes = p3d.Meshes([positions], [tri], p3d.TexturesVertex([0.5 + 0.5 * positions]))
    _, cameras = scene()
    lights, materials = p3d.PointLights(location=((1.0, 2.0, 3.0),)), p3d.Materials(shininess=4.0)
    raster = p3d.MeshRasterizer(cameras, p3d.RasterizationSettings(48))
    params = p3d.BlendParams(sigma=1e-9)
    render = p3d.MeshRendererWithFragments(
        raster, getattr(p3d, shader)(cameras=cameras, lights=lights, materials=materials, blend_params=params)
    )
    image, frags = render(meshes)
    seen = frags.pix_to_face[0, ..., 0] >= 0
    corners = positions[tri.long()]
    points = p3d.interpolate_face_attributes(frags.pix_to_face, frags.bary_coords, corners)[0, :, :, 0][seen]
    points = torch.nn.functional.normalize(points, dim=-1)
    light = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, 3.0]) - points, dim=-1)
    cosine = (points * light).sum(-1, keepdim=True)
    view = torch.nn.functional.normalize(cameras.get_camera_center() - points, dim=-1)
    mirrored = (view * (2 * cosine * points - light)).sum(-1, keepdim=True).clamp(min=0) * (cosine > 0)
    expected = (0.5 + 0.3 * cosine.clamp(min=0)) * (0.5 + 0.5 * points) + 0.2 * mirrored**4
    assert (image[0][seen][:, :3] - expected).abs().mean() < 0.01
    assert torch.allclose(image[0][~seen], torch.tensor([1.0, 1.0, 1.0, 0.0]))
    assert (image[0][seen][:, 3] > 0.99).double().mean() > 0.97


def test_one_light_and_camera_for_each_mesh() -> None:
    meshes, cameras = scene(2)
    lights = p3d.PointLights(location=torch.tensor([[2.0, 0, 2], [0, 3, 0]]))
    raster = p3d.MeshRasterizer(cameras, p3d.RasterizationSettings(20, 1e-3, 4))
    for make in (p3d.SoftPhongShader, p3d.HardFlatShader, p3d.SoftGouraudShader):
        both = p3d.MeshRenderer(raster, make(cameras=cameras, lights=lights))(meshes)
        for n in range(2):
            light = p3d.PointLights(location=lights.location[n : n + 1])
            alone = p3d.MeshRenderer(raster, make(cameras=cameras))(meshes[n], cameras=cameras[n], lights=light)
            assert torch.allclose(both[n], alone[0], atol=1e-4)


def test_poses_of_a_call_move_the_camera_for_all() -> None:
    """R and T apply to visibility and to highlights, and remain set in the cameras, as in PyTorch3D."""
    meshes, cameras = scene(2)
    shiny = p3d.Materials(shininess=5.0)
    raster = p3d.MeshRasterizer(p3d.FoVPerspectiveCameras(), p3d.RasterizationSettings(24))
    render = p3d.MeshRenderer(raster, p3d.HardPhongShader(cameras=p3d.FoVPerspectiveCameras(), materials=shiny))
    posed = render(meshes_world=meshes, R=cameras.R, T=cameras.T)
    assert torch.equal(posed, render(meshes, cameras=cameras))
    assert (posed[0] - posed[1]).abs().max() > 0.1
    assert torch.equal(raster.cameras.R, cameras.R)
    T = cameras.T.clone().requires_grad_()
    (grad,) = torch.autograd.grad(render(meshes, R=cameras.R, T=T)[..., :3].sum(), T)
    assert (grad.abs().amax(1) > 0).all()


def test_gouraud_needs_vertex_colors() -> None:
    meshes, cameras = scene()
    meshes.textures = p3d.TexturesUV(torch.zeros(1, 2, 2, 3), [meshes.faces_packed()], [torch.zeros(162, 2)])
    with pytest.raises(ValueError, match=r"TexturesVertex for Gouraud shading, got TexturesUV"):
        p3d.MeshRenderer(p3d.MeshRasterizer(cameras), p3d.HardGouraudShader(cameras=cameras))(meshes)


# ---- Blending -------------------------------------------------------------------------------------------------


def test_blending_in_closed_form() -> None:
    """Two faces, one pixel, then a pixel without any."""
    frags = p3d.Fragments(
        torch.tensor([[3, 5], [-1, -1]]).reshape(1, 1, 2, 2),
        torch.tensor([[2.0, 4.0], [-1, -1]]).reshape(1, 1, 2, 2),
        torch.zeros(1, 1, 2, 2, 3),
        torch.tensor([[0.01, -0.02], [-1, -1]]).reshape(1, 1, 2, 2),
    )
    colors = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[9, 9, 9], [9, 9, 9]]]).reshape(1, 1, 2, 2, 3)
    params = p3d.BlendParams(0.01, 0.5, (0.2, 0.4, 0.6))
    p = [1 / (1 + math.exp(1)), 1 / (1 + math.exp(-2))]
    alpha = 1 - (1 - p[0]) * (1 - p[1])
    near = [(11 - 2) / 10, (11 - 4) / 10]
    w = [p[0], p[1] * math.exp((near[1] - near[0]) / 0.5)]
    behind = math.exp((1e-10 - near[0]) / 0.5)
    mixed = [(w[k] if k < 2 else 0) + behind * b for k, b in enumerate((0.2, 0.4, 0.6))]
    soft = p3d.softmax_rgb_blend(colors, frags, params, 1.0, torch.tensor([11.0]))
    expected = torch.tensor([*(m / (w[0] + w[1] + behind) for m in mixed), alpha])
    assert torch.allclose(soft[0, 0, 0], expected, atol=1e-6)
    assert torch.allclose(soft[0, 0, 1], torch.tensor([0.2, 0.4, 0.6, 0.0]))
    assert torch.allclose(p3d.sigmoid_alpha_blend(colors, frags, params)[0, 0, 0], torch.tensor([1.0, 0, 0, alpha]))
    hard = p3d.hard_rgb_blend(colors, frags, params)
    assert torch.equal(hard[0, 0], torch.tensor([[1.0, 0, 0, 1], [0.2, 0.4, 0.6, 0]]))


# ---- Losses -----------------------------------------------------------------------------------------------


def test_blending_takes_what_it_needs() -> None:
    """Blending needs only some fields of fragments: programs with their own fragments leave the others empty."""
    dists, zbuf = random(1, 4, 5, 3) * 1e-4, 1 + random(1, 4, 5, 3)
    colors, bary, empty = random(1, 4, 5, 3, 3), torch.full((1, 4, 5, 3, 3), 1 / 3), torch.empty(0)
    faces, params = torch.arange(3).expand(1, 4, 5, 3), p3d.BlendParams()
    whole = SimpleNamespace(pix_to_face=faces, bary_coords=bary, zbuf=zbuf, dists=dists)
    part = SimpleNamespace(pix_to_face=faces, bary_coords=empty, zbuf=zbuf, dists=dists)
    silhouette = SimpleNamespace(pix_to_face=faces, bary_coords=empty, zbuf=empty, dists=dists)
    assert torch.equal(p3d.softmax_rgb_blend(colors, part, params), p3d.softmax_rgb_blend(colors, whole, params))
    alpha = p3d.sigmoid_alpha_blend(colors, silhouette, params)
    assert torch.equal(alpha, p3d.sigmoid_alpha_blend(colors, whole, params))


def test_losses_of_a_cube_and_a_sphere() -> None:
    """A cube has 12 right angles and 6 flat diagonals; the mean is over meshes, whatever their sizes."""
    box, ball = cube(), icosphere(1)
    one, both = p3d.Meshes([box[0]], [box[1]]), p3d.Meshes([box[0], ball[0]], [box[1], ball[1]])
    assert torch.allclose(p3d.mesh_normal_consistency(one), torch.tensor(12 / 18), atol=1e-6)
    assert torch.allclose(p3d.mesh_edge_loss(one, 2.0), torch.tensor(6 / 18 * (8**0.5 - 2) ** 2), atol=1e-6)
    for loss in (p3d.mesh_edge_loss, p3d.mesh_normal_consistency, p3d.mesh_laplacian_smoothing):
        expected = (loss(both[0]) + loss(both[1])) / 2
        assert torch.allclose(loss(both), expected, rtol=1e-5)
    flipped = p3d.Meshes([box[0]], [torch.cat((box[1][:5].flip(1), box[1][5:]))])
    assert torch.allclose(p3d.mesh_normal_consistency(flipped), torch.tensor(12 / 18), atol=1e-6)


def test_three_faces_at_an_edge_are_three_pairs() -> None:
    angles = torch.tensor([0.0, math.pi / 3, math.pi])
    apexes = torch.stack((angles.cos(), angles.sin(), torch.zeros(3)), 1)
    verts = torch.cat((torch.tensor([[0.0, 0, -1], [0, 0, 1]]), apexes))
    fan = p3d.Meshes([verts], [torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])])
    # Dihedral angles of 60, 120 and 180 degrees; flat costs nothing.
    expected = sum(1 + math.cos(a) for a in (math.pi / 3, 2 * math.pi / 3, math.pi)) / 3
    assert torch.allclose(p3d.mesh_normal_consistency(fan), torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize("method", ["uniform", "cot"])
def test_laplacian_smoothing_against_matrices(method: str) -> None:
    verts, tri = icosphere(1, 1.0)
    verts = (verts + 0.1 * random(*verts.shape)).double()
    weight = torch.zeros(len(verts), len(verts), dtype=torch.float64)
    for face in tri.tolist():
        for k in range(3):
            at, b, c = face[k], face[(k + 1) % 3], face[(k + 2) % 3]
            u, v = verts[b] - verts[at], verts[c] - verts[at]
            angle = torch.arccos((u @ v) / u.norm() / v.norm())
            both = 1 / angle.tan() if method == "cot" else torch.tensor(0.5, dtype=torch.float64)
            weight[b, c] += both
            weight[c, b] += both
    expected = (weight @ verts / weight.sum(1, keepdim=True) - verts).norm(dim=1).mean()
    got = p3d.mesh_laplacian_smoothing(p3d.Meshes([verts], [tri]), method)
    assert torch.allclose(got, expected, rtol=1e-9)
    with pytest.raises(ValueError, match=r"one of uniform, cot, cotcurv, got 'nearest'"):
        p3d.mesh_laplacian_smoothing(p3d.Meshes([verts], [tri]), "nearest")


@pytest.mark.parametrize(
    "loss", [p3d.mesh_edge_loss, p3d.mesh_normal_consistency, p3d.mesh_laplacian_smoothing], ids=lambda f: f.__name__
)
def test_losses_gradcheck(loss: Callable[[p3d.Meshes], Tensor]) -> None:
    verts, tri = icosphere(0)
    verts = (verts + 0.1 * random(*verts.shape)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: loss(p3d.Meshes([v], [tri])), verts)
    point = torch.zeros(3, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(p3d.mesh_edge_loss(p3d.Meshes([point], [torch.tensor([[0, 1, 2]])])), point)
    assert not grad.any()


# ---- Meshes to begin with -----------------------------------------------------------------------------------


def test_sphere() -> None:
    ball = p3d.ico_sphere(2)
    assert ball.num_faces_per_mesh().tolist() == [320]
    assert ball.num_verts_per_mesh().tolist() == [162]
    assert torch.allclose(ball.verts_packed().norm(dim=1), torch.ones(162))
    assert ((ball.faces_normals_packed() * ball.verts_packed()[ball.faces_packed()].mean(1)).sum(1) > 0).all()


def test_files(tmp_path: Path) -> None:
    """A textured square of two triangles: v is up, and its upper left corner has the image's."""
    from PIL import Image

    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)).save(
        tmp_path / "i.png"
    )
    (tmp_path / "m.mtl").write_text("newmtl paint\nKd 1 1 1\nmap_Kd i.png\n")
    (tmp_path / "square.obj").write_text(
        "mtllib m.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "usemtl paint\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    verts, faces, aux = p3d.load_obj(tmp_path / "square.obj")
    assert torch.equal(verts[faces.verts_idx][..., :2], 2 * aux.verts_uvs[faces.textures_idx] - 1)
    assert aux.texture_images["paint"].shape == (2, 2, 3)
    meshes = p3d.load_objs_as_meshes([tmp_path / "square.obj"] * 2)
    R, T = p3d.look_at_view_transform(2.0, 0.0, 0.0)
    cameras = p3d.FoVOrthographicCameras(R=R, T=T)
    shader = p3d.HardPhongShader(cameras=cameras, lights=p3d.AmbientLights())
    image = p3d.MeshRenderer(p3d.MeshRasterizer(cameras, p3d.RasterizationSettings(64)), shader)(meshes)
    corners = image[1, ::63, ::63, :3]
    assert torch.allclose(corners, meshes.textures.maps_list()[1], atol=0.03)
    white = p3d.load_objs_as_meshes([tmp_path / "square.obj"], load_textures=False)
    assert white.textures is None
