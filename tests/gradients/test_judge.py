"""The benchmark of gradients tells right ones from wrong ones, and by how much they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.gradients import UnsupportedSceneError, __main__, judge, pictures, scenes
from benchmarks.gradients.judging import Judgement, cases, pulls
from benchmarks.gradients.methods import available
from benchmarks.gradients.scenes import Scene
from benchmarks.gradients.whole_meshes import mesh_cases

FEW = ["occluder", "intersection"]


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * grad, None


def exact(scene: Scene, pos: Tensor) -> Tensor:
    return scene.exact(pos)


def judged(image, **options) -> Judgement:
    return judge(image, families=FEW, seeds=1, **options)


@pytest.mark.parametrize("smooth", [False, True])
def test_what_is_exact(smooth: bool) -> None:
    for verdict in judged(exact, smooth=smooth, own=not smooth).verdicts:
        assert verdict.cosine == pytest.approx(1, abs=1e-12)
        assert verdict.gain == pytest.approx(1, abs=1e-12)
        assert verdict.length == pytest.approx(1, abs=1e-12)
        assert verdict.error == 0
        assert smooth or verdict.own < 0.02


def test_a_known_gain() -> None:
    for verdict in judged(lambda scene, pos: scene.exact(_Scaled.apply(pos, 0.4))).verdicts:
        assert verdict.cosine == pytest.approx(1, abs=1e-12)
        assert verdict.gain == pytest.approx(0.4)
        assert verdict.length == pytest.approx(0.4)
        assert verdict.own == pytest.approx(0.6, abs=0.02)
        assert verdict.error == 0


def test_a_gradient_of_another_direction() -> None:
    """What is added at a right angle to the truth changes cosine and length, but not the gain."""
    case = cases(["overlap"], 1)[0]
    other = torch.randn(case.gradient.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other -= (other * case.gradient).sum() / case.gradient.square().sum() * case.gradient
    other *= case.gradient.norm() / other.norm()

    def image(scene: Scene, pos: Tensor) -> Tensor:
        # Adds `other` to the gradient by the parameters and nothing to the image.
        x, y, _, w = pos.unbind(-1)
        points = torch.stack((x / (24 / 28), y, -w), -1)
        added = ((points - points.detach()) * other).sum()
        return scene.exact(pos) + added * case.pull / case.pull.square().sum()

    (verdict,) = judge(image, given=[case]).verdicts
    assert verdict.cosine == pytest.approx(0.5**0.5)
    assert verdict.length == pytest.approx(2**0.5)
    assert verdict.gain == pytest.approx(1)


def test_hard_and_constant_images() -> None:
    """A hard image does not move with its gradient; one without gradient has no direction."""
    constant = judged(lambda scene, pos: torch.full((*scene.size, 3), 0.5)).verdicts
    assert all(verdict.cosine == verdict.gain == verdict.length == verdict.own == 0 for verdict in constant)
    assert all(verdict.error > 0.05 for verdict in constant)
    hard = judged(lambda scene, pos: scene.exact(pos) - scene.exact(pos).detach()).verdicts
    assert all(verdict.own == pytest.approx(1) for verdict in hard)


def test_scenes_that_cannot_be_rendered() -> None:
    def image(scene: Scene, pos: Tensor) -> Tensor:
        if scene.family == "intersection":
            raise UnsupportedSceneError("nothing may cross")
        return scene.exact(pos)

    judgement = judged(image)
    assert judgement.mean("cosine", "intersection") is None
    assert judgement.mean("cosine", "occluder") == pytest.approx(1)
    lines = str(judgement).splitlines()
    assert lines[2].split() == ["intersection", *"--------"]
    assert lines[1].split()[:4] == ["occluder", "1.000", "1.000", "1.000"]


def test_pulls() -> None:
    """Neighbouring pixels pull alike in a smooth loss, and know nothing of one another in white noise."""
    for functional, low, high in [("smooth", 0.9, 1.0), ("white", -0.15, 0.15)]:
        pull = pulls(functional, (24, 28, 3))
        for a, b in [(pull[1:], pull[:-1]), (pull[:, 1:], pull[:, :-1])]:
            assert low < (a * b).sum() / (a.norm() * b.norm()) < high
    with pytest.raises(ValueError, match="functional: expected one of smooth, white, got 'pink'"):
        pulls("pink", (2, 2, 3))


@pytest.mark.parametrize("name", list(available()))
def test_every_method_runs(name: str) -> None:
    """Each shows roughly what is to be seen, and follows the edge of a triangle; NMR gives a direction of descent."""
    entry = available()[name]
    judgement = judge(entry.image, ["edge"], seeds=2, dtype=entry.dtype)
    assert judgement.mean("error") < 0.12
    assert judgement.mean("cosine", functional="smooth") > (0.7 if name == "nmr" else 0.9)
    assert name == "nmr" or 0.3 < judgement.mean("gain", functional="smooth") < 2.5


def test_soft_methods_agree() -> None:
    """lumigrad's soft colours and PyTorch3D's fragments and blending are two ways to the same image."""
    case = cases(["overlap"], 1)[0]
    ours, theirs = (judge(available()[name].image, given=[case]) for name in ("softras", "pytorch3d (compat)"))
    assert ours.mean("cosine") == pytest.approx(theirs.mean("cosine"), abs=1e-3)
    assert ours.mean("error") == pytest.approx(theirs.mean("error"), abs=1e-4)


def test_whole_mesh() -> None:
    """Where there is no file, a sphere. Its derivative along a move of the camera is that of the exact image."""
    (case,), note = mesh_cases("suzanne", 24, None, ["white"])
    assert "a sphere of" in note
    scene, step = case.scene, 1e-6
    for motion in (case.directions["camera"][0], case.directions["camera"][4], case.directions["deformation"][0]):
        ends = [scene.exact(scene.positions(scene.parameters + sign * step * motion)) for sign in (1, -1)]
        difference = ((ends[0] - ends[1]) * case.pull).sum() / (2 * step)
        assert (case.gradient * motion).sum() == pytest.approx(difference.item(), rel=1e-3)
    (verdict,) = judge(lambda scene, pos: scene.exact(_Scaled.apply(pos, 0.75)), given=[case], own=False).verdicts
    assert verdict.along == {"deformation": pytest.approx(0.25), "camera": pytest.approx(0.25)}
    assert verdict.own is None


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, page = tmp_path / "found.json", tmp_path / "page.md"
    few = ["--families", "thin,gap", "--methods", "exact,antialias x2", "--seeds", "1", "--colors", "flat"]
    __main__.main([*few, "--no-meshes", "--json", str(path)])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["family", "exact", "antialias", "x2"] in printed
    assert ["gap", "1.00", "0.92"] in printed  # gains
    found = json.loads(path.read_text())
    assert list(found["flat"]) == ["exact", "antialias x2"]
    families = {verdict["family"] for verdict in found["flat"]["exact"]}
    assert families == {"thin .05", "thin .2", "thin .5", "thin .9", "gap"}
    for _ in range(2):  # the second time in place of the first
        page.write_text(page.read_text() if page.exists() else f"Before\n{__main__.BEGIN}\n{__main__.END}\nAfter\n")
        __main__.main(["--read", str(path), "--page", str(page)])
        lines = page.read_text().splitlines()
        assert lines[0] == "Before"
        assert lines[-1] == "After"
        assert lines.count("| family | exact | antialias x2 |") == 2
        assert "| gap | 1.00 | 0.92 |" in lines


def test_mistakes_in_a_command(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="method 'exakt': expected some of exact, exact pixels"):
        __main__.main(["--methods", "exakt"])
    page, empty = tmp_path / "page.md", tmp_path / "empty.json"
    page.write_text("no marks")
    empty.write_text("{}")
    with pytest.raises(SystemExit, match=r"page.md: expected the lines <!-- benchmarks.gradients: tables -->"):
        __main__.main(["--read", str(empty), "--page", str(page)])


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(pictures, "FIELDS", (("intersection", 1),))
    monkeypatch.setattr(pictures, "ARROWS", (("overlap", 0),))
    methods = {name: available()[name] for name in ("exact", "dibr")}
    for path in pictures.draw(methods, tmp_path):
        assert 1_000 < path.stat().st_size < 200_000


def test_derivatives_of_pixels() -> None:
    """Weighted and summed, they are the derivative of a loss."""
    scene, entry = scenes.make("edge", 0), available()["antialias x2"]
    motion = pictures._motion(scene)
    field = pictures.pixel_derivatives(entry, scene, motion)
    weight = torch.randn(scene.size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    parameters = scene.parameters.clone().requires_grad_()
    image = entry.image(scene, scene.positions(parameters))[0]
    (gradient,) = torch.autograd.grad((image.sum(-1) * weight).sum(), parameters)
    assert (field * weight).sum().item() == pytest.approx((gradient * motion).sum().item())
