"""gsplat 0.1's functions beside those of 1.6, and what programs import from private modules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lumigrad.compat import gsplat
from lumigrad.compat.gsplat.cuda import _torch_impl, _wrapper
from lumigrad.compat.gsplat.sh import deg_from_sh, num_sh_bases
from lumigrad.compat.gsplat.utils import depth_to_normal, depth_to_points, inverse_log_transform, log_transform

CAMERA = {"fx": 60.0, "fy": 55.0, "cx": 30.0, "cy": 25.0, "img_height": 48, "img_width": 64}


def scene() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    viewmat = torch.eye(4)
    viewmat[2, 3] = 4
    return {
        "means3d": torch.randn(40, 3, generator=generator) / 2,
        "scales": torch.rand(40, 3, generator=generator) / 10,
        "quats": torch.nn.functional.normalize(torch.randn(40, 4, generator=generator), dim=-1),
        "viewmat": viewmat,
    }


def drawn(projected: tuple[Tensor, ...], colors: Tensor, opacity: Tensor, *rest: object) -> Tensor:
    xys, depths, radii, conics, *_, tiles, _ = projected
    return gsplat.rasterize_gaussians(xys, depths, radii, conics, tiles, colors, opacity, 48, 64, *rest)


def test_the_old_calls_draw_what_the_new_one_draws() -> None:
    given = scene()
    colors, opacity = torch.rand(40, 3), torch.rand(40, 1) * 0.9
    new = gsplat.project_gaussians(**given, glob_scale=0.5, **CAMERA, block_width=16)
    old_camera = torch.tensor([[60 * 2 / 64, 0, 0, 0], [0, 55 * 2 / 48, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])
    old = gsplat.project_gaussians(
        *(given[name] for name in ("means3d", "scales")), 0.5, given["quats"], given["viewmat"][:3],
        old_camera @ given["viewmat"], *CAMERA.values(), (4, 3, 1), 0.01,
    )  # fmt: skip
    assert (len(new), len(old)) == (7, 6)
    K = torch.tensor([[60.0, 0, 30], [0, 55, 25], [0, 0, 1]])
    expected, alpha, _ = gsplat.rasterization(
        given["means3d"], given["quats"], given["scales"] / 2, opacity[:, 0], colors, given["viewmat"][None], K[None],
        64, 48, backgrounds=torch.ones(1, 3),
    )  # fmt: skip
    assert torch.allclose(drawn(new, colors, opacity, 16), expected[0], atol=1e-5)
    image, opaque = drawn(old, colors, opacity, torch.ones(3), True)
    assert torch.allclose(image, expected[0], atol=1e-5)
    assert torch.allclose(opaque, alpha[0, ..., 0], atol=1e-5)
    covars, _ = gsplat.quat_scale_to_covar_preci(given["quats"], given["scales"] / 2, triu=True)
    assert covars is not None
    assert torch.allclose(new[-1], covars, atol=1e-7)


def test_wrong_old_calls_are_named() -> None:
    given = scene()
    with pytest.raises(TypeError, match="block_width"):
        gsplat.project_gaussians(**given, glob_scale=1.0, **CAMERA)
    with pytest.raises(TypeError, match="shutter"):
        gsplat.project_gaussians(**given, glob_scale=1.0, **CAMERA, block_width=16, shutter=1)
    with pytest.raises(NotImplementedError, match="isect_tiles"):
        gsplat.bin_and_sort_gaussians()
    with pytest.raises(NotImplementedError, match="FThetaCameraDistortionParameters"):
        _wrapper.FThetaCameraDistortionParameters()


def test_gradients_of_the_old_calls() -> None:
    given = scene()
    means = given.pop("means3d").requires_grad_()
    colors, opacity = torch.rand(40, 3), torch.rand(40, 1) * 0.9
    projected = gsplat.project_gaussians(means, **given, glob_scale=1.0, **CAMERA, block_width=16)
    projected[0].retain_grad()
    (grad,) = torch.autograd.grad(drawn(projected, colors, opacity, 16).square().sum(), means)
    K = torch.tensor([[60.0, 0, 30], [0, 55, 25], [0, 0, 1]])
    image, _, _ = gsplat.rasterization(
        means, given["quats"], given["scales"], opacity[:, 0], colors, given["viewmat"][None], K[None], 64, 48,
        backgrounds=torch.ones(1, 3),
    )  # fmt: skip
    (expected,) = torch.autograd.grad(image.square().sum(), means)
    assert torch.allclose(grad, expected, atol=1e-3 * expected.abs().max().item())


def test_harmonics_by_degree() -> None:
    assert [num_sh_bases(degree) for degree in range(5)] == [1, 4, 9, 16, 25]
    assert [deg_from_sh(count) for count in (1, 4, 9, 16, 25)] == [0, 1, 2, 3, 4]
    dirs, coeffs = torch.nn.functional.normalize(torch.randn(7, 3), dim=-1), torch.randn(7, 16, 3)
    bases = _torch_impl._eval_sh_bases_fast(16, dirs)
    # Order 0, and one of order 1: sqrt(3 / 4 pi) z.
    assert torch.allclose(bases[:, 0], torch.tensor(1 / math.sqrt(4 * math.pi)))
    assert torch.allclose(bases[:, 2], math.sqrt(3 / (4 * math.pi)) * dirs[:, 2])
    assert torch.allclose((bases[..., None] * coeffs).sum(1), gsplat.spherical_harmonics(3, dirs, coeffs), atol=1e-5)


def test_depth_as_points_and_normals() -> None:
    """A plane with the normal (1, 0, -2), seen by a camera that is turned by 90 degrees about y."""
    K = torch.tensor([[10.0, 0, 4], [0, 10, 4], [0, 0, 1]])
    x = (torch.arange(8) + 0.5 - 4) / 10
    depth = (2 / (1 - x / 2)).expand(8, 8)[..., None]  # 2 z = 4 + x on the ray (x, y, 1)
    turn = torch.tensor([[0.0, 0, 1, 5], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    points = depth_to_points(depth, turn, K)
    assert torch.allclose(2 * (points[..., 0] - 5) + points[..., 2], torch.tensor(4.0), atol=1e-5)
    normal = depth_to_normal(depth, turn, K)
    expected = torch.tensor([-2.0, 0, -1]) / math.sqrt(5)
    assert torch.allclose(normal[1:-1, 1:-1], expected.expand(6, 6, 3), atol=1e-4)
    along = points - turn[:3, 3]
    assert torch.allclose(depth_to_points(along.norm(dim=-1, keepdim=True), turn, K, z_depth=False), points, atol=1e-5)
    values = torch.tensor([-3.0, 0, 2])
    assert torch.allclose(inverse_log_transform(log_transform(values)), values)
