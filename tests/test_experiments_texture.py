"""The experiment on mipmaps: its images are what they are said to be, and mipmaps give the better texture."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments_common import check_resuming

from experiments import procedural, texture
from lumigrad.io import save_image
from lumigrad.scene import PerspectiveCamera


def view(distance: float, size: int = 24) -> PerspectiveCamera:
    return texture.view(size, (distance, distance), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("distance", [1.5, 3.0, 7.0, 50.0])
@pytest.mark.parametrize("size", [24, 25])
def test_nothing_is_lost_around_the_sphere(distance: float, size: int) -> None:
    """The cropped images are the middle of the whole ones, which are black around it."""
    cube, ball = torch.rand(1, 6, 8, 8, 3, generator=torch.Generator().manual_seed(0)), texture.sphere()
    whole, part = view(distance, size), texture.cropped(view(distance, size))
    around = (size - part.size[0]) // 2
    assert (around > 0) == (distance > 3)
    for render in (
        lambda camera: texture.reference(cube, camera, ball, 4),
        lambda camera: texture.image(cube, camera, ball, "mipmaps"),
    ):
        padded = torch.nn.functional.pad(render(part), (0, 0, around, around, around, around))
        torch.testing.assert_close(padded, render(whole), atol=1e-4, rtol=0)


def test_bands_make_up_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, ball = torch.rand(1, 6, 8, 8, 3, generator=torch.Generator().manual_seed(0)), texture.sphere()
    whole = texture.reference(cube, view(3.0), ball, 4)
    monkeypatch.setattr(texture, "BAND", 40)  # 24 rows of 4 samples: two bands of ten rows, and one of four
    torch.testing.assert_close(texture.reference(cube, view(3.0), ball, 4), whole, atol=1e-4, rtol=0)


def test_the_sphere_shows_the_cube_map() -> None:
    """Colours that are directions: those of the points where rays meet a sphere."""
    camera, cube = view(3.0, 48), procedural.directions(64)[None]
    origin, ray = (value[0].double() for value in camera.rays())
    along = (origin * ray).sum(-1)
    root = along**2 - (origin**2).sum(-1) + 1
    inside = root > 0.05  # away from the outline
    points = origin + (-along - root.clamp_min(0).sqrt())[..., None] * ray
    ball = texture.sphere()
    for picture in (texture.reference(cube, camera, ball, 8), texture.image(cube, camera, ball, "no mipmaps")):
        assert (picture[0] - points)[inside].abs().max() < 0.03
        assert not picture[0][root < -0.5].any()


def test_distances_and_rotations_are_uniform() -> None:
    random = torch.Generator().manual_seed(0)
    poses = torch.cat([texture.view(8, (1.5, 50.0), random).world_to_camera for _ in range(2000)])
    distances = -poses[:, 2, 3]
    assert distances.min() >= 1.5
    assert distances.max() <= 50
    torch.testing.assert_close(distances.mean(), torch.tensor(25.75), atol=1.0, rtol=0)  # three standard errors
    assert poses[:, 2, :3].mean(0).abs().max() < 0.04  # of directions towards the eye


@pytest.mark.parametrize("name", ["planet", "landscape"])
def test_procedural_maps(name: str) -> None:
    """A function of the direction and the seed, with large shapes and small ones, and without seams."""
    make = getattr(procedural, name)
    cube = make(64, 3)
    assert torch.equal(cube, make(64, 3))
    assert (cube - make(64, 4)).abs().mean() > 0.05
    assert cube.min() >= 0
    assert cube.max() <= 1
    blocks = cube.view(6, 8, 8, 8, 8, 3)
    assert blocks.mean((2, 4)).std() > 0.1
    assert blocks.std((2, 4)).mean() > 0.02
    # The right edge of +z is the left edge of +x.
    across = (cube[4, :, -1] - cube[0, :, 0]).abs().mean()
    assert across < 1.5 * (cube[4, :, -1] - cube[4, :, -2]).abs().mean()


def test_map_from_a_file(tmp_path: Path) -> None:
    """A white upper half."""
    picture = torch.zeros(32, 64, 3)
    picture[:16] = 1
    save_image(picture, tmp_path / "half.png")
    cube = procedural.from_file(tmp_path / "half.png", 8)
    assert cube.shape == (6, 8, 8, 3)
    assert (cube[2] == 1).all()
    assert (cube[3] == 0).all()
    assert cube[0, 0].min() == 1
    assert cube[0, -1].max() == 0


TINY = ["--quick", "--device", "cpu", "--size", "32"]


def experiment(folder: Path, *more: str) -> dict[str, Any]:
    return texture.experiment(texture.arguments().parse_args([*TINY, "--out", str(folder), *more]))


def test_mipmaps_give_the_better_texture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nearer views than the published ones, as they need fewer iterations."""
    near = dataclasses.replace(texture.QUICK, distances=(1.5, 10.0))
    monkeypatch.setattr(texture, "QUICK", near)
    results = experiment(tmp_path, "--iterations", "800")
    psnr = results["psnr"]
    assert psnr["mipmaps"] > psnr["no mipmaps"] + 0.5
    assert psnr["mipmaps"] > 17.5
    start = results["curve"][0][1:]
    assert start[0] == start[1] < psnr["no mipmaps"] - 5
    assert json.loads((tmp_path / "results.json").read_text())["psnr"] == psnr
    assert (tmp_path / "texture.png").stat().st_size > 10_000


def test_a_resumed_fit_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_resuming(experiment, texture, tmp_path, monkeypatch)
