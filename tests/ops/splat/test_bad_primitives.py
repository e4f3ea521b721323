"""One bad primitive among good ones: it is not drawn, has no gradient, and spoils no other, nor the camera's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import lumigrad as lg
import lumigrad.compat.gsplat as gsplat
from lumigrad.compat.pulsar import Renderer

COUNT, SIZE, BAD = 20, (20, 20), 3
Inputs = dict[str, Tensor]


def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    matrix = torch.eye(4)
    matrix[2, 3] = -3
    return {
        "means": uniform(COUNT, 3) - 0.5,
        "quats": uniform(COUNT, 4),
        "scales": uniform(COUNT, 3) * 0.1 + 0.02,
        "opacities": uniform(COUNT) * 0.8 + 0.1,
        "features": uniform(COUNT, 3),
        "harmonics": uniform(COUNT, 4, 3),
        "normals": uniform(COUNT, 3) - 0.5,
        "radii": uniform(COUNT) * 0.2 + 0.02,
        "matrix": matrix,
        "lens": torch.tensor([20.0, 20.0, 10.0, 10.0]),
    }


def view(x: Inputs, projection: str = "perspective") -> lg.View:
    return lg.View(x["matrix"], *x["lens"], SIZE, projection)


def gaussians(x: Inputs, projection: str = "perspective", features: str = "features", **options: bool) -> Tensor:
    shape = x["means"], x["quats"], x["scales"], x["opacities"]
    return lg.gaussians(*shape, x[features], view(x, projection), **options).image


def surfels(x: Inputs, features: str = "features", **options: bool) -> Tensor:
    shape = x["means"], x["quats"], x["scales"][:, :2], x["opacities"]
    return lg.surfels(*shape, x[features], view(x), **options).image


def through_gsplat(x: Inputs, features: str = "features", **options: object) -> Tensor:
    matrix = x["matrix"] * torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    lens = torch.diag(torch.ones(3)).index_put(
        (torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 2, 2])), x["lens"]
    )  # fmt: skip
    shape = x["means"], x["quats"], x["scales"], x["opacities"]
    return gsplat.rasterization(*shape, x[features], matrix[None], lens[None], SIZE[1], SIZE[0], **options)[0]


def through_pulsar(x: Inputs) -> Tensor:
    camera = torch.cat((torch.tensor([0.0, 0, -3, 0, 0, 0]), x["lens"][:2] / 20))
    return Renderer(*SIZE)(x["means"], x["features"], x["radii"], camera, 0.1, 20.0, opacity=x["opacities"])


def points(x: Inputs, units: str) -> Tensor:
    radii = x["radii"] * (20 if units == "pixels" else 1)
    return lg.points(x["means"], radii, x["features"], view(x), x["opacities"], units=units).image


SHAPE = ("means", "quats", "scales", "opacities")
PROGRAMS: dict[str, tuple[Callable[[Inputs], Tensor], tuple[str, ...]]] = {
    "gaussians": (gaussians, SHAPE),
    "gaussians, antialiased": (lambda x: gaussians(x, antialiased=True), SHAPE),
    "gaussians, harmonics": (lambda x: gaussians(x, features="harmonics", harmonics=True), SHAPE),
    "gaussians, fisheye": (lambda x: gaussians(x, "fisheye"), SHAPE),
    "surfels": (surfels, SHAPE),
    "surfels, harmonics": (lambda x: surfels(x, "harmonics", harmonics=True), SHAPE),
    "spheres": (
        lambda x: lg.spheres(x["means"], x["radii"], x["features"], view(x), x["opacities"]).image,
        ("means", "radii", "opacities"),
    ),
    "points in pixels": (lambda x: points(x, "pixels"), ("means", "radii", "opacities")),
    "points in the world": (lambda x: points(x, "world"), ("means", "radii", "opacities")),
    "surface splats": (
        lambda x: lg.surface_splats(x["means"], x["normals"], x["radii"], x["features"], view(x)).image,
        ("means", "normals", "radii"),
    ),
    "gsplat": (through_gsplat, SHAPE),
    "gsplat, antialiased": (lambda x: through_gsplat(x, rasterize_mode="antialiased"), SHAPE),
    "gsplat, harmonics": (lambda x: through_gsplat(x, "harmonics", sh_degree=1), SHAPE),
    "pulsar": (through_pulsar, ("means", "radii", "opacities")),
}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e20, 1e30, 3e38, 0.0])
@pytest.mark.parametrize("name", PROGRAMS)
def test_bad_primitive(name: str, bad: float) -> None:
    program, keys = PROGRAMS[name]
    for key in keys:
        spoilt = inputs()
        spoilt[key][BAD] = bad
        leaves = {name: value.requires_grad_() for name, value in spoilt.items()}
        image = program(leaves)
        assert image.isfinite().all(), key
        grads = torch.autograd.grad(image.square().sum(), list(leaves.values()), allow_unused=True)
        found = {name: grad for name, grad in zip(leaves, grads) if grad is not None}
        assert all(grad.isfinite().all() for grad in found.values()), key
        if not math.isfinite(bad):
            drawn = [grad[BAD].abs().max() for grad in found.values() if len(grad) == COUNT]
            assert max(drawn) == 0, key
            assert found["matrix" if "matrix" in found else "lens"].any()


@pytest.mark.parametrize("opacity", [1e-30, 1e-37, 1e-40, 1e-45])
def test_gradient_of_tiny_opacities(opacity: float) -> None:
    """The image grows by what an opacity shows, however small it is."""
    x = inputs()
    x["opacities"][BAD] = opacity
    opacities, features = x["opacities"].requires_grad_(), x["features"]
    image = lg.spheres(x["means"], x["radii"], features, view(x), opacities).image
    (grad,) = torch.autograd.grad(image.sum(), opacities)
    double = {name: value.detach().double() for name, value in x.items()}
    again = double["opacities"].requires_grad_()
    image = lg.reference.spheres(double["means"], double["radii"], double["features"], view(double), again).image
    (expected,) = torch.autograd.grad(image.sum(), again)
    assert expected[BAD] != 0
    assert torch.allclose(grad.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("radius", [1e-10, 1e-20, 1e-30, 1e-40, 1e-45])
def test_gradient_of_tiny_radii(radius: float) -> None:
    """A sphere smaller than a pixel has the size of a pixel, whatever its radius: no gradient, and none to others."""
    grads = []
    for small in (1e-5, radius):
        x = inputs()
        x["radii"][BAD] = small
        leaves = x["radii"].requires_grad_(), x["means"].requires_grad_()
        image = lg.spheres(x["means"], x["radii"], x["features"], view(x)).image
        grads.append(torch.autograd.grad(image.sum(), leaves))
    assert grads[1][0][BAD] == 0
    for expected, found in zip(*grads):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("op", [lg.reference.spheres, lg.reference.surfels, lg.reference.surface_splats])
def test_bad_primitive_by_definition(op: Callable, bad: float) -> None:
    """The definitions serve where there are no kernels: they keep it away from gradients too."""
    x = inputs()
    if op is lg.reference.surfels:
        shape = {"means": x["means"], "quats": x["quats"], "scales": x["scales"][:, :2], "opacities": x["opacities"]}
    else:
        shape = {"positions": x["means"], "radii": x["radii"]}
    if op is lg.reference.surface_splats:
        shape["normals"] = x["normals"]
    for key in shape:
        leaves = {name: value.clone().double().requires_grad_() for name, value in shape.items()}
        with torch.no_grad():
            leaves[key][BAD] = bad
        matrix = x["matrix"].double().requires_grad_()
        lens = x["lens"].double()
        image = op(**leaves, features=x["features"].double(), view=lg.View(matrix, *lens, SIZE)).image
        assert image.isfinite().all(), key
        grads = torch.autograd.grad(image.square().sum(), (matrix, *leaves.values()))
        assert all(grad.isfinite().all() for grad in grads), key
        assert grads[0].any()


def test_fisheye_far_aside() -> None:
    """A fisheye camera ignores primitives so far aside that the square of their distance overflows."""
    x = inputs()
    x["means"][BAD, 0] = 1e30
    leaves = {name: value.requires_grad_() for name, value in x.items()}
    image = gaussians(leaves, "fisheye")
    assert image.isfinite().all()
    grads = torch.autograd.grad(image.sum(), (leaves["means"], leaves["matrix"], leaves["scales"]))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0])
def test_harmonics_without_direction(bad: float) -> None:
    """Zero and what is not finite have the constant alone, and no gradient."""
    coefficients = torch.rand(3, 9, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    directions = torch.tensor([[0.3, -0.5, 0.2], [bad, 0.0, 0.0], [0.1, 0.2, -0.7]]).requires_grad_()
    out = lg.spherical_harmonics(coefficients, directions)
    # The functions of degree 2 are not all zero at the origin, but those of degree 1 are.
    alone = lg.spherical_harmonics(coefficients, torch.zeros(3, 3))
    assert torch.equal(out[1], alone[1])
    grads = torch.autograd.grad(out.sum(), (coefficients, directions))
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[1][1].any()


@pytest.mark.parametrize("length", [1e-40, 1e-30, 1e18, 1e30])
def test_harmonics_and_normals_of_any_length(length: float) -> None:
    direction = torch.tensor([[0.25, -0.5, 1.0]])
    coefficients = torch.rand(1, 9, 2, generator=torch.Generator().manual_seed(1))
    expected = lg.spherical_harmonics(coefficients, direction)
    assert torch.allclose(lg.spherical_harmonics(coefficients, direction * length), expected, rtol=1e-4)
    x = inputs()
    call = {"radii": x["radii"][:1], "features": x["features"][:1], "view": view(x)}
    image, again = (lg.surface_splats(x["means"][:1], n, **call).image for n in (direction, direction * length))
    assert torch.allclose(image, again, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("aside", [1e8, 1e12, 1e15, 1e18, 1e25, 1e30])
def test_surface_splats_far_aside(aside: float) -> None:
    """Discs whose image area overflows are not drawn and have no gradient."""
    x = inputs()
    x["means"][BAD, 0] = aside
    leaves = [x[name].requires_grad_() for name in ("means", "normals", "radii", "features", "matrix")]
    image = lg.surface_splats(*leaves[:4], view(x)).image
    assert image.isfinite().all()
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(image.square().sum(), leaves))


@pytest.mark.parametrize("radius", [1e-6, 1e-12, 1e-25, 1e-38])
def test_tiny_surface_splats(radius: float) -> None:
    """A disc smaller than the blur is as the blur, however small, and its radius has next to no gradient."""
    x = inputs()
    radii = torch.full((1,), radius).requires_grad_()
    made = [
        lg.surface_splats(x["means"][:1], x["normals"][:1], r, x["features"][:1], view(x)).image
        for r in (radii, torch.full((1,), 1e-4))
    ]
    assert torch.allclose(*made, rtol=1e-3, atol=1e-6)
    (grad,) = torch.autograd.grad(made[0].sum(), radii)
    assert grad.abs().item() < 1e-3
