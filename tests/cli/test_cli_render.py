"""`lumigrad render`, in process, on tiny pictures: views, cameras, light, points and Gaussians."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lumigrad.cli import main
from lumigrad.io import (
    ColmapModel,
    load_image,
    save_colmap,
    save_gaussians,
    save_image,
    save_mesh,
    save_points,
)
from lumigrad.io._camera_files import named_cameras
from lumigrad.render.color import srgb_encode
from lumigrad.scene import (
    GaussianCloud,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    constant_harmonics,
    icosphere,
)
from lumigrad.scene.cameras.conventions import to_transforms
from lumigrad.scene.shapes.procedural import creature


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_mesh(icosphere(4), "ball.obj")
    save_mesh(replace(creature(3), texture=None, uvs=None, uv_faces=None), "creature.obj")
    return tmp_path


def shown(*options: str, name: str = "out.png", size: str = "48") -> torch.Tensor:
    """The picture that the command makes with some options."""
    assert main(["render", *options, "-o", name, "--size", size]) == 0
    return load_image(name)


def error_of(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert main(["render", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("lumigrad: error: ")
    assert "\n" not in error
    return error


# ---- Light and background ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shading", ["diffuse", "pbr", "phong", "flat", "gouraud", "unlit"])
@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.03, 0.04, 0.05), (0.5, 0.5, 0.5)])
def test_whatever_is_shown_is_seen(folder: Path, shading: str, color: tuple[float, ...]) -> None:
    """Most of an object differs from the background, and a white one is not a white spot."""
    save_mesh(replace(icosphere(4), materials=(PBRMaterial(base_color=torch.tensor(color)),)), "a.glb")
    image = shown("a.glb", "--shading", shading)
    rows, columns = np.mgrid[:48, :48]
    inside = torch.from_numpy((rows - 23.5) ** 2 + (columns - 23.5) ** 2 < 20**2)
    apart = (image - image[0, 0]).abs().amax(-1)[inside]
    assert (apart > 0.1).float().mean() > 0.75
    if color == (1.0, 1.0, 1.0) and shading == "pbr":
        assert image[inside].max() < 0.99


def test_given_backgrounds(folder: Path) -> None:
    for name, value in (("white", (1, 1, 1)), ("#ff8000", (1, 128 / 255, 0))):
        for tone in ("srgb", "filmic"):  # which is for lit shadings
            image = shown("ball.obj", "--background", name, "--shading", "pbr", "--tone", tone)
            torch.testing.assert_close(image[0, 0], torch.tensor(value).float(), atol=3e-3, rtol=0)
    image = shown("ball.obj", "--background", "transparent")
    assert image.shape == (48, 48, 4)
    assert (image[0, 0, 3], image[24, 24, 3]) == (0, 1)


def test_exposure_and_strength(folder: Path) -> None:
    """One stop, like doubling the only light's strength, doubles linear light."""
    plain = shown("ball.obj", "--shading", "pbr", "--background", "black", name="a.npy")
    for options in (["--exposure", "1"], ["--environment-strength", "2"]):
        bright = shown("ball.obj", "--shading", "pbr", "--background", "black", *options, name="b.npy")
        torch.testing.assert_close(bright, 2 * plain)
    encoded = shown("ball.obj", "--shading", "pbr", "--background", "black")
    torch.testing.assert_close(encoded, srgb_encode(plain), atol=3e-3, rtol=0)


def test_environment_turns_with_the_camera(folder: Path) -> None:
    """A ball looks the same from another azimuth if the light has turned by the same angle, apart from its
    triangles."""
    save_image(torch.rand(8, 16, 3, generator=torch.Generator().manual_seed(3)), "around.pfm")
    options = ["--shading", "pbr", "--environment", "around.pfm", "--show-environment"]
    first = shown("ball.obj", *options, "--azimuth", "10")
    turned = shown("ball.obj", *options, "--azimuth", "50", "--environment-rotation", "40")
    assert (first - turned).abs().mean() < 0.01
    other = shown("ball.obj", *options, "--azimuth", "50", "--environment-rotation", "-40")
    assert (first - other).abs().mean() > 0.05


@pytest.mark.parametrize("name", ["a.pfm", "a.npy", "a.tif"])
def test_linear_environments_are_not_decoded(folder: Path, name: str) -> None:
    """A grey world of radiance 0.25 makes what is white 0.25, of a display-encoded 0.25 it makes 0.0509."""
    grey = torch.full((8, 16, 3), 0.25)
    if name == "a.tif":
        Image.fromarray(grey[..., 0].numpy()).save(name)
    else:
        save_image(grey, name)
    save_image(grey, "b.png")
    save_mesh(replace(icosphere(3), materials=(PBRMaterial(base_color=torch.ones(3), roughness=1.0),)), "white.glb")
    for file, expected in ((name, 0.25), ("b.png", ((64 / 255 + 0.055) / 1.055) ** 2.4)):
        image = shown("white.glb", "--shading", "pbr", "--environment", file, name="out.npy")
        assert float(image[24, 24, 0]) == pytest.approx(expected, rel=0.02)


# ---- Views ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "turned"),
    [("z", (0, 2, 1)), ("y-down", None), ("x", (1, 0, 2))],
)
@pytest.mark.parametrize("shading", ["diffuse", "pbr"])
def test_up(folder: Path, up: str, turned: tuple[int, ...] | None, shading: str) -> None:
    """A file with another upward axis makes the same picture as the upright one."""
    mesh = replace(creature(3), texture=None, uvs=None, uv_faces=None)
    x, y, z = mesh.positions.unbind(1)
    places = {"z": (x, -z, y), "y-down": (x, -y, -z), "x": (y, -x, z)}
    save_mesh(replace(mesh, positions=torch.stack(places[up], dim=1)), "turned.obj")
    expected = shown("creature.obj", "--shading", shading, name="a.png")
    image = shown("turned.obj", "--up", up, "--shading", shading, name="b.png")
    assert (image - expected).abs().max() < 0.02


def test_views_are_a_sheet(folder: Path) -> None:
    command = ["creature.obj", "--background", "white"]
    sheet = shown(*command, "--views", "front,right,-30:45", size="32x24")
    assert sheet.shape == (24, 96, 3)
    for i, (azimuth, elevation) in enumerate(((0, 0), (90, 0), (-30, 45))):
        angles = [f"--azimuth={azimuth}", f"--elevation={elevation}"]
        single = shown(*command, *angles, name="single.png", size="32x24")
        assert torch.equal(sheet[:, 32 * i : 32 * i + 32], single)
    sheet = shown(*command, "--views", "6", "--columns", "2", size="16")
    assert sheet.shape == (48, 32, 3)
    third = shown(*command, "--azimuth", "150", size="16")
    assert torch.equal(sheet[16:32, :16], third)


def test_several_files(folder: Path) -> None:
    both = shown("ball.obj", "creature.obj", "--background", "white")
    assert both.shape == (48, 96, 3)
    assert torch.equal(both[:, 48:], shown("creature.obj", "--background", "white"))
    rows = shown("ball.obj", "creature.obj", "--background", "white", "--views", "front,back,top", size="16")
    assert rows.shape == (32, 48, 3)
    ball = icosphere(3)
    save_mesh(Mesh(ball.positions + torch.tensor([4.0, 0, 0]), ball.faces), "right.obj")
    one = shown("ball.obj", "right.obj", "--together", "--views", "front", "--background", "white", size="64x32")
    dark = (one < 0.9).all(-1).any(0)
    assert one.shape == (32, 64, 3)
    assert bool(dark[:28].any())
    assert bool(dark[36:].any())
    assert not bool(dark[31:33].any())  # two balls, with a gap between them


def test_files_of_several_kinds_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red Gaussians in front of a ball, green points around it, of which it hides those behind."""
    front = torch.tensor([[0.0, 0.0, 1.5], [0.0, 0.4, 1.5]])
    red = constant_harmonics(torch.tensor([[0.9, 0.0, 0.0]]).expand(2, 3))
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4)
    save_gaussians(GaussianCloud(front, quats, torch.full((2, 3), 0.15), torch.ones(2), red), "g.ply")
    around = torch.tensor([[1.4, 0.0, 0.0], [-1.4, 0.0, 0.0], [0.3, -0.4, -1.4], [-0.3, 0.4, -1.4]])
    save_points(PointCloud(around, torch.tensor([[0.0, 0.8, 0.0]]).expand(4, 3)), "p.ply")
    seen = ["--together", "--views", "front", "--background", "white"]
    for shading in ("diffuse", "pbr"):
        image = shown("ball.obj", "g.ply", "p.ply", *seen, "--shading", shading, "--radius", "2")
        is_red = (image[..., 0] > 0.7) & (image[..., 1] < 0.3)
        is_green = (image[..., 1] > 0.6) & (image[..., 0] < 0.4)
        assert is_red[16:32, 20:28].sum() > 8, shading
        assert bool(is_green[:, :12].any())
        assert bool(is_green[:, 36:].any())
        assert not bool(is_green[:, 15:33].any())
    assert shown("ball.obj", "g.ply", *seen, "--shading", "depth").shape == (48, 48, 3)
    both = ("ball.obj", "g.ply", "--together", "-o", "x.png")
    for option in (["--shading", "ids"], ["--method", "direct"], ["--shading", "pbr", "--exposure", "1"]):
        assert "not where files of several kinds are shown --together" in error_of(capsys, *both, *option)


def test_files_of_several_formats_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ball of each mesh format in a row."""
    ball = icosphere(3)
    names = ["a.obj", "b.glb", "c.ply", "d.stl", "e.off"]
    for place, name in enumerate(names):
        red = (PBRMaterial(base_color=torch.tensor([0.9, 0.0, 0.0]), roughness=1.0),) if name == "b.glb" else ()
        save_mesh(Mesh(ball.positions + torch.tensor([4.0 * place, 0, 0]), ball.faces, materials=red), name)
    for shading in ("diffuse", "pbr", "phong", "ids"):
        image = shown(
            *names, "--together", "--views", "front", "--shading", shading, "--background", "black", size="96x32"
        )
        seen = (image > 0.1).any(-1).any(0)
        assert int((seen[1:] & ~seen[:-1]).sum()) == 5, shading
    for name in ("p.ply", "q.ply"):
        places = ball.positions + torch.tensor([4.0 * (name == "q.ply"), 0, 0])
        save_points(PointCloud(places, torch.full_like(places, 0.2)), name)
    image = shown("p.ply", "q.ply", "--together", "--views", "front", "--background", "white", size="64x32")
    seen = (image < 0.9).any(-1).any(0)
    assert bool(seen[:28].any())
    assert bool(seen[36:].any())


def test_turntable(folder: Path) -> None:
    white = ["--background", "white"]
    assert main(["render", "creature.obj", "-o", "a.gif", "--frames", "5", "--fps", "10", "--size", "24", *white]) == 0
    with Image.open("a.gif") as film:
        assert film.n_frames == 5
        assert film.info["duration"] == 100
        film.seek(2)
        frame = torch.from_numpy(np.asarray(film.convert("RGB")) / 255).float()
    still = shown("creature.obj", "--azimuth", str(30 + 2 * 72), *white, size="24")
    assert (frame - still).abs().mean() < 0.02  # 256 colours
    assert main(["render", "creature.obj", "-o", "a.apng", "--frames", "3", "--size", "24"]) == 0
    with Image.open("a.apng") as film:
        assert film.n_frames == 3


def test_video(folder: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    reader = pytest.importorskip("imageio.v3")
    white = ["--background", "white"]
    assert main(["render", "creature.obj", "-o", "a.mp4", "--frames", "4", "--size", "64x48", *white]) == 0
    frames = reader.imread("a.mp4", plugin="FFMPEG")
    assert frames.shape == (4, 48, 64, 3)
    still = shown("creature.obj", *white, size="64x48")
    assert (torch.from_numpy(frames[0] / 255).float() - still).abs().mean() < 0.03


# ---- Cameras of files ----------------------------------------------------------------------------------------------


def middle(image: torch.Tensor) -> tuple[float, float]:
    """The middle (x, y), in pixels, of the visible part of a transparent picture."""
    alpha = image[..., 3]
    rows, columns = torch.arange(image.shape[0]) + 0.5, torch.arange(image.shape[1]) + 0.5
    return float((alpha.sum(0) * columns).sum() / alpha.sum()), float((alpha.sum(1) * rows).sum() / alpha.sum())


@pytest.mark.parametrize("kind", ["transforms", "colmap", "gltf"])
def test_camera_files(folder: Path, kind: str) -> None:
    """A small ball appears where the formulas of the file's format project its centre."""
    spot = torch.tensor([0.3, 0.2, -0.1], dtype=torch.float64)
    ball = icosphere(2)
    save_mesh(Mesh(0.05 * ball.positions + spot.float(), ball.faces), "spot.obj")
    matrix = PerspectiveCamera.orbit(torch.tensor([20.0, 140.0], dtype=torch.float64), 30.0, 3.0, 40.0, (40, 60))
    camera = replace(matrix, cx=matrix.cx + 3, cy=matrix.cy - 2)
    options = ["--camera-index", "1"]
    if kind == "transforms":
        document = to_transforms(camera, ["a.png", "b.png"])
        Path("transforms.json").write_text(json.dumps(document))
        options += ["--camera", "transforms.json"]
    elif kind == "colmap":
        save_colmap(ColmapModel(("a.png", "b.png"), (camera[0], camera[1]), None), "sparse/0")
        options += ["--camera", "."]
    else:
        pose = camera[1].camera_to_world
        parent = {"children": [1], "translation": [0.0, 0.5, 0.0]}
        local = pose.clone()
        local[1, 3] -= 0.5
        node = {"camera": 0, "name": "second", "matrix": local.T.flatten().tolist()}
        lens = {"type": "perspective", "perspective": {"yfov": math.radians(40), "znear": 0.1, "aspectRatio": 1.5}}
        nodes = [parent, node, {"camera": 0, "rotation": [0, 0, 0, 1]}]
        Path("a.gltf").write_text(json.dumps({"asset": {"version": "2.0"}, "nodes": nodes, "cameras": [lens]}))
        assert named_cameras("a.gltf")[0] == ("second", "camera 1")
        options = ["--camera", "a.gltf", "--size", "60x40"]
        camera = matrix
    assert main(["render", "spot.obj", "-o", "a.png", *options, "--background", "transparent"]) == 0
    image = load_image("a.png")
    assert image.shape == (40, 60, 4)
    R, t = camera[1].world_to_camera[:3, :3], camera[1].world_to_camera[:3, 3]
    x, y, z = (R @ spot + t).tolist()
    expected = (float(camera.cx[1] + camera.fx[1] * x / -z), float(camera.cy[1] + camera.fy[1] * y / z))
    assert middle(image) == pytest.approx(expected, abs=0.15)


def test_all_cameras_and_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = PerspectiveCamera.orbit(torch.arange(3) * 90.0, 20.0, 4.0, 40.0, (20, 30))
    Path("transforms.json").write_text(json.dumps(to_transforms(camera, ["a", "b", "c"])))
    assert main(["render", "ball.obj", "-o", "a.png", "--camera", "transforms.json", "--camera-index", "all"]) == 0
    assert load_image("a.png").shape == (20, 90, 3)
    assert main(["render", "ball.obj", "-o", "a.gif", "--camera", "transforms.json"]) == 0
    with Image.open("a.gif") as film:
        assert film.n_frames == 3
    command = ["ball.obj", "-o", "a.png", "--camera"]
    assert "--camera-index: expected 0 to 2, got 7" in error_of(capsys, *command, ".", "--camera-index", "7")
    assert "no such data set" in error_of(capsys, *command, "none.json")
    assert "another aspect ratio" in error_of(capsys, *command, ".", "--size", "30")
    Path("a.gltf").write_text('{"asset": {"version": "2.0"}, "nodes": [{}]}')
    assert "no node has a camera" in error_of(capsys, *command, "a.gltf")


# ---- Points, Gaussians, values -------------------------------------------------------------------------------------


def test_gaussians_of_all_formats(folder: Path) -> None:
    """An opaque orange Gaussian in the middle hides the background to a hundredth."""
    orange = torch.tensor([[1.0, 0.5, 0.0]])
    around = torch.nn.functional.normalize(torch.randn(30, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    means = torch.cat([torch.zeros(1, 3), around])
    cloud = GaussianCloud(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(31, 1),
        torch.cat([torch.full((1, 3), 0.3), torch.full((30, 3), 1e-3)]),
        torch.cat([torch.tensor([0.99]), torch.full((30,), 0.01)]),
        constant_harmonics(torch.cat([orange, torch.zeros(30, 3)])),
    )
    for name in ("a.ply", "a.splat", "a.spz"):
        save_gaussians(cloud, name)
        image = shown(name, "--background", "#0000ff")
        torch.testing.assert_close(image[24, 24], orange[0], atol=0.03, rtol=0)
        assert image[0, 0].tolist() == [0, 0, 1]
    assert (shown("a.ply", "--supersampling", "3") - shown("a.ply")).abs().max() < 0.1


def test_points(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = creature(3)
    save_points(PointCloud(mesh.positions, torch.tensor([[1.0, 0, 0]]).expand(len(mesh.positions), 3)), "p.ply")
    image = shown("p.ply", "--background", "white")
    red = (image[..., 0] > 0.9) & (image[..., 1] < 0.1)
    assert red.float().mean() > 0.25  # they cover the surface that they lie on
    assert (shown("p.ply", "--radius", "0.3", "--background", "white")[..., 1] < 0.1).float().mean() < 0.1
    assert "the points have no normals" in error_of(capsys, "p.ply", "-o", "a.png", "--shading", "normals")
    assert "p.ply holds points, no mesh" in error_of(capsys, "p.ply", "-o", "a.png", "--texture", "out.png")


def test_values_in_files_of_numbers(folder: Path) -> None:
    options = ["--azimuth", "0", "--elevation", "0", "--distance", "4"]
    depth = np.load(str(_run("ball.obj", "d.npy", "--shading", "depth", *options)))
    assert depth.shape == (49, 49, 1)
    assert depth[24, 24, 0] == pytest.approx(3, abs=0.01)
    assert depth[0, 0, 0] == 0
    normals = np.load(str(_run("ball.obj", "n.npy", "--shading", "normals", *options)))
    assert normals[24, 24] == pytest.approx([0, 0, 1], abs=0.05)
    assert normals[0, 0].tolist() == [0, 0, 0]
    ids = np.load(str(_run("ball.obj", "i.npy", "--shading", "ids", *options)))
    assert ids[0, 0, 0] == -1
    face = int(ids[24, 24, 0])
    corners = icosphere(4).positions[icosphere(4).faces[face]]
    assert corners.mean(0).tolist() == pytest.approx([0, 0, 1], abs=0.1)
    grey = load_image(_run("ball.obj", "d.png", "--shading", "depth", *options))
    assert grey[24, 24].tolist() == [1, 1, 1]  # the nearest
    assert grey[0, 0].tolist() == [0, 0, 0]


def _run(mesh: str, name: str, *options: str) -> Path:
    assert main(["render", mesh, "-o", name, "--size", "49", *options]) == 0
    return Path(name)


# ---- Surfaces ------------------------------------------------------------------------------------------------------


def test_creases(folder: Path) -> None:
    """A cube's side is lit evenly with edges (the default without normals in the file), but not when smoothed."""
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)]
    save_mesh(Mesh(corners, torch.tensor(faces)), "cube.stl")
    options = ["--azimuth", "0", "--elevation", "0", "--shading", "pbr", "--background", "black"]
    spread = {}
    for crease in (None, "0", "180"):
        given = [] if crease is None else ["--crease", crease]
        image = shown("cube.stl", *options, *given)
        spread[crease] = float(image[16:32, 16:32].std(dim=(0, 1)).max())
    assert spread[None] < 0.02  # the view changes over the side, the normal does not
    assert spread["0"] < 0.02
    assert spread["180"] > 0.04


def test_backs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A single-sided plane seen from behind is invisible, and a warning says so."""
    plane = Mesh(torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    save_mesh(replace(plane, materials=(PBRMaterial(double_sided=False),)), "plane.glb")
    empty = shown("plane.glb", "--azimuth", "180")
    assert (empty == empty[0, 0]).all()
    error = capsys.readouterr().err
    assert "lumigrad: warning: plane.glb: nothing is seen" in error
    assert "--double-sided" in error
    seen = shown("plane.glb", "--azimuth", "180", "--double-sided")
    assert not torch.equal(seen[24, 24], seen[0, 0])
    assert "warning" not in capsys.readouterr().err


def test_far_from_the_origin_and_tiny(folder: Path) -> None:
    """Coordinates as in maps and in microscopy. At half a million, float32 resolves 1/32, the grid of the corners."""
    ball = icosphere(3)
    grid = Mesh((ball.positions * 320).round() / 32, ball.faces)
    save_mesh(grid, "near.ply")
    save_mesh(Mesh(grid.positions + torch.tensor([500_000.0, 4_000.0, -300_000.0]), grid.faces), "far.ply")
    save_mesh(Mesh(grid.positions * 2.0**-30, grid.faces), "tiny.ply")
    near = shown("near.ply", "--shading", "pbr")
    for name in ("far.ply", "tiny.ply"):
        assert (shown(name, "--shading", "pbr") - near).abs().max() < 0.02, name


def test_bad_vertices_do_not_hide_the_others(folder: Path) -> None:
    ball = icosphere(3)
    bad = Mesh(torch.cat([ball.positions, torch.full((1, 3), float("nan"))]), ball.faces)
    broken = torch.cat([ball.faces, torch.tensor([[0, 1, len(ball.positions)]])])
    save_mesh(Mesh(bad.positions, broken), "bad.ply")
    same = (shown("bad.ply", "--crease", "0") - shown("ball.obj", "--crease", "0")).abs()
    assert same.mean() < 0.03


def lit(name: str, light: dict[str, Any], node: dict[str, Any], mesh: Mesh | None = None) -> str:
    """A file of a rough white ball and a light."""
    ball = icosphere(4) if mesh is None else mesh
    save_mesh(replace(ball, materials=(PBRMaterial(roughness=1.0),)), name)
    data = Path(name).read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    document["extensions"] = {"KHR_lights_punctual": {"lights": [{"name": "lamp", **light}]}}
    document["nodes"].append({"extensions": {"KHR_lights_punctual": {"light": 0}}, **node})
    document["scenes"][0]["nodes"].append(len(document["nodes"]) - 1)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + data[20 + length :]
    Path(name).write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
    return name


HALF = math.sqrt(0.5)
FRONT_VIEW = ("--views", "front", "--background", "black")
SUN = {"rotation": [0, HALF, 0, HALF]}  # turns -z to -x: the light comes from +x


def test_lights_of_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lights of files are used by default, with the same result as --light, and --light is added to them."""
    lit("sun.glb", {"type": "directional", "intensity": 3}, SUN)
    dark = ("--environment", "studio", "--environment-strength", "0", *FRONT_VIEW)
    image = shown("sun.glb", *dark)
    assert image[24, 42].min() > 0.75
    assert image[24, 5].max() < 0.01
    save_mesh(replace(icosphere(4), materials=(PBRMaterial(roughness=1.0),)), "plain.glb")
    assert torch.allclose(image, shown("plain.glb", "--shading", "pbr", "--light", "1,0,0,3", *dark), atol=0.01)
    both = shown("sun.glb", "--light=-1,0,0,3", *dark)
    assert both[24, 5].min() > 0.75
    assert 0.05 < shown("sun.glb", *FRONT_VIEW)[24, 5].max() < 0.5  # faint light from all around
    assert "warning" not in capsys.readouterr().err
    shown("sun.glb", *FRONT_VIEW, "--shading", "diffuse")
    assert "sun.glb: --shading diffuse does not use the lights of the file (lamp)" in capsys.readouterr().err
    shown("sun.glb", *FRONT_VIEW, "--shading", "normals")
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_lamps_of_files(folder: Path, offset: float) -> None:
    """A point light lights the left side; a narrow spot light in front lights only the middle."""
    ball = icosphere(4)
    moved = Mesh(ball.positions + torch.tensor([offset, 0, 0]), ball.faces)
    lit("lamp.glb", {"type": "point", "intensity": 12}, {"translation": [offset - 3, 0, 0]}, moved)
    image = shown("lamp.glb", *FRONT_VIEW)
    assert image[24, 4].min() > image[24, 43].max() + 0.3
    cone = {"innerConeAngle": 0.05, "outerConeAngle": 0.1}
    lit("spot.glb", {"type": "spot", "intensity": 20, "spot": cone}, {"translation": [offset, 0, 4]}, moved)
    image = shown("spot.glb", *FRONT_VIEW)
    assert image[24, 24].min() > image[24, 34].max() + 0.3
    assert image[24, 24].min() > image[34, 24].max() + 0.3


def test_lights_that_are_far_too_strong_are_dimmed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lit("sun.glb", {"type": "directional", "intensity": 3e5}, SUN)
    image = shown("sun.glb", *FRONT_VIEW)
    error = capsys.readouterr().err
    found = re.search(r"sun\.glb: the lights of the file \(lamp\) are multiplied with ([\d.e-]+);", error)
    assert found
    # A quarter of a sphere has a cosine to an axis of more than 0.75, either way; white is pi times the radiance.
    assert float(found[1]) == pytest.approx(math.pi / (0.75 * 3e5), rel=0.02)
    assert "--exposure 0" in error
    lit("weak.glb", {"type": "directional", "intensity": math.pi / 0.75}, SUN)
    assert torch.allclose(image, shown("weak.glb", *FRONT_VIEW), atol=0.02)
    assert "warning" not in capsys.readouterr().err
    assert (shown("sun.glb", *FRONT_VIEW, "--exposure", "0")[24, 32:42] == 1).all()
    assert "warning" not in capsys.readouterr().err


def test_lights_of_unknown_types_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lit("area.glb", {"type": "area"}, SUN)
    shown("area.glb")
    assert (
        "area.glb, lights[0]: the light 'lamp' is left out: it is of the unknown type area" in capsys.readouterr().err
    )


LAMP_IN_FRONT = ({"type": "point", "intensity": 20}, {"translation": [0, 0, 4]})


def test_traced_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All methods show the same ball in the same light, apart from effects that only one of them has."""
    lit("lamp.glb", *LAMP_IN_FRONT)
    raster, direct, path = (
        shown("lamp.glb", *FRONT_VIEW, "--exposure", "0", *options, size="24")
        for options in ((), ("--method", "direct"), ("--method", "path", "--samples", "64", "--max-depth", "2"))
    )
    assert raster[12, 12].min() > 0.3
    assert (raster - direct).abs().amax(-1).quantile(0.8) < 0.12  # without the faint light from around
    assert (direct - path).abs().mean() < 0.02
    assert "paths" in capsys.readouterr().err  # the bar
    rough = shown("lamp.glb", *FRONT_VIEW, "--method", "path", "--error", "0.1", "--samples", "32", size="16")
    assert rough[8, 8].min() > 0.3
    save_mesh(replace(icosphere(3), materials=(PBRMaterial(emissive=(0.2, 0.4, 0.6)),)), "glowing.glb")
    glowing = shown("glowing.glb", "--method", "direct", "--background", "black", size="16")
    assert torch.allclose(glowing[8, 8], srgb_encode(torch.tensor([0.2, 0.4, 0.6])), atol=0.01)  # no other light
    dark = shown("ball.obj", "--method", "direct", "--ambient-occlusion", "0.5", size="16")
    assert dark.isfinite().all()


def test_mistakes_of_traced_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_points(PointCloud(torch.rand(10, 3), colors=torch.rand(10, 3)), "points.ply")
    save_mesh(replace(icosphere(1), materials=(PBRMaterial(alpha_mode="blend"),)), "glass.glb")
    for message, *options in (
        ("--samples: it needs --method direct or path", "--samples", "3"),
        ("--max-depth: it needs --method path", "--method", "direct", "--max-depth", "3"),
        ("--error: it needs --method path", "--method", "direct", "--error", "0.1"),
        ("--ambient-occlusion: it needs --method direct", "--method", "path", "--ambient-occlusion", "1"),
        ("--method path: it needs --shading pbr", "--method", "path", "--shading", "phong"),
        ("--method direct: it needs --shading pbr", "--method", "direct", "--unlit"),
        ("--supersampling: --method path has --samples", "--method", "path", "--supersampling", "2"),
    ):
        assert message in error_of(capsys, "ball.obj", "-o", "a.png", *options)
    assert "it is for meshes, points.ply" in error_of(capsys, "points.ply", "-o", "a.png", "--method", "path")
    assert "alpha mode" in error_of(capsys, "glass.glb", "-o", "a.png", "--method", "direct", "--size", "8")
    with pytest.raises(SystemExit):
        main(["render", "ball.obj", "-o", "a.png", "--method", "photons"])
    with pytest.raises(SystemExit):
        main(["render", "ball.obj", "-o", "a.png", "--method", "path", "--samples", "0"])


def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = ["ball.obj", "-o", "a.gif", "--background", "transparent", "--frames", "2", "--size", "16"]
    assert "videos have no transparency" in error_of(capsys, *video)
    assert "--shading pbr" in error_of(capsys, "ball.obj", "-o", "a.png", "--exposure", "1")
    Path("empty.ply").write_text("ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n")
    assert "empty.ply" in error_of(capsys, "empty.ply", "-o", "a.png")
    for options in (["--views", "nowhere"], ["--views", "0:100"], ["--camera-index", "x"], ["--up", "w"]):
        with pytest.raises(SystemExit):
            main(["render", "ball.obj", "-o", "a.png", *options])
        assert "usage" in capsys.readouterr().err
