"""The experiment with spheres: its views, what is pruned, and that fits show the head from elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from experiments_common import StoppedError, run_in, stop_after

from benchmarks.timing import Budget
from experiments import spheres

TINY = spheres.Settings(size=24, views=8, held_out=3, spheres=150, batch=2, steps=20)


def _spheres(method: str, positions: list[list[float]], radii: list[float]) -> spheres.Spheres:
    made = spheres.Spheres(method, spheres.replace(TINY, spheres=len(radii)), seed=0)
    made.positions = torch.tensor(positions)
    made.sizes = torch.tensor(radii).log()
    return made


def test_head_is_closed_and_fits_between_the_depths() -> None:
    head = spheres.head(4)
    a, b, c = head.positions[head.faces.long()].double().unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    assert ((normals * (a + b + c)).sum(1) > 0).all()  # star-shaped: faces look away from the middle
    assert head.positions.norm(dim=1).max() < spheres.DISTANCE - spheres.DEPTHS[0]
    assert head.colors is not None
    assert head.colors.min() >= 0
    assert head.colors.max() <= 1


def test_held_out_views_are_others() -> None:
    settings = spheres.Settings()
    seen, held_out = spheres.around(settings.views, 8), spheres.around(settings.held_out, 8, turned=30.0)
    one, other = (torch.nn.functional.normalize(camera.position, dim=1) for camera in (seen, held_out))
    torch.testing.assert_close(seen.position.norm(dim=1), torch.full((settings.views,), spheres.DISTANCE))
    assert torch.rad2deg((other @ one.T).amax().acos()) > 2


def test_silhouettes_are_compared_with_the_disc_of_a_ball() -> None:
    """A ball of radius 0.6, against the circle in which its tangent cone meets the image."""
    camera = spheres.around(3, 96)
    line = (torch.arange(96) + 0.5 - 48) / 48 * math.tan(math.radians(spheres.FIELD_OF_VIEW / 2))
    y, x = torch.meshgrid(line, line, indexing="ij")

    def views(radius: float) -> spheres.Views:
        disc = x.square() + y.square() < radius**2 / (spheres.DISTANCE**2 - radius**2)
        return spheres.Views(camera, disc[None, ..., None].float().expand(3, -1, -1, 4))

    ball = _spheres("silhouettes", [[0.0, 0.0, 0.0]], [0.6])
    assert spheres.measures(ball, 0.03, views(0.6))["IoU"] > 0.98
    assert spheres.measures(ball, 0.03, views(0.4))["IoU"] == pytest.approx((0.4 / 0.6) ** 2, abs=0.04)


def test_what_no_view_shows_is_pruned() -> None:
    """A sphere inside another is; one beside it is not. What is left looks as before."""
    fitted = _spheres("silhouettes", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.8, 0.0]], [0.5, 0.1, 0.2])
    camera = spheres.around(6, 32)
    before = fitted.picture(camera, 0.02)
    fitted.prune(camera, 0.02)
    assert fitted.sizes.isfinite().tolist() == [True, False, True]
    assert fitted.count == 2
    torch.testing.assert_close(fitted.picture(camera, 0.02), before, rtol=0, atol=1e-3)
    kept = _spheres("silhouettes", [[0.0, 0.0, 0.0], [0.0, 0.8, 0.0]], [0.5, 0.2])
    torch.testing.assert_close(fitted.picture(camera, 0.02), kept.picture(camera, 0.02))


def test_pruned_spheres_stay_away() -> None:
    """Steps of Adam, whose momentum still pulls, leave them and all others finite."""
    fitted = spheres.Spheres("colours", spheres.replace(TINY, spheres=20), seed=0)
    optimiser = fitted.optimiser()
    camera = spheres.around(2, 16)
    for step in range(4):
        fitted.picture(camera, 0.1).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        if step == 1:
            with torch.no_grad():
                fitted.sizes[3] = -math.inf
    assert fitted.count == 19
    assert fitted.positions.isfinite().all()
    assert fitted.features.isfinite().all()


def test_network_adds_nothing_at_first() -> None:
    fitted = spheres.Spheres("features", TINY, seed=0)
    camera = spheres.around(2, 16)
    seen = fitted.splat(camera, 0.1)
    assert seen.shape == (2, 16, 16, spheres.CHANNELS + 1)
    torch.testing.assert_close(fitted.picture(camera, 0.1), torch.cat([seen[..., :3], seen[..., -1:]], -1))


def test_fits_show_the_head_from_elsewhere(tmp_path: Path) -> None:
    settings = spheres.Settings(
        size=32, views=16, held_out=4, spheres=500, steps=120, speed_size=64, speed_spheres=1000
    )
    results = spheres.experiment(run_in(tmp_path), settings, budget=Budget(1, 0.01, 1.0, 1))
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    fits = results["fits"]
    assert list(fits) == spheres.METHODS
    for method, row in fits.items():
        assert row["IoU"] > 0.93, method
        assert row["curve"][0][2] == 500
        assert row["curve"][-1] == (120, row["quality"], row["spheres"])
        assert 100 < row["spheres"] <= 500
    for method in ("colours", "features"):
        assert fits[method]["PSNR"] > max(25, fits[method]["curve"][0][1] + 5), method
    assert fits["features"]["PSNR, seen views"] > fits["colours"]["PSNR, seen views"] + 0.5
    assert [row["spheres"] for row in results["speeds"]] == [1000, 1000]
    assert all(row[name] > 0 for row in results["speeds"] for name in ("forward", "backward", "copy"))
    for figure in ("pictures.png", "plots.png"):
        assert (tmp_path / figure).stat().st_size > 10_000


@pytest.mark.parametrize("method", ["silhouettes", "features"])
def test_resume(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between prunings, by a threshold that removes half of the spheres."""
    monkeypatch.setattr(spheres, "FAINT", 0.8)
    seen = spheres.photographed(spheres.around(TINY.views, TINY.size))
    held_out = spheres.photographed(spheres.around(TINY.held_out, TINY.size, turned=30.0))

    def fitted(folder: str, resume: bool = False) -> spheres.Fit:
        return spheres.fit(run_in(tmp_path / folder, resume), method, TINY, 3, seen, held_out)

    whole = fitted("whole")
    with monkeypatch.context() as patch:
        stop_after(patch, spheres, 14)
        with pytest.raises(StoppedError):
            fitted("parts")
    resumed = fitted("parts", resume=True)
    assert resumed.row == whole.row
    assert resumed.curve == whole.curve
    assert whole.curve[-1][2] < whole.curve[10][2] < TINY.spheres
    assert torch.equal(resumed.spheres.positions, whole.spheres.positions)
