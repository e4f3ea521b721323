"""Mitsuba's scenes: its images and conventions, XML, parameters, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lumigrad.compat import mitsuba as mi
from lumigrad.io import save_mesh
from lumigrad.render import render_path
from lumigrad.scene import Mesh, PBRMaterial, PlasticMaterial, SpotLight, ThinLens, icosphere
from lumigrad.scene.color import srgb_decode

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles"
T = mi.ScalarTransform4f


def film(size: tuple[int, int], **options: Any) -> dict[str, Any]:
    return {"type": "hdrfilm", "height": size[0], "width": size[1], "rfilter": {"type": "box"}, **options}


def camera(size: tuple[int, int] = (8, 12), fov: float = 40.0, **options: Any) -> dict[str, Any]:
    placed = T().look_at([0, 0, 4], [0, 0, 0], [0, 1, 0])
    return {"type": "perspective", "fov": fov, "to_world": placed, "film": film(size), **options}


def scene(**parts: Any) -> mi.Scene:
    loaded = mi.load_dict({"type": "scene", "camera": camera(), **parts})
    assert isinstance(loaded, mi.Scene)
    return loaded


def rgb(*values: float) -> dict[str, Any]:
    return {"type": "rgb", "value": list(values)}


# ---- Mitsuba's own images ------------------------------------------------------------------------------------------


def stored(name: str) -> tuple[mi.Scene, dict[str, np.ndarray]]:
    """A scene of Mitsuba 3 by its own names."""
    data = dict(np.load(ORACLES / f"{name}.npz"))
    text = json.loads(str(data["scene_json"]))
    parts: dict[str, Any] = {"type": "scene"}
    for name, what in text["meshes"].items():
        parts[name] = {
            "type": "mesh", "vertex_positions": data[f"{name}.v"], "faces": data[f"{name}.f"], "face_normals": True,
            "bsdf": _bsdf(what["bsdf"], data),
        }  # fmt: skip
        if f"{name}.uv" in data:
            parts[name]["vertex_texcoords"] = data[f"{name}.uv"]
        if what["emission"]:
            parts[name]["emitter"] = {"type": "area", "radiance": rgb(*what["emission"])}
    for name, what in text["spheres"].items():
        parts[name] = {"type": "sphere", "center": what["c"], "radius": what["r"], "bsdf": _bsdf(what["bsdf"], data)}
    for k, what in enumerate(text["lights"]):
        parts[f"light_{k}"] = _light(what, data)
    placed = T().look_at(text["eye"], text["target"], text["up"])
    size = (text["height"], text["width"])
    parts["camera"] = {"type": "perspective", "fov": text["fov_x_deg"], "to_world": placed, "film": film(size)}
    loaded = mi.load_dict(parts)
    assert isinstance(loaded, mi.Scene)
    return loaded, data


def _bsdf(what: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, Any]:
    found = dict(what)
    for name, value in what.items():
        if isinstance(value, list):
            found[name] = rgb(*value)
    if what.get("reflectance") == "@texture":
        found["reflectance"] = {"type": "bitmap", "data": data["texture"], "raw": True}
    return {"type": "twosided", "inner": found} if found.pop("twosided", False) else found


def _light(what: dict[str, Any], data: dict[str, np.ndarray]) -> dict[str, Any]:
    if what["type"] == "envmap":
        return {"type": "envmap", "data": data["env"]}
    colors = ("intensity", "irradiance", "radiance")
    return {name: rgb(*value) if name in colors else value for name, value in what.items()}


@pytest.mark.skipif(not ORACLES.is_dir(), reason="Mitsuba's images are not here")
@pytest.mark.parametrize(
    ("name", "depth"),
    [("mi_cornell", 2), ("mi_light_point", 2), ("mi_light_directional", 2), ("mi_light_area", 2), ("mi_env_mesh", 2)],
)
def test_images_of_mitsuba(name: str, depth: int) -> None:
    """Means of blocks of 4 x 4 pixels, within standard errors."""
    loaded, data = stored(name)
    path = mi.load_dict({"type": "path", "max_depth": depth})
    images = torch.stack([mi.render(loaded, integrator=path, spp=8, seed=k) for k in range(8)]).double()
    given, error = data[f"depth{depth}.image"], data[f"depth{depth}.stderr"]
    mean, variance = images.mean(0).numpy(), images.var(0).numpy() / len(images)

    def blocks(values: np.ndarray) -> np.ndarray:
        height, width = values.shape[:2]
        return values.reshape(height // 4, 4, width // 4, 4, 3).mean((1, 3))

    total = np.sqrt(blocks(error**2 + variance) / 16 + (1e-3 * given.mean()) ** 2)
    z = blocks(mean - given) / total
    assert (z**2).mean() < 1.4
    assert np.abs(z).max() < 7
    assert total.mean() < 0.05 * given.mean()


def test_images_beside_mitsuba(tmp_path: Path) -> None:
    """Shapes, textures and cameras give Mitsuba's images, if Mitsuba is installed."""
    other = pytest.importorskip("mitsuba")
    other.set_variant("scalar_rgb")
    save_mesh(icosphere(1), tmp_path / "ball.obj")
    image = np.random.default_rng(0).random((5, 7, 3), np.float32)

    def parts(api: Any, bitmap: Any) -> dict[str, Any]:
        def place() -> Any:
            return api.ScalarTransform4f()

        stretch = api.ScalarTransform3f().rotate(20).scale([2, 3])
        painted = {"type": "bitmap", "bitmap": bitmap, "raw": True}
        cropped = film((30, 40), crop_offset_x=8, crop_offset_y=4, crop_width=24, crop_height=20)
        return {
            "type": "scene",
            "camera": {
                "type": "perspective", "fov": 45.0, "fov_axis": "smaller", "principal_point_offset_x": 0.1,
                "principal_point_offset_y": -0.1, "to_world": place().look_at([1, 2, 5], [0, 0, 0], [0, 1, 0]),
                "film": {**cropped, "rfilter": {"type": "gaussian"}},
            },
            "ground": {"type": "rectangle", "to_world": place().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(5)},
            "ball": {
                "type": "sphere", "center": [-1.0, 0, 0], "radius": 0.7,
                "paint": {"type": "diffuse", "reflectance": painted},
            },
            "tube": {
                "type": "cylinder", "p0": [0.5, -0.5, 0.0], "p1": [1.2, 0.8, 0.4], "radius": 0.4,
                "paint": {"type": "twosided", "a": {"type": "diffuse", "reflectance": {**painted, "to_uv": stretch}}},
            },
            "model": {
                "type": "obj", "filename": str(tmp_path / "ball.obj"), "face_normals": True,
                "to_world": place().translate([0.0, -0.4, 1.5]).scale(0.5),
                "metal": {"type": "roughconductor", "material": "Cu", "distribution": "ggx", "alpha": 0.3},
            },
            "sky": {"type": "constant", "radiance": 0.4},
            "lamp": {"type": "point", "position": [1.0, 3.0, 2.0], "intensity": 15.0},
        }  # fmt: skip

    ours, theirs = mi.load_dict(parts(mi, image)), other.load_dict(parts(other, other.Bitmap(image)))
    path = {"type": "path", "max_depth": 3}
    a = [mi.render(ours, integrator=mi.load_dict(path), spp=64, seed=k).double().numpy() for k in range(6)]
    b = [np.array(other.render(theirs, integrator=other.load_dict(path), spp=64, seed=k), float) for k in range(6)]
    error = np.sqrt((np.var(a, 0) + np.var(b, 0)) / 6 + 1e-6)
    z = (np.mean(a, 0) - np.mean(b, 0)) / error
    assert (z**2).mean() < 2  # of variances from six images
    assert abs((z * error).sum()) < 5 * np.sqrt((error**2).sum())


# ---- Conventions ---------------------------------------------------------------------------------------------------


def test_transforms() -> None:
    assert torch.allclose(T().translate([1, 2, 3]).scale([2, 3, 4]) @ [1, 1, 1], torch.tensor([3.0, 5, 7]))
    assert torch.allclose(T().rotate([0, 1, 0], 90) @ [0, 0, 1], torch.tensor([1.0, 0, 0]), atol=1e-6)
    assert torch.allclose(T.rotate([0, 0, 2], 90) @ [1, 0, 0], torch.tensor([0.0, 1, 0]), atol=1e-6)
    assert torch.allclose((T().translate([1, 0, 0]) @ T().scale(2)).matrix, T().translate([1, 0, 0]).scale(2).matrix)
    assert torch.allclose(T().translate([1, 2, 3]).inverse() @ [1, 2, 3], torch.zeros(3))
    seen = T().look_at(origin=[1, 2, 3], target=[1, 2, 0], up=[0, 1, 0])
    assert torch.allclose(seen @ [0, 0, 3], torch.tensor([1.0, 2, 0]))  # +z is ahead,
    assert torch.allclose(seen @ [1, 0, 0], torch.tensor([0.0, 2, 3]))  # +x to the left
    turned = mi.ScalarTransform3f().translate([1, 0]).rotate(90) @ [2, 0]
    assert torch.allclose(turned, torch.tensor([1.0, 2.0]), atol=1e-6)
    with pytest.raises(ValueError, match=r"v: expected 3 numbers, got \[2\]"):
        T().translate([1, 2])
    angle = torch.tensor(30.0, requires_grad=True)
    (T().rotate([0, 0, 1], angle) @ [1, 0, 0])[1].backward()
    assert angle.grad is not None
    assert abs(angle.grad - math.cos(math.pi / 6) * math.pi / 180) < 1e-6


@pytest.mark.parametrize(
    ("options", "x_fov"),
    [
        ({"fov_axis": "x"}, 40.0), ({"fov_axis": "y"}, 72.10477), ({"fov_axis": "diagonal"}, 36.06479),
        ({"fov_axis": "smaller"}, 72.10477), ({"fov_axis": "larger"}, 40.0), ({"focal_length": "50mm"}, 42.31171),
    ],
)  # fmt: skip
def test_fields_of_view(options: dict[str, Any], x_fov: float) -> None:
    """All axes of the field of view have Mitsuba's meaning, for a film of 64 x 32 pixels."""
    fov = {} if "focal_length" in options else {"fov": 40.0}
    loaded = mi.load_dict({"type": "perspective", "film": film((32, 64)), **fov, **options})
    assert abs(mi.traverse(loaded)["x_fov"] - x_fov) < 1e-4


def test_crop_and_principal_point() -> None:
    """Directions through the corners of a crop window, as Mitsuba's `sample_ray` gives them."""
    window = film((32, 64), crop_offset_x=8, crop_offset_y=4, crop_width=16, crop_height=20)
    options = {"fov": 40.0, "principal_point_offset_x": 0.1, "principal_point_offset_y": 0.2}
    found = mi.to_camera(mi.load_dict({"type": "perspective", "film": window, **options}))
    assert found.size == (20, 16)
    directions = found.rays(torch.tensor([[0.0, 0.0], [16.0, 20.0]])).directions
    expected = torch.tensor([[0.20018363, 0.06369479], [0.01819852, -0.16378656]])  # x / z and y / z
    assert torch.allclose(directions[:, :2] / directions[:, 2:], expected, atol=1e-6)


def test_filters() -> None:
    """An edge seen through each filter: the integral of its profile."""
    half = {"type": "rectangle", "to_world": T().translate([5.1, 0, 0]).scale(5)}
    glow = {"type": "area", "radiance": 1.0}
    profiles = {
        "tent": lambda x: (1 - x.abs()).clamp_min(0),
        "gaussian": lambda x: (torch.exp(-2 * x**2) - math.exp(-8)).clamp_min(0),
        "catmullrom": lambda x: torch.where(
            x.abs() < 1, 1.5 * x.abs() ** 3 - 2.5 * x**2 + 1,
            torch.where(x.abs() < 2, -0.5 * x.abs() ** 3 + 2.5 * x**2 - 4 * x.abs() + 2, 0),
        ),
    }  # fmt: skip
    profiles["box"] = lambda x: (x.abs() < 1.25).float()
    x = torch.linspace(-2, 2, 4001)
    for name, profile in profiles.items():
        options = {"radius": 1.25} if name == "box" else {}
        sensor = camera((6, 16), film=film((6, 16), rfilter={"type": name, **options}))
        loaded = mi.load_dict({"type": "scene", "half": {**half, "glow": glow}, "camera": sensor})
        image = mi.render(loaded, spp=256)[3, :, 0]
        edge = 8 + 0.1 / 4 * 8 / math.tan(math.radians(20))  # its column
        expected = torch.stack([(profile(x) * (x + c + 0.5 > edge)).sum() / profile(x).sum() for c in range(3, 13)])
        assert (image[3:13] - expected).abs().max() < 0.03, name


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ({"type": "rectangle"}, 4.0), ({"type": "cube"}, 24.0), ({"type": "disk"}, math.pi),
        ({"type": "sphere", "center": [1, 2, 3], "radius": 0.5}, math.pi),
        ({"type": "cylinder", "p0": [0, 1, 0], "p1": [0, 3, 0], "radius": 0.5}, 2 * math.pi),
    ],
)  # fmt: skip
def test_shapes(shape: dict[str, Any], area: float) -> None:
    mesh = mi.to_scene(scene(a=shape)).meshes[0]
    normals = mesh.face_normals()
    assert abs(normals.norm(dim=-1).sum() / 2 - area) < 2e-3 * area
    assert normals.norm(dim=-1).min() > 0
    shading, index = mesh.shading_normals()
    facing = (shading[index.long()] * torch.nn.functional.normalize(normals, dim=-1)[:, None]).sum(-1)
    assert facing.min() > 0.99
    if shape["type"] in ("cube", "sphere"):
        outwards = mesh.positions[mesh.faces].mean(1) - mesh.positions.mean(0)
        assert (outwards * normals).sum(-1).min() > 0
    flipped = mi.to_scene(scene(a={**shape, "flip_normals": True})).meshes[0]
    assert torch.allclose(flipped.face_normals(), -normals, atol=1e-6)


TRIANGLE = {"type": "mesh", "vertex_positions": [[-1, -1, 0], [1, -1, 0], [0, 2, 0]], "faces": [[0, 1, 2]]}
WITH_NORMALS = {**TRIANGLE, "vertex_normals": [[0, 0, 1]] * 3}


@pytest.mark.parametrize(
    ("shape", "mirror", "outside"),
    [
        ({"type": "cube"}, [-1, 1, 1], 1), ({"type": "cube"}, [-1, -1, -1], 1),
        ({"type": "cube", "flip_normals": True}, [-1, 1, 1], 0),
        ({"type": "cylinder", "p0": [0, -1, 0], "p1": [0, 1, 0]}, [-1, 1, 1], 1),
        ({"type": "sphere"}, [-1, 1, 1], 0), ({"type": "sphere", "flip_normals": True}, [-1, 1, 1], 1),
        ({"type": "rectangle"}, [-1, 1, 1], 1), ({"type": "rectangle"}, [1, 1, -1], 0),
        ({"type": "disk"}, [-1, 1, 1], 1), ({"type": "disk"}, [1, 1, -1], 0),
        (TRIANGLE, [-1, 1, 1], 0), (TRIANGLE, [1, 1, -1], 1), (TRIANGLE, [-1, -1, 1], 1),
        (WITH_NORMALS, [-1, 1, 1], 1), (WITH_NORMALS, [1, 1, -1], 0), (WITH_NORMALS, [-1, -1, 1], 1),
        ({**WITH_NORMALS, "face_normals": True}, [-1, 1, 1], 0),
    ],
)  # fmt: skip
def test_mirrored_shapes(shape: dict[str, Any], mirror: list[float], outside: int) -> None:
    """The side that the camera sees emits, and is lit, as in Mitsuba 3.9.1.

    There, vertex normals (and with them the sides) transform by the inverse transpose of `to_world`. Convex objects of
    reflectance r under a sky of radiance 1 have radiance r.
    """
    placed = {**shape, "to_world": T().scale(mirror), "bsdf": {"type": "diffuse", "reflectance": 0.25}}
    at = camera((1, 1), fov=1.0)
    shining = scene(camera=at, a={**placed, "emitter": {"type": "area", "radiance": rgb(2, 2, 2)}})
    lit = scene(camera=at, a=placed, sky={"type": "constant", "radiance": rgb(1, 1, 1)})
    seen, shown = (
        mi.render(one, integrator=mi.load_dict({"type": "path", "max_depth": 2}), spp=16) for one in (shining, lit)
    )
    assert torch.allclose(seen, torch.full_like(seen, 2.0 * outside), atol=1e-6)
    # Sixteen samples have a standard deviation of about 0.01; a side that is not lit is exactly black.
    assert torch.allclose(shown, torch.full_like(shown, 0.25 * outside), atol=0.04 * outside)


def test_texture_coordinates_of_spheres() -> None:
    """u is the angle around z over 2 pi, v that from +z over pi."""
    mesh = mi.to_scene(scene(a={"type": "sphere"})).meshes[0]
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    u, v = mesh.uvs[mesh.uv_faces.long()].unbind(-1)
    p = mesh.positions[mesh.faces.long()]
    assert torch.allclose(p[..., 2], (math.pi * v).cos(), atol=1e-5)
    assert torch.allclose(p[..., 0], (2 * math.pi * u).cos() * (math.pi * v).sin(), atol=1e-5)
    assert (u.amax(1) - u.amin(1)).max() < 0.02  # no face across the seam


def test_files_of_meshes(tmp_path: Path) -> None:
    """v is turned for OBJ and not for PLY; normals are smooth unless `face_normals`; `to_world` moves vertices."""
    body = "v 0 0 0\nv 1 0 0\nv 1 1 0.3\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    (tmp_path / "t.obj").write_text(body)
    columns = "".join(f"property float {name}\n" for name in "xyzuv")
    rows = "0 0 0 0 0\n1 0 0 1 0\n1 1 .3 1 1\n0 1 0 0 1\n3 0 1 2\n3 0 2 3\n"
    head = f"ply\nformat ascii 1.0\nelement vertex 4\n{columns}element face 2\nproperty list uchar int vertex_indices\n"
    (tmp_path / "t.ply").write_text(head + "end_header\n" + rows)
    upright, turned = [0.0, 0, 1, 0, 1, 1, 0, 1], [0.0, 1, 1, 1, 1, 0, 0, 0]
    for kind, flip, expected in (
        ("obj", None, turned), ("obj", False, upright), ("ply", None, upright), ("ply", True, turned),
    ):  # fmt: skip
        options = {} if flip is None else {"flip_tex_coords": flip}
        loaded = mi.load_dict({"type": kind, "filename": "t." + kind, **options}, tmp_path)
        assert mi.traverse(loaded)["vertex_texcoords"].tolist() == expected
    moved = mi.load_dict({"type": "ply", "filename": "t.ply", "to_world": T().scale(2)}, tmp_path)
    assert mi.traverse(moved)["vertex_positions"].max() == 2
    smooth, flat = (
        mi.to_scene(scene(a=mi.load_dict({"type": "ply", "filename": "t.ply", "face_normals": on}, tmp_path))).meshes[0]
        for on in (False, True)
    )
    assert smooth.normals is not None
    assert flat.normals is not None
    assert (len(smooth.normals), len(flat.normals)) == (4, 2)  # one a vertex, one a face


def test_named_materials() -> None:
    gold, none = (mi.traverse(mi.load_dict({"type": "conductor", "material": name})) for name in ("Au", "none"))
    assert torch.allclose(gold["eta.value"], torch.tensor([0.143, 0.375, 1.442]), atol=2e-3)
    assert torch.allclose(gold["k.value"], torch.tensor([3.983, 2.386, 1.603]), atol=5e-3)
    assert none["k.value"].tolist() == [1, 1, 1]
    glass = mi.traverse(mi.load_dict({"type": "dielectric"}))
    assert abs(glass["eta"] - 1.5046 / 1.000277) < 1e-6
    assert abs(mi.traverse(mi.load_dict({"type": "dielectric", "int_ior": 1.33, "ext_ior": 1.0}))["eta"] - 1.33) < 1e-6


def test_textures_are_decoded_where_they_are_8_bit() -> None:
    bytes_ = torch.randint(0, 256, (2, 2, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for raw in (False, True):
        found = mi.load_dict({"type": "bitmap", "bitmap": bytes_, "raw": raw})
        expected = bytes_ / 255 if raw else srgb_decode(bytes_ / 255)
        assert torch.allclose(mi.traverse(found)["data"], expected)
    floats = torch.rand(2, 2, 1)
    assert torch.equal(mi.traverse(mi.load_dict({"type": "bitmap", "bitmap": floats}))["data"], floats)


def test_wrapping_of_textures() -> None:
    """A quad that shows its texture 1.5 times, against the lookup by hand."""
    image = torch.rand(3, 4, 1, generator=torch.Generator().manual_seed(0))

    def shown(wrap: str, stretch: float) -> Tensor:
        placed = mi.ScalarTransform3f().scale([stretch, stretch])
        texture = {"type": "bitmap", "data": image, "raw": True, "wrap_mode": wrap, "to_uv": placed}
        glow = {"type": "area", "radiance": texture}
        fov = 2 * math.degrees(math.atan(1 / 4))
        return mi.render(scene(a={"type": "rectangle", "glow": glow}, camera=camera((24, 24), fov)), spp=64)[..., 0]

    coordinates = (torch.arange(24 * 8) + 0.5) / (24 * 8)
    indices = {
        "repeat": lambda k, n: k % n,
        "mirror": lambda k, n: torch.minimum(k % (2 * n), 2 * n - 1 - k % (2 * n)),
        "clamp": lambda k, n: k.clamp(0, n - 1),
    }
    for wrap, index in indices.items():
        stretch = 1.0 if wrap == "clamp" else 1.5

        def weights(n: int, index: Any = index, stretch: float = stretch) -> Tensor:
            x = stretch * coordinates * n - 0.5
            left = x.floor()
            found = torch.zeros(len(x), n)
            found.scatter_add_(1, index(left.long(), n)[:, None], (1 - (x - left))[:, None])
            return found.scatter_add_(1, index(left.long() + 1, n)[:, None], (x - left)[:, None])

        fine = weights(3).flip(0) @ image[..., 0] @ weights(4).T  # v grows upwards on the rectangle
        expected = fine.reshape(24, 8, 24, 8).mean((1, 3))
        assert (shown(wrap, stretch) - expected).abs().max() < 0.03, wrap
    with pytest.raises(NotImplementedError, match="with 'clamp', expected coordinates in"):
        shown("clamp", 1.5)


# ---- Integrators ---------------------------------------------------------------------------------------------------


def test_depths_and_maps() -> None:
    """A wall at distance 4, 16 pixels wide; maps come after the image of the integrator below."""
    paint = {"type": "diffuse", "reflectance": rgb(0.1, 0.2, 0.3)}
    wall = {"type": "rectangle", "to_world": T().scale(9), "bsdf": paint}
    loaded = scene(wall=wall, sky={"type": "constant"}, camera=camera((8, 16), near_clip=0.5))
    depth = mi.render(loaded, integrator=mi.load_dict({"type": "depth"}), spp=64)
    rays = mi.to_camera(loaded.sensors()[0]).rays().directions
    assert depth.shape == (8, 16, 1)
    assert torch.allclose(depth[..., 0], -3.5 / rays[..., 2], rtol=1e-3)
    below = {"type": "direct"}
    aov = mi.load_dict({"type": "aov", "aovs": "a:depth,b:position,c:sh_normal,d:albedo", "image": below})
    found = mi.render(loaded, integrator=aov, spp=64)
    assert found.shape == (8, 16, 13)
    image, again, position, normal, albedo = found.split([3, 1, 3, 3, 3], -1)
    assert torch.allclose(image.mean((0, 1)), torch.tensor([0.1, 0.2, 0.3]), rtol=0.02)
    assert torch.equal(again, depth)
    assert torch.allclose(position, rays * (-4 / rays[..., 2:]) + torch.tensor([0.0, 0, 4]), atol=1e-3)
    assert torch.allclose(normal, torch.tensor([0.0, 0, 1]).expand_as(normal), atol=1e-5)
    assert torch.allclose(albedo, torch.tensor([0.1, 0.2, 0.3]).expand_as(albedo), atol=1e-5)


def test_segments_are_counted_as_in_mitsuba() -> None:
    """max_depth adds, one after the other, a visible lamp, its light on a wall and, in a closed room, the series of
    reflections."""
    room = {"type": "cube", "flip_normals": True, "to_world": T().scale(9), "glow": {"type": "area", "radiance": 0.5}}
    loaded = scene(room=room)
    for depth, expected in ((0, 0.0), (1, 0.5), (2, 0.75), (4, 0.9375), (-1, 1.0)):
        for kind in ("path", "prb"):
            path = mi.load_dict({"type": kind, "max_depth": depth})
            assert abs(mi.render(loaded, integrator=path, spp=16).mean() - expected) < 1e-2
    assert abs(mi.render(loaded, integrator=mi.load_dict({"type": "direct"}), spp=16).mean() - 0.75) < 1e-2


def test_pixel_formats_and_hidden_emitters() -> None:
    ball = {"type": "sphere", "bsdf": {"type": "diffuse"}}
    for name, channels in (("rgb", 3), ("rgba", 4), ("luminance", 1)):
        sensor = camera(film=film((8, 12), pixel_format=name))
        loaded = mi.load_dict({"type": "scene", "ball": ball, "sky": {"type": "constant"}, "camera": sensor})
        image = mi.render(loaded, spp=4)
        assert image.shape == (8, 12, channels)
        assert torch.allclose(image[0, 0], torch.tensor([1.0, 1, 1, 0][:channels]), atol=1e-5)
    hidden = mi.load_dict({"type": "path", "hide_emitters": True})
    assert mi.render(loaded, integrator=hidden, spp=4)[0, 0].item() == 0


def test_sensors_have_films_and_samplers_of_their_own() -> None:
    scene = mi.load_dict({"type": "scene", **{name: {"type": "perspective", "fov": 40} for name in "ab"}})
    kinds = [{child.family for child in sensor.children.values()} for sensor in scene.sensors()]
    assert kinds == [{"film", "sampler"}] * 2


def test_an_area_light_belongs_to_a_shape() -> None:
    scene = mi.load_dict({"type": "scene", "lamp": {"type": "area"}, "ball": {"type": "sphere"}})
    with pytest.raises(ValueError, match="lamp: expected an area light to belong to a shape"):
        mi.to_scene(scene)


def test_no_light_is_dark() -> None:
    assert mi.render(scene(ball={"type": "sphere"}), spp=2).max() == 0


def test_masks_and_nothing() -> None:
    """A panel of opacity 0.25 before uniform light; by a bitmap, half of it is a hole; a shape of nothing is unseen."""
    glow = {"type": "area", "radiance": 3.0}
    panel = {"type": "rectangle", "to_world": T().scale(9), "glow": glow}
    matt = {"type": "diffuse", "reflectance": 0.0}
    sky, path = {"type": "constant", "radiance": 1.0}, mi.load_dict({"type": "path", "max_depth": 2})
    found = scene(a={**panel, "bsdf": {"type": "mask", "opacity": 0.25, "inner": matt}}, sky=sky)
    assert mi.traverse(found)["a.bsdf.opacity.value"] == 0.25
    image = mi.render(found, integrator=path, spp=256)
    assert abs(image.mean() - (0.25 * 3 + 0.75)) < 0.03
    halves = {"type": "bitmap", "data": torch.tensor([0.0, 1.0]).repeat_interleave(8)[None, :, None], "raw": True}
    image = mi.render(scene(a={**panel, "bsdf": {"type": "mask", "opacity": halves, "inner": matt}}, sky=sky), spp=16)
    assert image[:, 0].mean() == 1
    assert image[:, -1].mean() == 3
    nothing = {"type": "sphere", "bsdf": {"type": "null"}}
    image = mi.render(scene(a=nothing, b=panel), integrator=path, spp=1)
    assert (image == 3).all()
    hole = {"type": "sphere", "bsdf": {"type": "mask", "opacity": 0.5, "inner": {"type": "null"}}}
    assert (mi.render(scene(a=hole, b=panel), integrator=path, spp=1) == 3).all()
    assert (mi.render(scene(a=hole, sky=sky), integrator=path, spp=1) == 1).all()  # nothing but the sky
    twice = {"type": "mask", "outer": {"type": "mask", "inner": matt}}
    with pytest.raises(NotImplementedError, match=r"a\.bsdf: expected no other mask below 'mask'"):
        mi.render(scene(a={**panel, "bsdf": twice}), spp=1)


def test_plastic_and_principled() -> None:
    """The parameters of their materials, and a metal in uniform light."""
    sky = {"type": "constant"}
    path = mi.load_dict({"type": "path", "max_depth": 2})
    paint = {"type": "roughplastic", "diffuse_reflectance": rgb(0.6, 0.2, 0.1), "alpha": 0.09, "distribution": "ggx"}
    made = mi.to_scene(scene(ball={"type": "sphere", "b": paint}, sky=sky)).meshes[0].materials[0]
    assert isinstance(made, PlasticMaterial)
    assert abs(made.roughness - 0.3) < 1e-6
    assert abs(made.ior - 1.49 / 1.000277) < 1e-6
    disney = {
        "type": "principled",
        "base_color": rgb(0.6, 0.2, 0.1),
        "roughness": 0.4,
        "metallic": 1.0,
        "model": "gltf",
    }
    shot = scene(ball={"type": "sphere", "b": disney}, sky=sky)
    metal = mi.to_scene(shot).meshes[0].materials[0]
    assert isinstance(metal, PBRMaterial)
    assert (metal.roughness, metal.metallic) == (torch.tensor(0.4), 1)
    assert abs(metal.ior - 1.5) < 1e-6
    assert torch.allclose(mi.render(shot, integrator=path, spp=256)[4, 6], torch.tensor([0.6, 0.2, 0.1]), atol=0.06)


def test_spot_lights() -> None:
    """By default, spot lights fade linearly in the angle; on request, by glTF's formula."""
    wall = {"type": "rectangle", "to_world": T().scale(9)}
    spot = {
        "type": "spot", "intensity": 8.0, "cutoff_angle": 30.0, "beam_width": 25.0, "falloff": "gltf",
        "to_world": T().look_at([0, 0, 2], [0, 0, 0], [0, 1, 0]),
    }  # fmt: skip
    image = mi.render(scene(wall=wall, spot=spot), spp=16, integrator=mi.load_dict({"type": "direct"}))[..., 0]
    assert abs(image[4, 6] - 8 / 4 * 0.5 / math.pi) < 0.01
    assert image[0, 0] == 0
    light = mi.to_scene(scene(wall=wall, spot={**spot, "falloff": "gltf"})).lights[0]
    assert isinstance(light, SpotLight)
    assert light.fade == "cosine"
    del spot["falloff"]
    wide = {**spot, "cutoff_angle": 60.0, "beam_width": 20.0}
    loaded = scene(wall=wall, spot=wide, camera=camera((1, 1), fov=0.01))
    light = mi.to_scene(loaded).lights[0]
    assert isinstance(light, SpotLight)
    assert light.fade == "angle"
    for angle, part in ((10, 1), (30, 0.75), (40, 0.5), (50, 0.25), (61, 0)):
        turned = T().translate([0, 0, 2]).rotate([0, 1, 0], 180 + angle)
        found = mi.render(scene(wall=wall, spot={**wide, "to_world": turned}, camera=camera((1, 1), fov=0.01)), spp=1)
        assert abs(found[0, 0, 0] - 8 / 4 * 0.5 / math.pi * part) < 1e-4
    with pytest.raises(ValueError, match=r"spot\.falloff: expected 'linear' or 'gltf', got 'cubic'"):
        mi.render(scene(wall=wall, spot={**spot, "falloff": "cubic"}))


def test_instances_are_copies() -> None:
    """Shapes of a group at two places, one of them mirrored; gradients reach both places and what is in common."""
    red, grey = ({"type": "diffuse", "reflectance": rgb(*color)} for color in ((0.8, 0.1, 0.1), (0.4, 0.4, 0.4)))
    ball = {"type": "sphere", "radius": 0.4, "center": [0.0, 0.5, 0.0], "segments": 16, "bsdf": red}
    stand = {"type": "cube", "to_world": T().scale(0.3), "bsdf": grey}
    places = [T().translate([-0.8, 0.2, 0]).rotate([0, 0, 1], 20), T().translate([0.8, 0, 0]).scale([-1, 1, 1])]
    sky, group = {"type": "constant"}, {"type": "shapegroup", "ball": ball, "stand": stand}
    below = {"type": "instance", "shapegroup": {"type": "ref", "id": "group"}}
    placed = scene(group=group, a={**below, "to_world": places[0]}, b={**below, "to_world": places[1]}, sky=sky)
    copies = {}
    # Both are their own mirror images; by itself, a mirrored sphere is inside out, as in Mitsuba.
    for k, place in enumerate((places[0], T().translate([0.8, 0, 0]))):
        copies[f"ball_{k}"] = {**ball, "to_world": place.translate([0.0, 0.5, 0.0]), "center": [0.0, 0.0, 0.0]}
        copies[f"stand_{k}"] = {**stand, "to_world": place @ T().scale(0.3)}
    path = mi.load_dict({"type": "path", "max_depth": 3})
    image = mi.render(placed, integrator=path, spp=64)
    assert torch.allclose(image, mi.render(scene(sky=sky, **copies), integrator=path, spp=64), rtol=0, atol=1e-4)
    assert image[4, 6].mean() == 1  # between them
    params = mi.traverse(placed)
    for name in ("a.to_world", "b.to_world", "group.ball.to_world", "group.ball.bsdf.reflectance.value"):
        params[name] = params[name].clone().requires_grad_()
    params.update()
    mi.render(placed, integrator=path, spp=4).square().sum().backward()
    for name in ("a.to_world", "b.to_world", "group.ball.to_world", "group.ball.bsdf.reflectance.value"):
        assert params[name].grad.abs().max() > 0, name


def test_instances_that_mitsuba_has_not_either() -> None:
    below = {"type": "instance", "group": {"type": "shapegroup", "ball": {"type": "sphere"}}}
    assert not mi.to_scene(scene(group=below["group"])).meshes  # a group by itself is nothing
    with pytest.raises(NotImplementedError, match=r"g\.a: expected no 'instance' below a 'shapegroup'"):
        scene(g={"type": "shapegroup", "a": below})
    with pytest.raises(NotImplementedError, match=r"g\.a: shapes of a 'shapegroup' do not emit"):
        scene(g={"type": "shapegroup", "a": {"type": "sphere", "emitter": {"type": "area"}}})
    with pytest.raises(ValueError, match=r"g: expected at least one shape in a 'shapegroup', got none"):
        scene(g={"type": "shapegroup"})
    with pytest.raises(ValueError, match=r"a: expected one 'shapegroup', got sphere"):
        scene(a={"type": "instance", "ball": {"type": "sphere"}})


def test_seeds() -> None:
    loaded = scene(ball={"type": "sphere"}, sky={"type": "constant"})
    first, again, other = (mi.render(loaded, spp=4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# ---- XML -----------------------------------------------------------------------------------------------------------

TEXT = """
<scene version="3.0.0">
    <default name="depth" value="3"/>
    <integrator type="path"><integer name="max_depth" value="$depth"/></integrator>
    <sensor type="perspective" id="camera">
        <float name="fov" value="40"/>
        <transform name="to_world"><lookat origin="0, 0, 4" target="0 0 0" up="0, 1, 0"/></transform>
        <sampler type="independent"><integer name="sample_count" value="4"/></sampler>
        <film type="hdrfilm">
            <integer name="width" value="12"/><integer name="height" value="8"/><rfilter type="box"/>
        </film>
    </sensor>
    <bsdf type="twosided" id="matt"><bsdf type="diffuse"><rgb name="reflectance" value="0.1, 0.2, 0.3"/></bsdf></bsdf>
    <shape type="cube" id="box">
        <ref id="matt"/>
        <transform name="to_world"><scale x="0.5" y="0.7"/><rotate y="1" angle="30"/><translate x="1"/></transform>
    </shape>
    <shape type="sphere" id="ball">
        <point name="center" x="-1"/><float name="radius" value="0.5"/>
        <bsdf type="dielectric"><string name="int_ior" value="water"/></bsdf>
    </shape>
    <emitter type="constant" id="sky"><spectrum name="radiance" value="0.5"/></emitter>
    <shape type="rectangle" id="panel">
        <transform name="to_world"><matrix value="1 0 0 0 0 0 1 3 0 -1 0 0 0 0 0 1"/></transform>
        <boolean name="flip_normals" value="true"/>
        <emitter type="area"><rgb name="radiance" value="3"/></emitter>
    </shape>
</scene>
"""


def test_xml_and_dictionaries_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(TEXT)
    from_file = mi.load_file(tmp_path / "scene.xml")
    water = {"type": "dielectric", "int_ior": "water"}
    box = T().translate([1, 0, 0]).rotate([0, 1, 0], 30).scale([0.5, 0.7, 1])
    matt = {"type": "twosided", "a": {"type": "diffuse", "reflectance": rgb(0.1, 0.2, 0.3)}}
    panel = T([[1, 0, 0, 0], [0, 0, 1, 3], [0, -1, 0, 0], [0, 0, 0, 1]])
    lamp = {"type": "area", "radiance": rgb(3, 3, 3)}
    from_dict = mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 3},
            "camera": camera(),
            "matt": matt,
            "box": {"type": "cube", "bsdf": {"type": "ref", "id": "matt"}, "to_world": box},
            "ball": {"type": "sphere", "center": [-1, 0, 0], "radius": 0.5, "bsdf": water},
            "sky": {"type": "constant", "radiance": {"type": "spectrum", "value": 0.5}},
            "panel": {"type": "rectangle", "flip_normals": True, "to_world": panel, "lamp": lamp},
        }
    )
    images = []
    for loaded in (from_file, from_dict):
        assert isinstance(loaded, mi.Scene)
        images.append(mi.render(loaded))
    assert torch.allclose(*images, atol=1e-6)
    assert images[0].std() > 0.05
    a, b = mi.traverse(from_file), mi.traverse(from_dict)
    assert list(a) == list(b)
    assert all(torch.allclose(a[key], b[key]) for key in a)
    shallow = mi.load_string(TEXT, depth=1)
    assert isinstance(shallow, mi.Scene)
    integrator = shallow.integrator()
    assert integrator is not None
    assert integrator.options["max_depth"] == 1


def test_included_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "sky.xml").write_text('<scene version="3.0.0"><emitter type="constant" id="sky"/></scene>')
    save_mesh(icosphere(0), tmp_path / "parts" / "ball.ply")
    body = '<include filename="sky.xml"/><shape type="ply"><string name="filename" value="ball.ply"/></shape>'
    (tmp_path / "a.xml").write_text(f'<scene version="3.0.0"><path value="parts"/>{body}</scene>')
    loaded = mi.load_file(tmp_path / "a.xml")
    assert list(loaded.children) == ["sky", "shape_0"]


def test_folders_are_added_to_those_where_files_are_looked_up(tmp_path: Path) -> None:
    """Files are looked up in the scene's own folder and all named folders, the last one first."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    save_mesh(icosphere(0), tmp_path / "own.ply")
    save_mesh(icosphere(1), tmp_path / "first" / "both.ply")
    save_mesh(icosphere(2), tmp_path / "second" / "both.ply")
    paths = '<path value="first"/><path value="second"/>'
    shapes = "".join(
        f'<shape type="ply"><string name="filename" value="{name}.ply"/></shape>' for name in ("own", "both")
    )
    (tmp_path / "a.xml").write_text(f'<scene version="3.0.0">{paths}{shapes}</scene>')
    meshes = mi.to_scene(mi.load_file(tmp_path / "a.xml")).meshes
    assert [len(mesh.faces) for mesh in meshes] == [20, 320]
    lost = shapes.replace("own", "lost")
    (tmp_path / "b.xml").write_text(f'<scene version="3.0.0">{paths}{lost}</scene>')
    with pytest.raises(
        FileNotFoundError, match=r"no such file: .*second/lost\.ply or .*first/lost\.ply or .*lost\.ply"
    ):
        mi.load_file(tmp_path / "b.xml")
    (tmp_path / "c.xml").write_text('<scene version="3.0.0"><path value="third"/></scene>')
    with pytest.raises(FileNotFoundError, match=r"<path>: no such folder: .*third"):
        mi.load_file(tmp_path / "c.xml")


def test_thin_lenses() -> None:
    """A thin lens gives the image of `render_path` with a `ThinLens`, and its numbers are parameters of the scene."""
    ball = {"type": "sphere", "bsdf": {"type": "diffuse"}}
    place = T().look_at(origin=[0, 0, 4], target=[0, 0, 0], up=[0, 1, 0])
    lens = {"type": "thinlens", "fov": 40, "to_world": place, "film": film((6, 8)), "aperture_radius": 0.5}
    loaded = mi.load_dict(
        {"type": "scene", "a": ball, "sky": {"type": "constant"}, "camera": {**lens, "focus_distance": 2.0}}
    )
    params = mi.traverse(loaded)
    params["camera.focus_distance"] = torch.tensor(2.0, requires_grad=True)
    params.update()
    path = mi.load_dict({"type": "path", "max_depth": 2})
    image = mi.render(loaded, params, integrator=path, spp=16)
    camera = mi.to_camera(loaded.sensors()[0])
    shot = render_path(mi.to_scene(loaded), camera, 16, 2, tone_mapping=None, lens=ThinLens(0.5, 2.0))
    assert torch.allclose(image, shot.color[0] + 1 - shot.mask[0])
    (slope,) = torch.autograd.grad(image.square().sum(), params["camera.focus_distance"])
    assert slope != 0
    with pytest.raises(ValueError, match="'thinlens' needs 'focus_distance'"):
        mi.load_dict(lens)
    with pytest.raises(NotImplementedError, match="expected 'perspective' for maps of what is seen, got 'thinlens'"):
        mi.render(loaded, integrator=mi.load_dict({"type": "depth"}), spp=1)


def test_files_that_include_themselves(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.xml").write_text(f'<scene version="3.0.0"><include filename="{other}.xml"/></scene>')
    with pytest.raises(ValueError, match=r"<include>: a file includes itself: .*a\.xml -> .*b\.xml -> .*a\.xml$"):
        mi.load_file(tmp_path / "a.xml")
    (tmp_path / "c.xml").write_text('<scene version="3.0.0"><emitter type="constant"/></scene>')
    cube = '<shape type="cube"><include filename="d.xml"/></shape>'
    (tmp_path / "d.xml").write_text('<scene version="3.0.0"><bsdf type="diffuse"/></scene>')
    (tmp_path / "e.xml").write_text(f'<scene version="3.0.0"><include filename="c.xml"/>{cube}{cube}</scene>')
    assert len(mi.load_file(tmp_path / "e.xml").children) == 3  # one file twice is no circle


def test_integrators_that_would_be_ignored_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inner: 'path' takes no integrator"):
        mi.load_dict({"type": "path", "inner": {"type": "direct"}})
    with pytest.raises(ValueError, match="a, b: expected one integrator at most"):
        scene(a={"type": "aov", "aovs": "d:depth"}, b={"type": "path"})


@pytest.mark.parametrize(
    "rfilter", [{"type": "box", "radius": 0.0}, {"type": "gaussian", "stddev": -1.0}, {"type": "lanczos", "lobes": 0}]
)
def test_filters_of_no_width(rfilter: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rfilter.*: expected more than 0, got"):
        scene(camera=camera((2, 2), film=film((2, 2), rfilter=rfilter)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<scene", "this is no XML"),
        ("<scene/>", "<scene>: expected a version, such as 3.0.0, got none"),
        ('<scene version="3.0.0"><shape/></scene>', "<shape>: expected the attribute 'type'"),
        ('<scene version="3.0.0"><wall/></scene>', "<wall>: there is no such element"),
        ('<bsdf version="3.0.0" type="$kind"/>', r"<bsdf>: the parameter \$kind has no value"),
        ('<shape version="3.0.0" type="sphere"><float name="radius" value="x"/></shape>', "radius.*got 'x'"),
        (
            '<bsdf version="3.0.0" type="diffuse"><rgb name="reflectance" value="1 2"/></bsdf>',
            "1 or 3 numbers, got '1 2'",
        ),
    ],
)
def test_what_is_wrong_with_xml(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mi.load_string(text)


def test_files_that_are_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no such scene"):
        mi.load_file("nothing.xml")


# ---- Parameters ----------------------------------------------------------------------------------------------------


def test_names_are_mitsubas() -> None:
    bitmap = {"type": "bitmap", "data": torch.ones(2, 2, 3)}
    parts = {
        "shared": {"type": "diffuse"},
        "box": {"type": "cube", "paint": {"type": "ref", "id": "shared"}},
        "panel": {"type": "rectangle", "own": {"type": "diffuse"}, "light": {"type": "area", "radiance": rgb(1, 2, 3)}},
        "two": {"type": "disk", "b": {"type": "twosided", "c": {"type": "diffuse"}}},
        "painted": {"type": "sphere", "b": {"type": "diffuse", "reflectance": bitmap}},
        "metal": {"type": "sphere", "b": {"type": "roughconductor", "distribution": "ggx", "material": "Al"}},
        "lamp": {"type": "point", "position": [1.0, 2.0, 3.0]},
        "sun": {"type": "directional", "direction": [0.0, -1.0, 0.0]},
        "sky": {"type": "envmap", "data": torch.ones(4, 8, 3)},
    }
    params = mi.traverse(scene(**parts))
    assert {
        "camera.to_world", "camera.x_fov", "camera.near_clip", "shared.reflectance.value", "box.vertex_positions",
        "box.faces", "box.vertex_normals", "box.vertex_texcoords", "panel.to_world", "panel.bsdf.reflectance.value",
        "panel.emitter.radiance.value", "two.bsdf.brdf_0.reflectance.value", "painted.bsdf.reflectance.data",
        "painted.bsdf.reflectance.to_uv", "metal.bsdf.alpha.value", "metal.bsdf.eta.value", "metal.bsdf.k.value",
        "lamp.position", "lamp.intensity.value", "sun.irradiance.value", "sun.to_world", "sky.data", "sky.scale",
        "sky.to_world",
    } <= set(params)  # fmt: skip
    assert not any(key.startswith("box.bsdf") for key in params)
    assert params["box.vertex_positions"].shape == (72,)
    params.keep(r".*\.reflectance\..*")
    assert len(params) == 5
    params.keep(["shared.reflectance.value"])
    assert list(params) == ["shared.reflectance.value"]


def test_gradients_reach_what_is_assigned() -> None:
    """The gradient of an image that is linear in colours is the image itself. Assigned values count after `update`."""
    paint = {"type": "diffuse", "reflectance": rgb(0.5, 0.5, 0.5)}
    loaded = scene(ball={"type": "sphere", "bsdf": paint}, sky={"type": "constant"})
    path = mi.load_dict({"type": "prb", "max_depth": 2})
    params = mi.traverse(loaded)
    key = "ball.bsdf.reflectance.value"
    color = torch.tensor([0.2, 0.4, 0.8], requires_grad=True)
    before = mi.render(loaded, integrator=path, spp=4)
    params[key] = color
    assert torch.equal(mi.render(loaded, params, integrator=path, spp=4), before)
    assert torch.equal(params[key], color)
    params.update()
    image = mi.render(loaded, params, integrator=path, spp=4)
    assert torch.allclose(image[4, 6] / before[4, 6], 2 * color, rtol=1e-4)
    image[4, 6].sum().backward()
    assert color.grad is not None
    assert torch.allclose(color.grad, (image[4, 6] / color).detach(), rtol=0.3)  # computed from other paths
    params.update({"sky.radiance.value": 2.0})
    assert torch.allclose(mi.render(loaded, integrator=path, spp=4), 2 * image, rtol=1e-4)


def test_moved_vertices() -> None:
    loaded = scene(box={"type": "cube"})
    params = mi.traverse(loaded)
    params["box.vertex_positions"] = 2 * params["box.vertex_positions"].reshape(-1, 3)
    params.update()
    assert mi.to_scene(loaded).meshes[0].positions.max() == 2
    turned = T().rotate([0, 0, 1], 45)
    corners = torch.stack([turned @ p for p in params["box.vertex_positions"].reshape(-1, 3)])
    params.update({"box.vertex_positions": corners})
    normals = mi.to_scene(loaded).meshes[0].normals
    assert normals is not None
    assert abs(normals[8, 0] - math.sqrt(0.5)) < 1e-5


def test_moved_analytic_shapes() -> None:
    loaded = scene(ball={"type": "sphere"})
    placed = T().translate([1, 0, 0]).matrix.requires_grad_()
    mi.traverse(loaded).update({"ball.to_world": placed})
    mesh = mi.to_scene(loaded).meshes[0]
    assert torch.allclose(mesh.positions.mean(0), torch.tensor([1.0, 0, 0]), atol=1e-3)
    assert mesh.positions.requires_grad


def test_wrong_parameters() -> None:
    params = mi.traverse(scene(ball={"type": "sphere"}))
    with pytest.raises(KeyError, match=r"there is no parameter 'ball\.x'; there are camera"):
        params["ball.x"]
    with pytest.raises(ValueError, match=r"ball.to_world: expected \[4, 4\], got \[3\]"):
        params["ball.to_world"] = [1.0, 2.0, 3.0]


# ---- What is wrong or not offered ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"type": "diffuze"}, ValueError, "there is no plugin 'diffuze'"),
        ({"type": "diffuse", "reflectanc": 0.5}, ValueError, "'diffuse' has no 'reflectanc'; it takes reflectance"),
        ({"type": "diffuse", "reflectance": [1, 2]}, ValueError, "reflectance: expected one number or three"),
        ({"type": "diffuse", "reflectance": {"type": "sphere"}}, ValueError, "expected a colour or texture"),
        ({"type": "scene", "a": {"type": "ref", "id": "b"}}, ValueError, "a: there is nothing with the id 'b'"),
        ({"type": "scene", "a": {"type": "sphere", "radius": 0.0}}, ValueError, "a.radius: expected more than 0"),
        ({"type": "sphere", "radius": "big"}, ValueError, "radius: expected a number, got 'big'"),
        ({"type": "sphere", "light": {"type": "sphere"}}, ValueError, "light: 'sphere' takes no shape"),
        ({"type": "obj"}, ValueError, "'obj' needs 'filename'"),
        ({"type": "ply", "filename": "none.ply"}, FileNotFoundError, "no such file: none.ply"),
        ({"type": "perspective", "fov": 40, "focal_length": "50mm"}, ValueError, "fov or focal_length, got both"),
        ({"type": "perspective", "fov": 200.0}, ValueError, r"fov: expected degrees in \(0, 180\)"),
        ({"type": "hdrfilm", "width": 4, "crop_width": 5}, ValueError, "crop_width: expected a part of 4 pixels"),
        ({"type": "conductor", "material": "Xx"}, ValueError, "material: expected one of Au"),
        ({"type": "dielectric", "int_ior": "glas"}, ValueError, "int_ior: expected a number or one of vacuum"),
        ({"type": "point", "position": [0, 0, 0], "to_world": T()}, ValueError, "a position or to_world, got both"),
        ({"type": "bitmap"}, ValueError, "expected one of filename, bitmap and data, got none"),
        ({"type": "path", "max_depth": -2}, ValueError, "max_depth: expected -1 or more, got -2"),
        ({"type": "path", "max_depth": 2.5}, ValueError, "max_depth: expected an integer, got 2.5"),
        ({"type": "scene", "a": {"type": "constant"}, "b": {"type": "constant"}}, ValueError, "a, b: expected one"),
        ({"type": "sdfgrid"}, NotImplementedError, "the shape 'sdfgrid' is not offered"),
        ({"type": "ptracer"}, NotImplementedError, "the integrator 'ptracer' is not offered"),
        ({"type": "uniform", "value": [1, 2, 3]}, NotImplementedError, "value: spectra are not offered"),
        ({"type": "bitmap", "data": torch.ones(2, 2, 3), "filter_type": "ewa"}, ValueError, "bilinear or nearest"),
        ({"type": "hdrfilm", "sample_border": True}, NotImplementedError, "sample_border: expected false"),
        ({"type": "twosided", "a": {"type": "diffuse"}, "b": {"type": "diffuse"}}, NotImplementedError, "one BSDF"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(parts: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mi.load_dict(parts)


def test_what_cannot_be_rendered() -> None:
    sky = {"type": "constant"}

    def shown(match: str, error: type[Exception] = NotImplementedError, **shape: Any) -> None:
        with pytest.raises(error, match=match):
            mi.render(scene(ball={"type": "sphere", **shape}, sky=sky), spp=1)

    shown("ball.bsdf.distribution: expected 'ggx', got 'beckmann'", bsdf={"type": "roughconductor", "material": "Au"})
    shown("ball.bsdf.model: expected 'gltf', got 'disney'", bsdf={"type": "principled"})
    sheen = {"type": "principled", "model": "gltf", "sheen": 0.5}
    shown("ball.bsdf.sheen: expected 0", bsdf=sheen)
    shown("something diffuse or plastic below 'mask'", bsdf={"type": "mask", "b": {"type": "conductor"}})
    shown("specular_reflectance: expected 1", bsdf={"type": "conductor", "specular_reflectance": 0.5})
    glow = {"type": "area"}
    shown("surfaces that emit are diffuse, got 'conductor'", bsdf={"type": "conductor"}, emitter=glow)
    both = {"type": "twosided", "a": {"type": "diffuse"}}
    shown("emit to one side and reflect from both", bsdf=both, emitter=glow)
    shown("expected an area light at a shape", ValueError, emitter={"type": "point"})
    shown("opaque BSDF below 'twosided'", ValueError, bsdf={"type": "twosided", "a": {"type": "dielectric"}})
    with pytest.raises(ValueError, match="sensor: expected the number of one of 1 sensors, got 1"):
        mi.render(scene(ball={"type": "sphere"}), sensor=1)
    with pytest.raises(NotImplementedError, match="spp_grad: expected 0 or the samples of the image, 4; got 8"):
        mi.render(scene(ball={"type": "sphere"}), spp=4, spp_grad=8)
    with pytest.raises(TypeError, match="scene: expected a scene, got SceneParameters"):
        mi.render(mi.traverse(scene()))  # type: ignore[arg-type]


def test_what_changes_only_noise_is_said() -> None:
    with pytest.warns(mi.MitsubaWarning, match="samples are independent, got 'stratified'"):
        scene(camera=camera(sampler={"type": "stratified", "sample_count": 4}))
    with pytest.warns(mi.MitsubaWarning, match="rr_depth: paths may end from the fifth surface on, got 20"):
        mi.load_dict({"type": "path", "rr_depth": 20})
    with pytest.warns(mi.MitsubaWarning, match="emitter_samples: each sample takes 1, got 4; raise spp instead"):
        mi.load_dict({"type": "direct", "emitter_samples": 4})


def test_plugins_made_before_are_accepted() -> None:
    """Loaded plugins are accepted inside a scene, and a mesh made of tensors keeps their graph."""
    positions = torch.rand(3, 3, requires_grad=True)
    made = mi.load_dict({"type": "mesh", "vertex_positions": positions, "faces": [0, 1, 2]})
    loaded = scene(a=made)
    assert loaded.shapes() == [made]
    mesh = mi.to_scene(loaded).meshes[0]
    assert isinstance(mesh, Mesh)
    assert mesh.positions.requires_grad
