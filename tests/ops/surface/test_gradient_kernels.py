"""The kernels of edge_gradient and nmr_gradient against their definitions.

There is no gradcheck: by definition these gradients are not the derivative of the image, which does not change.
That the definitions say what the papers do, and what is known of the true derivative, is tested in
tests/gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cuda_kernels import skip_where_devices_are_silent
from meshes import cube, icosphere, random_triangles, view_mesh
from ops_common import inside_sphere, near_straddler, random, scaled_error, sphere_views, threads
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments
from lumigrad.ops import surface

METHODS = ["edge_gradient", "nmr_gradient"]


def scenes(dtype: torch.dtype = torch.float64) -> dict[str, tuple[Tensor, Tensor, tuple[int, int]]]:
    """Name: positions, faces, size."""
    sphere, sphere_tri = sphere_views(1, 2, dtype)
    room, room_tri = inside_sphere(1, dtype)
    triangles, faces = random_triangles(25, seed=7, behind=0.15)
    corners, sides = cube()
    ground, ground_tri = near_straddler(dtype)
    return {
        "sphere": (sphere, sphere_tri, (29, 38)),
        "holes, camera inside": (room, room_tri[::2], (33, 35)),
        "intersecting": (triangles.to(dtype), faces, (40, 37)),
        "cube": (view_mesh(corners.to(dtype), 25, 20), sides, (21, 24)),
        "behind the eye": (ground, ground_tri, (30, 22)),
        "one row": (sphere, sphere_tri, (1, 40)),
        "one column": (sphere, sphere_tri, (45, 1)),
        "several tiles": (sphere[:1], sphere_tri, (70, 131)),
    }


def position_gradient(
    op: Callable, color: Tensor, frags: Fragments, pos: Tensor, tri: Tensor, weight: Tensor, **options: Any
) -> Tensor:
    pos = pos.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad((op(color, frags, pos, tri, **options) * weight).sum(), pos)
    return grad


def doubled(frags: Fragments) -> Fragments:
    return Fragments(frags.tri, *(value.double() for value in frags[1:4]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "channels"), [*((name, 3) for name in scenes()), ("sphere", 1), ("cube", 7)])
def test_reference(name: str, channels: int, method: str, dtype: torch.dtype) -> None:
    """Decisions are float64 in both: float32 only rounds colours and sums."""
    pos, tri, size = scenes(dtype)[name]
    frags = lg.rasterize(pos, tri, size)
    color, weight = (random(*frags.tri.shape, channels, seed=seed, dtype=dtype) for seed in (1, 2))
    for options in ({}, {"reach": 5, "eps": 1e-3}) if method == "nmr_gradient" else ({},):
        ours = position_gradient(getattr(surface, method), color, frags, pos, tri, weight, **options)
        expected = position_gradient(
            getattr(lg.reference, method), color.double(), doubled(frags), pos.double(), tri, weight.double(), **options
        )
        assert expected.abs().max() > 1
        assert scaled_error(ours, expected) < (1e-5 if dtype == torch.float32 else 1e-12)
        assert not (method == "nmr_gradient" and ours[..., 2].any())


@pytest.mark.parametrize("method", METHODS)
def test_image_and_colour_gradient_pass_through(method: str) -> None:
    pos, tri, size = scenes(torch.float32)["sphere"]
    frags = lg.rasterize(pos, tri, size)
    color = random(*frags.tri.shape, 3).requires_grad_()
    weight = random(*color.shape, seed=1)
    out = getattr(surface, method)(color, frags, pos, tri)
    assert torch.equal(out, color)
    assert torch.equal(torch.autograd.grad((out * weight).sum(), color)[0], weight)
    leaf = pos.clone().requires_grad_()
    loss = (getattr(surface, method)(color, frags, leaf, tri) ** 2).sum()
    (grad,) = torch.autograd.grad(loss, leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives are not implemented"):
        grad.sum().backward()


@pytest.mark.parametrize("method", METHODS)
def test_instanced_images_and_shared_positions(method: str, kernels: str) -> None:
    op = getattr(surface, method)
    pos, tri = random_triangles(20, seed=1)
    ranges = torch.tensor([[0, 20], [5, 10], [0, 3]])
    frags = lg.rasterize(pos, tri, (40, 50), ranges)
    color, weight = random(3, 40, 50, 2), random(3, 40, 50, 2, seed=1)
    shared = position_gradient(op, color, frags, pos, tri, weight)
    copies = position_gradient(op, color, frags, pos.expand(3, -1, -1), tri, weight)
    assert scaled_error(shared, copies.double().sum(0)) < 1e-5
    for i in range(3):
        part = Fragments(*(value[i : i + 1] for value in frags[:4]))
        alone = position_gradient(op, color[i : i + 1], part, pos[None], tri, weight[i : i + 1])
        # A device adds up gradients in whatever order.
        assert torch.equal(alone[0], copies[i]) or (kernels == "cuda" and scaled_error(alone[0], copies[i]) < 1e-5)


@pytest.mark.cpu_only
@pytest.mark.parametrize("method", METHODS)
def test_threads(method: str) -> None:
    pos, tri = view_mesh(icosphere(3)[0], 25, 20)[None], icosphere(3)[1]
    frags = lg.rasterize(pos, tri, (150, 170))
    color, weight = random(1, 150, 170, 3), random(1, 150, 170, 3, seed=1)
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(position_gradient(getattr(surface, method), color, frags, pos, tri, weight))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize(
    ("faces", "vertices", "image"), [(0, 4, (1, 3, 3)), (0, 0, (2, 5, 1)), (2, 4, (0, 3, 3)), (2, 4, (1, 0, 3))]
)
def test_empty(faces: int, vertices: int, image: tuple[int, int, int], channels: int, method: str) -> None:
    tri = torch.tensor([[0, 1, 2], [2, 3, 0]])[:faces].reshape(-1, 3)
    frags = Fragments(torch.full(image, -1, dtype=torch.int32), torch.zeros(*image, 2), torch.zeros(image))
    color = random(*image, channels)
    for op in (getattr(surface, method), getattr(lg.reference, method)):
        grad = position_gradient(op, color, frags, torch.zeros(vertices, 4), tri, torch.ones_like(color))
        assert grad.shape == (vertices, 4)
        assert not grad.any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("method", METHODS)
def test_colours_and_positions_that_are_not_finite(method: str, value: float) -> None:
    """They have no gradient; everything else keeps its own."""
    pos, tri, size = scenes()["cube"]
    pos = torch.cat((pos, pos.new_full((1, 4), value)))
    tri = torch.cat((tri, tri.new_tensor([[0, 1, len(pos) - 1]])))
    frags = lg.rasterize(pos, tri, size)
    color, weight = (random(1, *size, 2, seed=seed, dtype=torch.float64) for seed in (1, 2))
    color[0, 10, 11], color[0, 11, 3:6, 0] = value, value
    ours, expected = (
        position_gradient(op, color, frags, pos, tri, weight)
        for op in (getattr(surface, method), getattr(lg.reference, method))
    )
    assert ours.isfinite().all()
    assert ours.abs().max() > 1
    assert not ours[-1].any()
    assert scaled_error(ours, expected) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_fragments_that_fit_nothing(method: str) -> None:
    """Consistent in themselves, but of another mesh and with wild values: no crash, and no NaN."""
    size = (8, 9)
    pos = torch.tensor([[-0.8, -0.8, 0, 1], [0.8, -0.8, 0, 0], [0, 0.8, 0, -1], [1e30, 0.5, 0.5, 1e-30]])
    tri = torch.tensor([[0, 1, 2], [1, 3, 2], [0, 0, 0], [0, 3, 3], [3, 1, 0]])
    seen = torch.randint(-3, 5, (1, *size), generator=torch.Generator().manual_seed(0)).int()
    frags = Fragments(seen, 1e30 * random(1, *size, 2), torch.full((1, *size), torch.nan), None)
    color, weight = (random(1, *size, 3, seed=seed) for seed in (0, 1))
    grad = position_gradient(getattr(surface, method), color, frags, pos, tri, weight)
    assert grad.isfinite().all()


COLOR, POS = random(1, 8, 9, 3), torch.tensor([[-0.8, -0.8, 0, 1], [0.8, -0.8, 0, 1], [0, 0.8, 0, 1.0]])
TRI = torch.tensor([[0, 1, 2]])
FRAGS = lg.rasterize(POS, TRI, (8, 9))
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"color": COLOR.tolist()}, TypeError, r"color: expected a torch.Tensor, got list"),
    ({"color": COLOR.int()}, TypeError, r"color: expected float32 or float64, got int32"),
    ({"color": COLOR.double()}, TypeError, r"color: expected torch.float32 like frags.bary, got torch.float64"),
    ({"color": COLOR[0]}, ValueError, r"color: expected shape \[1, 8, 9, C\], got \(8, 9, 3\)"),
    ({"color": COLOR[:, 1:]}, ValueError, r"color: expected shape \[1, 8, 9, C\], got \(1, 7, 9, 3\)"),
    ({"frags": FRAGS.tri}, TypeError, r"frags: expected lumigrad.Fragments"),
    ({"frags": FRAGS._replace(tri=FRAGS.tri.long())}, TypeError, r"frags.tri: expected int32"),
    ({"pos": POS.double()}, TypeError, r"pos: expected torch.float32 like color"),
    ({"pos": POS[:, :3]}, ValueError, r"pos: expected shape \[V, 4\], got \(3, 3\)"),
    ({"pos": POS.expand(2, -1, -1)}, ValueError, r"pos: expected shape \[1, V, 4\], got \(2, 3, 4\)"),
    ({"pos": POS[:2]}, ValueError, r"tri\[0, 2\] is 2, but pos has 2 vertices"),
    ({"tri": TRI.float()}, TypeError, r"tri: expected int32 or int64"),
    ({"tri": TRI[:0]}, ValueError, r"frags.tri holds triangle 0, but tri has 0 triangles"),
    ({"tri": TRI - 1}, ValueError, r"tri\[0, 0\] is -1, but pos has 3 vertices"),
]
WRONG_NMR = [
    ({"reach": 0}, ValueError, r"reach: expected an integer from 1 to 2147483647, got 0"),
    ({"reach": 2.5}, TypeError, r"reach: expected an integer, got 2.5"),
    ({"eps": 0}, ValueError, r"eps: expected a positive number, got 0"),
    ({"eps": float("nan")}, ValueError, r"eps: expected a positive number, got nan"),
    ({"eps": "small"}, TypeError, r"eps: expected a number, got 'small'"),
]


@pytest.mark.parametrize(
    ("method", "changes", "error", "message"),
    [
        *((method, *case) for method in METHODS for case in WRONG),
        *(("nmr_gradient", *case) for case in WRONG_NMR),
    ],
)
def test_wrong_calls(method: str, changes: dict[str, Any], error: type[Exception], message: str, kernels: str) -> None:
    """Indices are checked where they are used, which is in the backward pass."""
    skip_where_devices_are_silent(kernels, message)
    arguments = {"color": COLOR, "frags": FRAGS, "pos": POS, "tri": TRI, **changes}
    if isinstance(arguments["pos"], Tensor):
        arguments["pos"] = arguments["pos"].clone().requires_grad_()
    with pytest.raises(error, match="^" + message):
        (getattr(surface, method)(**arguments) * COLOR).sum().backward()
