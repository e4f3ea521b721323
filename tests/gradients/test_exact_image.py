"""The exact image of the benchmark of gradients, against points sampled one by one, closed forms and differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.gradients import scenes
from benchmarks.gradients.clipping import exact_image

SAMPLES = 32
# A sliver's edges pass all samples of a column at once: their errors do not cancel.
TOLERANCE = {"thin .05": 3e-2}


def sampled(pos: Tensor, tri: Tensor, color: Tensor, background: Tensor, size: tuple[int, int], n: int) -> Tensor:
    """The mean [H, W, C] of n x n points per pixel, each tested against every triangle."""
    height, width = size
    y, x = torch.meshgrid(
        1 - (torch.arange(height * n).double() + 0.5) * (2 / (height * n)),
        (torch.arange(width * n).double() + 0.5) * (2 / (width * n)) - 1,
        indexing="ij",
    )
    rays = torch.stack((x, y, torch.ones_like(x)), -1).view(-1, 3)
    nearest = torch.full((len(rays),), torch.inf, dtype=torch.float64)
    shown = background.expand(len(rays), -1).clone()
    for t, corners in enumerate(pos[tri]):
        weights = torch.linalg.solve(corners[:, [0, 1, 3]].T, rays.T).T  # the ray is this mixture of the corners
        depth = weights @ corners[:, 2]
        seen = (weights >= 0).all(1) & (depth.abs() <= 1) & (depth < nearest)
        nearest[seen] = depth[seen]
        if color.dim() == 2:
            shown[seen] = color[t]
        else:
            shown[seen] = (weights[seen] / weights[seen].sum(1, keepdim=True)) @ color[t]
    return shown.view(height, n, width, n, -1).mean((1, 3))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("family", [name for name in scenes.FAMILIES if name not in ("sphere", "camera", "intrinsics")])
def test_every_family_against_samples(family: str, smooth: bool) -> None:
    scene = scenes.make(family, 0, smooth)
    scene = replace(scene, tri=scene.tri[:12], color=scene.color[:12])
    pos = scene.positions(scene.parameters)
    expected = sampled(pos, scene.tri, scene.color, scene.background, scene.size, SAMPLES)
    difference = (scene.exact(pos) - expected).abs()
    assert difference.max() < TOLERANCE.get(family, 2e-2)
    assert difference.mean() < 5e-4
    assert (expected - scene.background).abs().max() > 0.02


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("family", list(scenes.FAMILIES))
def test_derivative_against_differences(family: str, smooth: bool) -> None:
    scene = scenes.make(family, 1, smooth)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(*scene.size, 3, generator=generator, dtype=torch.float64)
    along = torch.randn(scene.parameters.shape, generator=generator, dtype=torch.float64)

    def loss(parameters: Tensor) -> Tensor:
        return (scene.exact(scene.positions(parameters)) * weight).sum()

    parameters = scene.parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(parameters), parameters)
    step = 1e-7 if family in ("sphere", "confetti", "ribbon") else 1e-6
    difference = (loss(scene.parameters + step * along) - loss(scene.parameters - step * along)) / (2 * step)
    claimed = (gradient * along).sum()
    assert abs(claimed - difference) < 2e-4 * gradient.norm()
    assert gradient.norm() > 1e-2


def test_rectangle_in_closed_form() -> None:
    """Its left side at 1.25 pixels, its top at .5: of the two pixels of each row, a quarter is free."""
    left = torch.tensor(1.25 / 2 - 1, dtype=torch.float64, requires_grad=True)
    x = torch.stack((left, left.new_tensor(3.0), left.new_tensor(3.0), left))
    y = torch.tensor([-3.0, -3.0, 0.75, 0.75], dtype=torch.float64)
    pos = torch.stack((x, y, torch.zeros(4), torch.ones(4)), 1)
    tri = torch.tensor([[0, 1, 2], [0, 2, 3]])
    color, background = torch.tensor([[3.0, 5.0]]).double().expand(2, 2), torch.tensor([1.0, 1.0]).double()
    image = exact_image(pos, tri, color, background, (4, 4))
    share = torch.tensor([0, 0.75, 1, 1]).double() * torch.tensor([0.5, 1, 1, 1]).double()[:, None]
    assert torch.allclose(image, background + share[..., None] * (color[0] - background), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(image[..., 1].sum(), left)
    assert gradient.item() == pytest.approx(-2 * 3.5 * 4)  # half an NDC a pixel, 3.5 rows, a jump of 4


def test_interpolated_colors_in_closed_form() -> None:
    """Colours x and y of a triangle over the whole image are averaged to those of the pixels' centres."""
    pos = torch.tensor([[-4.0, -4, 0, 1], [9, -4, 0, 1], [-4, 9, 0, 1]], dtype=torch.float64)
    image = exact_image(pos, torch.tensor([[0, 1, 2]]), pos[None, :, :2], torch.zeros(2), (3, 5))
    x, y = torch.tensor([-0.8, -0.4, 0, 0.4, 0.8]).double(), torch.tensor([2 / 3, 0, -2 / 3]).double()
    assert torch.allclose(image[..., 0], x.expand(3, 5))
    assert torch.allclose(image[..., 1], y[:, None].expand(3, 5))


@pytest.mark.parametrize("family", ["occluder", "sphere", "crease", "t-junction", "near plane", "camera"])
def test_pixels_of_one_color_need_not_be_cut(family: str) -> None:
    """Colours given at corners are always integrated over polygons, constant ones only where there is an outline."""
    scene = scenes.make(family, 2)
    pos = scene.positions(scene.parameters).requires_grad_()
    results = []
    for color in (scene.color, scene.color[:, None].expand(-1, 3, -1)):
        image = exact_image(pos, scene.tri, color, scene.background, scene.size)
        results.append((image, torch.autograd.grad(image.square().sum(), pos)[0]))
    (image, gradient), (cut_image, cut_gradient) = results
    assert torch.allclose(image, cut_image, rtol=0, atol=1e-11)
    assert (gradient - cut_gradient).norm() < 1e-9 * gradient.norm()


def test_nothing_to_see() -> None:
    """Triangles beside the image, without area or without finite corners, and no triangles."""
    pos = torch.tensor([[2.0, 0, 0, 1], [3, 0, 0, 1], [3, 1, 0, 1], [0, 0, 0, 1], [torch.nan, 0, 0, 1]]).double()
    tri = torch.tensor([[0, 1, 2], [3, 3, 3], [0, 3, 4]])
    background = torch.tensor([0.5])
    for some in (tri, tri[:0]):
        image = exact_image(pos, some, torch.ones(len(some), 1), background, (3, 4))
        assert torch.equal(image, torch.full((3, 4, 1), 0.5).double())
