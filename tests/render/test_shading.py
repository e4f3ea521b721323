"""Shaders on points made by hand, against formulas; and Phong shading against another renderer's image."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import threads

from lumigrad.render import Surface, render
from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.render.shading import SHADERS, flat, gouraud, pbr, pbr_terms, phong, phong_terms, unlit
from lumigrad.scene import (
    AmbientLight,
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    DirectionalLight,
    EnvironmentLight,
    Material,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PhongMaterial,
    PointLight,
    icosphere,
)

F64 = torch.float64
CAMERA = PerspectiveCamera.orbit(torch.tensor(0.0, dtype=F64), 0.0, 3.0, 40.0, (8, 8))


def points(count: int, material: PBRMaterial | PhongMaterial, seed: int = 0, **fields: torch.Tensor) -> Surface:
    generator = torch.Generator().manual_seed(seed)
    position, normal, view = torch.randn(3, count, 3, generator=generator, dtype=F64)
    normal, view = torch.nn.functional.normalize(normal, dim=-1), torch.nn.functional.normalize(view, dim=-1)
    normal = normal * (normal * view).sum(-1, keepdim=True).sign()
    return Surface(position, normal, normal, view, material, **fields)  # type: ignore[arg-type]


def color(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def test_phong_formula() -> None:
    material = PhongMaterial(
        ambient=color(0.9, 0.8, 0.7), diffuse=color(0.5, 0.6, 0.7), specular=color(0.3, 0.2, 0.1), shininess=7.0,
        emissive=color(0.01, 0.02, 0.03),
    )  # fmt: skip
    surface = points(200, material)
    lights = [
        AmbientLight((0.5, 0.5, 0.5)),
        DirectionalLight((0.3, 1.0, 0.2), (0.3, 0.4, 0.5), 1.5, specular=(0.2, 0.1, 0.3)),
        PointLight((1.0, 2.0, 0.0), (0.7, 0.6, 0.5), 2.0),
    ]
    found = phong(surface, lights, CAMERA)
    sunny, lit = 0, torch.nn.functional.normalize(color(0.3, 1.0, 0.2), dim=0)
    for k in range(200):
        n, v, p = surface.normal[k], surface.view[k], surface.position[k]
        to_lamp = color(1.0, 2.0, 0.0) - p
        expected = material.ambient * 0.5 + material.emissive
        for towards, strength, highlight in (
            (lit, 1.5 * color(0.3, 0.4, 0.5), 1.5 * color(0.2, 0.1, 0.3)),
            (to_lamp / to_lamp.norm(), *[2 * color(0.7, 0.6, 0.5) / to_lamp.square().sum()] * 2),
        ):
            cosine = float(n @ towards)
            if cosine > 0:
                sunny += 1
                mirrored = max(0.0, float(v @ (2 * cosine * n - towards)))
                expected = expected + material.diffuse * strength * cosine
                expected = expected + material.specular * highlight * mirrored**7
        # Numbers given as floats pass through float32.
        torch.testing.assert_close(found[k], expected, atol=1e-6, rtol=1e-6)
    assert 100 < sunny < 300


def test_phong_image_and_gradients_against_another_renderer(shared: Path) -> None:
    with np.load(shared / "oracles" / "p3d_shade_spot_hard_phong_dir.npz") as file:
        data = {name: torch.tensor(file[name]) for name in file.files}
    positions = data["verts"].double().requires_grad_()
    # Its camera space has x to the left and z inwards, and matrices act on rows.
    flip = torch.diag(torch.tensor([-1.0, 1, -1], dtype=F64))
    view = torch.eye(4, dtype=F64)
    view[:3, :3], view[:3, 3] = flip @ data["R"].double().T, flip @ data["T"].double()
    camera = PerspectiveCamera.from_fov(float(data["fov"]), (64, 64), view)
    material = PhongMaterial(shininess=float(data["shininess"]))
    mesh = Mesh(positions, data["faces"].long(), colors=data["vertex_colors"].double(), materials=(material,))
    sun = DirectionalLight(data["light"], (0.3, 0.3, 0.3), specular=(0.2, 0.2, 0.2))
    lights = [AmbientLight((0.5, 0.5, 0.5)), sun]
    shot = render(mesh, camera, None, "phong", lights, background=data["background"], antialias=False)
    assert torch.equal(shot.mask[0, ..., 0], data["image"][..., 3].double())
    torch.testing.assert_close(shot.image[0], data["image"][..., :3].double(), atol=1e-4, rtol=0)
    (shot.image[0] * data["grad_image"][..., :3]).sum().backward()
    assert positions.grad is not None
    expected = data["grad_verts"].double()
    error, size = (positions.grad - expected).norm(dim=-1), expected.norm(dim=-1)
    # Where snapping to 1/256 pixel puts a pixel's centre just outside its triangle, clamped weights have no gradient:
    # one such pixel, two vertices.
    assert int((error > 1e-3 * size.clamp_min(0.5)).sum()) <= 3
    assert float(error.sort().values[:-3].norm()) < 1e-4 * float(expected.norm())


def test_white_lambertian_surface_facing_the_light() -> None:
    # Without highlights: f0 of a black surface is 4 %, so take what a white one has more than a black one.
    one = torch.ones(1, 3, dtype=F64)
    up = torch.tensor([[0.0, 0, 1]], dtype=F64)
    lights = [DirectionalLight((0.0, 0.0, 1.0), intensity=math.pi)]
    materials = [PBRMaterial(base_color=c * torch.ones(3, dtype=F64), roughness=1.0) for c in (1.0, 0.0)]
    white, black = (pbr(Surface(one, up, up, up, material), lights, CAMERA) for material in materials)
    torch.testing.assert_close(white - black, 0.96 * one, atol=1e-6, rtol=0)


@pytest.mark.parametrize("light", [AmbientLight(), EnvironmentLight(torch.ones(6, 16, 16, 3, dtype=F64))])
def test_furnace(light: AmbientLight | EnvironmentLight) -> None:
    for metallic in (0.0, 1.0):
        for roughness in (0.1, 0.5, 1.0):
            for albedo in (1.0, 0.5):
                material = PBRMaterial(
                    base_color=torch.full((3,), albedo, dtype=F64), metallic=metallic, roughness=roughness
                )
                shown = pbr(points(100, material), [light], CAMERA)
                assert shown.max() <= 1 + 1e-4
                if metallic == 0 and albedo == 1:
                    # What microfacets do not reflect, a white base does: all of it comes back.
                    torch.testing.assert_close(shown, torch.ones(100, 3, dtype=F64), atol=1e-4, rtol=0)
    # The diffuse part is exactly the albedo: irradiance over pi of white light is 1.
    surface = points(100, PBRMaterial())
    torch.testing.assert_close(light.diffuse(surface.normal), torch.ones(100, 3, dtype=F64), rtol=1e-12, atol=0)


def test_textures_and_factors_multiply() -> None:
    uv = torch.tensor([[0.5, 0.5]], dtype=F64)
    flat_texture = {
        name: torch.tensor(value, dtype=F64).expand(2, 2, -1)
        for name, value in (
            ("base_color_texture", (0.5, 0.6, 0.7, 0.8)),
            ("metallic_roughness_texture", (0.0, 0.4, 0.9)),
            ("occlusion_texture", (0.3, 0.0, 0.0)),
            ("emissive_texture", (0.2, 0.4, 0.6)),
        )
    }
    material = PBRMaterial(
        base_color=color(0.9, 0.8, 0.7, 0.5), metallic=0.5, roughness=0.75, occlusion_strength=0.5,
        emissive=color(1.0, 2.0, 3.0), **flat_texture,
    )  # fmt: skip
    surface = points(1, material, uv=uv, color=color(0.5, 1.0, 1.0)[None])
    terms = pbr_terms(surface)
    expected = color(0.9, 0.8, 0.7) * srgb_decode(color(0.5, 0.6, 0.7)) * srgb_decode(color(0.5, 1.0, 1.0))
    torch.testing.assert_close(terms.base_color[0], expected)
    assert float(terms.metallic) == pytest.approx(0.45)
    assert float(terms.roughness) == pytest.approx(0.3)
    assert float(terms.occlusion) == pytest.approx(0.65)
    torch.testing.assert_close(terms.emissive[0], color(1.0, 2.0, 3.0) * srgb_decode(color(0.2, 0.4, 0.6)))
    torch.testing.assert_close(unlit(surface, [], CAMERA)[0], srgb_encode(expected))


def test_materials_of_one_kind_in_the_other_kinds_shader() -> None:
    surface = points(3, PhongMaterial(diffuse=color(0.2, 0.4, 0.6), shininess=30.0))
    terms = pbr_terms(surface)
    torch.testing.assert_close(terms.base_color[0], srgb_decode(color(0.2, 0.4, 0.6)))
    assert float(terms.roughness[0] ** 4) == pytest.approx(2 / 32)
    back = phong_terms(points(3, PBRMaterial(base_color=terms.base_color[0], roughness=terms.roughness[0, 0])))
    torch.testing.assert_close(back.diffuse[0], color(0.2, 0.4, 0.6))
    assert float(back.shininess[0]) == pytest.approx(30)


def test_decoding_comes_before_filtering() -> None:
    texture = torch.tensor([[[0.0], [1.0]]], dtype=F64).expand(1, 2, 3)
    surface = points(1, PBRMaterial(base_color_texture=texture), uv=torch.tensor([[0.5, 0.5]], dtype=F64))
    torch.testing.assert_close(pbr_terms(surface).base_color, torch.full((1, 3), 0.5, dtype=F64))


@pytest.mark.parametrize("name", ["pbr", "phong"])
def test_gradients(name: str) -> None:
    """Of geometry, material, lights and environment at once, by finite differences."""
    base = points(3, PBRMaterial())
    cube = torch.rand(6, 2, 2, 3, generator=torch.Generator().manual_seed(2), dtype=F64)

    def shade(position, normal, view, base_color, metallic, roughness, lamp, texels):
        if name == "pbr":
            material = PBRMaterial(base_color=base_color, metallic=metallic, roughness=roughness, emissive=base_color)
        else:
            material = PhongMaterial(diffuse=base_color, specular=base_color, shininess=3 + metallic + roughness)
        lights = [EnvironmentLight(texels), PointLight(lamp, (1.0, 0.5, 0.2), 2.0)]
        return SHADERS[name](Surface(position, normal, view, view, material), lights, CAMERA)

    metallic, roughness = torch.tensor([0.3, 0.5], dtype=F64)
    parameters = [color(0.6, 0.4, 0.3), metallic, roughness, color(1.0, 2.0, 1.5), cube]
    inputs = [base.position, base.normal, base.view, *parameters]
    with threads(1):
        assert torch.autograd.gradcheck(shade, [value.clone().requires_grad_() for value in inputs])


def test_highlights_of_any_exponent_have_finite_gradients() -> None:
    surface = points(50, PhongMaterial(shininess=torch.tensor(0.5, dtype=F64, requires_grad=True)))
    normal = surface.normal.clone().requires_grad_()
    made = Surface(surface.position, normal, normal, surface.view, surface.material)
    phong(made, [DirectionalLight((0.3, 1.0, 0.2))], CAMERA).sum().backward()
    assert normal.grad is not None
    assert normal.grad.isfinite().all()


def test_points_made_by_hand_cannot_be_shaded_at_vertices() -> None:
    surface = points(1, PBRMaterial())
    with pytest.raises(ValueError, match=r"surface\.patch"):
        gouraud(surface, [], CAMERA)
    with pytest.raises(ValueError, match=r"surface\.center"):
        flat(surface, [], CAMERA)


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        (DiffuseMaterial(base_color=(0.2, 0.5, 0.8)), PBRMaterial(base_color=(0.2, 0.5, 0.8), roughness=1.0)),
        (
            ConductorMaterial(eta=(0.2, 0.9, 1.1), k=(3.9, 2.4, 2.1), roughness=0.4),
            PBRMaterial(base_color=(0.951, 0.616, 0.502), metallic=1.0, roughness=0.4),
        ),
        (DielectricMaterial(roughness=0.3), PBRMaterial(roughness=0.3)),
    ],
)
def test_what_the_rasterizer_makes_of_physical_materials(material: Material, expected: Material) -> None:
    """Matt surfaces, metals and glass are drawn as the metallic-roughness materials that come nearest."""
    camera = PerspectiveCamera.orbit(30.0, 20.0, 3.0, fov_y=45.0, size=(12, 16))
    images = [render(replace(icosphere(2), materials=(each,)), camera).image for each in (material, expected)]
    assert torch.allclose(*images, atol=2e-3)
