"""The texture atlas: complete, without overlap, of even density."""

from __future__ import annotations

import pytest
import torch

from lumigrad.fit import bake, make_atlas
from lumigrad.fit.atlas import fill_gaps
from lumigrad.ops.surface import interpolate, rasterize
from lumigrad.scene import Mesh
from lumigrad.scene.shapes.procedural import creature, icosphere


def areas(points: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    a, b, c = points.double()[faces].unbind(1)
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@pytest.mark.parametrize("shape", ["sphere", "creature"])
def test_charts_do_not_overlap(shape: str) -> None:
    mesh = icosphere(3) if shape == "sphere" else creature(level=4, texture_height=8)
    size = 512
    uvs, uv_faces = make_atlas(mesh.positions, mesh.faces, size)
    assert uv_faces.shape == mesh.faces.shape
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    flat = areas(uvs, uv_faces)
    assert (flat.abs() > 0).all()
    assert bool((flat > 0).all()) or bool((flat < 0).all())
    # The area covered by pixels equals the sum of areas only if nothing lies on top of another.
    u, v = uvs.unbind(-1)
    clip = torch.stack([2 * u - 1, 1 - 2 * v, torch.zeros_like(u), torch.ones_like(u)], -1)
    covered = (rasterize(clip[None], uv_faces, (size, size), derivatives=False).tri >= 0).float().mean()
    assert float(covered) == pytest.approx(float(flat.abs().sum()), rel=0.01)
    assert float(covered) > 0.35
    # No triangle is squeezed to less than a third of the density of the most spacious one.
    surface = Mesh(mesh.positions, mesh.faces).face_normals().norm(dim=-1).double() / 2
    density = flat.abs() / surface
    assert density.min() > 0.29 * density.max()


def test_small_textures_and_wrong_input() -> None:
    sphere = icosphere(2)
    make_atlas(sphere.positions, sphere.faces, 16)
    with pytest.raises(ValueError, match="size"):
        make_atlas(sphere.positions, sphere.faces, 16, gutter=20)
    with pytest.raises(ValueError, match="faces"):
        make_atlas(sphere.positions, sphere.faces[:0], 16)


def test_fill_gaps_keeps_the_covered_and_extends_it() -> None:
    image = torch.full((9, 14, 2), 7.0)
    covered = torch.zeros(9, 14, dtype=torch.bool)
    covered[2:4, 3:6] = True
    image[covered] = torch.tensor([0.25, 0.5])
    filled = fill_gaps(image, covered)
    torch.testing.assert_close(filled, torch.tensor([0.25, 0.5]).expand(9, 14, 2))


def test_bake_paints_what_interpolation_shows() -> None:
    sphere = icosphere(3)
    uvs, uv_faces = make_atlas(sphere.positions, sphere.faces, 256)
    colors = 0.5 + 0.5 * sphere.positions
    image = bake(Mesh(sphere.positions, sphere.faces, uvs, uv_faces), colors, 256)
    assert image.shape == (256, 256, 3)
    # The texel under each face's centre holds the mean colour of its corners.
    centre = (uvs[uv_faces].mean(1) * 256).long()
    torch.testing.assert_close(image[centre[:, 1], centre[:, 0]], colors[sphere.faces].mean(1), atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="mesh"):
        bake(sphere, colors, 8)


def test_interpolation_uses_both_index_buffers() -> None:
    sphere = icosphere(1)
    uvs, uv_faces = make_atlas(sphere.positions, sphere.faces, 64)
    clip = torch.cat([0.5 * sphere.positions, torch.ones(42, 1)], -1)[None]
    frags = rasterize(clip, sphere.faces, (8, 8), derivatives=False)
    assert interpolate(uvs, frags, uv_faces).shape == (1, 8, 8, 2)
