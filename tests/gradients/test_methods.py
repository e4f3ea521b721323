"""The one interface of all gradient methods."""

from __future__ import annotations

import math

import pytest
import torch
from meshes import icosphere, random_triangles, view_mesh
from ops_common import gradcheck, random, scaled_error, sphere_views
from torch import Tensor

import lumigrad as lg
from lumigrad import gradients

ALL = sorted(gradients.METHODS)
DEFINITIONS = {
    "antialias": "antialias",
    "edge": "edge_gradient",
    "nmr": "nmr_gradient",
    "opendr": "opendr_gradient",
    "splat": "splat_gradient",
}
ON_MESHES = sorted(DEFINITIONS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ON_MESHES)
def test_reference(method: str, dtype: torch.dtype) -> None:
    pos, tri = sphere_views(1, 2, dtype)
    frags = lg.rasterize(pos, tri, (21, 24))
    color, weight = (random(2, 21, 24, 3, seed=seed, dtype=dtype) for seed in (1, 2))
    ours, theirs = pos.clone().requires_grad_(), pos.double().requires_grad_()
    out = gradients.apply(color, frags, ours, tri, method)
    precise = lg.Fragments(frags.tri, *(value.double() for value in frags[1:4]))
    expected = getattr(lg.reference, DEFINITIONS[method])(color.double(), precise, theirs, tri)
    assert scaled_error(out, expected) < 1e-5
    grads = [torch.autograd.grad((image * weight).sum(), p)[0] for image, p in ((out, ours), (expected, theirs))]
    assert scaled_error(*grads) < (1e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("method", ALL)
def test_what_a_method_says_of_itself(method: str) -> None:
    known = gradients.find(method)
    pos, tri = sphere_views(1, 2)
    frags = lg.rasterize(pos.requires_grad_(), tri, (21, 24))
    color = random(2, 21, 24, 3)
    out = gradients.apply(color, frags, pos, tri, known)
    assert torch.equal(out, color) == known.forward_is_hard
    assert torch.equal(out, known.function(color, frags, pos, tri))
    assert out.requires_grad
    shading = gradients.shading_fragments(frags, method)
    assert shading.bary.requires_grad == (not known.includes_shading)
    assert all(torch.equal(a, b) for a, b in zip(shading[:4], frags[:4]))
    assert known.source


def shaded(pos: Tensor, tri: Tensor, attr: Tensor, method: str) -> Tensor:
    frags = lg.rasterize(pos, tri, (64, 64))
    color = lg.interpolate(attr, gradients.shading_fragments(frags, method), tri)
    return gradients.apply(color, frags, pos, tri, method)


@pytest.mark.parametrize("method", ["antialias", "edge", "opendr", "splat"])
def test_smooth_shading_is_counted_once(method: str) -> None:
    """A pattern that slides with a surface which fills the image: all methods see the same derivative. That of
    splatting lacks what its Gaussian, cut off after one pixel, lacks of its variance of 1/4.
    """
    tri = torch.tensor([[0, 1, 2]])
    corners = torch.tensor([[-9.0, -9, 0, 1], [20, -9, 0, 1], [-9, 20, 0, 1]], dtype=torch.float64)
    attr = torch.tensor([[0.0], [5.0], [-3.0]], dtype=torch.float64)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    image = shaded(corners + torch.cat((shift, shift.new_zeros(2))), tri, attr, method)
    inner = image[:, 2:-2, 2:-2]  # splats and differences see the image's border
    (grad,) = torch.autograd.grad(inner.mean(), shift)
    seen = 4 * 2 * math.exp(-2) / (1 + 2 * math.exp(-2)) if method == "splat" else 1.0  # 0.852
    assert torch.allclose(grad, seen * torch.tensor([-5 / 29, 3 / 29], dtype=torch.float64), rtol=1e-9)


def test_splat_is_the_derivative_of_its_image() -> None:
    """With fixed layers, the gradient is the derivative of the image: depths, places and colours determine the
    weights."""
    pos, tri = random_triangles(5, seed=4, size=1.0)
    pos = pos.double()
    layers = list(lg.peel(pos, tri, (7, 8), 2))
    colors = [random(1, 7, 8, 2, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2)]
    background = random(2, seed=3, dtype=torch.float64).requires_grad_()

    def run(first: Tensor, second: Tensor, behind: Tensor) -> Tensor:
        return gradients.splat(first, layers[0], pos, tri, [(second, layers[1])], behind)

    assert gradcheck(run, (*colors, background), eps=1e-5, atol=1e-9, rtol=1e-6)


def test_splatted_positions_are_differentiated() -> None:
    """Gradients reach splatted positions through the weights, although the values do not depend on them."""
    pos, tri = random_triangles(3, seed=4, size=1.5)
    frags = lg.rasterize(pos.double(), tri, (9, 9))
    color, weight = (random(1, 9, 9, 2, seed=seed, dtype=torch.float64) for seed in (1, 2))
    leaf = pos.double().requires_grad_()
    out = gradients.splat(color, frags, leaf, tri)
    (grad,) = torch.autograd.grad((out * weight).sum(), leaf)
    away = pos.double() + 0.01
    assert torch.equal(gradients.splat(color, frags, away, tri), out)
    assert grad.abs().max() > 0.1


@pytest.mark.parametrize("method", ["opendr", "splat"])
@pytest.mark.parametrize("size", [(1, 7), (6, 1), (1, 1)])
def test_tiny_images(method: str, size: tuple[int, int]) -> None:
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos.requires_grad_(), tri, size)
    image = gradients.apply(random(1, *size, 2), frags, pos, tri, method)
    (grad,) = torch.autograd.grad(image.sum(), pos)
    assert grad.isfinite().all()


@pytest.mark.parametrize("method", ["opendr", "splat"])
def test_nothing_seen(method: str) -> None:
    image = (2, 5, 6)
    frags = lg.Fragments(torch.full(image, -1, dtype=torch.int32), torch.zeros(*image, 2), torch.zeros(image))
    color, pos = random(*image, 3), torch.zeros(4, 4).requires_grad_()
    out = gradients.apply(color, frags, pos, torch.tensor([[0, 1, 2]]), method)
    if method == "opendr":
        assert torch.equal(out, color)
    else:  # the background's own colours, spread
        assert out.min() > color.min()
    out.sum().backward()
    assert not pos.grad.any()


@pytest.mark.parametrize("method", ON_MESHES)
def test_descent(method: str) -> None:
    """A silhouette that half overlaps its target: every method's gradient moves it there."""
    points, tri = icosphere(1)
    offsets = [torch.tensor([x, 0.0, 0.0, 0.0]) for x in (0.0, 0.9)]
    pos = view_mesh(0.5 * points, 25, 20)
    images = []
    for offset in offsets:
        leaf = (pos + offset).requires_grad_()
        frags = lg.rasterize(leaf, tri, (64, 64))
        color = (frags.tri >= 0).float()[..., None].expand(-1, -1, -1, 1)
        images.append(gradients.apply(color, frags, leaf, tri, method))
    overlap = (images[0].detach() * images[1].detach()).sum()
    assert overlap > 50
    ((images[1] - images[0].detach()) ** 2).sum().backward()
    assert leaf.grad[:, 0].sum() > 5 * leaf.grad[:, 1].sum().abs()


def test_unknown_methods_are_named() -> None:
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos, tri, (4, 4))
    for name in ("soft", None, []):
        with pytest.raises(ValueError, match=r"^method: expected one of antialias, .*, got "):
            gradients.apply(random(1, 4, 4, 3), frags, pos, tri, name)
    with pytest.raises(ValueError, match=r"^method: 'edge' is registered already"):
        gradients.register(gradients.find("edge"))


def test_a_method_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumigrad.gradients.registry.METHODS", dict(gradients.METHODS))
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos, tri, (4, 4))
    color = random(1, 4, 4, 3)

    def half(color: Tensor, frags: lg.Fragments, pos: Tensor, tri: Tensor, by: float = 0.5) -> Tensor:
        return color * by

    gradients.register(gradients.Method("half", half, False, False, True, "nobody"))
    assert torch.equal(gradients.apply(color, frags, pos, tri, "half", by=0.25), color / 4)


@pytest.mark.parametrize("method", ["opendr", "splat"])
def test_wrong_calls(method: str) -> None:
    pos, tri = sphere_views(1, 1)
    frags = lg.rasterize(pos, tri, (4, 4))
    color = random(1, 4, 4, 3)
    for arguments, error, message in (
        ((color.int(), frags, pos, tri), TypeError, "color: expected float32 or float64"),
        ((color[0], frags, pos, tri), ValueError, r"color: expected shape \[1, 4, 4, C\]"),
        ((color, frags.tri, pos, tri), TypeError, "frags: expected lumigrad.Fragments"),
        ((color, frags, pos.double(), tri), TypeError, "pos: expected torch.float32"),
        ((color, frags, pos[:, :3], tri), ValueError, "tri"),
        ((color, frags, pos, tri[:0]), ValueError, "frags"),
        ((color, frags, pos, tri.float()), TypeError, "tri: expected int32 or int64"),
    ):
        with pytest.raises(error, match=message):
            gradients.apply(*arguments, method)


# ---- Soft images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["softras", "dibr"])
def test_soft_masks(method: str) -> None:
    """Only the mask, the last channel, changes: by the formula of the distance to the one outline in reach."""
    right = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    corners = torch.tensor([[0.0, -9, 0, 1], [0.0, 9, 0, 1], [-30, 0, 0, 1]], dtype=torch.float64)
    pos = corners + torch.stack((right, *[torch.zeros_like(right)] * 3))
    tri, size = torch.tensor([[0, 1, 2]]), (8, 16)
    frags = lg.rasterize(pos, tri, size)
    inside = (frags.tri >= 0).double()[..., None]
    color = torch.cat((random(1, *size, 2, dtype=torch.float64), inside), -1)
    out = gradients.apply(color, frags, pos, tri, method, sigma=0.1)
    assert torch.equal(out[..., :2], color[..., :2])
    x = (2 * torch.arange(16, dtype=torch.float64) + 1) / 16 - 1
    distance = 2 * (x - right.detach())  # half the shorter side is 8 / 16 of half the longer one
    squared = distance**2 / 0.1
    if method == "softras":
        mask = torch.sigmoid(-distance.sign() * squared)
        slope = mask * (1 - mask) * 4 * distance.abs() / 0.1
    else:
        mask = torch.where(distance < 0, 1.0, torch.exp(-squared))
        slope = torch.where(distance < 0, 0.0, mask * 4 * distance / 0.1)
    near = squared < 8  # far enough within the cut-off
    assert near.sum() >= 5
    assert torch.allclose(out[0, :, near, 2], mask[near].expand(8, -1), rtol=1e-9)
    (grad,) = torch.autograd.grad(out[0, :, near, 2].sum(), right)
    assert grad.item() == pytest.approx(8 * slope[near].sum().item(), rel=1e-6)


def test_soft_colours_and_wrong_calls() -> None:
    pos, tri = sphere_views(1, 2)
    frags = lg.rasterize(pos, tri, (12, 12))
    color, attr = random(2, 12, 12, 4), random(pos.shape[1], 3, seed=1)
    out = gradients.softras(color, frags, pos, tri, attr=attr, background=0.5)
    assert torch.equal(out, lg.soft_colors(pos, tri, attr, (12, 12), 1e-4, 1e-4, 0.5))
    with pytest.raises(ValueError, match=r"^attr: expected 3 channels, those of color but the mask, got 2"):
        gradients.softras(color, frags, pos, tri, attr=attr[:, :2])
    with pytest.raises(ValueError, match=r"^color: expected at least one channel, the mask"):
        gradients.dibr(color[..., :0], frags, pos, tri)
    loose, faces = random_triangles(4)
    ranges = torch.tensor([[0, 2], [1, 3]])
    several = lg.rasterize(loose, faces, (12, 12), ranges)
    with pytest.raises(ValueError, match=r"^ranges: expected those given to rasterize, as 2 images share"):
        gradients.dibr(color, several, loose, faces)
    assert gradients.dibr(color, several, loose, faces, ranges=ranges).shape == color.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beyond", [0.1, 0.003, 0.0015, 0.001, -0.001])
def test_edge_that_passes_close_to_a_centre_is_no_intersection(beyond: float, dtype: torch.dtype) -> None:
    """The side of an occluder in front of a wall passes `beyond` pixels from the centres of a column, where
    rasterization rounds positions. A shift by a pixel adds one pixel in each of 16 rows; depth adds none."""
    x = -1 + 2 * (8.5 + beyond) / 16
    pos = torch.tensor(
        [[x, -9, -0.3, 1], [x, 9, -0.3, 1], [-30, 0, -0.3, 1], [-9, -9, 0.5, 1], [9, -9, 0.5, 1], [0, 9, 0.45, 1]],
        dtype=dtype,
        requires_grad=True,
    )
    tri = torch.tensor([[0, 1, 2], [3, 4, 5]])
    frags = lg.rasterize(pos, tri, (16, 16))
    image = gradients.apply((frags.tri == 0).to(dtype)[..., None], frags, pos, tri, method="edge")
    (grad,) = torch.autograd.grad(image.sum(), pos)
    assert abs(grad[:3, 0].sum() / 8 - 16) < 1e-4
    assert not grad[:, 2].any()


def test_methods_whose_gradient_is_the_derivative_of_their_image() -> None:
    """By differences, of a picture of an outline that moves over no pixel's centre."""
    tri = torch.tensor([[0, 1, 2]])

    def total(x: torch.Tensor, method: str) -> torch.Tensor:
        corners = x.new_tensor([[-1.0, -9.0, 0.0, 1.0], [-1.0, 9.0, 0.0, 1.0], [-30.0, 0.0, 0.0, 1.0]])
        pos = corners + x * x.new_tensor([1.0, 0.0, 0.0, 0.0])
        frags = lg.rasterize(pos, tri, (16, 16))
        return gradients.apply((frags.tri >= 0).double()[..., None], frags, pos, tri, method=method).sum()

    for name, method in gradients.METHODS.items():
        x = torch.tensor(1.05, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(total(x, name), x)
        with torch.no_grad():
            difference = (total(x + 1e-5, name) - total(x - 1e-5, name)) / 2e-5
        assert method.is_derivative == bool(abs(grad - difference) < 1e-3), name
