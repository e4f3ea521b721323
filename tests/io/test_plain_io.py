"""Meshes without materials look as the materials of their file do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lumigrad.io import FileWarning, load_mesh, save_mesh
from lumigrad.io._problems import Notes
from lumigrad.io.geometry import plain as module
from lumigrad.io.geometry.plain import plain
from lumigrad.render import render, render_mesh
from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.scene import Lighting, Mesh, PBRMaterial, PerspectiveCamera, PhongMaterial

CAMERA = PerspectiveCamera.orbit(0.0, 0.0, 4.0, 35.0, (192, 192))


def squares(count: int, uvs: Any = None) -> Mesh:
    """Squares side by side, with texture coordinates each."""
    corners = torch.tensor([[0.0, 0, 0], [0.9, 0, 0], [0.9, 0.9, 0], [0, 0.9, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    own = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    positions = torch.cat([corners + torch.tensor([i - count / 2, -0.45, 0]) for i in range(count)]) * (2.0 / count)
    coordinates = torch.cat([own if uvs is None else own * torch.tensor(uvs[i]) for i in range(count)])
    return Mesh(
        positions,
        torch.cat([faces + 4 * i for i in range(count)]),
        coordinates,
        face_materials=torch.arange(count).repeat_interleave(2) if count > 1 else None,
        materials=tuple(PBRMaterial() for _ in range(count)),
    )


def image(seed: int, channels: int = 3, size: tuple[int, int] = (16, 24)) -> Tensor:
    return torch.rand(*size, channels, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


def smooth_image(seed: int) -> Tensor:
    """Periodic, and without detail that is lost on the screen, where averages of linear light and of colours differ."""
    v, u = torch.meshgrid(torch.arange(256) / 256, torch.arange(192) / 192, indexing="ij")
    phase = torch.arange(3.0) + seed
    return 0.5 + 0.2 * torch.sin(6.2832 * u[..., None] + phase) + 0.2 * torch.cos(6.2832 * v[..., None] - 2 * phase)


def looks_alike(mesh: Mesh, atol: float = 0.02) -> Mesh:
    """Compare the plain mesh, without light, with the mesh in its materials."""
    bare = plain(mesh, Notes(Path("x")))
    assert bare.materials == ()
    ours = render_mesh(bare, CAMERA, Lighting.unlit())
    theirs = render(mesh, CAMERA, shading="unlit")
    torch.testing.assert_close(ours.color, theirs.color, atol=atol, rtol=0)
    torch.testing.assert_close(ours.mask, theirs.mask, atol=atol, rtol=0)
    return bare


def test_factors_and_textures_in_one_atlas() -> None:
    """Factors multiply linear light; the atlas keeps images of any size and what repeats."""
    textured = PBRMaterial(base_color=torch.tensor([0.5, 1, 0.25]), base_color_texture=smooth_image(0))
    phong = PhongMaterial(
        diffuse=torch.tensor([0.5, 1, 0.25]), ambient=torch.ones(3), diffuse_texture=textured.base_color_texture
    )
    solid = PBRMaterial(base_color=torch.tensor([0.0, 0.216, 1.0]))
    mesh = replace(squares(3), materials=(textured, phong, solid))
    bare = looks_alike(mesh)
    assert bare.texture is not None
    assert bare.colors is None
    assert len(bare.positions) == 12
    tiled = replace(squares(3, [(3.0, 2.0), (1.0, 1.0), (0.5, 0.5)]), materials=(textured, phong, solid))
    moved = replace(tiled, uvs=tiled.uvs + torch.tensor([7.3, -4.6]))  # type: ignore[operator]
    looks_alike(moved, atol=0.06)


def test_one_factor_is_a_vertex_colour() -> None:
    factor = torch.tensor([0.216, 0.5, 0.0])
    bare = looks_alike(replace(squares(1), materials=(PBRMaterial(base_color=factor),)))
    assert bare.texture is None
    assert bare.colors is not None
    torch.testing.assert_close(bare.colors[0], torch.tensor([0.5029, 0.7354, 0.0]), atol=1e-3, rtol=0)


def test_what_only_glows_shows_its_emission() -> None:
    black = torch.zeros(3)
    lamp = PBRMaterial(base_color=black, emissive=torch.tensor([0.0, 4.0, 0.216]))
    bare = plain(replace(squares(1), materials=(lamp,)), Notes(Path("x")))
    torch.testing.assert_close(bare.colors[0], torch.tensor([0.0, 1.0, 0.5029]), atol=1e-3, rtol=0)  # type: ignore[index]
    screen = PBRMaterial(base_color=black, emissive=torch.ones(3), emissive_texture=image(0))
    torch.testing.assert_close(plain(replace(squares(1), materials=(screen,)), Notes(Path("x"))).texture, image(0))


def test_vertex_colours_stay() -> None:
    colors = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    factor = torch.tensor([0.5, 0.25, 1.0])
    mesh = replace(squares(1), materials=(PBRMaterial(base_color=factor),), colors=colors)
    bare = plain(mesh, Notes(Path("x")))
    torch.testing.assert_close(bare.colors, srgb_encode(srgb_decode(colors) * factor))
    white = plain(replace(mesh, materials=(PBRMaterial(),)), Notes(Path("x")))
    torch.testing.assert_close(white.colors, colors)
    bare = plain(replace(mesh, materials=(PBRMaterial(base_color_texture=image(0)),)), Notes(Path("x")))
    torch.testing.assert_close(bare.colors, colors)
    torch.testing.assert_close(bare.texture, image(0))


@pytest.mark.parametrize("mode", ["mask", "blend"])
@pytest.mark.parametrize("count", [1, 2])
def test_alpha(mode: str, count: int) -> None:
    holes = torch.cat([image(0), (torch.arange(24) % 8 < 4).float().expand(16, 24)[..., None] * 0.7], -1)
    holes = holes.repeat_interleave(8, 0).repeat_interleave(8, 1)
    leaf: Any = PBRMaterial(base_color_texture=holes, alpha_mode=mode)
    mesh = replace(squares(count), materials=(leaf, PBRMaterial())[:count])
    bare = plain(mesh, Notes(Path("x")))
    assert bare.texture is not None
    assert bare.texture.shape[-1] == 4
    ours, theirs = render_mesh(bare, CAMERA, Lighting.unlit()), render(mesh, CAMERA, shading="unlit")
    difference = (ours.mask - theirs.mask).abs()
    assert difference.mean() < 0.02  # masks of a filtered alpha and filtered masks differ at the rims alone
    inside = theirs.mask.mean()
    assert 0.15 < inside < 0.35
    opaque = plain(
        replace(mesh, materials=tuple(replace(m, alpha_mode="opaque") for m in mesh.materials)), Notes(Path("x"))
    )
    assert opaque.texture is not None
    assert opaque.texture.shape[-1] == 3


def test_what_lies_behind_a_hole_is_seen() -> None:
    """A red pane, the right half of which is cut out, in front of a green one."""
    pane = torch.tensor([1.0, 0, 0, 1]).repeat(32, 32, 1)
    pane[:, 16:, 3] = 0
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    mesh = Mesh(
        torch.cat([corners, corners - torch.tensor([0, 0, 0.1])]), torch.cat([faces, faces + 4]), torch.cat([uvs, uvs]),
        materials=(PBRMaterial(base_color_texture=pane, alpha_mode="mask"), PBRMaterial(base_color=(0.0, 1.0, 0.0))),
        face_materials=torch.tensor([0, 0, 1, 1]),
    )  # fmt: skip
    shot = render_mesh(plain(mesh, Notes(Path("x"))), CAMERA, Lighting.unlit())
    torch.testing.assert_close(shot.color[0, 96, 72], torch.tensor([1.0, 0, 0]), atol=0.02, rtol=0)
    torch.testing.assert_close(shot.color[0, 96, 120], torch.tensor([0.0, 1, 0]), atol=0.02, rtol=0)


def test_alpha_is_lit_as_what_is_opaque() -> None:
    bare = plain(replace(squares(1), materials=(PBRMaterial(base_color_texture=image(0)),)), Notes(Path("x")))
    assert bare.texture is not None
    layered = replace(bare, texture=torch.cat([bare.texture, torch.ones_like(bare.texture[..., :1])], -1))
    a, b = render_mesh(bare, CAMERA), render_mesh(layered, CAMERA)
    torch.testing.assert_close(a.color, b.color, atol=1e-4, rtol=0)


def test_atlases_that_would_be_too_large_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_ATLAS", 2**12)
    mesh = replace(squares(2), materials=tuple(PBRMaterial(base_color_texture=smooth_image(i)) for i in range(2)))
    notes = Notes(Path("x"))
    bare = plain(mesh, notes)
    assert bare.texture is not None
    assert bare.texture.shape[0] * bare.texture.shape[1] < 3 * 2**12
    with pytest.warns(FileWarning, match=r"2 materials share one texture, at 0\.20 of the resolution"):
        notes.warn()
    ours = render_mesh(bare, CAMERA, Lighting.unlit()).color
    torch.testing.assert_close(ours, render(mesh, CAMERA, shading="unlit").color, atol=0.08, rtol=0)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_files_of_several_materials(tmp_path: Path, suffix: str) -> None:
    texture = (smooth_image(1) * 255).round() / 255
    mesh = squares(2)
    mesh = replace(mesh, materials=(PBRMaterial(base_color_texture=texture), PBRMaterial(base_color=(0.0, 1.0, 0.0))))
    save_mesh(mesh, tmp_path / f"a.{suffix}")
    bare = load_mesh(tmp_path / f"a.{suffix}", materials=False)
    assert bare.materials == ()
    assert bare.normals is None
    shot = render_mesh(bare, CAMERA, Lighting.unlit())
    torch.testing.assert_close(shot.color[0, 96, 140], torch.tensor([0.0, 1, 0]), atol=0.01, rtol=0)
    torch.testing.assert_close(shot.color, render(mesh, CAMERA, shading="unlit").color, atol=0.05, rtol=0)
