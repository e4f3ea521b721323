"""The experiment on the pose of a cube: its rotations, and that a few steps lower the error."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("matplotlib")
pytest.importorskip("experiments", reason="not part of source distributions")

import lumigrad
from experiments import pose


def _matrix(q: Tensor) -> Tensor:
    """The rotation matrices [..., 3, 3], written out."""
    w, x, y, z = q.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.fixture
def rotations() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    p, q = (torch.nn.functional.normalize(pose.random_rotations(20, generator).double(), dim=-1) for _ in range(2))
    return p, q


def test_rotations_are_those_of_matrices(rotations: tuple[Tensor, Tensor]) -> None:
    p, q = rotations
    points = torch.randn(20, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(pose.rotate(p, points), points @ _matrix(p).mT)
    torch.testing.assert_close(_matrix(pose.product(p, q)), _matrix(p) @ _matrix(q))
    trace = (_matrix(p) * _matrix(q)).sum((-1, -2))
    torch.testing.assert_close(pose.angle(p, q), torch.rad2deg(((trace - 1) / 2).acos()))


def test_power_scales_the_angle(rotations: tuple[Tensor, Tensor]) -> None:
    q = rotations[0]
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(pose.angle(pose.power(q, 0.25), identity), pose.angle(q, identity) / 4)
    fourth = pose.power(q, 0.25)
    half = pose.product(fourth, fourth)
    torch.testing.assert_close(_matrix(pose.product(half, half)), _matrix(q))


def test_symmetries_are_the_signed_permutations_that_do_not_mirror() -> None:
    found = {tuple(m.round().long().flatten().tolist()) for m in _matrix(pose.cube_symmetries().double())}
    expected = set()
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        matrix = torch.zeros(3, 3)
        matrix[range(3), order] = torch.tensor(signs, dtype=torch.float32)
        if torch.linalg.det(matrix) > 0:
            expected.add(tuple(matrix.long().flatten().tolist()))
    assert len(expected) == 24
    assert found == expected


def test_cube_faces_look_outwards_and_have_their_colours() -> None:
    cube = pose.cube("cpu")
    corners = cube.vertices[cube.faces.long()]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * corners.mean(1)).sum(-1) > 0).all()
    # Turned by nothing, the face towards the viewer is that of +z, the last of the list, in the middle of white.
    image = cube.images(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 32)[0]
    torch.testing.assert_close(image[16, 16], torch.tensor(pose.COLORS[5]))
    torch.testing.assert_close(image[0, 0], torch.ones(3))


@pytest.mark.parametrize("size", [33, 64])
def test_the_window_shows_all_of_the_cube(size: int) -> None:
    cube, window = pose.cube("cpu"), pose.window_of(size)
    turned = pose.random_rotations(40, torch.Generator().manual_seed(6))
    whole = cube.images(turned, size)
    edge = (size - window) // 2
    assert 2 <= edge < size // 4
    inside = whole[:, edge:-edge, edge:-edge]
    torch.testing.assert_close(cube.images(turned, size, window), inside, atol=2e-3, rtol=0)
    inside[:] = 1
    assert (whole == 1).all()


def test_steps_follow_the_gradient_of_the_mean_squared_difference() -> None:
    """Of whole images, through everything that has a gradient."""
    fit = pose.Fit("greedy", pose.Settings(3, 10, 40, "cpu"), seed=4)
    cube = fit.cube
    rotations = fit.start.clone().requires_grad_()
    eye = pose.rotate(torch.nn.functional.normalize(rotations, dim=-1), cube.vertices)
    eye = eye - torch.tensor([0.0, 0.0, pose.DISTANCE])
    focal = 1 / torch.tensor(pose.FIELD_OF_VIEW_DEGREES / 2).deg2rad().tan()
    x, y, z = eye.unbind(-1)
    pos = torch.stack([focal * x, focal * y, -(z + pose.DISTANCE) / 2 * -z, -z], -1)
    frags = lumigrad.rasterize(pos, cube.faces, (40, 40))
    shaded = torch.where(frags.tri[..., None] >= 0, lumigrad.interpolate(cube.colors, frags, cube.faces), 1.0)
    image = lumigrad.antialias(shaded, frags, pos, cube.faces)
    (image - cube.images(fit.target, 40)).square().mean((1, 2, 3)).sum().backward()
    fit.step = fit.searching
    fit.advance()
    assert rotations.grad is not None
    assert fit.pose.grad is not None
    expected = rotations.grad * (40 * 40 * 3) / 2
    assert float(expected.abs().max()) > 1
    torch.testing.assert_close(fit.pose.grad, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))


def _run(folder: Path, trials: int, steps: int, *more: str) -> dict[str, dict[str, float]]:
    arguments = ["--out", folder, "--trials", trials, "--steps", steps, "--size", 24, "--device", "cpu", *more]
    results = pose.experiment(pose.arguments().parse_args(list(map(str, arguments))))
    methods: dict[str, dict[str, float]] = results["methods"]
    return methods


def test_some_steps_lower_the_error(tmp_path: Path) -> None:
    methods = _run(tmp_path, 12, 300)
    fit = pose.Fit("adam", pose.Settings(12, 300, 24, "cpu"), seed=0)
    start = fit.errors()
    for method in pose.METHODS:
        for name in ("degrees", "degrees up to symmetry"):
            assert methods[method][f"mean {name}"] < 0.8 * sum(start[name]) / 12, (method, name)
    # The search finds the outline, and with the symmetries the colours.
    assert methods["greedy"]["mean degrees up to symmetry"] < 5
    assert methods["symmetric"]["mean degrees"] < methods["greedy"]["mean degrees"]
    assert (tmp_path / "pose.png").is_file()
    assert (tmp_path / "pictures.png").is_file()


def test_adam_arrives_from_nearby() -> None:
    """Without noise, from two degrees away, a descent ends within a twentieth of a degree of the target."""
    fit = pose.Fit("greedy", pose.Settings(3, 300, 48, "cpu"), seed=1)
    nudge = pose.power(pose.random_rotations(3, torch.Generator().manual_seed(5)), 0.02)
    fit.step = fit.searching
    fit.pose.data.copy_(pose.product(nudge, fit.target))
    before = pose.angle(fit.pose.detach(), fit.target)
    while fit.step < 300:
        fit.advance()
    assert (before > 0.5).all()
    assert (torch.tensor(fit.errors()["degrees"]) < 0.05).all()


@pytest.mark.parametrize("method", pose.METHODS)
def test_a_resumed_fit_is_the_same(method: str, tmp_path: Path) -> None:
    """Stopped while it searches and while it descends."""
    settings = pose.Settings(3, 20, 16, "cpu")
    whole = pose.Fit(method, settings, seed=2)
    for stop in (5, 15, 20):
        while whole.step < stop:
            whole.advance()
        torch.save(whole.state(), tmp_path / f"{stop}.pt")
    for stop in (5, 15):
        resumed = pose.Fit(method, settings, seed=2)
        resumed.restore(torch.load(tmp_path / f"{stop}.pt", weights_only=True))
        while resumed.step < 20:
            resumed.advance()
        torch.testing.assert_close(resumed.result(), whole.result())
        torch.testing.assert_close(torch.tensor(resumed.curve), torch.tensor(whole.curve))


def test_resume_goes_on_where_it_was(tmp_path: Path) -> None:
    first = _run(tmp_path, 2, 10)
    assert _run(tmp_path, 2, 10, "--resume") == first
    with pytest.raises(ValueError, match="resume"):
        _run(tmp_path, 2, 12, "--resume")
