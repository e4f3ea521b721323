"""Path-traced scenes: another renderer's images and derivatives, agreement with the rasterizer, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracle_common import Oracle, hold, linear, needs_oracles
from torch import Tensor

from lumigrad.render import lit_scene, render, render_path
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    EnvironmentLight,
    GridMedium,
    HomogeneousMedium,
    MediumBoundary,
    Mesh,
    OrthographicCamera,
    PBRMaterial,
    PerspectiveCamera,
    PhongMaterial,
    PointCloud,
    PointLight,
    Scene,
    SpotLight,
    ThinLens,
    icosphere,
)
from lumigrad.scene.color import srgb_encode

DOUBLE = torch.float64


# ---- Another renderer's scenes -------------------------------------------------------------------------------------


@needs_oracles
@pytest.mark.parametrize(
    ("name", "depth", "samples"),
    [
        ("mi_cornell", 2, 64), ("mi_cornell", 6, 32), ("mi_light_point", 2, 64), ("mi_light_directional", 2, 64),
        ("mi_light_spot", 2, 64), ("mi_light_area", 2, 64), ("mi_medium_homogeneous", 3, 32),
        ("mi_medium_homogeneous", 32, 32),
        ("mi_medium_heterogeneous", 3, 32), ("mi_medium_heterogeneous", 32, 32),
    ],
)  # fmt: skip
def test_images_of_another_renderer(name: str, depth: int, samples: int) -> None:
    hold(*Oracle(name).scores(depth, samples))


@needs_oracles
@pytest.mark.parametrize("depth", [2, 4])
def test_environment_of_another_renderer(depth: int) -> None:
    """Where surfaces fill a pixel. Its background is averaged over pixels, ours is that of their centres."""
    oracle = Oracle("mi_env_mesh")
    z, error = oracle.scores(depth, 16)
    covered = render_path(oracle.scene, oracle.camera, 64, 1).mask[0, ..., 0].numpy() == 1
    hold(z[covered], error[covered])
    behind = render_path(oracle.scene, oracle.camera, 16, 1).mask[0, ..., 0].numpy() == 0
    assert abs((z * error)[behind].mean()) < 1e-3 * oracle.data[f"depth{depth}.image"][behind].mean()


@needs_oracles
def test_spheres_of_another_renderer() -> None:
    """Its principled ball is another material, so only pixels far from it are compared: its light is dim there."""
    oracle = Oracle("mi_spheres", subdivisions=5)
    z, error = oracle.scores(2, 32)
    columns = np.arange(z.shape[1])
    alike = (columns < 14) | (columns > 33)
    assert 0.8 < (z[:, alike] ** 2).mean() < 1.3
    assert abs((z * error)[:, alike].sum()) < 5 * np.sqrt((error[:, alike] ** 2).sum())


# ---- Its derivatives ---------------------------------------------------------------------------------------------


def _accumulated(function: Any, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of what function(seed) returns."""
    found = torch.stack([function(2000 + i) for i in range(runs)]).double()
    return found.mean(0).numpy(), (found.std(0) / math.sqrt(runs)).numpy()


@needs_oracles
def test_derivative_by_texels() -> None:
    oracle = Oracle("mi_grad_albedo_texels_depth4")
    torus = oracle.meshes["torus"]
    texels = torch.from_numpy(oracle.data["texture"])
    weight = torch.from_numpy(oracle.data["weight"])

    def slope(seed: int) -> Tensor:
        leaf = texels.clone().requires_grad_()
        material = replace(torus.materials[0], base_color_texture=srgb_encode(leaf))
        scene = replace(oracle.scene, shapes=[replace(torus, materials=(material,)), oracle.meshes["ground"]])
        loss = (weight * oracle.render(32, 4, seed, scene)).sum()
        return torch.autograd.grad(loss, leaf)[0]

    mean, error = _accumulated(slope, 16)
    given, given_error = oracle.data["prb.grad_texture"], oracle.data["prb.grad_texture_stderr"]
    z = (mean - given) / np.sqrt(error**2 + given_error**2)
    assert np.sqrt((z**2).mean()) < 1.3
    assert np.corrcoef(mean.ravel(), given.ravel())[0, 1] > 0.995
    assert abs(np.linalg.norm(mean) / np.linalg.norm(given) - 1) < 0.03


@needs_oracles
@pytest.mark.parametrize("name", ["medium_density", "medium_grid_scale"])
def test_derivative_by_extinction(name: str) -> None:
    oracle = Oracle(f"mi_grad_{name}")
    weight = torch.from_numpy(oracle.data["weight"])
    cube = oracle.meshes["cube"]
    medium = cube.materials[0].interior

    def slope(seed: int) -> Tensor:
        leaf = medium.extinction[0].clone().requires_grad_()
        material = MediumBoundary(interior=replace(medium, extinction=leaf))
        shapes = [replace(m, materials=(material,)) if m is cube else m for m in oracle.meshes.values()]
        scene = replace(oracle.scene, shapes=shapes)
        return torch.autograd.grad((weight * oracle.render(32, 8, seed, scene)).sum(), leaf)[0]

    mean, error = _accumulated(slope, 16)
    given = oracle.data["fd.scalar"]
    bound = 4 * math.hypot(error, oracle.data["fd.scalar_stderr"]) + abs(given - oracle.data["fd_half.scalar"])
    assert abs(mean - given) < bound < 0.12 * abs(given)


@needs_oracles
@pytest.mark.parametrize("name", ["light_radiance_red", "roughness_conductor"])
def test_derivative_by_one_number(name: str) -> None:
    oracle = Oracle(f"mi_grad_{name}", subdivisions=5)
    weight = torch.from_numpy(oracle.data["weight"])
    depth = oracle.text["max_depth"]
    changed = "light" if name == "light_radiance_red" else "s0"
    mesh = oracle.meshes[changed]

    def slope(seed: int) -> Tensor:
        if changed == "light":
            leaf = mesh.materials[0].emissive.clone().requires_grad_()
            material = replace(mesh.materials[0], emissive=leaf)
        else:
            leaf = torch.tensor(mesh.materials[0].roughness ** 2, requires_grad=True)  # alpha
            material = replace(mesh.materials[0], roughness=leaf.sqrt())
        shapes = [replace(m, materials=(material,)) if m is mesh else m for m in oracle.meshes.values()]
        loss = (weight * oracle.render(32, depth, seed, replace(oracle.scene, shapes=shapes))).sum()
        return torch.autograd.grad(loss, leaf)[0].reshape(-1)[0]

    mean, error = _accumulated(slope, 24)
    given = oracle.data["fd.scalar"]
    bound = 4 * math.hypot(error, oracle.data["fd.scalar_stderr"]) + abs(given - oracle.data["fd_half.scalar"])
    assert abs(mean - given) < bound
    assert bound < 0.3 * abs(given)


# benchmarks/path_gradients.py has them all, and whole images of derivatives.
MOVES = {"receiver_y": "ground", "shadow_vertex": "occluder", "cornell_box_x_depth3": "tall", "camera_z": ""}


@needs_oracles
@pytest.mark.parametrize("name", list(MOVES))
def test_derivative_by_motion(name: str) -> None:
    """Of a mesh or the camera: shading, shadows and silhouettes together, as finite differences have them."""
    oracle = Oracle(f"mi_grad_{name}")
    weight, direction = (torch.from_numpy(oracle.data[key]).float() for key in ("weight", "direction"))
    camera, moved = oracle.camera, MOVES[name]

    def slope(seed: int) -> Tensor:
        shift = torch.zeros((), requires_grad=True)
        meshes = dict(oracle.meshes)
        if moved:
            meshes[moved] = replace(meshes[moved], positions=meshes[moved].positions + shift * direction)
        else:
            back = torch.eye(4) - shift * torch.nn.functional.pad(direction[:, None], (3, 0, 0, 1))
            oracle.camera = replace(camera, world_to_camera=camera.world_to_camera @ back)
        scene = replace(oracle.scene, shapes=list(meshes.values()))
        image = oracle.render(48, oracle.text["max_depth"], seed, scene)
        return torch.autograd.grad((weight * image).sum(), shift)[0]

    mean, error = _accumulated(slope, 16)
    given = oracle.data["fd.scalar"]
    noise = 4 * math.hypot(error, oracle.data["fd.scalar_stderr"])
    assert abs(mean - given) < noise + abs(given - oracle.data["fd_half.scalar"])
    assert noise < 0.5 * abs(given)


# ---- The rasterizer -----------------------------------------------------------------------------------------------


def ball(material: Any = None) -> Mesh:
    mesh = icosphere(3)
    return mesh if material is None else replace(mesh, materials=(material,))


def camera(size: tuple[int, int] = (24, 32)) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=size)


MATERIALS = {
    "metal": PBRMaterial(base_color=(0.9, 0.6, 0.3), metallic=1.0, roughness=0.4),
    "plastic": PBRMaterial(base_color=(0.2, 0.6, 0.3), roughness=0.6),
    "phong": PhongMaterial(diffuse=torch.tensor([0.6, 0.4, 0.8]), specular=torch.zeros(3), shininess=20.0),
    "emissive": PBRMaterial(base_color=(0.2, 0.6, 0.3), emissive=(0.5, 0.1, 0.2)),
    "textured": PBRMaterial(
        base_color_texture=torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(1)), roughness=0.8
    ),
}


@pytest.mark.parametrize("name", list(MATERIALS))
def test_lamps_light_convex_shapes_as_the_rasterizer_does(name: str) -> None:
    mesh = ball(MATERIALS[name])
    if name == "textured":
        d = mesh.positions
        mesh = replace(mesh, uvs=0.5 + 0.3 * d[:, :2])
    scene = Scene(mesh, lights=[PointLight((3.0, 4.0, 2.0), color=(1.0, 0.5, 0.8), intensity=30.0)])
    traced = render_path(scene, camera(), 64, 2, tone_mapping=None)
    drawn = render(scene, camera(), supersampling=4, tone_mapping=None)
    assert (traced.mask - drawn.mask).abs().mean() < 0.01
    inside = (drawn.mask[0, ..., 0] == 1) & (traced.mask[0, ..., 0] == 1)
    assert inside.sum() > 100
    difference = (traced.color - drawn.color)[0][inside]
    assert difference.abs().mean() < 0.04 * drawn.color[0][inside].mean()
    assert (traced.depth - drawn.depth)[0][inside].abs().mean() < 0.01
    assert (traced.normals - drawn.normals)[0][inside].abs().mean() < 0.02


def test_vertex_colours_and_the_default_material() -> None:
    mesh = icosphere(2)
    mesh = replace(mesh, colors=0.6 + 0.2 * mesh.positions)  # traced, they are interpolated as linear light
    scene = Scene(mesh, lights=[DirectionalLight((0.3, 1.0, 2.0), intensity=3.0)])
    traced = render_path(scene, camera(), 64, 2, tone_mapping=None)
    drawn = render(scene, camera(), supersampling=4, tone_mapping=None)
    inside = (drawn.mask[0, ..., 0] == 1) & (traced.mask[0, ..., 0] == 1)
    assert (traced.color - drawn.color)[0][inside].abs().mean() < 0.05 * drawn.color[0][inside].mean()


def test_unlit_materials_show_their_colour() -> None:
    shot = render_path(ball(PBRMaterial(base_color=(0.2, 0.6, 0.3), unlit=True)), camera(), 2, 3, tone_mapping=None)
    inside = shot.mask[0, ..., 0] == 1
    assert torch.allclose(shot.color[0][inside], torch.tensor([0.2, 0.6, 0.3]))


# ---- Scenes and cameras -------------------------------------------------------------------------------------------


def test_depth_and_alpha_of_cameras() -> None:
    """A square that fills a known part of the image, by a perspective and an orthographic camera."""
    square = Mesh(
        torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]]),
    )
    view = torch.eye(4)
    view[2, 3] = -2.0
    perspective = PerspectiveCamera(view, 20.0, 20.0, 8.0, 8.0, (16, 16))
    orthographic = OrthographicCamera(view, 10.0, 10.0, 8.0, 8.0, (16, 16))
    for each in (perspective, orthographic):
        shot = render_path(square, each, 16, 1)
        assert abs(shot.mask.sum() - 100) < 0.5  # 10 x 10 pixels
        assert torch.allclose(shot.depth[shot.mask > 0], torch.tensor(2.0))
        assert torch.allclose(shot.normals[0, 8, 8], torch.tensor([0.0, 0.0, 1.0]))


def test_pixels_are_averaged_over_their_squares() -> None:
    """The edge of a half-plane through the middle of a column of pixels covers half of it."""
    wall = Mesh(
        torch.tensor([[-9.0, -9.0, 0.0], [0.0, -9.0, 0.0], [0.0, 9.0, 0.0], [-9.0, 9.0, 0.0]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]]),
    )
    view = torch.eye(4)
    view[2, 3] = -2.0
    mask = render_path(wall, PerspectiveCamera(view, 20.0, 20.0, 7.5, 8.0, (16, 16)), 64, 1).mask[0, ..., 0]
    assert (mask[:, :7] == 1).all()
    assert (mask[:, 8:] == 0).all()
    assert abs(mask[:, 7].mean() - 0.5) < 5 * 0.5 / math.sqrt(16 * 64)


def test_batches() -> None:
    """Images of a batch are those of single calls but for their seeds, of which each has its own."""
    several = PerspectiveCamera.orbit(torch.tensor([10.0, 80.0]), 20.0, 3.0, fov_y=45.0, size=(12, 12))
    scene = Scene(ball(), lights=[AmbientLight(intensity=torch.tensor([1.0, 2.0]))])
    shot = render_path(scene, several, 32, 2, tone_mapping=None)
    assert shot.image.shape == (2, 12, 12, 3)
    assert abs(shot.color[1].mean() / shot.color[0].mean() - 2) < 0.1
    alone = render_path(Scene(ball(), lights=[AmbientLight()]), several[0], 32, 2, tone_mapping=None)
    assert torch.equal(shot.color[:1], alone.color)
    small = replace(ball(), positions=0.5 * ball().positions)
    each = render_path([ball(), small], camera((12, 12)), 4, 2)
    assert each.mask[1].sum() < 0.5 * each.mask[0].sum()


def test_seeds() -> None:
    found = [render_path(ball(), camera(), 2, 3, seed).color for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_light_where_there_is_none() -> None:
    """The studio, as for `render`; not where something emits, and not where lights were taken away on purpose."""
    assert render_path(ball(), camera(), 2, 2).color.max() > 0.1
    glowing = render_path(ball(PBRMaterial(emissive=(0.1, 0.1, 0.1))), camera(), 2, 2, tone_mapping=None)
    assert abs(glowing.color.max() - 0.1) < 1e-6


def test_environment_as_background() -> None:
    sky = EnvironmentLight(torch.rand(6, 4, 4, 3, generator=torch.Generator().manual_seed(1)))
    shot = render_path(Scene(ball(), environment=sky, background="environment"), camera(), 2, 1, tone_mapping=linear)
    towards = camera().rays().directions
    outside = shot.mask[0, ..., 0] == 0
    assert outside.any()
    assert torch.allclose(shot.image[0][outside], sky.sample(towards)[outside])


def test_gradients_reach_the_scene() -> None:
    color = torch.tensor([0.5, 0.4, 0.3], requires_grad=True)
    image = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    metallic, roughness = torch.tensor(0.5, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    material = PBRMaterial(color, image, metallic, roughness)
    mesh = icosphere(2)
    mesh = replace(mesh, materials=(material,), uvs=mesh.positions[:, :2])
    cube = torch.rand(6, 4, 4, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    intensity = torch.tensor(2.0, requires_grad=True)
    scene = Scene(mesh, lights=[PointLight((3.0, 4.0, 2.0), intensity=intensity)], environment=EnvironmentLight(cube))
    shot = render_path(scene, camera(), 8, 3)
    shot.image.sum().backward()
    for leaf in (color, image, metallic, roughness, cube, intensity):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() > 0


def test_gradients_reach_cameras_and_shapes() -> None:
    """A textured wall that glows fills the image: by finite differences of its corners and the camera."""
    corners = torch.tensor([[-3.0, -3, 0], [3, -3, 0], [3, 3, 0], [-3, 3, 0]], dtype=DOUBLE)
    image = torch.rand(7, 7, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    material = PBRMaterial(base_color_texture=image, unlit=True)
    uvs = torch.tensor([[0.1, 0.1], [0.8, 0.2], [0.9, 0.7], [0.2, 0.8]], dtype=DOUBLE)
    view = torch.eye(4, dtype=DOUBLE)
    view[2, 3] = -2.0
    leaves = {"positions": corners, "uvs": uvs, "view": view, "focal": torch.tensor([9.0, 10.0], dtype=DOUBLE)}

    def loss(positions: Tensor, uvs: Tensor, view: Tensor, focal: Tensor) -> Tensor:
        mesh = Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs=uvs, materials=(material,))
        eye = PerspectiveCamera(view, focal[0], focal[1], 4.0, 3.0, (6, 8))
        shot = render_path(mesh, eye, 4, 1, seed=3, gradient_seed=3, tone_mapping=None)
        assert shot.mask.min() == 1
        return shot.color.square().sum()

    slopes = torch.autograd.grad(loss(**{k: v.requires_grad_() for k, v in leaves.items()}), list(leaves.values()))
    for (name, value), slope in zip(leaves.items(), slopes):
        towards = torch.randn(value.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
        if name == "view":
            towards[3] = 0
        h = 1e-6
        with torch.no_grad():
            ahead, behind = (loss(**leaves | {name: value + step * towards}) for step in (h, -h))
        expected = (slope * towards).sum()
        assert abs(expected) > 0.02
        assert abs((ahead - behind) / (2 * h) - expected) < 1e-4 * abs(expected) + 1e-4


@pytest.mark.parametrize("fade", ["cosine", "angle"])
def test_gradients_reach_places_of_lights(fade: str) -> None:
    place, axis = (torch.tensor(v, requires_grad=True) for v in ([1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]))
    inner, outer, reach = (torch.tensor(v, requires_grad=True) for v in (2.0, 30.0, 9.0))
    lamp = SpotLight(place, direction=axis, intensity=9.0, inner=inner, outer=outer, range=reach, fade=fade)
    shot = render_path(Scene(icosphere(2), lights=[lamp]), camera((12, 12)), 8, 3, tone_mapping=None)
    for slope in torch.autograd.grad(shot.color.sum(), (place, axis, inner, outer, reach)):
        assert slope.isfinite().all()
        assert slope.abs().max() > 1e-4


def test_lit_scene_shares_textures() -> None:
    image = torch.rand(4, 4, 3)
    mesh = icosphere(0)
    painted = PBRMaterial(base_color_texture=image), PBRMaterial(base_color_texture=image, roughness=0.1)
    lit = lit_scene([replace(mesh, uvs=mesh.positions[:, :2], materials=(each,)) for each in painted], [])
    assert len(lit.textures) == 1
    assert lit.kinds[:, 2].tolist() == [0, 0]
    assert lit.tri.max() == 23


# ---- What is refused ---------------------------------------------------------------------------------------------


def test_materials_that_cannot_be_traced() -> None:
    faded = replace(ball(PBRMaterial(alpha_mode="blend")), colors=torch.full((642, 4), 0.5))
    with pytest.raises(NotImplementedError, match="colors: expected no alpha of vertices"):
        render_path(faded, camera())
    mapped = PBRMaterial(normal_texture=torch.rand(2, 2, 3), second_uv_textures=("normal_texture",))
    with pytest.raises(ValueError, match="corner_second_uvs: expected coordinates"):
        render_path(ball(mapped), camera())


def test_wrong_calls() -> None:
    sky = EnvironmentLight(torch.rand(6, 2, 2, 3))
    with pytest.raises(ValueError, match="lights: expected one EnvironmentLight at most, got 2"):
        render_path(ball(), camera(), lights=[sky, sky])
    with pytest.raises(TypeError, match="camera: expected a Camera"):
        render_path(ball(), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples: expected an integer from 1"):
        render_path(ball(), camera(), 0)
    with pytest.raises(ValueError, match="seed: expected an integer from 0"):
        render_path(ball(), camera(), seed=-1)
    with pytest.raises(TypeError, match="scene: expected Mesh, got PointCloud"):
        render_path(PointCloud(torch.rand(3, 3)), camera())  # type: ignore[arg-type]
    textured = PBRMaterial(base_color_texture=torch.rand(2, 2, 3))
    with pytest.raises(ValueError, match=r"corner_uvs: expected coordinates"):
        render_path(ball(textured), camera())


def test_a_medium_that_materials_share_stays_one_when_they_are_moved() -> None:
    fog = HomogeneousMedium(extinction=(0.5, 0.5, 0.5))
    ball = icosphere(2)
    half = (torch.arange(len(ball.faces)) % 2).to(torch.int32)
    ball = replace(ball, materials=tuple(MediumBoundary(interior=fog) for _ in range(2)), face_materials=half)
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=20.0, size=(6, 6))
    here, moved = (
        render_path(mesh, camera, samples=8, lights=[AmbientLight()], background=(0, 0, 0)).image
        for mesh in (ball, ball.to("cpu"))
    )
    assert here.min() > 0.1
    torch.testing.assert_close(moved, here, rtol=0, atol=0)


def test_black_fog_is_seen_where_it_begins() -> None:
    material = MediumBoundary(interior=HomogeneousMedium(extinction=(500.0,) * 3, albedo=(0.0,) * 3))
    ball = replace(icosphere(3), materials=(material,))
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=2.0, size=(1, 1))
    shot = render_path(ball, camera, samples=64, lights=[AmbientLight()])
    assert shot.mask.item() == 1
    assert abs(shot.depth.item() - 3) < 0.02


def test_an_empty_scene_in_a_medium() -> None:
    """A box of smoke around nothing, and a mist without end: as with a triangle that nothing sees."""
    smoke = GridMedium(densities=torch.rand(3, 3, 3).requires_grad_(), extinction=2.0, albedo=0.8)
    mist = HomogeneousMedium(extinction=0.2, albedo=0.8)
    camera = PerspectiveCamera.orbit(azimuth=10.0, elevation=20.0, distance=2.0, fov_y=40.0, size=(6, 8))
    far = Mesh(torch.tensor([[0.0, 0.0, 900.0], [1.0, 0.0, 900.0], [0.0, 1.0, 900.0]]), torch.tensor([[0, 1, 2]]))
    for medium, light in ((smoke, AmbientLight()), (mist, PointLight((0.5, 1.0, 0.5)))):
        shot, other = (
            render_path(Scene(meshes, [light], medium=medium), camera, 4, 3, tone_mapping=None)
            for meshes in ([], [far])
        )
        assert torch.equal(shot.color, other.color)
        assert shot.color.max() > 0
    shot = render_path(Scene([], [AmbientLight()], medium=smoke), camera, 4, 3)
    (slope,) = torch.autograd.grad(shot.color.sum(), smoke.densities)
    assert slope.abs().max() > 0


def test_an_empty_scene_shows_its_environment() -> None:
    sky = EnvironmentLight(torch.full((6, 4, 4, 3), 0.25))
    shot = render_path(Scene([], environment=sky, background="environment"), camera(), 1, tone_mapping=None)
    assert torch.allclose(shot.image, srgb_encode(torch.full_like(shot.image, 0.25)))
    assert not shot.mask.any()


def test_gradients_beside_media_are_refused_where_there_are_none() -> None:
    """By name, and only while gradients are computed."""
    mist, seen = HomogeneousMedium(extinction=0.2, albedo=0.5), camera((4, 4))
    place = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    moved = replace(icosphere(0), positions=icosphere(0).positions.requires_grad_())
    turned = replace(seen, fx=seen.fx.clone().requires_grad_())
    lens = ThinLens(radius=torch.tensor(0.1, requires_grad=True), focus_distance=3.0)
    for what, shape, lamp, view, options in (
        ("positions, normals or texture coordinates of meshes", moved, PointLight(), seen, {}),
        ("the camera", icosphere(0), PointLight(), turned, {}),
        ("the lens", icosphere(0), PointLight(), seen, {"lens": lens}),
        ("places of lights", icosphere(0), PointLight(place), seen, {}),
    ):  # fmt: skip
        scene = Scene(shape, lights=[lamp], medium=mist)
        with pytest.raises(NotImplementedError, match=f"scene: paths through media have no gradients to {what};"):
            render_path(scene, view, 1, 2, **options)
        with torch.no_grad():
            render_path(scene, view, 1, 2, **options)


def test_nothing_has_gradients_of_zero() -> None:
    empty = Mesh(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3, dtype=torch.int64))
    camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=4.0, fov_y=20.0, size=(4, 4))
    shot = render_path(empty, camera, samples=1, lights=[PointLight((0.0, 3.0, 0.0))])
    assert (shot.mask == 0).all()
