"""Photo sets as written by other programs: locations of files, missing files, and writing."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_common import photograph, ring, write_colmap, write_transforms

from lumigrad.io import load_colmap, load_dataset, load_image, save_colmap, save_image, save_points, save_transforms
from lumigrad.scene import FisheyeDistortion, PerspectiveCamera, PointCloud, RadialTangentialDistortion
from lumigrad.scene.cameras.conventions import to_opencv

POINTS = torch.tensor([[0.3, 0.2, 0.1], [-0.4, 0.1, 0.5]], dtype=torch.float64)


def edited(folder: Path, change: object, encoding: str = "utf-8") -> Path:
    """A data set with a changed transforms.json."""
    path = folder / "transforms.json"
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document), encoding=encoding)
    return folder


def same(read: tuple[PerspectiveCamera, ...], camera: PerspectiveCamera) -> None:
    assert len(read) == camera.shape[0]
    for i, one in enumerate(read):
        assert one.size == camera.size
        torch.testing.assert_close(one.pixels(POINTS), camera[i].pixels(POINTS), rtol=1e-9, atol=1e-9)


def in_folders(folder: Path, photos: tuple[str, ...]) -> Path:
    """A data set with photographs at these places."""

    def rename(document: dict) -> None:
        for frame, photo in zip(document["frames"], photos, strict=True):
            frame["file_path"] = photo
            save_image(torch.rand(24, 32, 3), folder / photo)

    return edited(write_transforms(folder, ring(len(photos))), rename)


@pytest.mark.parametrize("name", ["{0}.png", "{0}.jpg.png", "{0}.JPG", "{0}.webp", "{0}.jpg.tif", "{0}.npy"])
def test_masks_of_several_cameras(tmp_path: Path, name: str) -> None:
    """Photographs of the same names in sub-folders get the masks of their own."""
    photos = tuple(f"images/{place}/{number}.jpg" for place in ("left", "right") for number in ("a", "b"))
    folder = in_folders(tmp_path / "data", photos)
    for number, photo in enumerate(photos):
        mask, place = torch.zeros(24, 32, 3), folder / "masks" / Path(photo).parent.name
        mask[:, : 4 * (number + 1)] = 1
        save_image(mask, place / name.format(Path(photo).stem))
    data = load_dataset(folder)
    for loaded in (data.with_masks(), data.with_masks(Path("masks"))):
        shares = [float((loaded.load(number)[0][..., 3] > 0.5).float().mean()) for number in range(4)]
        assert shares == [0.125, 0.25, 0.375, 0.5]


def test_a_mask_that_several_photographs_could_claim(tmp_path: Path) -> None:
    """A mask that several photographs could claim is left out with a warning; an unambiguous one is used."""
    in_folders(tmp_path, ("images/l/a.png", "images/r/a.png", "images/r/b.png"))
    for name in ("a", "b"):
        save_image(torch.ones(24, 32, 3), tmp_path / "masks" / f"{name}.png")
    claimed = r"1 masks are left out, such as .*a\.png: photographs in .*l and in .*r have that name"
    with pytest.warns(UserWarning, match=claimed):
        data = load_dataset(tmp_path)
    assert [mask is None for mask in data.masks] == [True, True, False]


def test_held_out_by_names_in_folders(tmp_path: Path) -> None:
    in_folders(tmp_path, ("images/l/a.png", "images/r/a.png", "images/r/b.png"))
    listed = tmp_path / "test.txt"
    for text, held_out in (("r/a.png\nb\n", (1, 2)), ("elsewhere/images/l/a.png\n", (0,)), ("l\\a.png", (0,))):
        listed.write_text(text)
        assert load_dataset(tmp_path, test=listed).held_out == held_out
    for text, message in (("a.png", r"a\.png may be .*l/a\.png or .*r/a\.png"), ("c.png", r"c\.png is none of the")):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_dataset(tmp_path, test=listed)


# ---- transforms.json -----------------------------------------------------------------------------------------------


def test_two_fields_of_view(tmp_path: Path) -> None:
    def angles(document: dict) -> None:
        for frame in document["frames"]:
            del frame["fl_x"], frame["fl_y"]
        document |= {"camera_angle_x": 0.8, "y_fov": 40.0}
        document["frames"][2] |= {"camera_angle_y": 0.5}

    data = load_dataset(edited(write_transforms(tmp_path, ring(3)), angles))
    assert float(data.cameras[0].fx) == pytest.approx(16 / math.tan(0.4))
    assert float(data.cameras[0].fy) == pytest.approx(12 / math.tan(math.radians(20)))
    assert float(data.cameras[2].fy) == pytest.approx(12 / math.tan(0.25))


@pytest.mark.parametrize("model", ["OPENCV", "OPENCV_FISHEYE"])
def test_distortion_params(tmp_path: Path, model: str) -> None:
    """nerfstudio's list is k1, k2, k3, k4, p1, p2."""
    values = [0.1, -0.05, 0.01, 0.0, 0.002, -0.001] if model == "OPENCV" else [0.1, 0.02, -0.01, 0.003, 0, 0]
    change = {"camera_model": model, "distortion_params": values}
    data = load_dataset(edited(write_transforms(tmp_path, ring(3)), lambda document: document.update(change)))
    lens = data.cameras[0].distortion
    assert isinstance(lens, RadialTangentialDistortion if model == "OPENCV" else FisheyeDistortion)
    names = ("k1", "k2", "k3", "k4", "p1", "p2")[: 6 if model == "OPENCV" else 4]
    assert [float(getattr(lens, name)) for name in names] == values[: len(names)]


def test_masks_say_which_pixels_count(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, ring(3))
    left = torch.zeros(24, 32, 1)
    left[:, :16] = 1
    save_image(left, folder / "left.png")
    save_image(torch.nn.functional.interpolate(left.permute(2, 0, 1)[None], (12, 16))[0].permute(1, 2, 0),
               folder / "masks" / "002.png")  # fmt: skip
    data = load_dataset(edited(folder, lambda document: document["frames"][1].update(mask_path="./left.png")))
    assert data.load_mask(0) is None
    assert bool(data.load_undistorted(0)[1].all())
    for number in (1, 2):  # named in the file; of another size in the folder `masks`
        covered = data.load_undistorted(number)[1]
        assert torch.equal(covered, left[..., 0].bool())
    half = load_dataset(folder, downscale=3).load_mask(1)
    assert half is not None
    assert half.float().mean(0).tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]  # the block with the edge does not count
    with pytest.warns(UserWarning, match=r"1 of 3 masks are missing, such as none\.png"):
        load_dataset(edited(folder, lambda document: document["frames"][1].update(mask_path="none.png")))


def test_points_of_a_ply_file(tmp_path: Path) -> None:
    folder = edited(write_transforms(tmp_path, ring(3)), lambda document: document.update(ply_file_path="p.ply"))
    with pytest.warns(UserWarning, match=r"names the points p\.ply, which are missing"):
        assert load_dataset(folder).points is None
    cloud = PointCloud(torch.rand(60, 3), torch.rand(60, 3))
    save_points(cloud, folder / "p.ply")
    points = load_dataset(folder).points
    assert points is not None
    assert torch.equal(points.positions, cloud.positions)


def test_split_in_the_file(tmp_path: Path) -> None:
    names = [f"images/{i:03d}.png" for i in range(5)]
    folder = write_transforms(tmp_path, ring(5))
    lists = {"train_filenames": names[:2], "val_filenames": names[2:3], "test_filenames": names[3:]}
    data = load_dataset(edited(folder, lambda document: document.update(lists)))
    assert [path.stem for path in data.paths] == ["000", "001", "003", "004"]  # which of val are neither
    assert data.split() == ([0, 1], [2, 3])
    assert data.split(2) == ([1, 3], [0, 2])


def test_split_files(tmp_path: Path) -> None:
    """NeRF's synthetic scenes: one file for each part, names without a suffix."""
    folder = write_transforms(tmp_path, ring(6))
    whole = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").unlink()
    for part, numbers in (("train", [0, 2, 4]), ("test", [1]), ("val", [3, 5])):
        frames = [whole["frames"][i] | {"file_path": f"./images/{i:03d}"} for i in numbers]
        (folder / f"transforms_{part}.json").write_text(json.dumps({**whole, "frames": frames}))
    data = load_dataset(folder)
    assert [path.stem for path in data.paths] == ["000", "001", "002", "004"]
    assert data.split()[1] == [1]
    assert load_dataset(folder, test="val").split()[1] == [2, 4]
    assert load_dataset(folder / "transforms_train.json").held_out is None


def test_missing_photographs_are_counted(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, ring(5))
    (folder / "images" / "001.png").unlink()
    (folder / "images" / "003.png").unlink()
    with pytest.warns(UserWarning, match=r"2 of 5 photographs are missing and left out, such as images/001\.png"):
        data = load_dataset(folder)
    assert [path.stem for path in data.paths] == ["000", "002", "004"]
    torch.testing.assert_close(data.cameras[1].position, ring(5)[2].position)
    shutil.rmtree(folder / "images")
    with pytest.raises(FileNotFoundError, match=r"images/000\.png, which is missing, as are all 5"):
        load_dataset(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows(tmp_path: Path, encoding: str) -> None:
    def backslashes(document: dict) -> None:
        document["frames"][0]["file_path"] = ".\\images\\000.png"
        document["frames"][1]["file_path"] = "C:\\Users\\me\\set\\images\\001.PNG"
        document["frames"][2]["file_path"] = "/home/me/set/images/002.png"

    data = load_dataset(edited(write_transforms(tmp_path, ring(3)), backslashes, encoding))
    assert sorted(path.name for path in data.paths) == ["000.png", "001.png", "002.png"]


# ---- Folders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["images_2", "images_8", "input"])
def test_photographs_in_other_folders(tmp_path: Path, name: str) -> None:
    for kind in ("transforms", "colmap"):
        folder = tmp_path / kind
        if kind == "colmap":
            write_colmap(folder, ring(3), True)
        else:
            write_transforms(folder, ring(3))
        (folder / "images").rename(folder / name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = load_dataset(folder)
        assert [path.parent.name for path in data.paths] == [name] * 3


@pytest.mark.parametrize("place", ["sparse/1", "sparse", "sparse_txt", "colmap/sparse/0", "."])
def test_models_in_other_folders(tmp_path: Path, place: str) -> None:
    write_colmap(tmp_path / "made", ring(3), place != "sparse_txt")
    shutil.copytree(tmp_path / "made" / "sparse" / "0", tmp_path / "set" / place)
    shutil.copytree(tmp_path / "made" / "images", tmp_path / "set" / "images")
    same(load_dataset(tmp_path / "set").cameras, ring(3))
    same(load_dataset(tmp_path / "set" / place).cameras, ring(3))  # the model's own folder


def test_several_models(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, ring(3), True)
    shutil.copytree(folder / "sparse" / "0", folder / "sparse" / "1")
    with pytest.warns(UserWarning, match="COLMAP made several models"):
        load_dataset(folder)


def test_chosen_images_test_and_downscale(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, ring(6))
    for i in range(6):
        save_image(torch.full((12, 16, 3), 0.5), folder / "images_2" / f"{i:03d}.jpg")
        save_image(torch.full((24, 32, 3), 1.0), folder / "mine" / f"{i:03d}.png")
    full = ring(6)[0].pixels(POINTS)
    image, camera = load_dataset(folder, images="mine").load(0)
    assert image.min() == 1
    image, camera = load_dataset(folder, downscale=2).load(0)  # the folder that is there
    assert image.shape == (12, 16, 3)
    assert image.std() < 1e-3
    torch.testing.assert_close(camera.pixels(POINTS), full / 2)
    image, camera = load_dataset(folder, downscale=3).load(0)  # averaged: blocks of 3 x 3
    stored = load_image(folder / "images" / "000.png")
    torch.testing.assert_close(image[1, 2], stored[3:6, 6:9].mean((0, 1)))
    assert camera.size == (8, 10)
    torch.testing.assert_close(camera.pixels(POINTS), full / 3)
    assert load_dataset(folder, images="images_2", downscale=4).load(0)[0].shape == (6, 8, 3)

    assert load_dataset(folder, test=3).split()[1] == [0, 3]
    (tmp_path / "test.txt").write_text("images/004.png\n001\n")
    assert load_dataset(folder, test=tmp_path / "test.txt").split()[1] == [1, 4]
    (tmp_path / "test.txt").write_text("009.png\n")
    with pytest.raises(ValueError, match=r"009\.png is none of the photographs"):
        load_dataset(folder, test=tmp_path / "test.txt")
    with pytest.raises(FileNotFoundError, match="test: expected a number"):
        load_dataset(folder, test="none.txt")
    with pytest.raises(FileNotFoundError, match="images: no such folder"):
        load_dataset(folder, images="none")
    with pytest.raises(ValueError, match="downscale: expected an integer"):
        load_dataset(folder, downscale=0)


# ---- Cameras of other programs -------------------------------------------------------------------------------------


def photographs(folder: Path, camera: PerspectiveCamera, pattern: str) -> None:
    for i, image in enumerate(photograph(camera)):
        save_image(image, folder / pattern.format(i))


def centred(count: int = 4) -> PerspectiveCamera:
    """Cameras whose principal point is the middle, as LLFF's are."""
    return ring(count)


def test_llff(tmp_path: Path) -> None:
    """A row holds [3, 5]: columns down, right, backwards, position, (height, width, focal length); and two depths."""
    camera = centred()
    photographs(tmp_path, camera, "images/{}.png")
    pose = camera.camera_to_world
    columns = [-pose[:, :3, 1], pose[:, :3, 0], pose[:, :3, 2], pose[:, :3, 3]]
    last = torch.stack([torch.tensor([24.0, 32.0, float(f)], dtype=torch.float64) for f in camera.fx])
    rows = torch.stack([*columns, last], dim=2).flatten(1)
    rows = torch.cat([rows, torch.tensor([[1.0, 9.0]] * 4, dtype=torch.float64)], dim=1)
    np.save(tmp_path / "poses_bounds.npy", rows.numpy())
    same(load_dataset(tmp_path).cameras, camera)
    np.save(tmp_path / "poses_bounds.npy", rows[:3].numpy())
    with pytest.raises(ValueError, match=r"poses_bounds\.npy: 3 cameras, but 4 photographs"):
        load_dataset(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", rows[:, :9].numpy())
    with pytest.raises(ValueError, match="expected finite numbers"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("sign", [1.0, -2.5])
def test_neus(tmp_path: Path, sign: float) -> None:
    """A point of the unit ball is seen at the pixel to which world_mat @ scale_mat takes it, of any scale and sign."""
    camera = ring(4)
    photographs(tmp_path, camera, "image/{:03d}.png")
    R, t, K = to_opencv(camera)
    scale = np.diag([2.0, 2, 2, 1])
    scale[:3, 3] = [0.3, -0.2, 0.5]
    matrices = {}
    for i in range(4):
        world = np.eye(4)
        world[:3] = sign * (K[i] @ torch.cat([R[i], t[i, :, None]], dim=1)).numpy()
        matrices |= {f"world_mat_{i}": world, f"scale_mat_{i}": scale}
        save_image(torch.ones(24, 32, 1) * (i % 2), tmp_path / "mask" / f"{i:03d}.png")
    np.savez(tmp_path / "cameras_sphere.npz", **matrices)
    data = load_dataset(tmp_path)
    homogeneous = np.c_[POINTS.numpy(), np.ones(2)]
    for i, one in enumerate(data.cameras):
        seen = (matrices[f"world_mat_{i}"] @ scale @ homogeneous.T)[:3]
        pixel_of_center = torch.from_numpy((seen[:2] / seen[2]).T) + 0.5
        torch.testing.assert_close(one.pixels(POINTS), pixel_of_center, rtol=1e-9, atol=1e-9)
        assert bool((one.depth(POINTS) > 0).all())
        image = data.load(i)[0]
        assert image.shape == (24, 32, 4)
        assert image[..., 3].unique().tolist() == [i % 2]
    del matrices["world_mat_3"]
    np.savez(tmp_path / "cameras_sphere.npz", **matrices)
    with pytest.raises(ValueError, match=r"cameras_sphere\.npz: 3 cameras"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("corrected", [False, True])
def test_polycam(tmp_path: Path, corrected: bool) -> None:
    camera = ring(3)
    prefix = "corrected_" if corrected else ""
    photographs(tmp_path / "keyframes", camera, prefix + "images/17{}.jpg")
    if corrected:  # beside what the device measured
        shutil.copytree(tmp_path / "keyframes" / "corrected_images", tmp_path / "keyframes" / "images")
        (tmp_path / "keyframes" / "cameras").mkdir()
    (tmp_path / "keyframes" / (prefix + "cameras")).mkdir()
    for i in range(3):
        pose = camera[i].camera_to_world
        values = {f"t_{row}{column}": float(pose[row, column]) for row in range(3) for column in range(4)}
        values |= {name: float(getattr(camera[i], name)) for name in ("fx", "fy", "cx", "cy")}
        values |= {"width": 32, "height": 24, "blur_score": 90.0}
        (tmp_path / "keyframes" / (prefix + "cameras") / f"17{i}.json").write_text(json.dumps(values))
    data = load_dataset(tmp_path)
    same(data.cameras, camera)
    assert {path.parent.name for path in data.paths} == {prefix + "images"}
    data.paths[1].unlink()
    with pytest.warns(UserWarning, match="1 of 3 photographs are missing"):
        assert len(load_dataset(tmp_path)) == 2
    (tmp_path / "keyframes" / (prefix + "cameras") / "172.json").write_text("{}")
    with pytest.raises(ValueError, match=r"172\.json: expected a camera of Polycam"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("own", [False, True])
def test_record3d(tmp_path: Path, own: bool) -> None:
    """A turn of 90 degrees about y, camera to world, is (0, sin 45, 0, cos 45): the camera looks along -x."""
    for i in range(12):
        save_image(torch.full((6, 8, 3), i / 12), tmp_path / "rgb" / f"{i}.jpg")
    half = math.sqrt(0.5)
    document = {
        "poses": [[0.0, half, 0.0, half, 1.0, 2.0, 3.0 + i] for i in range(12)],
        "K": [9.0, 0, 0, 0, 10.0, 0, 4.5, 2.5, 1],  # by columns
        "w": 8,
        "h": 6,
    }
    if own:
        document["perFrameIntrinsicCoeffs"] = [[9.0 + i, 10.0, 4.5, 2.5] for i in range(12)]
    (tmp_path / "metadata.json").write_text(json.dumps(document))
    data = load_dataset(tmp_path)
    assert [float(camera.position[2]) for camera in data.cameras] == pytest.approx([3.0 + i for i in range(12)])
    assert float(data.load(10)[0].mean()) == pytest.approx(10 / 12, abs=0.01)  # 10 after 9, not after 1
    # One unit to the right of the axis is one unit along -z for this camera.
    ahead = data.cameras[2].pixels(torch.tensor([[-1.0, 2.0, 4.0]], dtype=torch.float64))[0]
    assert ahead.tolist() == pytest.approx([4.5 + (11.0 if own else 9.0) / 2, 2.5])


# ---- Writing -------------------------------------------------------------------------------------------------------


LENSES = [
    (None, "PINHOLE"),
    (RadialTangentialDistortion(0.1, -0.05, 0.002, -0.001), "OPENCV"),
    (RadialTangentialDistortion(0.1, -0.05, 0.002, -0.001, k3=0.01), "FULL_OPENCV"),
    (FisheyeDistortion(0.1, 0.02), "OPENCV_FISHEYE"),
]


@pytest.mark.parametrize(("lens", "model"), LENSES)
@pytest.mark.parametrize("binary", [True, False])
def test_save_colmap(tmp_path: Path, lens: object, model: str, binary: bool) -> None:
    camera = replace(ring(3), distortion=lens)
    cloud = PointCloud(torch.rand(7, 3), torch.randint(0, 256, (7, 3)) / 255)
    data = replace(load_dataset(write_transforms(tmp_path / "set", camera)), points=cloud)
    save_colmap(data, tmp_path / "set" / "sparse" / "0", binary)
    read = load_colmap(tmp_path / "set" / "sparse" / "0")
    assert read.names == ("000.png", "001.png", "002.png")
    same(read.cameras, camera)
    assert read.points is not None
    torch.testing.assert_close(read.points.positions, cloud.positions)
    torch.testing.assert_close(read.points.colors, cloud.colors)
    if not binary:
        lines = (tmp_path / "set" / "sparse" / "0" / "cameras.txt").read_text().splitlines()
        assert [line.split()[1] for line in lines[1:]] == [model]  # one camera, which all images share
    (tmp_path / "set" / "transforms.json").unlink()
    same(load_dataset(tmp_path / "set").cameras, camera)
    with pytest.raises(ValueError, match="at least one camera"):
        save_colmap(replace(read, cameras=(), names=()), tmp_path)


@pytest.mark.parametrize(("lens", "model"), LENSES)
def test_save_transforms(tmp_path: Path, lens: object, model: str) -> None:
    camera = replace(ring(4), distortion=lens)
    data = load_dataset(write_colmap(tmp_path / "set", camera, True))
    save_image(torch.ones(24, 32, 1), tmp_path / "set" / "masks" / "002.png")
    masks = (None, None, tmp_path / "set" / "masks" / "002.png", None)
    save_transforms(replace(data, held_out=(1, 3), masks=masks), tmp_path / "out" / "transforms.json")
    document = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert document["frames"][0]["file_path"] == "../set/images/000.png"
    assert document["val_filenames"] == ["../set/images/001.png", "../set/images/003.png"]
    again = load_dataset(tmp_path / "out")
    same(again.cameras, camera)
    assert again.split() == ([0, 2], [1, 3])
    assert again.points is not None
    assert data.points is not None
    torch.testing.assert_close(again.points.positions, data.points.positions)
    assert [mask is not None for mask in again.masks] == [False, False, True, False]
    with pytest.raises(ValueError, match="alpha"):
        save_transforms(replace(data, masks=masks, masks_are_alpha=True), tmp_path)


def test_the_fox_as_it_is_shipped(shared: Path, tmp_path: Path) -> None:
    """Its file names 67 photographs, of which some are not there."""
    folder = shared / "data" / "fox"
    if not folder.is_dir():
        pytest.skip("needs the photographs of the fox")
    document = json.loads((folder / "transforms.json").read_text())
    there = len(document["frames"])
    document["frames"] += [{**document["frames"][0], "file_path": f"images/9{i:03d}.jpg"} for i in range(23)]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    (tmp_path / "images").symlink_to(folder / "images")
    with pytest.warns(UserWarning, match=rf"23 of {there + 23} photographs are missing"):
        assert len(load_dataset(tmp_path)) == there
