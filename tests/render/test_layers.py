"""Images of shapes of several kinds: closed forms, brute force, gradients, what is hidden, degenerate input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from render_common import F64, camera, facing, orthographic, uniform
from torch import Tensor

from lumigrad.reference import mixed_rays
from lumigrad.render import (
    Rendering,
    render,
    render_gaussians,
    render_implicit,
    render_points,
    render_surfels,
    render_volume,
)
from lumigrad.render.color import srgb_encode
from lumigrad.scene import (
    Camera,
    GaussianCloud,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PointCloud,
    Scene,
    SignedDistanceFunction,
    SignedDistanceGrid,
    SphereCloud,
    SurfelCloud,
    VolumeField,
    VoxelGrid,
    constant_harmonics,
)

RED, GREEN, BLUE = (torch.tensor(c, dtype=F64) for c in ((0.8, 0.3, 0.2), (0.2, 0.7, 0.3), (0.1, 0.3, 0.9)))
SKY = torch.tensor([0.3, 0.5, 0.7], dtype=F64)


def painted(color: Tensor, alpha: float | Tensor = 1.0, **options: Any) -> PBRMaterial:
    """A material that "unlit" shows in a display-encoded colour."""
    linear = torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    values = torch.cat((linear, torch.as_tensor(alpha, dtype=F64).reshape(1)))
    clear = isinstance(alpha, Tensor) or alpha < 1
    return PBRMaterial(base_color=values, alpha_mode="blend" if clear else "opaque", **options)


def wall(z: float | Tensor, color: Tensor = RED, alpha: float | Tensor = 1.0, half: float = 9.0) -> Mesh:
    """A square that faces +z."""
    flat = torch.tensor([[-half, -half], [half, -half], [half, half], [-half, half]], dtype=F64)
    height = torch.as_tensor(z, dtype=F64).expand(4, 1)
    return Mesh(torch.cat((flat, height), 1), torch.tensor([[0, 1, 2], [0, 2, 3]]), materials=(painted(color, alpha),))


def fog(density: float | Tensor, color: Tensor, low: float, high: float) -> VoxelGrid:
    """The same everywhere between two planes of z."""
    values = torch.cat((torch.as_tensor(density, dtype=F64).reshape(1), color)).view(1, 1, 1, -1)
    return VoxelGrid(values, torch.tensor([[-20, -20, low], [20, 20, high]], dtype=F64), "none")


def mist(density: float | Tensor, color: Tensor, low: float, high: float) -> VolumeField:
    """The same as a function."""
    box = torch.tensor([[-20, -20, low], [20, 20, high]], dtype=F64)
    return VolumeField(lambda x, _: (torch.zeros_like(x[:, 0]) + density, color.expand(len(x), -1)), box, 0.25)


def picture(shapes: Sequence[Any], seen: Camera | None = None, **options: Any) -> Rendering:
    given = {"shading": "unlit"} if any(isinstance(shape, (Mesh, SignedDistanceFunction)) for shape in shapes) else {}
    return render(Scene(shapes), seen or facing((5, 6)), **{"background": SKY, **given, **options})


def slant(seen: Camera) -> Tensor:
    """Cosines of the rays of a camera that looks along -z, [H, W, 1]."""
    return -seen.rays().directions[..., 2:]


def through(density: float, length: float | Tensor, seen: Camera | None = None) -> Tensor:
    return torch.exp(-density * length / slant(seen or facing((5, 6))))


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-7) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).detach().abs().max()) < tolerance


# ---- Closed forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", [fog, mist])
def test_a_surface_in_fog(medium: Any) -> None:
    """The camera is in the fog, at z = 3; the fog goes on behind the surface, where nothing is seen of it."""
    seen = facing((5, 6))
    length = 3.0 / slant(seen) - seen.near / slant(seen)
    passed = torch.exp(-0.4 * length)
    shot = picture([wall(0.0), medium(0.4, BLUE, -2.0, 9.0)])
    close(shot.image[0], passed * RED + (1 - passed) * BLUE)
    assert bool((shot.mask > 1 - 1e-12).all())


def test_a_pane_between_slabs_of_fog() -> None:
    far, near = through(0.3, 1.5), through(0.5, 1.0)
    behind = (1 - far) * BLUE + far * SKY
    expected = (1 - near) * GREEN + near * (0.25 * RED + 0.75 * behind)
    shapes = [fog(0.3, BLUE, -1.0, 0.5), mist(0.5, GREEN, 1.5, 2.5), wall(1.0, RED, 0.25)]
    for order in (shapes, shapes[::-1]):
        close(picture(order).image[0], expected)


def test_a_pane_within_fog() -> None:
    """Fog in front of the glass, and behind it."""
    half = through(0.3, 1.0)
    expected = (1 - half) * BLUE + half * (0.25 * RED + 0.75 * ((1 - half) * BLUE + half * SKY))
    close(picture([fog(0.3, BLUE, -1.0, 1.0), wall(0.0, RED, 0.25)]).image[0], expected)


@pytest.mark.parametrize(("one", "other"), [(fog, fog), (fog, mist), (mist, mist)])
def test_fogs_that_overlap(one: Any, other: Any) -> None:
    """Their densities add up, and none is in front of the other."""
    first, shared, last = through(0.5, 1.0), through(0.8, 0.7), through(0.3, 0.4)
    both = (0.3 * RED + 0.5 * BLUE) / 0.8
    expected = (1 - last) * RED + last * SKY
    expected = (1 - shared) * both + shared * expected
    expected = (1 - first) * BLUE + first * expected
    shapes = [one(0.3, RED, -1.0, 0.1), other(0.5, BLUE, -0.6, 1.1)]
    for order in (shapes, shapes[::-1]):
        close(picture(order).image[0], expected)


def gaussian(z: float, opacity: float = 0.8) -> GaussianCloud:
    return GaussianCloud(
        torch.tensor([[0.1, 0.0, z]], dtype=F64), torch.tensor([[1.0, 0, 0, 0]], dtype=F64),
        torch.full((1, 3), 0.5, dtype=F64), torch.tensor([opacity], dtype=F64), constant_harmonics(GREEN[None]),
    )  # fmt: skip


def test_a_gaussian_behind_a_pane_in_fog() -> None:
    """Half of the fog is in front of the glass; what is left of it is behind, on both sides of the Gaussian."""
    alpha = render_gaussians(gaussian(-0.5), facing((5, 6))).mask[0]
    half, quarter = through(0.4, 1.0), through(0.4, 0.5)
    expected = (1 - quarter) * BLUE + quarter * SKY
    expected = (1 - quarter) * BLUE + quarter * (alpha * GREEN + (1 - alpha) * expected)
    expected = (1 - half) * BLUE + half * (0.5 * RED + 0.5 * expected)
    close(picture([gaussian(-0.5), wall(0.0, RED, 0.5), fog(0.4, BLUE, -1.0, 1.0)]).image[0], expected)


def test_a_sphere_in_front_of_a_mesh() -> None:
    """Its outline covers as much as the closed form says, and grows as that does."""
    seen = facing((40, 50))
    radius = torch.tensor([0.8], dtype=F64, requires_grad=True)
    ball = SphereCloud(torch.zeros(1, 3, dtype=F64), radius, GREEN[None])
    shot = picture([wall(-2.0), ball], seen, background=None)
    covered = ((shot.image[0] - RED) / (GREEN - RED))[..., 0].sum()
    focal = float(seen.fx) * float(seen.fy)
    assert math.isclose(covered.item(), focal * math.pi * 0.64 / (9 - 0.64), rel_tol=2e-3)
    (slope,) = torch.autograd.grad(covered, radius)
    assert math.isclose(slope.item(), focal * 2 * math.pi * 0.8 * 9 / (9 - 0.64) ** 2, rel_tol=1e-2)
    assert shot.depth is not None
    assert math.isclose(shot.depth[0, 20, 25].item(), 2.2, abs_tol=0.01)
    hidden = picture([wall(1.5), ball], seen, background=None)
    close(hidden.image, picture([wall(1.5), mist(0.0, GREEN, -1, 0)], seen, background=None).image)


def test_implicit_surfaces_in_fog() -> None:
    """An implicit surface in fog looks like the surface alone behind fog of that thickness."""
    seen = facing((9, 9))
    ball = SignedDistanceFunction(lambda x: x.norm(dim=-1) - 0.7, material=painted(RED))
    alone = render(Scene(ball), seen, shading="unlit")
    shot = picture([ball, fog(0.4, BLUE, -1.0, 2.5)], seen)
    assert alone.depth is not None
    hit = alone.mask[0, ..., 0] > 0
    passed = torch.exp(-0.4 * (alone.depth[0] - 0.5) / slant(seen))
    assert 10 < hit.sum() < 60
    close(shot.image[0][hit], (passed * RED + (1 - passed) * BLUE)[hit])
    plain = through(0.4, 3.5, seen)
    close(shot.image[0][~hit], (plain * SKY + (1 - plain) * BLUE)[~hit])


# ---- Silhouettes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_silhouettes_in_fog(alpha: float) -> None:
    """The pixels that an edge cuts are covered in part: fog ends at the surface there, and goes on beside it."""
    seen = orthographic((8, 10), 2.0)  # 0.25 to a pixel
    half = torch.tensor(0.6, dtype=F64, requires_grad=True)
    square = wall(0.0, RED, alpha)
    square = replace(square, positions=square.positions / 9.0 * torch.stack((half, half, half)))
    row = picture([square, fog(0.4, BLUE, -1.0, 1.0)], seen).image[0, 4]
    front, back = math.exp(-0.4), math.exp(-0.8)
    empty = (1 - back) * BLUE + back * SKY
    behind = (1 - front) * BLUE + front * SKY
    full = (1 - front) * BLUE + front * (alpha * RED + (1 - alpha) * behind)
    edges = 0.25 * (torch.arange(10, dtype=F64) - 5)
    covered = ((edges + 0.25).clamp(max=0.6) - edges.clamp(min=-0.6)).clamp(min=0) / 0.25
    close(row, covered[:, None] * full + (1 - covered[:, None]) * empty)
    (slope,) = torch.autograd.grad(row.sum(), half)
    assert math.isclose(slope.item(), 2 / 0.25 * float((full - empty).sum()), rel_tol=1e-6)


def test_what_is_hidden_has_no_silhouette() -> None:
    """Neither does a mesh behind an opaque surface show, nor does its outline move anything."""
    seen = facing((12, 12))
    front = SignedDistanceFunction(lambda x: x[:, 2] - 1.0 + 0.2 * torch.sin(3 * x[:, 0]), lipschitz=1.3)
    positions = (wall(0.0, half=0.4).positions + 0.03).requires_grad_()
    square = replace(wall(0.0, half=0.4), positions=positions)
    shot = picture([square, front], seen, shading="normals")
    assert torch.equal(shot.image, picture([front, mist(0.0, RED, -1, 0)], seen, shading="normals").image)
    (slope,) = torch.autograd.grad(shot.image.square().sum(), positions)
    assert not slope.any()


def test_meshes_alone_are_as_ever() -> None:
    """Beside something that is not seen, layers are put together as where there are meshes alone."""
    seen = camera((14, 18))
    shapes = [wall(0.3, RED, 0.5, 0.7), wall(-0.2, GREEN, 1.0, 0.9)]
    unseen = PointCloud(torch.tensor([[0.0, 0.0, 50.0]], dtype=F64))
    for options in ({}, {"antialias": False}, {"supersampling": 2}, {"layers": 1}):
        alone = picture(shapes, seen, **options)
        close(picture([*shapes, unseen], seen, **options).image, alone.image, 1e-12)


# ---- Clouds --------------------------------------------------------------------------------------------------------


def cloud(kind: type, count: int = 25) -> Any:
    centres = 0.7 * uniform(count, 3, low=-1)
    opacities, colors = uniform(count, low=0.1, seed=1), uniform(count, 3, seed=2)
    if kind is PointCloud:
        return PointCloud(centres, colors, radii=uniform(count, low=0.2, high=0.6, seed=3), opacities=opacities)
    axes = 3 if kind is GaussianCloud else 2
    quats = uniform(count, 4, low=-1, seed=5)
    if kind is SurfelCloud:  # facing the camera: where surfels cut one another, their order is another one
        quats = torch.tensor([[1.0, 0, 0, 0]], dtype=F64).expand(count, 4)
    scales = uniform(count, axes, low=0.05, high=0.4, seed=4)
    return kind(centres, quats, scales, opacities, constant_harmonics(colors))


CLOUDS = [(PointCloud, render_points), (GaussianCloud, render_gaussians), (SurfelCloud, render_surfels)]


@pytest.mark.parametrize("listed", [1, 3, 64])
@pytest.mark.parametrize(("kind", "renderer"), CLOUDS)
def test_clouds_in_clear_air(kind: type, renderer: Any, listed: int) -> None:
    """Drawn primitive by primitive, a cloud looks as it does as a whole, however few primitives are listed."""
    seen, one = facing((12, 14)), cloud(kind)
    one = one.to(F64)
    shot = picture([one, fog(0.0, RED, -2.0, 2.0)], seen, fragments=listed)
    whole = renderer(one, seen, SKY)
    close(shot.image, whole.image, 1e-12)
    assert shot.depth is not None
    close(shot.depth, whole.depth, 1e-9)


def brute(shapes: Sequence[Any], seen: Camera, count: int = 1500) -> Tensor:
    """By `lumigrad.reference.mixed_rays`, of clouds with their primitives one by one, and of fields."""
    origins, directions = (v.reshape(-1, 3) for v in torch.broadcast_tensors(*seen.rays()))
    cosine = slant(seen).reshape(-1)
    t, alpha, colors, media = [], [], [], []
    for shape in shapes:
        if isinstance(shape, VolumeField):
            media.append(_along(shape, origins, directions))
            continue
        renderer = render_surfels if isinstance(shape, SurfelCloud) else render_gaussians
        renderer = render_points if isinstance(shape, PointCloud) else renderer
        for k in range(len(shape)):
            shot = renderer(shape[k], seen)
            assert shot.depth is not None
            alpha.append(shot.mask.flatten())
            t.append(torch.where(alpha[-1] > 0, shot.depth.flatten() / cosine, torch.inf))
            colors.append((shot.color / shot.mask.clamp(min=1e-30)).reshape(-1, 3))
    found = mixed_rays(
        torch.stack(t, 1), torch.stack(alpha, 1), torch.stack(colors, 1), media, seen.near / cosine, 6 / cosine,
        count, SKY,
    )  # fmt: skip
    return found.features.view(*seen.size, 3)


def _along(field: VolumeField, origins: Tensor, directions: Tensor) -> Any:
    def medium(t: Tensor) -> tuple[Tensor, Tensor]:
        x = origins[:, None] + t[..., None] * directions[:, None]
        flat = x.reshape(-1, 3)
        density, color = field.function(flat, directions[:, None].expand_as(x).reshape(-1, 3))
        inside = ((flat >= field.corners[0]) & (flat <= field.corners[1])).all(-1)
        return torch.where(inside, density, 0).view(t.shape), color.view(*t.shape, -1)

    return medium


def smoke(scale: float, color: Tensor, step: float = 0.02) -> VolumeField:
    def field(x: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        density = scale * torch.exp(-2 * (x - 0.2 * color).square().sum(-1))
        return density, color * (0.75 + 0.25 * torch.sin(3 * x))

    return VolumeField(field, torch.tensor([[-2.0] * 3, [2.0] * 3], dtype=F64), step)


def test_brute_force_of_a_surface_in_fog() -> None:
    """Uniform fog needs no fine steps; what is behind the surface, or at infinity, does not count."""
    t = torch.tensor([[2.5, 4.0, torch.inf]], dtype=F64)
    alpha = torch.tensor([[1.0, 1.0, 0.5]], dtype=F64)
    ends = torch.tensor([0.5], dtype=F64), torch.tensor([3.0], dtype=F64)
    uniform_fog = lambda t: (torch.full_like(t, 0.4), BLUE.expand(*t.shape, 3))  # noqa: E731
    found = mixed_rays(t, alpha, torch.stack((RED, GREEN, GREEN))[None], [uniform_fog], *ends, 7, SKY)
    passed = math.exp(-0.8)
    close(found.features[0], passed * RED + (1 - passed) * BLUE, 1e-12)
    assert found.alpha.item() == 1.0
    clear = mixed_rays(t, 0 * alpha, torch.stack((RED, GREEN, GREEN))[None], [uniform_fog] * 2, *ends, 7, SKY)
    assert math.isclose(clear.alpha.item(), 1 - math.exp(-2.0), rel_tol=1e-12)


@pytest.mark.parametrize("kind", [PointCloud, GaussianCloud, SurfelCloud])
def test_brute_force(kind: type) -> None:
    """Clouds and fields that overlap, beside dense samples of everything; errors fall with the square of the step."""
    seen, one = facing((6, 7)), cloud(kind, 8)
    expected = brute([one, smoke(0.8, RED), smoke(0.5, BLUE)], seen)
    shots = [picture([one, smoke(0.8, RED, step), smoke(0.5, BLUE, step)], seen).image[0] for step in (0.2, 0.05)]
    coarse, fine = (float((shot - expected).abs().max()) for shot in shots)
    assert fine < 1e-4
    assert fine < 0.3 * coarse


def test_a_grid_and_a_field_that_overlap() -> None:
    """The grid of a field's values is the field."""
    seen, red = facing((6, 7)), smoke(0.8, RED, 0.05)
    empty = VoxelGrid(torch.zeros(40, 40, 40, 4, dtype=F64), red.box)
    density, color = red.function(empty.centers(), empty.centers())
    grid = replace(empty, values=torch.cat((density[..., None], color), -1))
    shots = [picture([one, smoke(0.5, BLUE, 0.05), gaussian(0.1)], seen).image for one in (grid, red)]
    close(*shots, 2e-3)


def test_order_of_shapes() -> None:
    """The order of shapes does not matter."""
    seen = camera((9, 11))
    shapes = [
        cloud(GaussianCloud, 9), cloud(PointCloud, 9), cloud(PointCloud, 5)[:3],
        wall(0.0, RED, 0.4, 0.8), wall(-0.5, GREEN),
        smoke(0.5, RED, 0.1), fog(0.3, BLUE, -0.7, 0.4), SphereCloud(uniform(4, 3, low=-1), uniform(4, high=0.4)),
        SignedDistanceFunction(lambda x: (x - 0.3).norm(dim=-1) - 0.4, material=painted(BLUE), silhouette=0.05),
    ]  # fmt: skip
    expected = picture(shapes, seen, layers=3)
    for order in ([8, 3, 1, 0, 7, 5, 4, 2, 6], [5, 6, 4, 3, 8, 7, 2, 1, 0]):
        close(picture([shapes[k] for k in order], seen, layers=3).image, expected.image, 1e-12)
    single = [picture(shapes, seen[n], layers=3).image[0] for n in range(2)]
    close(torch.stack(single), expected.image, 1e-12)


# ---- Gradients -----------------------------------------------------------------------------------------------------


def test_gradients_of_everything() -> None:
    """Surface depth in fog, glass, densities, colours, camera, background, a field's parameters, clouds, spheres."""
    points = cloud(PointCloud, 3)
    splats = cloud(GaussianCloud, 3)
    given = {
        "depth": -0.4, "glass": 0.5, "alpha": 0.3, "density": 0.7, "strength": 0.6, "near": 0.2,
    }  # fmt: skip
    leaves = [torch.tensor(value, dtype=F64, requires_grad=True) for value in given.values()]
    moved = torch.zeros(3, dtype=F64, requires_grad=True)
    behind = SKY.clone().requires_grad_()
    means, colors = points.positions.clone().requires_grad_(), splats.means.clone().requires_grad_()
    base = facing((2, 3))

    def image(depth, glass, alpha, density, strength, near, shift, behind, positions, means) -> Tensor:
        matrix = base.world_to_camera.clone()
        matrix = torch.cat((matrix[:, :3], (matrix[:, 3] + torch.cat((shift, shift.new_zeros(1))))[:, None]), 1)
        box = torch.stack((torch.full((3,), -2.0, dtype=F64), torch.stack((near + 5, near + 5, near + 0.8))))
        grid = replace(fog(density, BLUE, 0, 1), box=box)
        shapes = [
            wall(depth), wall(glass, GREEN, alpha), grid, mist(strength, RED, -0.3, 0.7),
            replace(points, positions=positions), replace(splats, means=means),
        ]  # fmt: skip
        return picture(shapes, replace(base, world_to_camera=matrix), background=behind, antialias=False).color

    inputs = (*leaves, moved, behind, means, colors)
    assert torch.autograd.gradcheck(image, inputs, eps=1e-6, atol=1e-5, fast_mode=True)
    found = torch.autograd.grad(image(*inputs).square().sum(), inputs[:7])
    assert all(bool(slope.abs().sum() > 0) for slope in found)


def test_depth_of_a_surface_in_fog() -> None:
    """dC/dt = s exp(-s t) (c_fog - c_surface): a surface that goes back gives way to fog."""
    z = torch.tensor(0.0, dtype=F64, requires_grad=True)
    seen = orthographic((1, 1))
    shot = picture([wall(z), fog(0.4, BLUE, -2.0, 2.0)], seen)
    for channel in range(3):
        (slope,) = torch.autograd.grad(shot.image[0, 0, 0, channel], z, retain_graph=True)
        expected = -0.4 * math.exp(-0.8) * float(BLUE[channel] - RED[channel])
        assert math.isclose(slope.item(), expected, rel_tol=1e-9)


def test_densities_of_zero_have_a_gradient() -> None:
    density = torch.tensor(0.0, dtype=F64, requires_grad=True)
    for medium in (fog, mist):
        shot = picture([wall(-1.0), medium(density, BLUE, -0.5, 0.5)], orthographic((1, 1)))
        (slope,) = torch.autograd.grad(shot.image[..., 0].sum(), density)
        assert math.isclose(slope.item(), float((BLUE - RED)[0]), rel_tol=1e-9)


# ---- Colours, options, degenerate input ----------------------------------------------------------------------------


def test_colours() -> None:
    """Surfaces in linear light are encoded before they are blended with displayed colours, unless they are mapped."""
    seen, air = facing((4, 4)), fog(0.0, RED, -1, 0)
    ball = SignedDistanceGrid.from_function(
        lambda x: x.norm(dim=-1) - 0.8, 16, torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=F64)
    )
    alone = render_implicit(ball, seen)
    close(render(Scene([ball, air]), seen).image, alone.image, 1e-6)
    linear = render(Scene([ball, air]), seen, tone_mapping=None)
    close(srgb_encode(linear.image), alone.image, 1e-6)
    close(render(Scene([ball, air]), seen, tone_mapping="srgb").image, alone.image, 1e-6)
    pair = render(Scene([wall(-1.0), ball]), seen)
    assert pair.tone_mapping is not None


def test_several_grids() -> None:
    ball = SignedDistanceGrid.from_function(
        lambda x: x.norm(dim=-1) - 0.5, 16, torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=F64)
    )
    left, right = (replace(ball, box=ball.corners + torch.tensor([x, 0, 0], dtype=F64)) for x in (-0.7, 0.7))
    seen = facing((10, 20))
    both, parts = render(Scene([left, right]), seen), [render_implicit(one, seen) for one in (left, right)]
    close(both.mask, parts[0].mask + parts[1].mask, 1e-12)
    close(both.color, parts[0].color + parts[1].color, 1e-12)
    grids = [fog(0.3, RED, 0.0, 1.0), fog(0.4, BLUE, -1.0, 0.0)]
    far, near = through(0.4, 1.0, seen), through(0.3, 1.0, seen)
    close(picture(grids, seen).image[0], (1 - near) * RED + near * ((1 - far) * BLUE + far * SKY))
    close(picture(grids[:1], seen).image, render_volume(grids[0], seen, background=SKY).image, 1e-12)


def test_degenerate_input() -> None:
    nothing = PointCloud(torch.zeros(0, 3, dtype=F64))
    splats = cloud(GaussianCloud, 3)
    broken = replace(splats, means=splats.means * torch.nan)
    ball = SphereCloud(
        torch.tensor([[0.0, 0, torch.nan], [0, 0, 0.5]], dtype=F64), torch.tensor([1.0, torch.inf], dtype=F64)
    )
    away = fog(1.0, RED, 50.0, 60.0)
    for shapes in (
        [nothing, away],
        [broken, nothing],
        [ball],
        [SphereCloud(torch.zeros(0, 3, dtype=F64), torch.zeros(0, dtype=F64))],
    ):
        shot = picture(shapes)
        close(shot.image, SKY.expand_as(shot.image), 1e-12)
        assert not shot.mask.any()
        assert shot.depth is not None
        assert not shot.depth.any()
    half = replace(splats, means=torch.cat((splats.means[:2], broken.means[2:])).requires_grad_())
    shot = picture([half, fog(0.3, BLUE, -1, 1)])
    close(shot.image, picture([splats[:2], fog(0.3, BLUE, -1, 1)]).image, 1e-12)
    shot.image.sum().backward()
    assert half.means.grad is not None
    assert bool(half.means.grad.isfinite().all())
    hollow = VoxelGrid(torch.full((2, 2, 2, 4), torch.nan, dtype=F64))
    close(picture([hollow, nothing]).image, SKY.expand(1, 5, 6, 3), 1e-12)


def test_types() -> None:
    """Mixed dtypes are drawn in the widest one."""
    shot = render(Scene([cloud(PointCloud).to(torch.float32), fog(0.3, RED, -1, 1)]), facing((3, 3)))
    assert shot.image.dtype == F64
    single = fog(0.3, RED, -1, 1).to(torch.float32)
    shot = render(
        Scene([cloud(PointCloud).to(torch.float32), single]), PerspectiveCamera.orbit(0.0, 0.0, 3.0, 45.0, (3, 3))
    )
    assert shot.image.dtype == torch.float32


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([fog(1, RED, 0, 1), cloud(PointCloud)], {"layers": 2}, "layers: only meshes have this option"),
        ([fog(1, RED, 0, 1), cloud(PointCloud)], {"shading": "phong"}, "shading: only meshes and"),
        ([fog(1, RED, 0, 1), wall(0.0)], {"fragments": 2}, "fragments: only point clouds and"),
        ([cloud(PointCloud), wall(0.0)], {"fragments": 0}, "fragments: expected an integer from 1"),
        ([cloud(PointCloud), wall(0.0)], {"previous": (wall(0.0), facing((5, 6)))}, "previous: only"),
        ([fog(1, RED[:1], 0, 1), wall(0.0)], {"background": None}, "scene: expected shapes of as many"),
        ([wall(0.0)], {"fragments": 4}, "fragments: only scenes of several kinds"),
    ],
)  # fmt: skip
def test_wrong_calls(shapes: Any, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(Scene(shapes), facing((5, 6)), **options)


def test_wrong_shapes() -> None:
    with pytest.raises(TypeError, match="function: expected a function of points and directions, got int"):
        VolumeField(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step: expected a positive number"):
        VolumeField(lambda x, d: (x, d), step=0.0)
    with pytest.raises(TypeError, match="function: expected a function of points, got str"):
        SignedDistanceFunction("ball")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="radii: expected shape"):
        SphereCloud(torch.zeros(3, 3), torch.ones(2))
    with pytest.raises(ValueError, match="in a Scene, got a batch"):
        render([SphereCloud(torch.zeros(1, 3), torch.ones(1))], facing((5, 6)))


@pytest.mark.parametrize(("kind", "renderer"), CLOUDS)
def test_clouds_on_both_sides_of_a_wall(kind: type, renderer: Any) -> None:
    """Only primitives in front of a wall count, however long the list."""
    seen, one = facing((12, 14)), cloud(kind)
    front = one[one.centers[:, 2] > 0.1]
    shots = [picture([shape, wall(0.1)], seen, fragments=40).image for shape in (one, front)]
    close(*shots, 1e-12)
    close(shots[0], renderer(front, seen, RED).image)


def test_points_without_radii_keep_their_size_with_more_samples() -> None:
    """Points without radii have a radius of one pixel, not one sample, with supersampling."""
    generator = torch.Generator().manual_seed(0)
    cloud = PointCloud(torch.rand(40, 3, dtype=F64, generator=generator) - 0.5)
    far = SignedDistanceFunction(
        lambda x: (x - 40.0).norm(dim=-1) - 0.1, torch.tensor([[39.0] * 3, [41.0] * 3]).to(F64)
    )
    view = PerspectiveCamera.orbit(torch.tensor(20.0, dtype=F64), 10.0, 4.0, 30.0, (48, 48))
    once, often = (render(Scene([cloud, far]), view, supersampling=n).mask.sum().item() for n in (1, 4))
    assert often == pytest.approx(once, rel=0.1)


def test_whole_numbers_as_colours_are_refused() -> None:
    ball = SphereCloud(torch.zeros(1, 3), torch.ones(1), torch.tensor([[255, 0, 0]], dtype=torch.uint8))
    with pytest.raises(TypeError, match="colors: expected float32 or float64, got uint8"):
        render(Scene([ball, wall(-2.0)]), facing((5, 6)))
