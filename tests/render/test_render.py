"""The scene renderer: closed forms, batches bit for bit, transparency, buffers, backgrounds, image gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import threads

from lumigrad.io import load_mesh
from lumigrad.render import Rendering, Surface, render, render_mesh
from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.scene import (
    AmbientLight,
    DirectionalLight,
    EnvironmentLight,
    Light,
    Lighting,
    Mesh,
    Meshes,
    OrthographicCamera,
    PBRMaterial,
    PerspectiveCamera,
    PhongMaterial,
    PointLight,
    Scene,
    studio,
)
from lumigrad.scene.shapes.procedural import creature, icosphere

CLEAR = {"supersampling": 1, "antialias": False}
BUFFERS = ("depth", "normals", "uv", "primitive_ids", "shape_ids")


def panel(z: float, color: tuple[float, ...], size: float = 4.0, **material: object) -> Mesh:
    """A square at depth z that faces +z, of one unlit colour (with alpha)."""
    corners = size * torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    positions = torch.cat([corners, torch.full((4, 1), z)], 1)
    linear = (*srgb_decode(torch.tensor(color[:3])).tolist(), *color[3:])
    made = PBRMaterial(base_color=torch.tensor(linear), **material)  # type: ignore[arg-type]
    return Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(made,))


def facing(size: tuple[int, int] = (8, 8), distance: float = 2.0) -> PerspectiveCamera:
    return PerspectiveCamera.orbit(0.0, 0.0, distance, 2 * math.degrees(math.atan(0.5)), size)


def tensors(shot: Rendering) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(shot).items() if isinstance(value, torch.Tensor)}


# ---- One call, many images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shading", ["pbr", "gouraud"])
def test_a_batch_of_different_meshes_equals_single_calls_bit_for_bit(shading: str) -> None:
    striped = icosphere(2)
    materials = (PhongMaterial(diffuse=torch.tensor([1.0, 0, 0])), PBRMaterial(metallic=1.0, alpha_mode="blend"))
    striped = replace(striped, materials=materials, face_materials=torch.arange(len(striped.faces)) % 2)
    painted = replace(icosphere(1), colors=torch.rand(42, 3, generator=torch.Generator().manual_seed(0)))
    meshes = Meshes.join([creature(3, 64), striped, painted])
    camera = PerspectiveCamera.orbit(torch.tensor([10.0, 60.0, 200.0]), 20.0, 3.5, 40.0, (32, 40))
    options = {"shading": shading, "layers": 2, "background": (0.2, 0.3, 0.4)}
    batch = tensors(render(meshes, camera, **options))
    for n in range(3):
        for scene in (Meshes.join([meshes.mesh(n)]), meshes.mesh(n)):
            single = tensors(render(scene, camera[n], **options))
            for name, value in single.items():
                if name == "shape_ids":
                    assert torch.equal(value[0] >= 0, batch[name][n] >= 0)
                else:
                    assert torch.equal(value[0], batch[name][n]), name


def test_real_meshes_in_one_batch_equal_single_calls(shared: Path) -> None:
    files = [shared / "data" / "meshes" / f"{name}.obj" for name in ("suzanne", "cow", "stanford-bunny", "teapot")]
    meshes = []
    for file in files:
        mesh = load_mesh(file)
        low, high = mesh.bounds()
        meshes.append(replace(mesh, positions=(mesh.positions - (low + high) / 2) / (high - low).max()))
    camera = PerspectiveCamera.orbit(40.0, 20.0, 2.0, 40.0, (64, 64))
    batch = tensors(render(Meshes.join(meshes), camera, shading="phong"))
    for n, mesh in enumerate(meshes):
        single = tensors(render(mesh, camera, shading="phong"))
        for name in ("color", "mask", "image", "depth", "normals", "primitive_ids"):
            assert torch.equal(single[name][0], batch[name][n]), name


def test_cameras_in_a_batch_equal_single_cameras() -> None:
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 50.0]), 10.0, 4.0, 40.0, (24, 20))
    scene = Scene([creature(2, 32), panel(-0.5, (0.9, 0.1, 0.2))], [DirectionalLight(), AmbientLight()])
    both = tensors(render(scene, camera, shading="phong"))
    for n in range(2):
        for name, value in tensors(render(scene, camera[n], shading="phong")).items():
            torch.testing.assert_close(value[0], both[name][n])
    # Culling takes another way to the same picture where nothing is seen from behind.
    closed = replace(icosphere(2), materials=(PBRMaterial(double_sided=False),))
    for name, value in tensors(render(closed, camera)).items():
        torch.testing.assert_close(value, tensors(render(replace(closed, materials=()), camera))[name])


def test_batched_lights_are_one_an_image() -> None:
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 0.0]), 10.0, 4.0, 40.0, (16, 16))
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    shot = render(icosphere(2), camera, shading="phong", lights=[AmbientLight(colors)])
    assert shot.image[0, 8, 8, 0] > 0.5 > 0 == shot.image[0, 8, 8, 1]
    torch.testing.assert_close(shot.image[0, ..., 0], shot.image[1, ..., 1])


def test_unlit_and_gouraud_agree_with_render_mesh() -> None:
    mesh, camera = icosphere(2), PerspectiveCamera.orbit(30.0, 20.0, 4.0, 35.0, (64, 64))
    mesh = replace(mesh, colors=0.5 + 0.5 * mesh.positions)
    expected = render_mesh(mesh, camera, Lighting.unlit())
    shot = render(mesh, camera, shading="unlit")
    torch.testing.assert_close(shot.mask, expected.mask)
    torch.testing.assert_close(shot.color, expected.color, atol=1e-5, rtol=0)
    # Gouraud shading without highlights is what render_mesh does.
    matt = replace(mesh, materials=(PhongMaterial(specular=torch.zeros(3)),))
    expected, shot = render_mesh(mesh, camera), render(matt, camera, shading="gouraud")
    torch.testing.assert_close(shot.color, expected.color, atol=1e-5, rtol=0)


# ---- Materials ------------------------------------------------------------------------------------------------------


def test_materials_face_by_face() -> None:
    red, blue = PhongMaterial(diffuse=torch.tensor([1.0, 0, 0])), PhongMaterial(diffuse=torch.tensor([0.0, 0, 1]))
    mesh = replace(panel(0.0, (1.0, 1.0, 1.0)), materials=(red, blue), face_materials=torch.tensor([1, 0]))
    image = render(mesh, facing(), shading="unlit").image[0]
    assert image[6, 3].tolist() == [0.0, 0.0, 1.0]  # below the diagonal from bottom left to top right
    assert image[1, 4].tolist() == [1.0, 0.0, 0.0]


def test_single_sided_materials_are_seen_from_the_front_alone() -> None:
    front = panel(0.0, (1.0, 0.5, 0.2), double_sided=False)
    back = replace(front, faces=front.faces[:, [0, 2, 1]])
    assert render(front, facing(), shading="unlit").mask.min() == 1
    assert render(back, facing(), shading="unlit").mask.max() == 0
    behind = panel(-1.0, (0.0, 0.5, 1.0), size=9.0)
    image = render(Scene([back, behind]), facing(), shading="unlit").image[0]
    torch.testing.assert_close(image, torch.tensor([0.0, 0.5, 1.0]).expand(8, 8, 3))


def test_backs_are_lit_like_fronts() -> None:
    front = panel(0.0, (0.8, 0.6, 0.4))
    back = replace(front, faces=front.faces[:, [0, 2, 1]])
    lights: list[Light] = [DirectionalLight((0.2, 0.3, 1.0)), PointLight((0.5, 0.0, 1.0))]
    for shading in ("pbr", "phong", "flat", "gouraud", "normals"):
        one, other = (render(mesh, facing(), shading=shading, lights=lights) for mesh in (front, back))
        torch.testing.assert_close(one.image, other.image)


def test_normal_maps_tilt_normals_along_the_texture() -> None:
    mesh = replace(panel(0.0, (1.0, 1.0, 1.0)), uvs=torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]]))
    mesh = replace(mesh, uv_faces=mesh.faces)
    bent = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 1.0]), dim=0)
    material = PBRMaterial(normal_texture=(0.5 + 0.5 * bent).expand(2, 2, 3))
    shot = render(replace(mesh, materials=(material,)), facing(), shading="normals")
    # u grows along +x; the texture's up, against v, is +y.
    torch.testing.assert_close(shot.normals[0], bent.expand(8, 8, 3), atol=1e-6, rtol=0)
    turned = replace(mesh, materials=(material,), faces=mesh.faces[:, [0, 2, 1]], uv_faces=mesh.faces[:, [0, 2, 1]])
    shot = render(turned, facing(), shading="normals")  # its back
    assert (shot.normals[..., 2] > 0).all()


# ---- Transparency ----------------------------------------------------------------------------------------------------


def glasses(alpha: torch.Tensor) -> list[Mesh]:
    """Three panes in front of an opaque wall, in no order; all unlit."""
    colors = [(0.9, 0.1, 0.2), (0.2, 0.8, 0.3), (0.1, 0.3, 0.9)]
    panes = [panel(z, (*c, 0.5), alpha_mode="blend") for z, c in zip((-0.4, 0.2, -0.1), colors, strict=True)]
    tinted = []
    for pane, a in zip(panes, alpha, strict=True):
        material = pane.materials[0]
        assert isinstance(material, PBRMaterial)
        color = torch.cat([material.base_color[:3], a[None]])
        tinted.append(replace(pane, materials=(replace(material, base_color=color),)))
    return [*tinted, panel(-1.0, (0.5, 0.6, 0.7), size=9.0)]


def test_transparency_against_the_closed_form() -> None:
    alpha = torch.tensor([0.3, 0.5, 0.8], requires_grad=True)
    meshes = glasses(alpha)
    shot = render(Scene(meshes), facing(), shading="unlit")
    one, two, three, wall = (srgb_encode(mesh.materials[0].base_color[:3]) for mesh in meshes)  # type: ignore[attr-defined]
    # From front to back: 1, 2, 0, wall.
    a, b, c = alpha[1], alpha[2], alpha[0]
    expected = a * two + (1 - a) * (b * three + (1 - b) * (c * one + (1 - c) * wall))
    torch.testing.assert_close(shot.image, expected.expand(1, 8, 8, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(shot.mask, torch.ones(1, 8, 8, 1))
    (slope,) = torch.autograd.grad(shot.image[0, 3, 3].sum(), alpha, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.sum(), alpha)
    torch.testing.assert_close(slope, wanted, atol=1e-4, rtol=0)
    # With fewer layers what lies behind is left out, and coverage says so.
    two_layers = render(Scene(meshes), facing(), shading="unlit", layers=2)
    torch.testing.assert_close(two_layers.mask, (1 - (1 - a) * (1 - b)).expand(1, 8, 8, 1))
    torch.testing.assert_close(two_layers.color, (a * two + (1 - a) * b * three).expand(1, 8, 8, 3), atol=1e-5, rtol=0)


def test_holes_of_masked_materials() -> None:
    front = panel(0.0, (0.2, 0.3, 0.9), size=1.0, alpha_mode="mask", alpha_cutoff=0.5)
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    texture = torch.ones(8, 8, 4)
    texture[:4, :, 3] = 0.2
    material = replace(front.materials[0], base_color_texture=texture, base_color=torch.ones(3))
    front = replace(front, uvs=uvs, uv_faces=front.faces, materials=(material,))
    back = panel(-1.0, (0.6, 0.5, 0.1), size=9.0)
    shot = render(Scene([front, back]), facing(), shading="unlit", **CLEAR)
    torch.testing.assert_close(shot.image[0, 1], torch.tensor([0.6, 0.5, 0.1]).expand(8, 3))
    torch.testing.assert_close(shot.image[0, 6], torch.ones(8, 3))
    assert shot.shape_ids[0, :, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    torch.testing.assert_close(shot.depth[0, 1, 1], torch.tensor([3.0]))
    alone = render(front, facing(), shading="unlit", background=(1.0, 0.0, 0.0), **CLEAR)
    torch.testing.assert_close(alone.image[0, 1, 1], torch.tensor([1.0, 0.0, 0.0]))
    assert alone.primitive_ids[0, 1, 1] == -1
    assert alone.depth[0, 1, 1] == 0


# ---- Sampling and compositing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3])
def test_supersampling_is_a_box_filter(factor: int) -> None:
    mesh, camera = creature(3, 64), PerspectiveCamera.orbit(30.0, 20.0, 4.0, 35.0, (20, 24))
    fine = render(mesh, camera, (20 * factor, 24 * factor), "unlit")
    shot = render(mesh, camera, shading="unlit", supersampling=factor)
    for name in ("color", "mask"):
        value = getattr(fine, name).numpy()
        blocks = value.reshape(1, 20, factor, 24, factor, -1)
        np.testing.assert_allclose(getattr(shot, name).numpy(), blocks.mean((2, 4)), atol=1e-6)
    for name in BUFFERS:
        assert torch.equal(getattr(shot, name), getattr(fine, name)[:, factor // 2 :: factor, factor // 2 :: factor])


def test_colours_behind_one_channel() -> None:
    """Depth in front of a colour of three channels: white at depth 1, that colour where nothing is."""
    camera = PerspectiveCamera.orbit(0.0, 0.0, 3.0, 45.0, (17, 19))
    plain = render(icosphere(3), camera, shading="depth")
    colored = render(icosphere(3), camera, shading="depth", background=(0.25, 0.5, 1.0))
    assert plain.image.shape == (1, 17, 19, 1)
    assert colored.image.shape == (1, 17, 19, 3)
    torch.testing.assert_close(colored.image[0, 8, 9], plain.depth[0, 8, 9].expand(3))
    assert colored.image[0, 0, 0].tolist() == [0.25, 0.5, 1.0]
    picture = torch.rand(17, 19, 3)
    behind = render(icosphere(3), camera, shading="depth", background=picture).image
    torch.testing.assert_close(behind, plain.color + (1 - plain.mask) * picture)
    with pytest.raises(ValueError, match="background: expected a number or one of"):
        render(icosphere(3), camera, shading="depth", background=torch.zeros(5, 19, 3))


def test_white_is_not_clipped_in_the_studio() -> None:
    """Whichever way a white matt surface faces, it sends back less than it could; so does a floor in `pbr`."""
    corners = torch.tensor([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]])
    floor = Mesh(corners, torch.tensor([[0, 2, 1], [0, 3, 2]]))
    seen = render(floor, PerspectiveCamera.orbit(30.0, 20.0, 4.0, 35.0, (32, 32))).straight()[0, 16, 16]
    assert 0.6 < float(seen[:3].min()) < float(seen[:3].max()) < 0.97
    light = EnvironmentLight(studio())
    normals = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert float(light.diffuse(normals).max()) < 0.8


def test_backgrounds_are_composited_in_the_space_of_the_light() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(16, 16, 3, generator=generator)
    pane = panel(0.0, (0.5, 0.5, 0.5, 0.25), size=0.5, alpha_mode="blend")
    for shading in ("unlit", "pbr"):
        shot = render(pane, facing((16, 16)), shading=shading, background=picture, layers=1)
        torch.testing.assert_close(shot.image[0, 0], picture[0], atol=1e-6, rtol=0)  # nothing there: as it is
        behind = srgb_decode(picture) if shading == "pbr" else picture
        blended = shot.color[0] + (1 - shot.mask[0]) * behind
        torch.testing.assert_close(shot.image[0], srgb_encode(blended) if shading == "pbr" else blended)
        torch.testing.assert_close(shot.over(picture), shot.image)
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    camera = PerspectiveCamera.orbit(torch.tensor([0.0, 0.0]), 0.0, 2.0, 60.0, (8, 8))
    shot = render(pane, camera, shading="unlit", background=colors)
    torch.testing.assert_close(shot.image[:, 0, 0], colors)


def test_environment_behind() -> None:
    light = EnvironmentLight(studio(32), intensity=0.5)
    camera = PerspectiveCamera.orbit(40.0, 10.0, 4.0, 60.0, (12, 16))
    scene = Scene(icosphere(2), environment=light, background="environment")
    shot = render(scene, camera)
    rays = camera.rays()[1]
    torch.testing.assert_close(shot.image[0, 0], srgb_encode(light.sample(rays))[0])
    # A mirror sphere shows at its middle what lies behind the camera.
    mirror = replace(icosphere(4), materials=(PBRMaterial(metallic=1.0, roughness=0.0),))
    shot = render(replace(scene, shapes=mirror), camera, (33, 33))
    seen = light.sample(-camera.resized((33, 33)).rays()[1][16, 16][None])[0]
    torch.testing.assert_close(shot.color[0, 16, 16], seen, atol=0.05, rtol=0.05)


def test_straight_colours() -> None:
    pane = panel(0.0, (0.2, 0.4, 0.6, 0.25), alpha_mode="blend")
    pixel = render(pane, facing(), shading="unlit").straight()[0, 4, 4]
    torch.testing.assert_close(pixel, torch.tensor([0.2, 0.4, 0.6, 0.25]))
    wide = render(panel(0.0, (0.2, 0.4, 0.6), size=0.3), facing(), shading="pbr").straight()
    assert wide.isfinite().all()
    assert wide[0, 0, 0, 3] == 0


# ---- Buffers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["perspective", "orthographic"])
def test_buffers_of_a_slanted_plane(kind: str) -> None:
    # The plane z = x / 2, u = (x + 1) / 2, v = (1 - y) / 2; the camera at z = 2 looks along -z.
    positions = torch.tensor([[-1.0, -1, -0.5], [1, -1, 0.5], [1, 1, 0.5], [-1, 1, -0.5]])
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    mesh = Mesh(positions, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs)
    camera = facing((16, 16)) if kind == "perspective" else OrthographicCamera.orbit(0.0, 0.0, 2.0, 1.9, (16, 16))
    shot = render(Scene([panel(-9.0, (1.0, 1.0, 1.0), size=0.1), mesh]), camera, shading="unlit")
    seen = shot.shape_ids == 1
    assert seen.float().mean() > 0.7
    origin, direction = camera.rays()
    travel = (origin[..., 0] / 2 - origin[..., 2]) / (direction[..., 2] - direction[..., 0] / 2)
    point = origin + travel[..., None] * direction
    torch.testing.assert_close(shot.depth[0][seen[0]][:, 0], (2 - point[..., 2])[seen[0]], atol=1e-4, rtol=0)
    expected = torch.stack([(point[..., 0] + 1) / 2, (1 - point[..., 1]) / 2], -1)
    torch.testing.assert_close(shot.uv[0][seen[0]], expected[seen[0]], atol=1e-4, rtol=0)
    normal = torch.nn.functional.normalize(torch.tensor([-0.5, 0.0, 1.0]), dim=0)
    torch.testing.assert_close(shot.normals[seen], normal.expand(int(seen.sum()), 3))
    assert set(shot.primitive_ids[seen].tolist()) == {0, 1}
    assert (shot.primitive_ids[shot.shape_ids < 0] == -1).all()
    assert shot.depth[shot.shape_ids < 0].abs().sum() == 0


def test_motion_against_projections() -> None:
    mesh, camera = creature(3, 32), PerspectiveCamera.orbit(30.0, 20.0, 3.0, 40.0, (32, 40))
    still = render(mesh, camera, shading="unlit", previous=(mesh, camera))
    assert still.motion is not None
    assert still.motion.abs().max() == 0
    before = PerspectiveCamera.orbit(33.0, 18.0, 3.1, 40.0, (32, 40))
    bent = replace(mesh, positions=mesh.positions * torch.tensor([1.0, 1.1, 0.9]) + torch.tensor([0.05, 0.0, 0.0]))
    shot = render(mesh, camera, shading="unlit", previous=(bent, before))
    rows, columns = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], -1)
    point = camera.unproject(pixels.reshape(-1, 2), shot.depth.reshape(-1))
    then = before.pixels(point * torch.tensor([1.0, 1.1, 0.9]) + torch.tensor([0.05, 0.0, 0.0])).reshape(32, 40, 2)
    seen = shot.shape_ids[0] >= 0
    torch.testing.assert_close(shot.motion[0][seen], (pixels - then)[seen], atol=2e-3, rtol=0)
    # With an odd number of samples the middle one is the pixel's centre: the same motion, in the same pixels.
    fine = render(mesh, camera, shading="unlit", previous=(bent, before), supersampling=3)
    torch.testing.assert_close(fine.motion, shot.motion, atol=2e-3, rtol=0)


def test_no_buffers() -> None:
    shot = render(icosphere(1), facing(), buffers=False)
    assert all(getattr(shot, name) is None for name in (*BUFFERS, "motion"))


# ---- Shaders of one's own, lights ------------------------------------------------------------------------------------


def test_a_shader_of_ones_own() -> None:
    lamp = AmbientLight((0.25, 0.5, 0.75))

    def position(surface: Surface, lights: list[Light], camera: PerspectiveCamera) -> torch.Tensor:
        assert camera.shape == ()
        assert lights[0].color.tolist() == [0.25, 0.5, 0.75]  # type: ignore[attr-defined]
        return torch.cat([surface.position, surface.depth], -1)

    shot = render(panel(0.0, (1.0, 1.0, 1.0)), facing(), shading=position, lights=[lamp], tone_mapping=None)
    assert shot.image.shape == (1, 8, 8, 4)
    torch.testing.assert_close(shot.image[..., 3:], shot.depth)
    with pytest.raises(ValueError, match="shading"):
        render(icosphere(0), facing(), shading=lambda surface, lights, camera: surface.position[0])


def test_every_shader_on_nothing_at_all() -> None:
    away = replace(icosphere(1), positions=icosphere(1).positions + 100)
    for shading in ("pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth"):
        shot = render(away, facing(), shading=shading, background=0.5)
        assert (shot.image - 0.5).abs().max() < 1e-6
        assert shot.mask.abs().max() == 0
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert render(empty, facing()).mask.abs().max() == 0


def test_a_vertex_that_is_not_a_number_spoils_its_triangles_alone() -> None:
    ball = icosphere(2)
    positions = ball.positions.clone()
    positions[7] = float("nan")
    camera = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 35.0, (32, 32))
    for shading in ("pbr", "gouraud", "flat"):
        meshes = [Mesh(p, ball.faces) for p in (ball.positions, positions)]
        whole, torn = (render(mesh, camera, shading=shading, layers=2) for mesh in meshes)
        assert all(value.isfinite().all() for value in tensors(torn).values())
        assert torn.mask.sum() > 0.9 * whole.mask.sum()


def test_flat_and_gouraud_against_their_definitions() -> None:
    sphere, camera = icosphere(1), PerspectiveCamera.orbit(20.0, 10.0, 4.0, 32.0, (48, 48))
    lights = [DirectionalLight((0.3, 1.0, 0.6)), AmbientLight(intensity=0.1)]
    material = PhongMaterial(specular=torch.zeros(3))
    mesh = replace(sphere, materials=(material,))
    towards = torch.nn.functional.normalize(torch.tensor([0.3, 1.0, 0.6]), dim=0)
    shot = render(mesh, camera, shading="flat", lights=lights, antialias=False)
    seen = shot.primitive_ids[0] >= 0
    normals = torch.nn.functional.normalize(sphere.face_normals(), dim=-1)
    expected = 0.1 + (normals @ towards).clamp_min(0)
    torch.testing.assert_close(shot.color[0, ..., 0][seen], expected[shot.primitive_ids[0][seen].long()])
    lit = 0.1 + (sphere.vertex_normals() @ towards).clamp_min(0)
    colored = replace(sphere, colors=lit[:, None].expand(-1, 3))
    gouraud = render(mesh, camera, shading="gouraud", lights=lights)
    plain = replace(colored, materials=(PhongMaterial(),))
    torch.testing.assert_close(gouraud.image, render(plain, camera, shading="unlit").image)


# ---- Gradients ------------------------------------------------------------------------------------------------------


def slopes(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, step: float) -> torch.Tensor:
    """Central differences of a function of a vector."""
    offsets = step * torch.eye(len(at), dtype=at.dtype)
    return torch.stack([loss(at + offset) - loss(at - offset) for offset in offsets]) / (2 * step)


@pytest.mark.parametrize("shading", ["pbr", "phong", "gouraud"])
def test_image_gradients_of_everything_against_finite_differences(shading: str) -> None:
    """Colours, roughness, lights, environment: all but geometry, which moves pixels and is checked below."""
    sphere = icosphere(2).to(torch.float64)
    camera = PerspectiveCamera.orbit(torch.tensor(20.0, dtype=torch.float64), 10.0, 3.5, 40.0, (24, 24))
    around = EnvironmentLight(torch.rand(6, 4, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))

    def loss(p: torch.Tensor) -> torch.Tensor:
        material = PBRMaterial(base_color=p[:4], roughness=p[4], metallic=p[5], alpha_mode="blend")
        lights = [PointLight(p[6:9], p[9:12], p[12]), replace(around, intensity=p[13])]
        mesh = replace(sphere, materials=(material,))
        shot = render(mesh, camera, None, shading, lights, background=p[14:17], layers=2)
        ramp = torch.linspace(0, 1, 24, dtype=torch.float64)[:, None]
        return (shot.image * ramp).sum()

    at = [0.6, 0.5, 0.4, 0.7, 0.45, 0.3, 2.0, 3.0, 2.5, 0.9, 0.7, 0.5, 8.0, 0.7, 0.3, 0.5, 0.2]
    p = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    with threads(1):
        (slope,) = torch.autograd.grad(loss(p), p)
        torch.testing.assert_close(slope, slopes(loss, p.detach(), 1e-5), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("distance", "lights", "tolerance"),
    [
        (4.0, [AmbientLight()], 0.02),
        (1.6, [DirectionalLight((0.6, 0.2, 0.4), intensity=2.0), AmbientLight(intensity=0.3)], 0.005),
    ],
    ids=["silhouette", "shading"],
)
def test_geometry_gradients_against_finite_differences(distance: float, lights: list[Light], tolerance: float) -> None:
    """A sphere that is moved and scaled, whole under uniform light, and up close under a lamp."""
    sphere = icosphere(3)
    camera = PerspectiveCamera.orbit(torch.tensor(20.0, dtype=torch.float64), 10.0, distance, 40.0, (64, 64))

    def loss(shift: torch.Tensor) -> torch.Tensor:
        mesh = Mesh(sphere.positions.double() * (1 + shift[3]) + shift[:3], sphere.faces)
        shot = render(mesh, camera, None, "pbr", lights, tone_mapping=None)
        ramp = torch.linspace(0, 1, 64, dtype=torch.float64)
        weights = torch.stack([ramp.expand(64, 64), ramp.square().expand(64, 64).T, 1 - ramp.expand(64, 64)], -1)
        return (shot.image * weights).sum()

    shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(shift), shift)
    # Images are only piecewise smooth: steps of about a pixel average over their small jumps.
    wanted = slopes(loss, shift.detach(), 0.02)
    assert (slope - wanted).norm() < tolerance * wanted.norm()


def test_gradients_of_outlines_behind_glass() -> None:
    """A ball behind a pane; its front and back, which share their rim, are layers two and three."""
    ball, pane = icosphere(3), panel(1.2, (0.2, 0.5, 0.9, 0.4), alpha_mode="blend")
    white = (PBRMaterial(),)

    def loss(shift: torch.Tensor) -> torch.Tensor:
        moved = Mesh(ball.positions.double() * 0.7 + shift, ball.faces, materials=white)
        scene = Scene([moved, pane.to(torch.float64)])
        shot = render(scene, facing((64, 64), 4.0), None, "unlit", layers=3)
        ramp = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
        return (shot.image[0] * ramp).sum()

    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(shift), shift)
    wanted = slopes(loss, shift.detach(), 0.02)
    assert wanted[0].abs() > 1
    assert (slope - wanted).norm() < 0.02 * wanted.norm()


# ---- Mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shading": "cel"}, ValueError, "shading"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"supersampling": 0}, ValueError, "supersampling"),
        ({"supersampling": True}, ValueError, "supersampling"),
        ({"layers": 0}, ValueError, "layers"),
        ({"lights": [1.0]}, TypeError, "lights"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
        ({"background": "environment", "lights": []}, ValueError, "background"),
        ({"background": "blue"}, ValueError, "background"),
        ({"background": object()}, TypeError, "background"),
        ({"previous": 3}, TypeError, "previous"),
        ({"previous": (icosphere(1), facing())}, ValueError, "previous"),
        ({"scene": 3}, TypeError, "scene"),
        ({"scene": []}, ValueError, "scene"),
        ({"scene": Scene([])}, ValueError, "scene"),
        ({"scene": [1]}, TypeError, "scene"),
        ({"camera": None}, TypeError, "camera"),
        ({"scene": [icosphere(0)] * 2, "camera": PerspectiveCamera.orbit(torch.zeros(3), 0.0, 3.0, 40.0, (4, 4))},
         ValueError, "camera"),
        ({"camera": PerspectiveCamera.from_fov(40.0, (4, 4), torch.eye(4).expand(2, 2, 4, 4))}, ValueError, "camera"),
    ],
)  # fmt: skip
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"scene": icosphere(0), "camera": facing()} | options
    with pytest.raises(error, match=message):
        render(**arguments)


def test_wrong_scenes() -> None:
    with pytest.raises(TypeError, match="shapes"):
        Scene([3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="lights"):
        Scene(icosphere(0), [3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="background"):
        Scene(icosphere(0), background="environment")
    moved = Scene(icosphere(0), [AmbientLight()], EnvironmentLight(studio(8)), "environment").to(torch.float64)
    assert moved.environment is not None
    assert moved.environment.cube.dtype == moved.meshes[0].positions.dtype == torch.float64
