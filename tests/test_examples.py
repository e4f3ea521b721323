"""The examples run and print the expected results."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from ops_common import threads

from lumigrad.fit.capture import load_rig
from lumigrad.fit.splats import Photo, Spheres, loss_of
from lumigrad.io import load_dataset, load_image, load_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import PBRMaterial, PerspectiveCamera, PointCloud, icosphere

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def _as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Examples find the modules beside them, and leave numbers of threads and random numbers as they were.

    Tests may have imported modules of the same names: they are hidden from the examples, and given back.
    """
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    with threads(torch.get_num_threads()), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    for name in names & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(hidden)


def run(name: str, *arguments: object) -> str:
    """Run an example in this process, which has imported torch; return what it prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(EXAMPLES / name), *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return printed.getvalue()


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"\d+\.\d+", line)]


def test_camera_position(tmp_path: Path) -> None:
    """Seventy steps at half the size end near the true place."""
    out = tmp_path / "camera.png"
    said = run("pytorch3d_camera_position.py", "--size", 64, "--steps", 70, "--out", out)
    start, end = numbers(said.splitlines()[0])
    assert start > 1.2
    assert end < 0.2
    assert out.stat().st_size > 1_000


def test_pose(tmp_path: Path) -> None:
    """Found from 60 degrees away, in noise and partly hidden."""
    said = run("pose.py", "--size", 120, "--out", tmp_path / "pose.png")
    assert numbers(said)[0] < 0.5
    assert load_image(tmp_path / "pose.png").shape == (120, 360, 3)


def test_template(tmp_path: Path) -> None:
    """A few steps halve the distance to the target."""
    said = run("template.py", "--size", 48, "--iterations", 40, "--out", tmp_path / "template.png")
    before, after = numbers(said)[:2]
    assert after < 0.5 * before
    assert load_image(tmp_path / "template.png").shape == (96, 144, 3)


def test_fit_mesh(tmp_path: Path) -> None:
    """A few steps already improve views that were not seen."""
    out = tmp_path / "fit.png"
    said = run("pytorch3d_fit_mesh.py", "--size", 40, "--steps", 25, "--out", out).splitlines()
    (color, overlap), (later_color, later_overlap) = numbers(said[0]), numbers(said[1])
    assert later_color < 0.85 * color
    assert later_overlap > overlap + 0.1
    assert out.stat().st_size > 1_000


def test_textured_mesh(tmp_path: Path) -> None:
    out = tmp_path / "textured.png"
    said = run("pytorch3d_textured_mesh.py", "--size", 64, "--out", out)
    assert 0.3 < numbers(said)[0] < 0.6
    image = load_image(out)
    assert image.shape == (128, 256, 3)
    middle = image[64:, :64][20:44, 20:44]
    assert middle.std() > 0.2  # its colours are there, unlike in the background
    assert (image[:1] - image[0, 0]).abs().max() == 0


def test_surfels(tmp_path: Path) -> None:
    out = tmp_path / "surfels.png"
    said = run("surfels.py", "--samples", 5000, "--size", 80, "--out", out).splitlines()
    near, far, _ = numbers(said[0])
    assert 2.2 < near < far < 3.8
    image = load_image(out)
    assert image.shape == (160, 320, 3)
    surfels, splats = image[20:60, 20:60], image[100:140, 20:60]
    assert surfels.std() > 0.15
    assert (surfels - splats).abs().mean() < 0.5 * surfels.std()  # the same creature


def test_renderers(tmp_path: Path) -> None:
    """Five pictures of the same creature, with the same depth."""
    out = tmp_path / "renderers.png"
    said = run("renderers.py", "--samples", 5000, "--size", 80, "--out", out).splitlines()
    assert [line.split(":")[0] for line in said[:5]] == ["points", "spheres", "gaussians", "surfels", "soft"]
    for line in said[:5]:
        covered, near, far = numbers(line)
        assert 40 < covered < 60
        assert 2.3 < near < far < 3.8
    pictures = load_image(out).reshape(160, 5, 80, 3).unbind(1)
    for other in pictures[1:]:
        middle = pictures[0][20:60, 20:60]
        assert (middle - other[20:60, 20:60]).abs().mean() < 0.5 * middle.std()
        assert (pictures[0][80:] - other[80:]).abs().mean() < 0.1


@pytest.fixture(scope="module")
def neural_shading() -> ModuleType:
    spec = importlib.util.spec_from_file_location("neural_shading", EXAMPLES / "neural_shading.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_neural_shading(neural_shading: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forty steps bring both kinds of spheres nearer to the photographs."""
    options = "--iterations 40 --size 48 --views 9 --points 500 --limit 700 --out"
    with threads(1):
        neural_shading.main([*options.split(), str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    written = json.loads((tmp_path / "metrics.json").read_text())
    for name, line in zip(("colours", "neural"), said[-3:-1]):
        row = written[name]
        assert line.startswith(f"{name}: held out {row['psnr_db']:.2f} dB")
        assert row["fitted"]["psnr_db"] > row["fitted_at_first"]["psnr_db"] + 2
        assert row["steps"] == 40
    assert written["neural"]["fitted"] != written["colours"]["fitted"]
    assert load_image(tmp_path / "comparison.png").shape == (96, 192, 3)  # two held out, four pictures of each


def test_neural_shading_learns_features(neural_shading: ModuleType) -> None:
    """At first the network adds nothing to the colours; steps then reach it and the features that it looks at."""
    torch.manual_seed(0)
    model = neural_shading.NeuralSpheres(4.0, 5, 8)
    camera = PerspectiveCamera.orbit(torch.tensor([30.0]), 20.0, 4.0, 40.0, (21, 30))
    cloud = PointCloud(torch.rand(60, 3) - 0.5, torch.rand(60, 3))
    leaves = {name: value.requires_grad_() for name, value in model.start(cloud).items()}
    photo = Photo(torch.full((1, 21, 30, 3), 0.5), torch.ones(1, 21, 30, 1), camera)
    losses = []
    with threads(1):
        for step in range(40):
            image = model.draw(leaves, camera, 0.0, 0.0)
            if step == 0:
                torch.testing.assert_close(image, Spheres(4.0).draw(leaves, camera, 0.0, 0.0))
            loss = loss_of(image, photo, 0.2)
            loss.backward()
            losses.append(loss.item())
            model.step(0.0)
    assert losses[-1] < 0.8 * losses[0]  # by the network alone
    assert leaves["features"].grad.abs().max() > 0
    assert leaves["means"].grad.abs().max() > 0


def test_volume(tmp_path: Path) -> None:
    """Three views side by side: a coloured knot before white."""
    out = tmp_path / "volume.png"
    run("volume.py", "--output", out, "--size", 40, "--voxels", 24)
    image = load_image(out)
    assert image.shape[:2] == (40, 120)
    for view in image[..., :3].split(40, 1):
        assert (view[0] == 1).all()
        assert (view.amax(-1) - view.amin(-1)).max() > 0.3


def test_implicit(tmp_path: Path) -> None:
    """A fit by masks alone comes nearer to the shape."""
    out = tmp_path / "implicit.png"
    said = run("implicit.py", "--resolution", 12, "--steps", 16, "--size", 64, "--out", out).splitlines()
    assert "marching cubes" in said[0]
    first, _, last = (numbers(line)[0] for line in said[3:])
    assert last < 0.8 * first
    assert out.stat().st_size > 1_000


def test_sdf_from_images(tmp_path: Path) -> None:
    """A coarse fit is closed, of one piece, and nearer than the hull of its few silhouettes."""
    out, saved = tmp_path / "sdf.png", tmp_path / "fitted.ply"
    options = ("--views", 8, "--size", 48, "--resolution", 24, "--effort", 0.3, "--out", out, "--save", saved)
    said = run("sdf_from_images.py", *options).splitlines()
    (floor, *_), (hull, *_), (fitted, *_) = (numbers(line) for line in (said[0], said[1], said[-1]))
    assert floor < fitted < 0.8 * hull
    assert said[-1].endswith("closed, Euler number 2")
    assert load_image(out).shape == (640, 960, 3)
    assert load_mesh(saved).positions.norm(dim=-1).max() < 1.1


def test_capture_rig(tmp_path: Path) -> None:
    """The recording can be read, with a head in each of its images."""
    run("capture_rig.py", "--size", 24, "--frames", 2, "--cameras", 2, "--level", 2, "--out", tmp_path / "rig")
    rig = load_rig(tmp_path / "rig")
    assert rig.counts == (2,)
    images = rig.images(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert bool((images[:, 12, 12, 0] > 0.2).all())
    assert bool((images[:, 0, 0, :3] < 0.1).all())


def test_three_renderers(tmp_path: Path) -> None:
    """The shadow is hardest in the first picture, and not black in the last."""
    out = tmp_path / "three.png"
    run("three_renderers.py", "--size", 48, "--samples", 8, "--output", out)
    image = load_image(out)
    assert image.shape[:2] == (48, 144)
    under = [image[28:34, 48 * k + 14 : 48 * k + 36].mean(-1) for k in range(3)]
    assert (under[0] == 0).float().mean() > (under[1] == 0).float().mean()
    assert (under[2] == 0).float().mean() < 0.1


def test_material_balls(tmp_path: Path) -> None:
    """Red paint on the left, gold on the right, and ground seen through the holes of the green ball."""
    out = tmp_path / "balls.png"
    run("material_balls.py", "--width", 56, "--samples", 4, "--output", out)
    image = load_image(out)
    assert image.shape[:2] == (16, 56)
    paint, gold = (image[6:12, columns].mean((0, 1)).tolist() for columns in (slice(6, 12), slice(45, 51)))
    assert paint[0] > 1.5 * paint[1]
    assert gold[0] > 1.2 * gold[2]


def test_cornell(tmp_path: Path) -> None:
    """The left wall's red and the right wall's green, with blocks and with balls."""
    out = tmp_path / "cornell.png"
    run("cornell.py", "--size", 24, "--samples", 8, "--output", out)
    image = load_image(out)
    assert image.shape[:2] == (24, 48)
    for left in (image[:, 1:4], image[:, 25:28]):
        red, green, _ = left.mean((0, 1)).tolist()
        assert red > 1.5 * green
    assert image[:, 20:23, 1].mean() > 1.2 * image[:, 20:23, 0].mean()


def test_relight(tmp_path: Path) -> None:
    """A few steps already show the things in another light more like they are."""
    out = tmp_path / "relight.png"
    options = ("--size", 20, "--views", 3, "--steps", 16, "--samples", 4, "--out", out)
    before, after = numbers(run("relight.py", *options).splitlines()[-1])
    assert after > before + 0.5
    assert out.stat().st_size > 10_000


def test_shadow_art(tmp_path: Path) -> None:
    out = tmp_path / "shadow.png"
    options = ("--size", 20, "--corners", 16, "--steps", 16, "--samples", 4, "--out", out)
    before, after = numbers(run("shadow_art.py", *options).splitlines()[-1])
    assert after < 0.7 * before
    assert out.stat().st_size > 10_000


def test_cornell_pose(tmp_path: Path) -> None:
    out = tmp_path / "pose.png"
    said = run("cornell_pose.py", "--size", 16, "--steps", 12, "--samples", 4, "--out", out).splitlines()
    errors = {line.split(":")[0]: numbers(line) for line in said[-4:]}
    for name in ("place", "colours"):
        before, after = errors[name]
        assert after < 0.9 * before
    assert out.stat().st_size > 10_000


def test_object_photos(tmp_path: Path) -> None:
    """Photographs with masks, whose cameras see the mesh beside them where it is in the photographs."""
    run("object_photos.py", "--count", 3, "--size", 24, "--out", tmp_path)
    data, mesh = load_dataset(tmp_path), load_mesh(tmp_path / "truth.glb")
    for number in range(3):
        image, camera = data.load(number)
        assert image.shape == (24, 24, 4)
        covered = render_mesh(mesh, camera.to(torch.float32)).mask[0, ..., 0]
        assert (covered - image[..., 3]).abs().mean() < 0.03


@pytest.fixture
def single_view() -> ModuleType:
    return importlib.import_module("single_view")


def test_single_view_learns(single_view: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few steps with a worker bring silhouettes nearer, and write all files; so do soft silhouettes without one."""
    for steps, options in ((24, "--workers 1"), (2, "--workers 0 --silhouettes soft")):
        out = tmp_path / str(steps)
        common = f"--steps {steps} --batch 8 --held-out 8 --every 12 {options} --out {out}"
        with threads(1):
            single_view.main(common.split())
        written = json.loads((out / "metrics.json").read_text())
        assert len(written["curve"]["loss"]) == steps
        assert written["silhouette_iou"] > 0.3
        assert load_image(out / "shapes.png").shape == (4 * 128, 2 * 6 * 128, 3)
        assert {"curve.png", "model.pt"} <= {path.name for path in out.iterdir()}
        if steps == 24:
            first, last = (sum(part) / 6 for part in (written["curve"]["loss"][:6], written["curve"]["loss"][-6:]))
            assert last < first - 0.03
    assert "held-out shapes: voxel IoU" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        single_view.main(["--workers", "0", "--start", "spawn"])


def test_single_view_workers_make_the_batches_of_one_process(single_view: ModuleType) -> None:
    """In any number of workers; each mesh of a batch as by itself."""
    loaders = [
        torch.utils.data.DataLoader(range(8), 4, collate_fn=single_view.photograph, num_workers=workers)
        for workers in (0, 2)
    ]
    for one, other in zip(*loaders, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    number = 2
    shot = render_mesh(single_view.shape(4 + number).mesh(), one.camera[3 * number : 3 * number + 3])
    assert (shot.mask[..., 0] - one.masks[number]).abs().mean() < 0.01


def test_single_view_voxels() -> None:
    """A ball off the centre has the voxels of its formula; of two that overlap, both count once."""
    measure = importlib.import_module("single_view_measure")
    ball, middle = icosphere(4, radius=0.5), torch.tensor([0.2, 0.3, -0.1])
    centres = measure.centres()
    expected = (centres - middle).norm(dim=-1) < 0.5
    found = measure.occupancy((ball.positions + middle)[None], ball.faces)
    assert float(measure.overlap(found, expected[None])) > 0.98
    twice = torch.cat([ball.positions + middle, ball.positions - middle])
    faces = torch.cat([ball.faces, ball.faces + len(ball.positions)])
    both = measure.occupancy(twice[None], faces)
    union = expected | ((centres + middle).norm(dim=-1) < 0.5)
    assert float(measure.overlap(both, union[None])) > 0.98
    mean = measure.MeanShape(torch.stack([union, union, expected]))
    assert torch.equal(mean.occupancy, union)
    surface = measure.occupancy(mean.mesh.positions[None], mean.mesh.faces)
    assert float(measure.overlap(surface, union[None])) > 0.95


def test_material_photos(tmp_path: Path) -> None:
    """Photographs in two lights, and the mesh with the materials that they show."""
    run("material_photos.py", "--size", 24, "--count", 2, "--relit", 2, "--samples", 4, "--out", tmp_path)
    first, other = (load_dataset(folder).load(0)[0] for folder in (tmp_path, tmp_path / "relit"))
    assert first.shape == other.shape == (24, 24, 4)
    assert 0.2 < float(first[..., 3].mean()) < 0.8
    assert float((first - other).abs().mean()) > 0.01
    assert load_image(tmp_path / "relit" / "environment.exr").shape == (64, 128, 3)
    material = load_mesh(tmp_path / "truth.glb").materials[0]
    assert isinstance(material, PBRMaterial)
    assert material.metallic_roughness_texture is not None
    assert sorted(material.metallic_roughness_texture[..., 2].unique().tolist()) == [0.0, 1.0]  # gold or paint


def test_mixture(tmp_path: Path) -> None:
    run("mixture.py", "--size", 27, "--supersampling", 1, "--output", tmp_path / "mixture.png")
    assert load_image(tmp_path / "mixture.png").shape == (27, 48, 3)


def test_fog_fit(tmp_path: Path) -> None:
    """From one picture, to a tenth of where the search began, along the viewing direction too."""
    said = run("fog_fit.py", "--size", 24, "--steps", 15, "--output", tmp_path / "fog.png").splitlines()
    assert numbers(said[1])[0] < 0.1 * numbers(said[0])[0]
    assert load_image(tmp_path / "fog.png").shape == (24, 72, 3)
