"""Users' mistakes in calls above the ops: each message names the argument, and none comes from internal code.

The ops' own arguments are in tests/ops/test_bad_input.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lumigrad
from lumigrad import fit, io, render, scene
from lumigrad.compat import nerfacc

MESH = scene.icosphere(1)
CAMERA = scene.PerspectiveCamera.orbit(30.0, 20.0, 3.0, 45.0, (8, 8))
POINTS = torch.rand(5, 3)
CLOUD = scene.PointCloud(POINTS, colors=torch.rand(5, 3), radii=torch.full((5,), 0.1))
GAUSSIANS = scene.GaussianCloud(
    POINTS, torch.rand(5, 4), torch.rand(5, 3), torch.rand(5), scene.constant_harmonics(torch.rand(5, 3))
)
BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
IMAGE = torch.rand(1, 12, 12, 3)
EDGES = fit.unique_edges(MESH.faces)
BALL = {"positions": MESH.positions, "faces": MESH.faces}

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "load_mesh": (io.load_mesh, {"path": "mesh.obj"}),
    "load_image": (io.load_image, {"path": "image.png"}),
    "load_gaussians": (io.load_gaussians, {"path": "cloud.ply"}),
    "load_points": (io.load_points, {"path": "cloud.ply"}),
    "load_scene": (io.load_scene, {"path": "scene.glb"}),
    "load_dataset": (io.load_dataset, {"folder": "photographs"}),
    "load_colmap": (io.load_colmap, {"folder": "sparse"}),
    "save_mesh": (io.save_mesh, {"mesh": MESH, "path": "mesh.obj"}),
    "save_image": (io.save_image, {"image": IMAGE[0], "path": "image.png"}),
    "save_gif": (io.save_gif, {"frames": IMAGE, "path": "film.gif", "frames_per_second": 10.0}),
    "save_video": (io.save_video, {"frames": IMAGE, "path": "film.gif", "frames_per_second": 10.0}),
    "save_gaussians": (io.save_gaussians, {"cloud": GAUSSIANS, "path": "cloud.ply"}),
    "save_points": (io.save_points, {"cloud": CLOUD, "path": "cloud.ply"}),
    "Mesh": (scene.Mesh, {**BALL, "colors": torch.rand(42, 3)}),
    "PointCloud": (scene.PointCloud, {"positions": POINTS, "colors": torch.rand(5, 3)}),
    "Scene": (scene.Scene, {"shapes": [MESH], "lights": [scene.AmbientLight()]}),
    "PerspectiveCamera": (
        scene.PerspectiveCamera,
        {"world_to_camera": torch.eye(4), "fx": 8.0, "fy": 8.0, "cx": 4.0, "cy": 4.0, "size": (8, 8)},
    ),
    "from_equirect": (scene.EnvironmentLight.from_equirect, {"image": torch.rand(8, 16, 3), "size": 8}),
    "render_points": (render.render_points, {"cloud": CLOUD, "camera": CAMERA, "radius": 2.0}),
    "render_spheres": (render.render_spheres, {"cloud": CLOUD, "camera": CAMERA, "radius": 0.1, "gamma": 0.01}),
    "render_soft": (render.render_soft, {"scene": MESH, "camera": CAMERA, "sigma": 1e-4}),
    "psnr": (fit.psnr, {"image": IMAGE, "target": IMAGE}),
    "ssim": (fit.ssim, {"image": IMAGE, "target": IMAGE}),
    "chamfer_distance": (fit.chamfer_distance, {"mesh": MESH, "target": MESH, "count": 50}),
    "LargeSteps": (fit.LargeSteps, {"faces": MESH.faces, "count": 42, "strength": 2.0}),
    "laplacian_energy": (fit.laplacian_energy, {"values": MESH.positions, "edges": EDGES}),
    "cotangent_weights": (fit.cotangent_weights, BALL),
    "edge_lengths": (fit.edge_lengths, {"positions": MESH.positions, "edges": EDGES}),
    "adjacent_faces": (fit.adjacent_faces, {"faces": MESH.faces}),
    "bending_loss": (fit.bending_loss, {**BALL, "pairs": fit.adjacent_faces(MESH.faces)}),
    "remesh": (fit.remesh, {**BALL, "edge_length": 0.8}),
    "make_atlas": (fit.make_atlas, {**BALL, "size": 64}),
    "fibonacci_cameras": (fit.fibonacci_cameras, {"count": 3, "size": (8, 8)}),
    "skin": (
        fit.skin,
        {"positions": POINTS, "weights": torch.rand(5, 2), "transforms": torch.eye(4).repeat(2, 1, 1)},
    ),
    "blend_shapes": (fit.blend_shapes, {"base": POINTS, "offsets": torch.rand(2, 5, 3), "weights": torch.rand(2)}),
    "mean_value_coordinates": (
        fit.mean_value_coordinates,
        {"points": 0.1 * POINTS, "cage": MESH.positions, "faces": MESH.faces},
    ),
    "barycentric_points": (
        fit.barycentric_points,
        {**BALL, "face": torch.tensor([0]), "weights": torch.rand(1, 3)},
    ),
    "nerfacc.rendering": (
        nerfacc.rendering,
        {
            "t_starts": torch.zeros(2),
            "t_ends": torch.ones(2),
            "ray_indices": torch.tensor([0, 1]),
            "n_rays": 2,
            "rgb_alpha_fn": lambda start, end, ray: (torch.ones(2, 3), torch.full((2,), 0.5)),
        },
    ),
}


def _wrong(value: Any) -> dict[str, Any]:
    """Values that users pass in place of a good one."""
    if isinstance(value, torch.Tensor):
        found = {"numpy": value.numpy(), "None": None, "text": "x", "complex": value.to(torch.complex64)}
        found["bool" if value.is_floating_point() else "float"] = (
            value > 0 if value.is_floating_point() else value.float()
        )
        return found | {"a row": value[0], "one more dimension": value[None]} if value.ndim > 1 else found
    if isinstance(value, str):
        return {"None": None, "number": 3, "tensor": POINTS}
    if isinstance(value, (int, float)):
        return {"text": "8", "list": [1, 2], "NaN": float("nan")}
    if isinstance(value, list):
        return {"not a list": value[0], "number": 3}
    if isinstance(value, (scene.Mesh, scene.PointCloud, scene.GaussianCloud, scene.PerspectiveCamera)):
        return {"None": None, "text": "x", "tensor": POINTS, "a list": [[]]}
    return {"text": "x", "number": 3}


# Combinations that are valid: shapes with more dimensions, cameras made of numbers, and lists and single shapes.
FINE = {
    ("Mesh", "positions", "one more dimension"), ("save_gif", "frames", "a row"), ("save_video", "frames", "a row"),
    ("edge_lengths", "positions", "one more dimension"), ("bending_loss", "positions", "one more dimension"),
    ("barycentric_points", "positions", "one more dimension"), ("blend_shapes", "weights", "one more dimension"),
    ("skin", "transforms", "one more dimension"), ("PerspectiveCamera", "world_to_camera", "one more dimension"),
    ("PointCloud", "colors", "None"), ("PointCloud", "colors", "bool"), ("Mesh", "colors", "None"),
    ("Scene", "shapes", "not a list"), ("laplacian_energy", "values", "a row"),
    ("nerfacc.rendering", "ray_indices", "None"), ("save_image", "image", "bool"), ("save_gif", "frames", "bool"),
    ("save_video", "frames", "bool"), ("render_points", "radius", "None"),
}  # fmt: skip
CASES = [
    pytest.param(function, arguments, name, wrong, id=f"{call}-{name}-{what}")
    for call, (function, arguments) in CALLS.items()
    for name, good in arguments.items()
    for what, wrong in _wrong(good).items()
    if (call, name, what) not in FINE and not (what == "NaN" and name in ("fx", "fy", "cx", "cy", "radius", "gamma"))
]


@pytest.mark.parametrize(("function", "arguments", "name", "wrong"), CASES)
def test_messages_name_the_argument(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    name: str,
    wrong: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError)) as error:
        function(**(arguments | {name: wrong}))
    assert name in str(error.value)
    last = traceback.extract_tb(error.value.__traceback__)[-1].filename
    assert Path(last).is_relative_to(Path(lumigrad.__file__).parent), f"raised in {last}"


def test_an_image_with_channels_first_says_how_to_turn_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"channels come last: image\.permute\(1, 2, 0\)"):
        io.save_image(torch.rand(3, 8, 9), tmp_path / "image.png")


def test_a_gif_of_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \.gif; save_video"):
        io.save_gif(IMAGE, tmp_path / "film.webp")
