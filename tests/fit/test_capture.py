"""Performance capture: its parts against plain formulas, and a small recording."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_common import SMALL, small_rig
from torch import Tensor

from lumigrad.fit import CheckpointError, Checkpoints
from lumigrad.fit.capture import (
    CaptureJob,
    CaptureModel,
    CaptureOptions,
    CaptureState,
    RigOptions,
    UniformLaplacian,
    expressions,
    head,
    high_pass,
    load_rig,
    load_truth,
    seen_vertices,
    shape_errors,
)
from lumigrad.fit.capture.pairing import paired
from lumigrad.fit.capture.synthetic import wrong_base
from lumigrad.io import load_image, load_mesh, save_image, save_mesh
from lumigrad.scene import Mesh, axis_angle_to_matrix, icosphere

OPTIONS = CaptureOptions(iterations=30, widths=(4, 4, 4), texture_size=32, blur_factor=8)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_rig(tmp_path_factory.mktemp("capture"))


@pytest.fixture
def rig_folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(recorded, tmp_path / "rig"))


def small_model(widths: tuple[int, int, int] | None = (3, 4, 5), rigid: str = "sequence") -> CaptureModel:
    base = head(level=0, texture_height=8)
    base = Mesh(base.positions.double() / 100, base.faces, base.uvs, base.uv_faces)
    model = CaptureModel(base, [2, 3], 2, widths, rigid, texture_size=4)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.3 * torch.randn(value.shape, dtype=value.dtype, generator=generator))
    return model


def test_zero_weights_are_the_base() -> None:
    """With zero weights, the shape is the base bit for bit, whatever the maps are."""
    model = small_model()
    with torch.no_grad():
        model.weights.zero_()
        model.turns.zero_()
        model.shifts.zero_()
    shapes = model.positions(torch.arange(5))
    assert torch.equal(shapes, model.base.expand(5, -1, -1))


def test_first_shapes_are_the_base() -> None:
    base = head(level=1, texture_height=8)
    for widths in ((8, 8, 8), None):
        shapes = CaptureModel(base, [4], 1, widths, texture_size=4).positions(torch.arange(4))
        assert torch.equal(shapes, base.positions.expand(4, -1, -1))


def test_shapes_are_the_product_of_the_maps() -> None:
    """V_base + M3 M2 M1 w, then the rotation and translation of the sequence, for one frame after the other."""
    model = small_model()
    shapes = model.positions(torch.tensor([4, 0, 1]))
    for shape, frame, take in zip(shapes, (4, 0, 1), (1, 0, 0), strict=True):
        offset = model.m3 @ (model.m2 @ (model.m1 @ model.weights[frame]))
        plain = model.base + offset.reshape(-1, 3)
        if take == 0:  # the first sequence stays
            torch.testing.assert_close(shape, plain)
            continue
        turned = torch.stack([axis_angle_to_matrix(model.turns[take - 1]) @ point for point in plain])
        torch.testing.assert_close(shape, turned + model.shifts[take - 1])


@pytest.mark.parametrize("rigid", ["none", "sequence", "frame"])
def test_what_moves_as_a_whole(rigid: str) -> None:
    model = small_model(None, rigid)
    expected = {"none": None, "sequence": 2, "frame": 5}[rigid]
    assert (len(model.turns) + 1 if rigid != "none" else None) == expected  # the first of several is held
    moved = model.moved(model.base.expand(5, -1, -1), torch.arange(5))
    distinct = len({tuple(shape.reshape(-1).tolist()) for shape in moved})
    assert distinct == (expected or 1)
    assert rigid == "none" or torch.equal(moved[0], model.base)


def test_one_sequence_moves_freely() -> None:
    """A single sequence has no other one to be held against, so it moves freely."""
    assert CaptureModel(head(level=0, texture_height=8), [4], 1, texture_size=4).turns.shape == (1, 3)


def test_cameras_have_contrast_and_brightness() -> None:
    model = small_model()
    image = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    shown = model.exposed(image, torch.tensor([1, 0]))
    for n, camera in enumerate((1, 0)):
        expected = math.exp(model.contrast[camera].item()) * image[n] + model.brightness[camera].item()
        torch.testing.assert_close(shown[n], expected)
    model.settle()
    assert abs(model.contrast.sum().item()) < 1e-12
    assert abs(model.brightness.sum().item()) < 1e-12
    assert 0 <= model.texture.min().item() <= model.texture.max().item() <= 1


def plain_high_pass(image: Tensor, amount: float, factor: int) -> Tensor:
    """The filter pixel by pixel: means of blocks, and their Gaussian means at each pixel."""
    height, width = image.shape
    blocks = {}
    for top in range(0, height, factor):
        for left in range(0, width, factor):
            rows, columns = (range(a, min(a + factor, n)) for a, n in ((top, height), (left, width)))
            values = [float(image[i, j]) for i in rows for j in columns]
            centre = (0.5 * (rows[0] + rows[-1]), 0.5 * (columns[0] + columns[-1]))
            blocks[centre] = sum(values) / len(values)
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            near = {c: math.exp(-2 * ((i - c[0]) ** 2 + (j - c[1]) ** 2) / factor**2) for c in blocks}
            blur = sum(weight * blocks[c] for c, weight in near.items()) / sum(near.values())
            out[i, j] = image[i, j] - amount * blur
    return out


@pytest.mark.parametrize("size", [(8, 12), (9, 14), (3, 5)])
def test_high_pass(size: tuple[int, int]) -> None:
    images = torch.rand(2, *size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = high_pass(images, 0.4, 4)
    for n in range(2):
        for channel in range(2):
            torch.testing.assert_close(found[n, ..., channel], plain_high_pass(images[n, ..., channel], 0.4, 4))
    assert torch.equal(high_pass(images, 0.0), images)


def test_high_pass_lowers_slow_changes_alone() -> None:
    """A wave much longer than a block loses the amount, one much shorter nothing."""
    x = torch.arange(512, dtype=torch.float64)
    for length, part in ((512, 0.7), (4, 1.0)):
        wave = torch.sin(2 * math.pi * x / length).reshape(1, 1, -1, 1)
        kept = float((high_pass(wave) * wave).sum() / wave.square().sum())
        assert abs(kept - part) < 0.02


def test_high_pass_refuses() -> None:
    image = torch.zeros(1, 8, 8, 1)
    with pytest.raises(ValueError, match=r"amount: expected a non-negative number, got -1"):
        high_pass(image, -1.0)
    with pytest.raises(ValueError, match="factor"):
        high_pass(image, 0.3, 0)
    with pytest.raises(ValueError, match="images"):
        high_pass(image[0])


def test_uniform_laplacian() -> None:
    """Against the neighbours found by looking through all faces; a vertex without faces has no energy."""
    ball = icosphere(1)
    offsets = torch.randn(2, 43, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = UniformLaplacian(ball.faces, 43)(offsets)
    for vertex in range(42):
        around = {int(v) for face in ball.faces if vertex in face for v in face} - {vertex}
        expected = offsets[:, vertex] - offsets[:, sorted(around)].mean(1)
        torch.testing.assert_close(found[:, vertex], expected)
    assert not found[:, 42].any()
    constant = torch.ones(1, 43, 3)
    assert float(UniformLaplacian(ball.faces, 43).energy(constant)) < 1e-12


def test_gradients() -> None:
    """Everything that a step differentiates outside the ops passes gradcheck in float64."""
    model = small_model()
    frames = torch.tensor([4, 1, 1])
    smooth = UniformLaplacian(model.mesh.faces, len(model.base))
    images = torch.rand(2, 5, 6, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: high_pass(x, 0.3, 4), images)
    assert torch.autograd.gradcheck(lambda x: model.exposed(x, torch.tensor([0, 1])), images)
    names = ("weights", "m1", "m2", "m3", "turns", "shifts")

    def shapes(*values: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(names, values, strict=True))
        found = torch.func.functional_call(_Shapes(model), {f"model.{name}": v for name, v in given.items()}, (frames,))
        return found, smooth.energy(found)

    values = tuple(getattr(model, name).detach().clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(shapes, values)


class _Shapes(torch.nn.Module):
    def __init__(self, model: CaptureModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> Tensor:
        return self.model.positions(frames)


def test_head() -> None:
    """Closed, seen from outside, the same on both sides; expressions are, too, but for the smirk."""
    mesh = head(level=3, texture_height=64)
    a, b, c = mesh.positions[mesh.faces].unbind(1)
    volume = float((a * torch.linalg.cross(b, c)).sum()) / 6
    assert 2e6 < volume < 5e6  # cubic millimetres
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    twin = torch.cdist(mesh.positions * mirror, mesh.positions).argmin(1)
    torch.testing.assert_close(mesh.positions[twin], mesh.positions * mirror, atol=1e-3, rtol=0)
    for name, offset in expressions(mesh.positions).items():
        symmetric = torch.allclose(offset[twin], offset * mirror, atol=1e-3)
        assert symmetric == (name != "smirk")


def test_recording(recorded: Path) -> None:
    rig = load_rig(recorded)
    assert (rig.counts, rig.names, rig.camera.size) == ((3,), ("camera0", "camera1"), (24, 24))
    truth = load_truth(recorded / "truth", rig)
    neutral = head(SMALL.level, texture_height=8)
    torch.testing.assert_close(truth[0], neutral.positions)  # the first frame is neutral
    assert torch.equal(rig.base.faces, neutral.faces)  # the file keeps the order of vertices
    torch.testing.assert_close(rig.base.positions, wrong_base(neutral).positions, atol=1e-3, rtol=0)
    images = rig.images(torch.tensor([2, 0]), torch.tensor([0, 1]))
    stored = load_image(recorded / "sequence0" / "camera0" / "0002.png")
    torch.testing.assert_close(images[0, ..., :3], stored, atol=2e-3, rtol=0)
    assert bool((images[..., 3] == 1).all())
    half = load_rig(recorded, downscale=2)
    assert half.camera.size == (12, 12)
    torch.testing.assert_close(2 * half.camera.pixels(truth[0]), rig.camera.pixels(truth[0]))


def test_transparent_images_are_composited(rig_folder: Path) -> None:
    path = rig_folder / "sequence0" / "camera0" / "0000.png"
    save_image(torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(24, 24, 4), path)
    rig = load_rig(rig_folder, background=(0.0, 0.2, 0.4))
    image = rig.images(torch.tensor([0]), torch.tensor([0]))[0, 0, 0, :3]
    torch.testing.assert_close(image, torch.tensor([0.0, 0.2, 0.4]))


def test_seen_vertices(recorded: Path) -> None:
    """The tip of the nose counts as seen, the back of the head does not."""
    rig = load_rig(recorded)
    truth = load_truth(recorded / "truth", rig)[0]
    seen = seen_vertices(rig, truth)
    assert bool(seen[truth[:, 2].argmax()])
    assert not bool(seen[truth[:, 2].argmin()])
    assert 0.1 < float(seen.float().mean()) < 0.8


def test_shape_errors() -> None:
    """All vertices 3 aside count as an error of place, and not of motion."""
    truth = torch.randn(4, 5, 3)
    found = truth + torch.tensor([3.0, 0.0, 0.0])
    found[3, 0, 1] += 4.0
    found[:, 4] += 100.0  # does not count
    errors = shape_errors(found, truth, torch.tensor([True] * 4 + [False]), (2, 2))
    torch.testing.assert_close(errors["vertex"], torch.tensor([3.0, 3.0, 3.0, 3.5]))
    torch.testing.assert_close(errors["motion"], torch.tensor([0.0, 0.0, 0.0, 1.0]), atol=1e-5, rtol=0)


def test_error_falls(recorded: Path, tmp_path: Path) -> None:
    """A displaced head moves towards its true place, the error of images falls, and all results are written."""
    rig = load_rig(recorded)
    truth = load_truth(recorded / "truth", rig)
    rig = replace(rig, base=replace(rig.base, positions=truth[0] + torch.tensor([6.0, -6.0, 4.0])))
    job = CaptureJob.of_rig(rig, replace(OPTIONS, iterations=60), truth)
    state = job.begin()
    before = shape_errors(job.positions(state), truth, seen_vertices(rig, truth[0]), rig.counts)["vertex"].mean()
    state = job.run(state, tmp_path, evaluate_every=20)
    assert job.complete(state)
    numbers = job.write_results(state, tmp_path, frames=2)
    assert numbers["vertex_mm"] < 0.92 * float(before)  # two cameras see little of the same
    assert sum(state.losses[-6:]) < 0.4 * sum(state.losses[:6])
    assert [row["iteration"] for row in state.curve] == [20, 40, 60]
    assert json.loads((tmp_path / "metrics.json").read_text())["frames"] == 3
    shape = load_mesh(tmp_path / "meshes" / "sequence0" / "0002.ply")
    torch.testing.assert_close(shape.positions, job.positions(state)[2])
    assert torch.equal(shape.faces, rig.base.faces)
    for name in ("mesh.glb", "comparison.png", "capture.gif", "report.html"):
        assert (tmp_path / name).stat().st_size > 500


def test_sequences_move_as_a_whole(tmp_path: Path) -> None:
    """A second sequence, in which the head is 17 mm elsewhere, is found nearer with a rigid transform than without."""
    head_twice = RigOptions(32, frames=2, sequences=2, cameras=3, level=2, exposures=False, wrong=0.0)
    rig = load_rig(small_rig(tmp_path, head_twice))
    truth = load_truth(tmp_path / "rig" / "truth", rig)
    errors = {}
    for rigid in ("sequence", "none"):
        job = CaptureJob.of_rig(rig, replace(OPTIONS, iterations=80, rigid=rigid))  # type: ignore[arg-type]
        shapes = job.positions(job.run(job.begin(), tmp_path))
        errors[rigid] = shape_errors(shapes, truth, seen_vertices(rig, truth[0]), rig.counts)["vertex"][2:].mean()
    assert errors["sequence"] < 0.85 * errors["none"]


@pytest.mark.parametrize("decompose", [True, False])
def test_resume(recorded: Path, tmp_path: Path, decompose: bool) -> None:
    """An interrupted and resumed fit ends with the same bits."""
    job = CaptureJob.of_rig(load_rig(recorded), replace(OPTIONS, iterations=6, decompose=decompose))
    whole = job.run(job.begin(), tmp_path)
    state = job.begin()
    job.run(state, tmp_path, on_step=_stop_at(3))
    assert state.iteration == 3
    state = job.run(job.resume(tmp_path), tmp_path)
    assert state.losses == whole.losses
    for (name, one), (_, other) in zip(state.model.named_parameters(), whole.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def _stop_at(step: int) -> Callable[[CaptureState], None]:
    import signal

    def on_step(state: CaptureState) -> None:
        if state.iteration == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


def test_states_of_other_fits_are_refused(recorded: Path, rig_folder: Path, tmp_path: Path) -> None:
    job = CaptureJob.of_rig(load_rig(recorded), replace(OPTIONS, iterations=1))
    with pytest.raises(CheckpointError, match="no state"):
        job.resume(tmp_path)
    state = job.run(job.begin(), tmp_path)
    with pytest.raises(CheckpointError, match=r"laplacian was 3\.0, now 1\.0"):
        CaptureJob.of_rig(job.rig, replace(OPTIONS, iterations=1, laplacian=1.0)).resume(tmp_path)
    document = json.loads((rig_folder / "cameras.json").read_text())
    for name, value in (("fl_x", 40.0), ("cx", 11.0), ("k1", 1e-6)):
        changed = {**document, "frames": [{**frame, name: value} for frame in document["frames"]]}
        (rig_folder / "cameras.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match="another recording"):
            CaptureJob.of_rig(load_rig(rig_folder), replace(OPTIONS, iterations=1)).resume(tmp_path)
    (rig_folder / "cameras.json").write_text(json.dumps(document))
    CaptureJob.of_rig(load_rig(rig_folder), replace(OPTIONS, iterations=1)).resume(tmp_path)
    save_image(torch.rand(24, 24, 3), rig_folder / "sequence0" / "camera1" / "0000.png")
    with pytest.raises(CheckpointError, match="another recording"):
        CaptureJob.of_rig(load_rig(rig_folder), replace(OPTIONS, iterations=1)).resume(tmp_path)
    values = state.to_dict()
    values["parameters"]["m3"] = values["parameters"]["m3"][:-1]
    with pytest.raises(ValueError, match=r"state\.parameters\.m3: expected"):
        job.begin().restore(values)
    Checkpoints(tmp_path, job.settings, {}).save(_Plain({"parameters": {}}))
    with pytest.raises(CheckpointError, match="damaged"):
        job.resume(tmp_path)


class _Plain:
    def __init__(self, values: dict[str, object]) -> None:
        self.values = values

    def to_dict(self) -> dict[str, object]:
        return self.values


def _remove(*parts: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _resize(folder: Path) -> None:
    save_image(torch.zeros(24, 48, 3), folder / "sequence0" / "camera1" / "0000.png")


def _resize_last(folder: Path) -> None:
    save_image(torch.zeros(12, 12, 3), folder / "sequence0" / "camera1" / "0002.png")


def _unnamed(folder: Path) -> None:
    document = json.loads((folder / "cameras.json").read_text())
    document["frames"][0]["file_path"] = "./"
    (folder / "cameras.json").write_text(json.dumps(document))


def _both_layouts(folder: Path) -> None:
    shutil.copytree(folder / "sequence0" / "camera0", folder / "camera0")


def _empty(folder: Path) -> None:
    for path in (folder / "sequence0" / "camera1").iterdir():
        path.unlink()


def _second_base(folder: Path) -> None:
    shutil.copy(folder / "base.obj", folder / "base.ply")


def _plain_base(folder: Path) -> None:
    (folder / "base.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")


def _twice(folder: Path) -> None:
    document = json.loads((folder / "cameras.json").read_text())
    document["frames"].append(document["frames"][0])
    (folder / "cameras.json").write_text(json.dumps(document))


def _other_shape(folder: Path) -> None:
    for path in folder.glob("sequence0/*/*.png"):
        save_image(torch.zeros(24, 48, 3), path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove("cameras.json"), r"expected cameras\.json or transforms\.json"),
        (_remove("base.obj"), r"expected one mesh base\.obj.*got none"),
        (_second_base, r"got base\.obj, base\.ply"),
        (_plain_base, r"expected a mesh with texture coordinates"),
        (_remove("sequence0"), r"expected folders named like the cameras, such as camera0"),
        (_remove("sequence0", "camera1"), r"no folder of camera camera1"),
        (_empty, r"no images of camera camera1"),
        (
            _remove("sequence0", "camera1", "0001.png"),
            r"camera1 has no image of the frame 0001\.png of camera camera0",
        ),
        (_resize, r"48 x 24 pixels, and .*0000\.png has 24 x 24"),
        (_resize_last, r"0002\.png: 12 x 12 pixels, and .*0000\.png has 24 x 24"),
        (_unnamed, r"file_path: expected the name of a camera .*, got '\./'"),
        (_both_layouts, r"got both: camera0 and sequence0"),
        (_other_shape, r"camera camera0: expected images like 24 x 24, got 48 x 24"),
        (_twice, r"camera camera0 is listed more than once"),
    ],
)
def test_wrong_folders(rig_folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(rig_folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_rig(rig_folder)


def _renamed(folder: Path, names: dict[str, list[str]]) -> Path:
    """A rig whose images have other names, in the order of the frames."""
    for camera, new in names.items():
        place = folder / "sequence0" / camera
        for old, name in zip(sorted(place.iterdir()), new, strict=True):
            old.rename(place / name)
    return folder


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a.png", "c.png", "b.png"], ["a.jpg", "c.jpg", "b.jpg"]),  # the same names, in their own order
        (["cam0_9.png", "cam0_11.png", "cam0_10.png"], ["v2 cam1 09.png", "v2 cam1 011.png", "v2 cam1 010.png"]),
        (["9_left.png", "11_left.png", "10_left.png"], ["9_right3.png", "11_right3.png", "10_right3.png"]),
    ],
)
def test_images_of_a_frame_are_found_by_name(rig_folder: Path, first: list[str], second: list[str]) -> None:
    take = load_rig(_renamed(rig_folder, {"camera0": first, "camera1": second})).takes[0]
    order = (0, 2, 1)  # of the numbers, or of the letters
    assert [[path.name for path in row] for row in take.paths] == [[first[n], second[n]] for n in order]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            ["0.png", "1.png", "2.png"],
            ["1.png", "2.png", "3.png"],
            r"camera1 has no image of the frame 0\.png",
        ),
        (
            ["a.png", "b.png", "c.png"],
            ["d.png", "e.png", "f.png"],
            r"camera0: expected images whose .* a\.png",
        ),
        (["0.png", "1.png", "2.png"], ["1.png", "01.jpg", "2.png"], r"camera1: expected one image of each frame, got"),
        (["0_7.png", "1_8.png", "2_9.png"], ["0.png", "1.png", "2.png"], r"camera0: expected images whose names are"),
    ],
)
def test_images_that_cannot_be_paired(rig_folder: Path, first: list[str], second: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_rig(_renamed(rig_folder, {"camera0": first, "camera1": second}))


def test_one_image_of_each_camera(tmp_path: Path) -> None:
    names = {camera: [tmp_path / camera / f"{camera}_{n:04d}.png"] for camera, n in (("cam1", 5), ("cam2", 5))}
    assert paired(tmp_path, names) == ((names["cam1"][0], names["cam2"][0]),)
    names["cam2"] = [tmp_path / "cam2" / "cam2_0006.png"]
    with pytest.raises(ValueError, match="no image of the frame"):
        paired(tmp_path, names)


def test_few_images_are_opened_before_they_are_needed(rig_folder: Path) -> None:
    """One in the middle that is no image is found when it is read."""
    path = rig_folder / "sequence0" / "camera1" / "0001.png"
    path.write_bytes(b"no image")
    rig = load_rig(rig_folder)
    with pytest.raises(ValueError, match=r"0001\.png"):
        rig.images(torch.tensor([1]), torch.tensor([1]))


def test_morph_targets_of_the_base_are_said_to_be_left(rig_folder: Path) -> None:
    base = load_rig(rig_folder).base
    (rig_folder / "base.obj").unlink()
    save_mesh(replace(base, texture=torch.rand(2, 2, 3)), rig_folder / "base.glb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_rig(rig_folder)
    data = (rig_folder / "base.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    primitive = document["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head_size = len(data) - length + len(text)
    header = data[:8] + head_size.to_bytes(4, "little") + len(text).to_bytes(4, "little") + data[16:20]
    (rig_folder / "base.glb").write_bytes(header + text + data[20 + length :])
    with pytest.warns(UserWarning, match=r"base\.glb: it has morph targets; the capture begins with the shape"):
        again = load_rig(rig_folder)
    torch.testing.assert_close(torch.stack(again.base.bounds()), torch.stack(base.bounds()))


def test_wrong_inputs(recorded: Path, rig_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_rig(recorded / "nowhere")
    with pytest.raises(ValueError, match="less than 8 rows"):
        load_rig(recorded, downscale=4)
    rig = load_rig(rig_folder)
    save_image(torch.zeros(8, 8, 3), rig_folder / "sequence0" / "camera1" / "0002.png")
    with pytest.raises(ValueError, match=r"0002\.png"):
        rig.images(torch.tensor([2]), torch.tensor([1]))
    np.save(rig_folder / "truth" / "sequence0.npy", np.zeros((3, 7, 3), np.float32))
    with pytest.raises(ValueError, match=r"expected \[3, 162, 3\] numbers, got float32 \[3, 7, 3\]"):
        load_truth(rig_folder / "truth", rig)
    away = replace(rig.base, positions=rig.base.positions + 1e4)
    with pytest.raises(ValueError, match="camera camera0 does not see it"):
        CaptureJob.of_rig(replace(rig, base=away))
    with pytest.raises(ValueError, match="truth: expected vertices that at least two cameras see, got none"):
        CaptureJob.of_rig(load_rig(recorded), truth=load_truth(recorded / "truth", load_rig(recorded)) + 1e4)
    with pytest.raises(ValueError, match="rigid: expected one of sequence, frame, none, got 'frames'"):
        CaptureOptions(rigid="frames")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="texture coordinates"):
        CaptureModel(icosphere(0), [1], 1)


def test_names_of_cameras(rig_folder: Path) -> None:
    """A file_path may be the camera's name, its folder, or an image in it; and the rig may be one sequence itself."""
    document = json.loads((rig_folder / "cameras.json").read_text())
    document["frames"][0]["file_path"] = "./sequence0/camera0/0000.png"
    (rig_folder / "transforms.json").write_text(json.dumps(document))
    (rig_folder / "cameras.json").unlink()
    for camera in ("camera0", "camera1"):
        (rig_folder / "sequence0" / camera).rename(rig_folder / camera)
    rig = load_rig(rig_folder)
    assert sorted(rig.names) == ["camera0", "camera1"]
    assert [take.name for take in rig.takes] == ["sequence"]
