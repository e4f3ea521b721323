"""Soft rasterization: against the ops called by hand, the hard renderer, batches, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ops_common import gradcheck
from render_common import (
    F64,
    camera,
    example_runs,
    facing,
    floats,
    one_image,
    orthographic,
    parameters,
    same,
    tensors,
    uniform,
)
from torch import Tensor

import lumigrad as lg
from lumigrad.render import render, render_soft
from lumigrad.render.color import srgb_encode
from lumigrad.scene import (
    DirectionalLight,
    Lighting,
    Mesh,
    Meshes,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    RadialTangentialDistortion,
    Scene,
)
from lumigrad.scene.shapes.procedural import creature, icosphere

UNLIT = {"shading": "unlit"}


def painted(level: int = 1) -> Mesh:
    ball = icosphere(level).to(F64)
    return replace(ball, colors=uniform(len(ball.positions), 3, low=0.1, high=0.9))


def test_the_example_runs() -> None:
    example_runs("lumigrad.render.soft")


@pytest.mark.parametrize("mode", ["softras", "pytorch3d"])
def test_the_op_by_hand(mode: str) -> None:
    mesh, seen, behind = painted(), camera(), uniform(2, 3, seed=3)
    options = {"sigma": 1e-3, "gamma": 1e-2, "mode": mode, "blur_radius": 0.01, "depth_range": (1.0, 9.0)}
    shot = render_soft(mesh, seen, behind, **options, **UNLIT)
    expected = lg.soft_colors(
        seen.project(mesh.positions), mesh.faces, mesh.colors, seen.size, background=behind[:, None, None], **options
    )
    torch.testing.assert_close(shot.image, expected[..., :3], atol=1e-6, rtol=0)
    torch.testing.assert_close(shot.mask, expected[..., 3:])
    torch.testing.assert_close(shot.over(behind[:, None, None]), shot.image)
    apart = (shot.transmittance - (1 - shot.mask)).abs().max()
    assert apart > 0.05  # colours and silhouettes are mixed by different rules
    straight = shot.straight()
    seen_there = shot.transmittance[..., 0] < 1
    mean = shot.color / (1 - shot.transmittance)
    torch.testing.assert_close(straight[..., :3][seen_there], mean[seen_there])


def test_silhouettes() -> None:
    mesh, seen = painted(), camera()
    shot = render_soft(mesh, seen, 0.2, sigma=1e-2, mode="silhouette")
    expected = lg.soft_silhouette(seen.project(mesh.positions), mesh.faces, seen.size, 1e-2)
    torch.testing.assert_close(shot.mask, expected)
    torch.testing.assert_close(shot.image, (0.2 + 0.8 * expected).expand(2, 20, 26, 3))
    torch.testing.assert_close(shot.mask, render_soft(mesh, seen, sigma=1e-2).mask)
    assert shot.transmittance is None


@pytest.mark.parametrize("shading", ["phong", "pbr", "flat", "gouraud", "normals", "depth"])
def test_a_hard_limit_is_the_hard_renderer(shading: str) -> None:
    """Inside of a fine mesh, far from its silhouette, every shader shows what it shows there."""
    ball, seen = icosphere(4).to(F64), facing((24, 24))
    options = {"shading": shading, "lights": [DirectionalLight((0.3, 0.5, 1.0))]}
    soft = render_soft(ball, seen, 1.0, sigma=1e-7, gamma=1e-6, **options)
    hard = render(ball, seen, background=1.0, **options)
    inside = torch.nn.functional.avg_pool2d(hard.mask[0, ..., 0][None], 5, 1, 2)[0] == 1
    assert inside.sum() > 100
    torch.testing.assert_close(
        soft.image[0][inside], hard.image[0][inside], atol=0.02 if shading == "flat" else 0.01, rtol=0
    )
    for name, value in tensors(hard).items():
        if name not in ("color", "mask", "image"):
            torch.testing.assert_close(tensors(soft)[name], value)


def test_textures_and_materials_are_looked_up_at_the_corners() -> None:
    """One square, of which two corners are at the texture's red and two at its blue half."""
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=F64)
    uvs = torch.tensor([[0.25, 0.5], [0.75, 0.5], [0.75, 0.5], [0.25, 0.5]], dtype=F64)
    image = torch.tensor([[[1.0, 0, 0], [0, 0, 1]]], dtype=F64)
    square = Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs, texture=image)
    seen = facing((16, 16), distance=2.0)
    for mesh in (square, replace(square, materials=(PBRMaterial(base_color_texture=image),), texture=None)):
        shot = render_soft(mesh, seen, sigma=1e-7, **UNLIT)
        x = (torch.arange(16, dtype=F64) + 0.5 - 8) / seen.fx * 2  # on the square
        within = x.abs() < 0.9
        part = (1 + x[within]) / 2
        expected = torch.stack([1 - part, 0 * part, part], -1)
        torch.testing.assert_close(shot.color[0, 8][within], expected, atol=1e-5, rtol=0)


def test_transparent_materials_are_opaque_here() -> None:
    glass = PBRMaterial(base_color=torch.tensor([0.2, 0.5, 0.8, 0.3]), alpha_mode="blend")
    mesh = replace(icosphere(2), materials=(glass,))
    opaque = replace(mesh, materials=(replace(glass, alpha_mode="opaque"),))
    seen = facing((12, 12), dtype=torch.float32)
    same(render_soft(mesh, seen), render_soft(opaque, seen))


def test_single_sided_materials_are_seen_from_the_front_alone() -> None:
    triangle = Mesh(torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]]))
    triangle = replace(triangle, materials=(PBRMaterial(double_sided=False),))
    back = replace(triangle, faces=triangle.faces[:, [0, 2, 1]])
    seen = PerspectiveCamera.orbit(torch.tensor([0.0, 180.0]), 0.0, 3.0, 45.0, (12, 12))
    front, behind = render_soft(triangle, seen, **UNLIT), render_soft(back, seen, **UNLIT)
    assert front.mask[0].max() > 0.9
    assert not front.mask[1].any()
    torch.testing.assert_close(behind.mask, front.mask.flip(0))
    torch.testing.assert_close(behind.image, front.image.flip(0))


# ---- Batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["softras", "silhouette"])
def test_batches_equal_single_calls(mode: str) -> None:
    single_sided = replace(icosphere(1), materials=(PBRMaterial(double_sided=False),))
    meshes = [creature(2, 32), single_sided, replace(icosphere(2), colors=torch.rand(162, 3))]
    seen = camera(dtype=torch.float32, count=3)
    behind = uniform(3, 3).float()
    for batch in (Meshes.join(meshes), meshes):
        shot = render_soft(batch, seen, behind, sigma=1e-3, mode=mode)
        for n, mesh in enumerate(batch):
            single = render_soft(mesh, seen[n], behind[n], sigma=1e-3, mode=mode)
            same(one_image(shot, n), replace(single, shape_ids=torch.where(single.primitive_ids >= 0, n, -1).int()))


def test_meshes_of_a_scene_are_seen_together() -> None:
    """As one mesh that has all of their faces."""
    left, right = painted(), painted(2)
    right = replace(right, positions=0.5 * right.positions + torch.tensor([0.7, 0.3, 0.6], dtype=F64))
    lights = [DirectionalLight((0.3, 0.5, 1.0))]
    shot = render_soft(Scene([left, right], lights, background=0.4), camera(), sigma=1e-3)
    whole = render_soft(Meshes.join([left, right]).as_scene(), camera(), 0.4, sigma=1e-3, lights=lights)
    torch.testing.assert_close(shot.image, whole.image)
    torch.testing.assert_close(shot.mask, whole.mask)
    assert set(shot.shape_ids.unique().tolist()) == {-1, 0, 1}


# ---- Gradients, types, edges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["softras", "silhouette"])
def test_gradients(mode: str) -> None:
    faces, seen = torch.tensor([[0, 1, 2], [1, 3, 2]]), camera((5, 6), count=0)
    cells = {
        **parameters(seen),
        "positions": uniform(4, 3, low=-1, seed=5).requires_grad_(),
        "colors": uniform(4, 3, low=0.1, high=0.9).requires_grad_(),
        "background": uniform(3, seed=11).requires_grad_(),
    }

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(cells, values))
        moved = replace(seen, **{name: given[name] for name in parameters(seen)})
        mesh = Mesh(given["positions"], faces, colors=given["colors"])
        shot = render_soft(
            mesh,
            moved,
            given["background"],
            sigma=0.05,
            gamma=0.1,
            mode=mode,
            depth_range=(1.0, 9.0),
            lights=Lighting(),
        )
        return floats(replace(shot, normals=None))  # which turn where a triangle is seen from behind

    assert gradcheck(run, tuple(cells.values()), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradients_of_textures() -> None:
    mesh, seen = creature(0, 4).to(F64), facing((6, 6))
    texture = uniform(4, 8, 3, low=0.1, high=0.9).requires_grad_()

    def run(image: Tensor) -> Tensor:
        return render_soft(replace(mesh, texture=image), seen, sigma=0.01, gamma=0.1, shading="unlit").image

    assert gradcheck(run, (texture,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_linear_light_is_encoded_at_last() -> None:
    options = {"shading": "pbr", "sigma": 1e-3, "lights": [DirectionalLight((0.3, 0.5, 1.0))]}
    shot = render_soft(painted(), camera(), **options)
    torch.testing.assert_close(shot.image, srgb_encode(shot.color))
    torch.testing.assert_close(render_soft(painted(), camera(), tone_mapping=None, **options).image, shot.color)


def test_types_projections_and_lenses() -> None:
    for dtype in (torch.float32, F64):
        shot = render_soft(icosphere(1).to(dtype), camera(dtype=dtype))
        assert all(value.dtype == dtype for value in floats(shot))
    assert render_soft(painted(), orthographic((12, 12))).mask.max() > 0.9
    bent = replace(facing((12, 12)), distortion=RadialTangentialDistortion(0.1))
    assert render_soft(painted(), bent).mask.max() > 0.9


def test_nothing_and_a_single_pixel() -> None:
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    for scene, count in ((empty, 1), ([empty, icosphere(1)], 2)):
        shot = render_soft(scene, facing((4, 5), dtype=torch.float32), (0.1, 0.2, 0.3))
        assert shot.image.shape == (count, 4, 5, 3)
        torch.testing.assert_close(shot.image[0], torch.tensor([0.1, 0.2, 0.3]).expand(4, 5, 3))
        assert not shot.mask[0].any()
    assert render_soft(painted(), facing((1, 1))).image.shape == (1, 1, 1, 3)


def test_without_buffers() -> None:
    shot = render_soft(painted(), camera(), buffers=False)
    assert tensors(shot).keys() == {"color", "mask", "image", "transmittance"}
    torch.testing.assert_close(shot.image, render_soft(painted(), camera()).image)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scene": 3}, TypeError, "scene"),
        ({"scene": []}, ValueError, "scene"),
        ({"scene": PointCloud(torch.zeros(1, 3))}, TypeError, "scene: expected Mesh, got PointCloud"),
        ({"camera": None}, TypeError, "camera"),
        ({"scene": [icosphere(0)] * 3}, ValueError, "camera"),
        ({"mode": "hard"}, ValueError, "mode"),
        ({"sigma": 0.0}, ValueError, "sigma"),
        ({"gamma": -1.0}, ValueError, "gamma"),
        ({"blur_radius": -1.0}, ValueError, "blur_radius"),
        ({"depth_range": 3.0}, TypeError, "depth_range"),
        ({"shading": "cel"}, ValueError, "shading"),
        ({"lights": [1.0]}, TypeError, "lights"),
        ({"tone_mapping": "film"}, ValueError, "tone_mapping"),
        ({"background": torch.zeros(5)}, ValueError, "background"),
        ({"background": "environment"}, ValueError, "background"),
    ],
)
def test_wrong_arguments(options: dict, error: type[Exception], message: str) -> None:
    arguments = {"scene": icosphere(0), "camera": camera(dtype=torch.float32)} | options
    with pytest.raises(error, match=message):
        render_soft(**arguments)
