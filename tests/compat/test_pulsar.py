"""`lumigrad.compat.pulsar` against Pulsar's images, its conventions one by one, and finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ops_common import gradcheck, random
from splat_common import PULSAR, assert_near_coarse_pulsar, assert_near_pulsar, coarse_exp
from torch import Tensor

import lumigrad as lg
from lumigrad.compat.pulsar import Renderer
from lumigrad.scene import axis_angle_to_matrix


def stored_images(
    path: Path, camera: Tensor | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Ours and Pulsar's image of a stored scene; `camera` in place of the stored vector."""
    data = {k: torch.tensor(v) for k, v in np.load(path).items()}
    scene = {k: data[k].to(dtype) for k in ("positions", "features", "radii", "opacity", "background", "cam_params")}
    renderer = Renderer(
        data["width"].item(), data["height"].item(), max_num_balls=300, n_channels=scene["features"].shape[1],
        orthogonal_projection=data["orthogonal"].item(), right_handed_system=data["right_handed"].item(),
    )  # fmt: skip
    image = renderer(
        scene["positions"], scene["features"], scene["radii"], scene["cam_params"] if camera is None else camera,
        data["gamma"].item(), data["max_depth"].item(), min_depth=data["min_depth"].item(), bg_col=scene["background"],
        opacity=scene["opacity"], percent_allowed_difference=0.01,
    )  # fmt: skip
    return image, data["image"].to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PULSAR)
def test_images(shared: Path, name: str, dtype: torch.dtype) -> None:
    assert_near_pulsar(*stored_images(shared / "oracles" / f"pulsar_{name}.npz", dtype=dtype))


@pytest.mark.parametrize("name", PULSAR)
def test_images_with_a_coarse_exponential(shared: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "exp", coarse_exp)
    monkeypatch.setattr(lg.ops.splat, "spheres", lg.reference.spheres)
    assert_near_coarse_pulsar(*stored_images(shared / "oracles" / f"pulsar_{name}.npz"), name)


def test_six_numbers_and_offsets(shared: Path) -> None:
    """The same rotation in six numbers, and no offset of the principal point, give the same image."""
    path = shared / "oracles" / "pulsar_pinhole_righthanded_rotated.npz"
    vector = torch.tensor(np.load(path)["cam_params"]).double()
    image, expected = stored_images(path)
    rows = 3 * axis_angle_to_matrix(vector[3:6])[:2].flatten()  # lengths do not matter
    rows[3:] += 0.7 * rows[:3]  # nor what the second has of the first
    zero = torch.zeros(2, dtype=torch.float64)
    for turn in (vector[3:6], rows):
        for offset in (zero[:0], zero):
            other, _ = stored_images(path, torch.cat((vector[:3], turn, vector[6:], offset)))
            assert torch.allclose(other, image, atol=1e-9)
    unturned, _ = stored_images(path, torch.cat((vector[:3], 0 * vector[3:6], vector[6:])))
    assert (unturned - expected).abs().max() > 0.1  # the rotation does matter


def one_sphere(where: list[float], vector: list[float], size: tuple[int, int] = (9, 9), **options: bool) -> list[float]:
    """The centre (row, column) of a sphere's image."""
    image = Renderer(size[1], size[0], n_channels=1, **options)(
        torch.tensor([where]).float(), torch.ones(1, 1), torch.tensor([0.5]), torch.tensor(vector), 0.1, 20.0, 0.1,
        bg_col=torch.zeros(1),
    )  # fmt: skip
    weight = image[..., 0] / image.sum()
    rows, columns = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    return [round((weight * rows).sum().item(), 1), round((weight * columns).sum().item(), 1)]


def test_axes() -> None:
    """y is up, z goes into the scene, out of it in the right-handed system; camera axes are columns of the rotation;
    offsets are pixels to the left and up; orthographic rays go through the top left corners of pixels."""
    camera = [0.0, 0, 0, 0, 0, 0, 5, 9]  # five pixels per unit of x / z
    straight = one_sphere([0, 0, 5], camera)
    assert straight == [4.5, 4.5]
    assert one_sphere([1, 0, 5], camera)[1] > 5
    assert one_sphere([0, 1, 5], camera)[0] < 4
    assert one_sphere([1, 0, -5], camera, right_handed_system=True)[1] > 5
    assert one_sphere([1, 0, 5], [1.0, 0, 0, 0, 0, 0, 5, 9]) == straight
    quarter = math.pi / 2  # about y: its column 2, the viewing direction, becomes +x
    assert one_sphere([5, 0, 0], [0.0, 0, 0, 0, quarter, 0, 5, 9]) == straight
    assert one_sphere([0, 0, 5], [*camera, 2.0, 1.0]) == [3.5, 2.5]
    flat = [0.0, 0, 0, 0, 0, 0, 0, 3]  # three pixels per unit
    assert one_sphere([0, 0, 5], flat, orthogonal_projection=True) == [5.0, 5.0]
    assert one_sphere([0, 1, 5], flat, orthogonal_projection=True) == [2.0, 5.0]


def small_scene(camera: str, views: int = 2) -> dict[str, Tensor]:
    focal = {"axis": [3.0, 4], "six": [3.0, 4, 0.3, -0.2], "flat": [3.0, 4]}[camera]
    turn = [1.0, 0.1, 0, 0.1, 0.9, 0.2] if camera == "six" else [0.1, 0.05, -0.2]
    vector = torch.tensor([0.1, -0.1, -3.0, *turn, *focal], dtype=torch.float64).repeat(views, 1)
    return {
        "vert_pos": random(4, 3, seed=1, dtype=torch.float64),
        "vert_col": random(4, 2, seed=2, dtype=torch.float64),
        "vert_rad": 0.7 + 0.2 * random(4, seed=3, dtype=torch.float64),
        "cam_params": vector + 0.05 * random(*vector.shape, seed=4, dtype=torch.float64),
        "gamma": torch.tensor(0.2, dtype=torch.float64),
        "bg_col": random(2, seed=5, dtype=torch.float64),
        "opacity": 0.6 + 0.3 * random(4, seed=6, dtype=torch.float64),
    }


@pytest.mark.parametrize("right_handed", [False, True])
@pytest.mark.parametrize("camera", ["axis", "six", "flat"])
def test_gradients(camera: str, right_handed: bool) -> None:
    """All inputs, including all numbers of the camera, pass gradcheck."""
    scene = small_scene(camera)
    if right_handed:
        scene["cam_params"][:, 2] *= -1
    names = list(scene)
    renderer = Renderer(7, 6, orthogonal_projection=camera == "flat", right_handed_system=right_handed, n_channels=2)

    def run(*values: Tensor) -> Tensor:
        return renderer(**dict(zip(names, values)), max_depth=9.0, min_depth=0.5)

    difference = run(*scene.values()) - scene["bg_col"]
    assert (difference.abs() > 0.05).any(0).any(0).any(0).all()
    assert gradcheck(run, tuple(v.requires_grad_() for v in scene.values()), 1e-6, 1e-6, 1e-4)


def test_batches_and_information() -> None:
    """Batches of scenes, of cameras and of both are what their parts are on their own; the background is white."""
    scene = small_scene("axis")
    del scene["bg_col"]
    renderer = Renderer(7, 6, n_channels=2, n_track=3)
    whole, info = renderer(**scene, max_depth=9.0, return_forward_info=True)
    assert whole.shape == (2, 6, 7, 2)
    assert info.ids.shape == info.weights.shape == (2, 6, 7, 3)
    assert torch.allclose(whole[info.alpha == 0], torch.ones(2, dtype=torch.float64))
    cameras = scene.pop("cam_params")
    for i in range(2):
        single = renderer(**scene, cam_params=cameras[i], max_depth=9.0)
        assert torch.equal(single, whole[i])
    positions = scene.pop("vert_pos").expand(2, -1, -1)
    assert torch.equal(renderer(positions, **scene, cam_params=cameras, max_depth=9.0), whole)
    same = renderer(positions, **scene, cam_params=cameras[0], max_depth=9.0)
    assert torch.equal(same, whole[:1].expand(2, -1, -1, -1))
    empty = renderer(positions[0, :0], torch.zeros(0, 2).double(), torch.zeros(0).double(), cameras[0], 0.1, 9.0)
    assert torch.equal(empty, torch.ones(6, 7, 2).double())


def test_module() -> None:
    """It has no parameters, prints what it is, and moves with a model that holds it."""
    renderer = Renderer(7, 6, 10)
    assert not list(renderer.parameters())
    assert "width=7, height=6" in repr(torch.nn.Sequential(renderer).double())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vert_pos": torch.zeros(4, 2).double()}, ValueError, "vert_pos: expected shape"),
        ({"vert_pos": torch.zeros(3, 4, 3).double()}, ValueError, "cam_params: expected 3 cameras"),
        ({"vert_col": torch.zeros(4, 3).double()}, ValueError, "vert_col: expected shape"),
        ({"vert_col": torch.zeros(5, 2).double()}, ValueError, "vert_col: expected shape"),
        ({"vert_rad": torch.zeros(3).double()}, ValueError, "vert_rad: expected shape"),
        ({"cam_params": torch.zeros(9).double()}, ValueError, "cam_params: expected shape"),
        ({"cam_params": torch.zeros(8)}, TypeError, "cam_params: expected torch.float64"),
        ({"bg_col": torch.zeros(3).double()}, ValueError, "bg_col: expected shape"),
        ({"opacity": torch.zeros(3).double()}, ValueError, "opacity: expected shape"),
        ({"gamma": 2.0}, ValueError, "gamma: expected a number from"),
        ({"gamma": torch.zeros(3).double()}, ValueError, "gamma: expected one number"),
        ({"min_depth": 9.5}, ValueError, "min_depth, max_depth: expected"),
        ({"percent_allowed_difference": 1.0}, ValueError, "percent_allowed_difference: expected"),
        ({"max_n_hits": 3}, NotImplementedError, "max_n_hits: a limit"),
        ({"mode": 1}, NotImplementedError, "mode: only 0"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Renderer(7, 6, n_channels=2)(**{**small_scene("axis"), "max_depth": 9.0, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"width": 0}, ValueError, "size: expected"),
        ({"max_num_balls": 0}, ValueError, "max_num_balls: expected"),
        ({"n_channels": 2.5}, ValueError, "n_channels: expected"),
        ({"n_track": 0}, ValueError, "n_track: expected"),
        ({"background_normalized_depth": 0.5}, NotImplementedError, "background_normalized_depth: only"),
    ],
)
def test_wrong_renderers(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Renderer(**{"width": 7, "height": 6, **change})


def test_min_depth_zero_stands_for_the_focal_length() -> None:
    """min_depth = 0 stands for the focal length, as in Pulsar, and other values may be smaller.

    With parallel rays 0 has no such meaning.
    """
    camera = [0.0, 0, 0, 0, 0, 0, 5, 9]
    sphere = (torch.tensor([[0.0, 0, 5]]), torch.ones(1, 1), torch.tensor([0.5]))
    draw = Renderer(9, 9, n_channels=1)
    arguments = (torch.tensor(camera), 0.1, 20.0)
    assert draw(*sphere, *arguments, 0.0, bg_col=torch.zeros(1)).sum() == 0  # its nearest point is 4.5 away
    assert draw(*sphere, *arguments, 4.4, bg_col=torch.zeros(1)).sum() > 0
    flat = Renderer(9, 9, n_channels=1, orthogonal_projection=True)
    assert flat(*sphere, torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 3]), 0.1, 20.0, bg_col=torch.zeros(1)).sum() > 0


def test_pulsar_gradients_are_scaled() -> None:
    """Gradients of a sphere are divided by its number of pixels, those of the camera multiplied by 0.004 / pi / the
    number of visible spheres."""
    positions = torch.tensor([[0.0, 0, 5], [1.0, 1, 6], [0.0, 0, -5]])
    camera = torch.tensor([0.0, 0, 0, 0, 0, 0, 5, 9])
    colours, radii = random(3, 1), torch.full((3,), 2.0)

    def gradients(switch: bool) -> tuple[Tensor, Tensor, Tensor]:
        leaves = (positions.clone().requires_grad_(), camera.clone().requires_grad_())
        draw = Renderer(9, 9, n_channels=1, pulsar_gradients=switch)
        image, info = draw(leaves[0], colours, radii, leaves[1], 0.1, 20.0, 0.1, return_forward_info=True)
        (image * random(9, 9, 1, seed=1)).sum().backward()
        assert leaves[0].grad is not None
        assert leaves[1].grad is not None
        pixels = torch.stack([(info.ids == sphere).sum() for sphere in range(3)])
        return leaves[0].grad, leaves[1].grad, pixels

    (of_positions, of_camera, pixels), (scaled_positions, scaled_camera, _) = gradients(False), gradients(True)
    assert pixels[:2].min() > 1
    assert pixels[2] == 0
    assert torch.allclose(scaled_positions[:2] * pixels[:2, None], of_positions[:2])
    assert torch.allclose(scaled_camera, of_camera * 0.004 / math.pi / 2)
