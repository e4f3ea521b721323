"""The gradients of each method where the true derivative of an image's sum is known, and their errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import gradients

HEIGHT, WIDTH = 20, 24
INSIDE, OUTSIDE = 0.8, 0.1
# The change of the sum of two weights next to an outline when it moves by one pixel, on either side.
SPLAT_SHARE = 1.05 * 4 * math.exp(-2) / (1 + 2 * math.exp(-2))


def quad(left: Tensor | float, right: Tensor, bottom: float, top: float, z: float = 0.0) -> Tensor:
    """Clip positions [4, 4] of a rectangle facing the eye; sides in NDC."""
    ends = [torch.as_tensor(v, dtype=torch.float64) for v in (left, right, bottom, top)]
    corners = [(ends[0], ends[2]), (ends[1], ends[2]), (ends[1], ends[3]), (ends[0], ends[3])]
    xy = torch.stack([torch.stack(corner) for corner in corners])
    return torch.cat((xy, xy.new_tensor([z, 1]).expand(4, 2)), 1)


QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def two_tone(inside: Tensor) -> Tensor:
    return (OUTSIDE + (INSIDE - OUTSIDE) * inside.double())[..., None]


def brightness(pos: Tensor, tri: Tensor, method: str) -> Tensor:
    """The sum of the image of a shape of one colour before another."""
    frags = lg.rasterize(pos, tri, (HEIGHT, WIDTH))
    color = two_tone(frags.tri >= 0)
    options = {"eps": 1e-12} if method == "nmr" else {}
    return gradients.apply(color, frags, pos, tri, method, **options).sum()


def derivative(value: Tensor, by: Tensor) -> float:
    return torch.autograd.grad(value, by, retain_graph=True)[0].item()


def parameter(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("method", "factor"),
    [
        ("antialias", 1.0),
        ("edge", 1.0),
        ("opendr", 1.0),
        ("nmr", sum(1 / (0.3 + k) for k in range(15))),  # 6.2
        ("splat", 2 * SPLAT_SHARE),  # 0.895
    ],
)
def test_half_plane_shifted(method: str, factor: float) -> None:
    """The truth: each of the rows gains the difference of colours times the shift in pixels.

    Antialiasing, edge gradients and OpenDR are exact. Splatting trims the Gaussian to three pixels. In NMR, each of the
    15 covered pixels of a row, the nearest one 0.3 pixels from the outline, pulls the outline over itself.
    """
    shift = parameter(0.0)
    outline = 2 * (14.5 + 0.3) / WIDTH - 1
    corners = torch.tensor([[outline, -9, 0, 1], [outline, 9, 0, 1], [-30, 0, 0, 1]], dtype=torch.float64)
    pos = corners + shift * torch.tensor([1, 0, 0, 0])
    found = derivative(brightness(pos, torch.tensor([[0, 1, 2]]), method), shift) / (WIDTH / 2)
    truth = (INSIDE - OUTSIDE) * HEIGHT
    assert found == pytest.approx(factor * truth, rel=1e-9)


@pytest.mark.parametrize("method", ["antialias", "edge", "opendr", "splat"])
def test_shape_shifted_inside_the_image(method: str) -> None:
    """The sum stays what it is: what one side gains the other loses. NMR differs: its pixels act only where a change
    lowers the loss, and only on the triangle that they show.
    """
    shift = parameter(0.0)
    step = 2 / WIDTH
    pos = quad(-1 + 5.2 * step + shift, -1 + 15.8 * step + shift, -0.5, 0.43)  # alike on both sides
    assert abs(derivative(brightness(pos, QUAD, method), shift)) < 1e-9


@pytest.mark.parametrize("method", ["antialias", "edge", "opendr"])
def test_shape_stretched(method: str) -> None:
    """Only antialiasing knows the outline's place; the other methods move it like the pixel's centre."""
    left, right = -1 + 5.2 * 2 / WIDTH, parameter(-1 + 15.8 * 2 / WIDTH)
    pos = quad(left, right, -2.0, 2.0)
    found = derivative(brightness(pos, QUAD, method), right) / (WIDTH / 2)
    truth = (INSIDE - OUTSIDE) * HEIGHT
    # The columns of the first and last pixels seen have their centres at 5.5 and 15.5.
    moved = {"antialias": 1.0}.get(method, (15.5 - 5.2) / (15.8 - 5.2) - (5.5 - 5.2) / (15.8 - 5.2))
    assert found == pytest.approx(truth * moved, rel=1e-9)


@pytest.mark.parametrize("method", ["antialias", "edge", "opendr", "splat"])
def test_triangle_shifted_against_a_supersampled_image(method: str) -> None:
    """Finite differences of an image of 16 x 16 samples a pixel, whose incoming gradient is a smooth ramp.

    NMR claims no such thing. The ramp is what makes the sum change at all: what is left when the two sides, which are
    hundreds, are subtracted. The tolerance is relative to a side's: its rows times pixels per unit of NDC.
    """
    size, fine, h = 32, 16, 1.0 / 64
    corners = torch.tensor([[-0.61, -0.55, 0, 1], [0.72, -0.31, 0.2, 1], [-0.13, 0.66, 0.1, 1]], dtype=torch.float64)
    tri = torch.tensor([[0, 1, 2]])

    def ramp(n: int) -> Tensor:
        x, y = (torch.arange(n, dtype=torch.float64) + 0.5) / n, (torch.arange(n, dtype=torch.float64) + 0.5) / n
        return (1 + 0.5 * x[None, :] - 0.8 * y[:, None] + x[None, :] * y[:, None])[None, ..., None]

    def moved(by: Tensor) -> Tensor:
        return corners + torch.cat((by, by.new_zeros(2)))

    def truth(by: Tensor) -> Tensor:
        covered = lg.rasterize(moved(by), tri, (size * fine, size * fine)).tri >= 0
        return (covered.double()[..., None] * ramp(size * fine)).sum() / fine**2

    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    pos = moved(shift)
    frags = lg.rasterize(pos, tri, (size, size))
    color = (frags.tri >= 0).double()[..., None]
    image = gradients.apply(color, frags, pos, tri, method)
    (found,) = torch.autograd.grad((image * ramp(size)).sum(), shift)
    units = h * torch.eye(2, dtype=torch.float64)
    expected = torch.stack([(truth(u) - truth(-u)) / (2 * h) for u in units])
    side = (0.66 + 0.55) * size / 2 * size / 2
    tolerance = {"antialias": 0.06, "edge": 0.02, "opendr": 0.07, "splat": 0.08}[method]
    assert (found - expected).abs().max() < tolerance * side
    assert expected.abs().max() > 0.3 * side


@pytest.mark.parametrize(
    ("method", "factor"), [("edge", 1.0), ("antialias", 0.0), ("opendr", 0.0), ("nmr", 0.0), ("splat", 0.0)]
)
def test_intersection_moved_in_depth(method: str, factor: float) -> None:
    """Two planes cross in a vertical line; the one on the right comes nearer and pushes the line to the left.

    Edge gradients alone see it.
    """
    nearer = parameter(0.0)
    slopes = 0.09, -0.08  # depth by NDC x
    x, y = torch.tensor([[-1.5, 5.0, -1.5], [-1.5, -1.5, 5.0]], dtype=torch.float64)
    depths = slopes[0] * (x - 0.11), slopes[1] * (x - 0.11) - nearer
    pos = torch.cat([torch.stack((x, y, depth, torch.ones_like(x)), 1) for depth in depths])
    tri = torch.arange(6).view(2, 3)
    frags = lg.rasterize(pos, tri, (HEIGHT, WIDTH))
    right = frags.tri == 1
    color = two_tone(right)
    assert right.any(1).any()
    assert not right.all()
    found = derivative(gradients.apply(color, frags, pos, tri, method).sum(), nearer)
    truth = (INSIDE - OUTSIDE) * HEIGHT * (WIDTH / 2) / (slopes[0] - slopes[1])
    assert found == pytest.approx(factor * truth, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("method", ["edge", "nmr"])
def test_perspective(method: str) -> None:
    """A shape farther away, drawn to the same pixels, has its clip gradient scaled by 1 / w: by the chain rule,
    as the gradient by the place on the screen is the same."""
    near = quad(-0.4, torch.tensor(0.5), -0.6, 0.3)
    grads = []
    for w in (1.0, 2.5):
        pos = (near * w).requires_grad_()
        (grad,) = torch.autograd.grad(brightness(pos, QUAD, method), pos)
        grads.append(grad)
        if method == "nmr":  # it knows outlines only, which stay where they are; points between corners slide
            assert (grad * pos).sum(-1).abs().max() < 1e-9
    assert torch.allclose(grads[1] * 2.5, grads[0], rtol=1e-9, atol=1e-12)
    assert grads[0].abs().max() > 1


def test_splatted_surface_before_another() -> None:
    """On the far side of the outline the nearer samples are foreground and gain opacity. On its own side the far
    surface's samples, having no other to match, count as its own, and nothing is left to come to light: about half
    of the gradient is lost.
    """
    front, back = quad(-3.0, torch.tensor(0.07), -2, 2, -0.5), quad(-3, torch.tensor(3.0), -2, 2, 0.5)
    pos, tri = torch.cat((front, back)).requires_grad_(), torch.cat((QUAD, QUAD + 4))
    layers = list(lg.peel(pos, tri, (HEIGHT, WIDTH), 2))
    colors = [two_tone(f.tri < 2) for f in layers]
    both = gradients.splat(colors[0], layers[0], pos, tri, [(colors[1], layers[1])])
    grad = torch.autograd.grad(both.sum(), pos)[0][:4, 0].sum() / (WIDTH / 2)
    mixed = math.exp(-2) / (1 + 2 * math.exp(-2))  # the far surface's part of the last column
    factor = SPLAT_SHARE * (1 + mixed / 1.05)
    assert grad.item() == pytest.approx(factor * (INSIDE - OUTSIDE) * HEIGHT, rel=1e-9)
