"""The experiment on reflections: its images are those of mirrors and lamps, and it finds what they show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments_common import check_resuming

from experiments import environment, procedural
from lumigrad.io import save_image
from lumigrad.scene import icosphere

DARK = environment.phong((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0)


def ball() -> environment.Shape:
    """A unit sphere, whose normals are its positions."""
    mesh = icosphere(5)
    return environment.Shape(torch.cat([mesh.positions, mesh.positions], -1), mesh.faces.int())


def view(size: int = 64, seed: int = 1) -> environment.View:
    return environment.view(size, torch.Generator().manual_seed(seed))


def hits(seen: environment.View) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rays [H, W, 3], points of the unit sphere that they meet, and where that is not near the outline [H, W]."""
    origin, ray = (value[0].double() for value in seen.camera.rays())
    along = (origin * ray).sum(-1)
    root = along**2 - (origin**2).sum(-1) + 1
    return ray, origin + (-along - root.clamp_min(0).sqrt())[..., None] * ray, root > 0.05


def test_a_ball_mirrors_the_environment() -> None:
    """Where the colour of the environment is its direction, the image is the direction of the reflected ray."""
    seen = view()
    ray, normal, inside = hits(seen)
    expected = ray - 2 * (ray * normal).sum(-1, keepdim=True) * normal
    picture = environment.image(procedural.directions(128)[None], DARK, seen, ball())[0]
    assert (picture - expected)[inside].abs().max() < 0.04
    assert not picture[0, 0].any()


def test_a_ball_shines_in_the_light_of_the_lamp() -> None:
    """Phong's highlight is brightest where the lamp is mirrored, and falls by the power; the rest by the cosine."""
    gloss = environment.phong((0.3, 0.2, 0.1), (0.6, 0.5, 0.4), 20.0)
    seen = view()
    lamp = torch.nn.functional.normalize(seen.camera.position[0] + torch.tensor([2.0, 3.0, -2.0]), dim=0)
    ray, normal, inside = hits(seen)
    mirrored = ray - 2 * (ray * normal).sum(-1, keepdim=True) * normal
    cosine = (normal @ lamp.double()).clamp_min(0)
    highlight = (mirrored @ lamp.double()).clamp_min(0) ** 20 * (cosine > 0)
    expected = cosine[..., None] * gloss.diffuse + highlight[..., None] * gloss.specular
    assert highlight[inside].max() > 0.95
    assert cosine[inside].min() == 0  # part of the ball is in the dark
    picture = environment.image(torch.zeros(1, 6, 4, 4, 3), gloss, seen._replace(lamp=lamp), ball())[0]
    assert (picture - expected)[inside].abs().max() < 0.01


def test_footprints_of_reflections() -> None:
    """Screen derivatives of mirrored rays are those of differences between neighbouring pixels."""
    points = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    normals, points_d, normals_d = (
        torch.randn(50, 3, *more, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed, more in ((3, ()), (4, (2,)), (5, (2,)))
    )

    def mirrored(x: float, y: float) -> torch.Tensor:
        step = torch.tensor([x, y], dtype=torch.float64)
        unit = torch.nn.functional.normalize(normals + normals_d @ step, dim=-1)
        ray = points + points_d @ step
        return ray - 2 * (ray * unit).sum(-1, keepdim=True) * unit

    normal, normal_d = environment._normalized(normals, normals_d)
    out, out_d = environment._reflected(points, points_d, normal, normal_d)
    torch.testing.assert_close(out, mirrored(0, 0))
    h = 1e-6
    for k, (x, y) in enumerate(((h, 0.0), (0.0, h))):
        slope = (mirrored(x, y) - mirrored(-x, -y)) / (2 * h)
        torch.testing.assert_close(out_d[..., k], slope, atol=1e-6, rtol=1e-6)


TINY = ["--quick", "--device", "cpu", "--faces", "16", "--size", "48"]


def experiment(folder: Path, *more: str) -> dict[str, Any]:
    return environment.experiment(environment.arguments().parse_args([*TINY, "--out", str(folder), *more]))


def test_environment_and_parameters_are_found(tmp_path: Path) -> None:
    results = experiment(tmp_path, "--iterations", "1200")
    assert results["curve"][0][1] < 15
    assert results["environment psnr"] > 32
    found, truth, start = (results[name] for name in ("found", "truth", "start"))
    assert found["diffuse"] == pytest.approx(truth["diffuse"], abs=0.01)
    assert found["specular"] == pytest.approx(truth["specular"], abs=0.08)
    assert found["shininess"] == pytest.approx(truth["shininess"], rel=0.25)
    assert start["shininess"] < 0.2 * truth["shininess"]
    assert json.loads((tmp_path / "results.json").read_text())["found"] == found
    assert (tmp_path / "environment.png").stat().st_size > 10_000


def test_a_resumed_fit_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_resuming(experiment, environment, tmp_path, monkeypatch)


def test_environment_of_a_file(tmp_path: Path) -> None:
    save_image(torch.full((8, 16, 3), 0.25), tmp_path / "grey.png")
    results = experiment(tmp_path, "--iterations", "60", "--environment", str(tmp_path / "grey.png"))
    # Half-grey at the start: 12 dB from it.
    assert results["environment psnr"] > 20
