"""Posed photographs: reading, and errors for damaged files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dataset_common import ring, write_colmap, write_transforms
from PIL import Image

from lumigrad.io import load_dataset, save_image
from lumigrad.scene import FisheyeDistortion, PerspectiveCamera, RadialTangentialDistortion, undistort_image

BENT = RadialTangentialDistortion(0.1, -0.05, 0.002, -0.001)
POINTS = torch.tensor([[0.3, 0.2, 0.1], [-0.4, 0.1, 0.5]], dtype=torch.float64)


def same(read: tuple[PerspectiveCamera, ...], camera: PerspectiveCamera) -> None:
    assert len(read) == camera.shape[0]
    for i, one in enumerate(read):
        assert one.size == camera.size
        torch.testing.assert_close(one.pixels(POINTS), camera[i].pixels(POINTS), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("distortion", [None, BENT, FisheyeDistortion(0.1, 0.02)])
@pytest.mark.parametrize("kind", ["transforms", "binary", "text"])
def test_cameras_and_photographs(tmp_path: Path, kind: str, distortion: object) -> None:
    camera = replace(ring(3), distortion=distortion)
    if kind == "transforms":
        write_transforms(tmp_path, camera)
    else:
        write_colmap(tmp_path, camera, kind == "binary")
    data = load_dataset(tmp_path)
    same(data.cameras, camera)
    image, one = data.load(1)
    assert image.shape == (24, 32, 3)
    assert image.std() > 0.05
    assert one is data.cameras[1]
    if kind == "transforms":
        assert data.points is None
        return
    assert data.points is not None
    torch.testing.assert_close(data.points.positions, torch.tensor([[0.5, -0.25, 1], [1, 2, 3]]))
    assert data.points.colors is not None
    torch.testing.assert_close(data.points.colors, torch.tensor([[1, 0, 0.2], [0, 1, 0]]))


def test_every_eighth_is_held_out(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path, ring(11)))
    train, held_out = data.split()
    assert held_out == [0, 8]
    assert sorted(train + held_out) == list(range(11))
    with pytest.raises(ValueError, match="every"):
        data.split(1)
    with pytest.raises(ValueError, match=r"one: expected at least two photographs.* got 1"):
        load_dataset(write_transforms(tmp_path / "one", ring(1))).split()


def test_smaller_copies_scale_the_camera(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path))
    save_image(torch.rand(12, 16, 3), data.paths[0])
    camera = data.load(0)[1]
    assert camera.size == (12, 16)
    torch.testing.assert_close(camera.pixels(POINTS), 0.5 * data.cameras[0].pixels(POINTS))
    save_image(torch.rand(24, 16, 3), data.paths[0])
    with pytest.raises(ValueError, match=r"000\.png: 16 x 24 pixels, but its camera has 32 x 24"):
        data.load(0)


@pytest.mark.parametrize("orientation", [6, 8])
def test_photographs_that_a_camera_stored_on_their_side(tmp_path: Path, orientation: int) -> None:
    """They are turned upright where only that has their camera's shape; where both have it, pixels are as stored."""
    data = load_dataset(write_transforms(tmp_path))
    camera = data.cameras[0]
    upright = data.load(0)[0]
    side = torch.rot90(upright, 1 if orientation == 6 else -1)
    turned = Image.Exif()
    turned[0x0112] = orientation
    Image.fromarray((side * 255 + 0.5).to(torch.uint8).numpy()).save(data.paths[0], exif=turned)
    image, found = data.load(0)
    assert torch.equal(image, upright)
    assert found == camera
    square = replace(data, cameras=tuple(camera.resized((24, 24)) for _ in data.cameras))
    Image.fromarray((side[:24] * 255 + 0.5).to(torch.uint8).numpy()).save(data.paths[0], exif=turned)
    torch.testing.assert_close(square.load(0)[0], side[:24], rtol=0, atol=1e-6)


def test_sizes_and_suffixes_may_be_missing(tmp_path: Path) -> None:
    write_transforms(tmp_path)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")
    del document["w"], document["h"]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    data = load_dataset(tmp_path / "transforms.json")
    same(data.cameras, ring())
    assert data.load(8)[0].shape == (24, 32, 3)


def test_undistorted_lines_are_straight() -> None:
    """A photograph of a linear ramp over the ideal image plane is that ramp again."""
    camera = replace(PerspectiveCamera.from_fov(50.0, (48, 64), torch.eye(4, dtype=torch.float64)), distortion=BENT)
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    plane = torch.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy], dim=-1).double()
    ideal = BENT.undistort(plane.reshape(-1, 2)).reshape(48, 64, 2)
    ramp = torch.cat([0.5 + 0.4 * ideal, 0.5 * torch.ones(48, 64, 1)], dim=-1).float()
    image, covered, plain = undistort_image(ramp, camera)
    assert plain.distortion is None
    expected = torch.cat([0.5 + 0.4 * plane, 0.5 * torch.ones(48, 64, 1)], dim=-1).float()
    inside = covered.clone()
    inside[:3], inside[-3:], inside[:, :3], inside[:, -3:] = False, False, False, False
    assert inside.float().mean() > 0.7
    # torch's cubic kernel (a = -0.75) moves ramps by up to 0.048 pixels: 4e-4 at this slope.
    assert (image - expected)[inside].abs().max() < 5e-4
    assert (ramp - expected)[inside].abs().max() > 4e-3  # which shows that there was something to do
    assert undistort_image(image, plain)[0] is image
    with pytest.raises(ValueError, match="image: expected shape"):
        undistort_image(image[1:], camera)
    with pytest.raises(ValueError, match="camera: expected one"):
        undistort_image(image, ring(2, (48, 64)))


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_binary_files_cut_short_anywhere(tmp_path: Path, name: str) -> None:
    path = write_colmap(tmp_path, ring(2), True) / "sparse" / "0" / name
    content = path.read_bytes()
    for length in (0, 5, 8, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"{name}: cut short"):
            load_dataset(tmp_path)
    path.write_bytes(content + b"12")
    with pytest.raises(ValueError, match=f"{name}: malformed: 2 bytes more"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("cameras.txt", " PINHOLE", " FOV", "camera 5 has the model FOV"),
        ("cameras.txt", " PINHOLE", " OPENCV", "line 2: expected 8 parameters of OPENCV, got 4"),
        ("cameras.txt", "PINHOLE 32", "PINHOLE x", "line 2: expected numbers"),
        ("cameras.txt", "5 PINHOLE", "55 PINHOLE", "names camera 5, which"),
        ("images.txt", " 5 000.png", "", "line 2: expected 10 values"),
        ("images.txt", "1 ", "1 nan", "line 2|no valid pose"),
        ("points3D.txt", " 255 0 51 0.3 1 0 2 1", "", "line 2: expected at least 8 values, got 4"),
        ("points3D.txt", "-0.25", "inf", "not finite"),
    ],
)
def test_malformed_text(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = write_colmap(tmp_path, ring(2), False) / "sparse" / "0" / name
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        load_dataset(tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(frames=[]), "expected a list 'frames'"),
        (lambda document: document["frames"][1].pop("file_path"), "frame 1 has no file_path"),
        (lambda document: document["frames"][1].pop("transform_matrix"), "no 4 x 4 transform_matrix"),
        (lambda document: document["frames"][1]["transform_matrix"].pop(0), "scale or shear|no 4 x 4"),
        (lambda document: document["frames"][1]["transform_matrix"].__setitem__(0, ["a"] * 4), "finite numbers"),
        (lambda document: [document["frames"][1].pop(name) for name in ("fl_x", "fl_y")], "expected fl_x or camera"),
        (
            lambda document: (
                document["frames"][1].update(camera_angle_x=4.0, fl_x=1) or document["frames"][1].pop("fl_x")
            ),
            "camera_angle_x: expected an angle between",
        ),
        (lambda document: document.update(camera_model="EQUIRECTANGULAR"), "camera_model: .*, got 'EQUIRECTANGULAR'"),
        (lambda document: document.update(distortion_params=[0, 0, 0, 0.5]), "expected k4 = 0 for a perspective"),
        (lambda document: document.update(distortion_params="none"), "distortion_params: expected up to six"),
        (lambda document: document.update(train_filenames=["images/none.png"]), "train, val or test_filenames name"),
        (lambda document: document["frames"][1].update(fl_x="wide"), "001.png'.*fl_x: expected a finite number"),
        (lambda document: document["frames"][1].update(fl_y=None), "fl_y: expected a finite number, got None"),
        (lambda document: document["frames"][1].update(fl_x=0), "fl_x: expected a focal length above zero, got 0"),
        (lambda document: document["frames"][1].update(cx=float("nan")), "cx: expected a finite number"),
        (lambda document: document["frames"][1].update(k1=[1]), "k1: expected a finite number"),
    ],
)
def test_malformed_transforms(tmp_path: Path, change: object, message: str) -> None:
    path = write_transforms(tmp_path) / "transforms.json"
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        load_dataset(tmp_path)
    assert "transforms.json" in str(raised.value)


def test_no_data_set_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such data set"):
        load_dataset(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no transforms\.json, no COLMAP model"):
        load_dataset(tmp_path)
    (tmp_path / "transforms.json").write_text('{"frames": [')
    with pytest.raises(ValueError, match=r"transforms\.json: not JSON, or cut short"):
        load_dataset(tmp_path)
    (tmp_path / "transforms.json").unlink()
    write_transforms(tmp_path)
    (tmp_path / "images" / "003.png").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"003\.png"):
        load_dataset(tmp_path).load(3)
    write_colmap(tmp_path / "b", ring(2), True)
    (tmp_path / "b" / "sparse" / "0" / "images.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"no images\.bin or images\.txt"):
        load_dataset(tmp_path / "b")


def test_real_photographs(shared: Path) -> None:
    folder = shared / "data" / "fox"
    if not folder.is_dir():
        pytest.skip("needs the photographs of the fox")
    data = load_dataset(folder)
    assert len(data) == len(list((folder / "images").iterdir()))
    image, covered, camera = data.load_undistorted(7)
    assert image.shape == (480, 270, 3)
    assert covered.float().mean() > 0.95
    assert camera.distortion is None
