"""Volumes, rays and their renderers under PyTorch3D's names: closed forms, finite differences, and stored results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lumigrad.compat import pytorch3d as p3d
from lumigrad.compat.pytorch3d import ops
from lumigrad.compat.pytorch3d.renderer import implicit
from lumigrad.compat.pytorch3d.renderer.implicit.sample_pdf import sample_pdf, sample_pdf_python
from lumigrad.compat.pytorch3d.structures import VolumeLocator, Volumes


def stored(shared: Path, name: str) -> dict[str, Tensor]:
    return {
        k: torch.as_tensor(v) for k, v in np.load(shared / "oracles" / f"{name}.npz").items() if v.dtype.kind != "U"
    }


def close(value: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Whether values agree within a fraction of the largest one."""
    assert value.shape == expected.shape
    assert torch.isfinite(value).all()
    assert (value - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---- Where voxels are


@pytest.mark.parametrize("align_corners", [True, False])
def test_local_and_world_coordinates(align_corners: bool) -> None:
    """x_world = x_local (size - 1) voxel / 2 - translation, with x along the width."""
    volumes = Volumes(
        torch.zeros(2, 1, 3, 5, 9, dtype=torch.float64), voxel_size=[[0.5, 1, 2], [1, 1, 1]],
        volume_translation=[1.0, 0, -2], align_corners=align_corners,
    )  # fmt: skip
    local = random(2, 4, 3) * 2 - 1
    half = torch.tensor([[8 * 0.5, 4 * 1.0, 2 * 2.0], [8.0, 4, 2]]).double() / 2
    world = local * half[:, None] - torch.tensor([1.0, 0, -2]).double()
    assert torch.allclose(volumes.local_to_world_coords(local), world)
    assert torch.allclose(volumes.world_to_local_coords(world), local)
    grid = volumes.get_coord_grid(world_coordinates=False)
    first = -1.0 if align_corners else 1 / 9 - 1
    assert grid.shape == (2, 3, 5, 9, 3)
    assert grid[0, 0, 0, 0, 0].item() == pytest.approx(first)
    assert torch.equal(grid[:, 1, 2, 4], torch.zeros(2, 3).double())


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_volumes_of_different_sizes_are_sampled_as_if_each_were_alone(align_corners: bool, padding: str) -> None:
    grids = [random(1, 4, 5, 6), random(1, 2, 3, 7, seed=1)]
    colors = [random(3, 4, 5, 6, seed=2), random(3, 2, 3, 7, seed=3)]
    bundle = p3d.RayBundle(
        random(2, 5, 3, seed=4) - 2, random(2, 5, 3, seed=5) + 0.5, random(2, 5, 9, seed=6) * 4, torch.zeros(2, 5, 2)
    )
    options: dict[str, Any] = {"voxel_size": 0.5, "volume_translation": (0.1, 0, 0), "align_corners": align_corners}
    together = p3d.VolumeSampler(Volumes(grids, colors, **options), padding_mode=padding)(bundle)
    for n in range(2):
        one = p3d.RayBundle(*(value[n : n + 1] for value in bundle))
        alone = p3d.VolumeSampler(Volumes(grids[n][None], colors[n][None], **options), padding_mode=padding)(one)
        for whole, part in zip(together, alone):
            assert (part != 0).any()
            assert torch.allclose(whole[n : n + 1], part)


def test_batches_of_volumes() -> None:
    grids, colors = [random(1, 4, 5, 6), random(1, 2, 3, 7, seed=1)], [random(2, 4, 5, 6), random(2, 2, 3, 7)]
    volumes = Volumes(grids, colors, voxel_size=2.0)
    assert volumes.densities().shape == (2, 1, 4, 5, 7)
    assert all(torch.equal(a, b) for a, b in zip(volumes.densities_list(), grids))
    features = volumes.features_list()
    assert features is not None
    assert all(torch.equal(a, b) for a, b in zip(features, colors))
    second = volumes[1]
    assert len(second) == 1
    assert torch.equal(second.densities_list()[0], grids[1])
    corner = torch.ones(1, 1, 3).double()
    assert second.local_to_world_coords(corner).tolist() == [[[6, 2, 1]]]
    changed = volumes.clone().update_padded([2 * grid for grid in grids])
    assert changed.features() is None
    assert torch.equal(changed.densities(), 2 * volumes.densities())
    with pytest.raises(IndexError, match="index"):
        volumes[2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"densities": torch.zeros(2, 3, 3, 3)}, "densities"),
        ({"features": torch.zeros(2, 1, 3, 3, 4)}, "features"),
        ({"features": [torch.zeros(1, 3, 3, 3)]}, "features"),
        ({"voxel_size": [1.0, 2.0]}, "voxel_size"),
        ({"volume_translation": 1.0}, "volume_translation"),
    ],
)
def test_bad_volumes(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Volumes(**{"densities": torch.zeros(2, 1, 3, 3, 3), **arguments})


def test_a_flat_volume_has_no_local_coordinates() -> None:
    locator = VolumeLocator(1, (1, 4, 4), "cpu")
    assert locator.get_coord_grid().isfinite().all()
    with pytest.raises(ValueError, match="at least 2 voxels"):
        locator.world_to_local_coords(torch.zeros(1, 1, 3))


# ---- Marching


def composed(densities: Tensor, features: Tensor, thick: int, eps: float) -> Tensor:
    """A loop over the samples."""
    colors, clear = torch.zeros_like(features[..., 0, :]), torch.ones_like(densities[..., 0, :])
    passed = [clear]
    for k in range(densities.shape[-2]):
        before = passed[max(k - thick + 1, 0)]
        colors = colors + before * densities[..., k, :] * features[..., k, :]
        passed.append(passed[-1] * (1 + eps - densities[..., k, :]))
        clear = clear * (1 - densities[..., k, :])
    return torch.cat((colors, 1 - clear), -1)


@pytest.mark.parametrize("thick", [1, 3, 9])
@pytest.mark.parametrize("eps", [1e-10, 0.0])
def test_marching_has_true_gradients_at_densities_of_one(thick: int, eps: float) -> None:
    densities = random(4, 6, 1)
    densities[0, 2], densities[1, [1, 4]], densities[2], densities[3, 5] = 1.0, 1.0, 1.0, 0.0
    features = random(4, 6, 2, seed=1)
    densities.requires_grad_()
    features.requires_grad_()
    marcher = p3d.EmissionAbsorptionRaymarcher(thick)
    found = marcher(densities, features, eps=eps)
    expected = composed(densities, features, thick, eps)
    assert torch.allclose(found, expected)
    weights = random(*found.shape, seed=2)
    mine = torch.autograd.grad((found * weights).sum(), (densities, features))
    theirs = torch.autograd.grad((expected * weights).sum(), (densities, features))
    for a, b in zip(mine, theirs):
        assert torch.isfinite(a).all()
        assert torch.allclose(a, b, atol=1e-9)
    assert torch.equal(p3d.AbsorptionOnlyRaymarcher()(densities), found[..., -1:])


def test_a_density_of_one_hides_the_rest() -> None:
    """dC / d density of the first sample is the difference of its colour to the one behind."""
    densities = torch.ones(1, 5, 1, requires_grad=True)
    features = torch.tensor([3.0, 1, 7, 7, 7]).reshape(1, 5, 1)
    color = p3d.EmissionAbsorptionRaymarcher()(densities, features)[..., 0]
    color.sum().backward()
    assert color.item() == 3
    assert densities.grad is not None
    assert densities.grad[0, :, 0].tolist() == [2, 0, 0, 0, 0]


def test_bad_densities() -> None:
    marcher = p3d.EmissionAbsorptionRaymarcher()
    with pytest.raises(ValueError, match="rays_densities"):
        marcher(torch.rand(3, 4, 2), torch.rand(3, 4, 3))
    with pytest.raises(ValueError, match="rays_features"):
        marcher(torch.rand(3, 4, 1), torch.rand(3, 5, 3))
    with pytest.warns(UserWarning, match="between 0 and 1"):
        marcher(torch.full((3, 4, 1), 1.5), torch.rand(3, 4, 3))


@pytest.mark.parametrize("thick", [1, 3])
def test_stored_marching(shared: Path, thick: int) -> None:
    data = stored(shared, "vol_p3d_raymarchers")
    one = {k.removeprefix(f"thick{thick}."): v for k, v in data.items() if k.startswith(f"thick{thick}.")}
    densities, features = one["densities"].requires_grad_(), one["features"].requires_grad_()
    out = p3d.EmissionAbsorptionRaymarcher(thick)(densities, features)
    close(out, one["out"])
    gradients = torch.autograd.grad((out * one["grad_out"]).sum(), (densities, features))
    close(gradients[0], one["grad_densities"], 1e-4)
    close(gradients[1], one["grad_features"], 1e-4)
    close(p3d.AbsorptionOnlyRaymarcher()(data["absorption.densities"]), data["absorption.out"])


# ---- Rays


def cameras(count: int = 2) -> p3d.FoVPerspectiveCameras:
    R, T = p3d.look_at_view_transform(3.0, 20.0, [30.0 * k for k in range(count)])
    return p3d.FoVPerspectiveCameras(R=R, T=T, fov=42.0)


@pytest.mark.parametrize("unit", [False, True])
def test_rays_go_through_the_centres_of_pixels(unit: bool) -> None:
    sampler = p3d.NDCMultinomialRaysampler(
        image_width=6, image_height=4, n_pts_per_ray=3, min_depth=1.0, max_depth=2.0, unit_directions=unit
    )
    camera = cameras()
    bundle = sampler(camera)
    assert bundle.xys[0, 0, 0].tolist() == pytest.approx([1.5 - 0.25, 1 - 0.25])
    points = p3d.ray_bundle_to_ray_points(bundle)
    seen = camera.transform_points(points.reshape(2, -1, 3)).reshape(points.shape)
    assert torch.allclose(seen[..., :2], bundle.xys[..., None, :].expand_as(seen[..., :2]), atol=1e-5)
    view = camera.get_world_to_view_transform().transform_points(points.reshape(2, -1, 3)).reshape(points.shape)
    along = view.norm(dim=-1) if unit else view[..., 2]
    assert torch.allclose(along, torch.tensor([1.0, 1.5, 2]).expand_as(along), atol=1e-5)
    assert torch.allclose(
        bundle.origins, camera.get_camera_center()[:, None, None].expand_as(bundle.origins), atol=1e-5
    )


def test_rays_of_a_fisheye_camera_begin_at_its_centre() -> None:
    R, T = p3d.look_at_view_transform(3.0, 20.0, 30.0)
    radial = torch.tensor([[0.1, 0, 0, 0, 0, 0]])
    camera = p3d.FishEyeCameras(
        R=R, T=T, radial_params=radial, use_tangential=False, use_thin_prism=False, world_coordinates=True
    )
    sampler = p3d.NDCMultinomialRaysampler(image_width=3, image_height=3, n_pts_per_ray=2, min_depth=1.0, max_depth=2.0)
    bundle = sampler(camera)
    points = p3d.ray_bundle_to_ray_points(bundle)
    seen = camera.transform_points(points.reshape(1, -1, 3)).reshape(points.shape)
    assert torch.allclose(seen[..., :2], bundle.xys[..., None, :].expand_as(seen[..., :2]), atol=1e-4)
    assert torch.allclose(bundle.origins[0, 0, 0], camera.get_camera_center()[0], atol=1e-5)


def test_drawn_rays() -> None:
    sampler = p3d.NDCMultinomialRaysampler(image_width=6, image_height=4, n_pts_per_ray=3, min_depth=1, max_depth=2)
    mask = torch.zeros(2, 4, 6)
    mask[0, 1, 2:5], mask[1, 2:, 0] = 1, 1
    whole, drawn = sampler(cameras()), sampler(cameras(), mask=mask)
    assert drawn.origins.shape == (2, 2, 1, 3)  # the second mask has two pixels
    for n in range(2):
        allowed = whole.directions[n][mask[n] > 0]
        assert all((allowed == direction).all(-1).any() for direction in drawn.directions[n, :, 0])
    assert sampler(cameras(), n_rays_per_image=7).lengths.shape == (2, 7, 1, 3)
    mixed = sampler(cameras(5), n_rays_total=8)
    assert mixed.origins.shape == (8, 1, 1, 3)
    assert mixed.camera_counts.sum() == 8
    ids = mixed.camera_ids.repeat_interleave(mixed.camera_counts)
    centres = cameras(5).get_camera_center()[ids]
    assert torch.allclose(mixed.origins[:, 0, 0], centres, atol=1e-5)
    with pytest.raises(ValueError, match="n_rays_total"):
        sampler(cameras(), n_rays_total=8, n_rays_per_image=3)
    with pytest.raises(ValueError, match="mask"):
        sampler(cameras(), mask=torch.zeros(2, 4, 6), n_rays_per_image=1)


def test_random_rays_and_places() -> None:
    sampler = p3d.MonteCarloRaysampler(-0.5, 0.25, 0.5, 1.0, 100, 5, 1.0, 2.0, stratified_sampling=True)
    bundle = sampler(cameras())
    assert bundle.origins.shape == (2, 100, 3)
    low, high = bundle.xys.flatten(0, 1).aminmax(dim=0)
    assert torch.allclose(low, torch.tensor([-0.5, 0.5]), atol=0.05)
    assert torch.allclose(high, torch.tensor([0.25, 1.0]), atol=0.05)
    edges = torch.tensor([1, 1.125, 1.375, 1.625, 1.875, 2.0])
    assert (bundle.lengths >= edges[:-1]).all()
    assert (bundle.lengths <= edges[1:]).all()
    assert (bundle.lengths.std((0, 1)) > 0.02).all()


def test_older_names_say_so() -> None:
    with pytest.warns(DeprecationWarning, match="NDCMultinomialRaysampler"):
        older = p3d.NDCGridRaysampler(6, 4, 3, 1.0, 2.0)
    with pytest.warns(DeprecationWarning, match="MultinomialRaysampler"):
        p3d.GridRaysampler(-1, 1, -1, 1, 6, 4, 3, 1.0, 2.0)
    newer = p3d.NDCMultinomialRaysampler(image_width=6, image_height=4, n_pts_per_ray=3, min_depth=1.0, max_depth=2.0)
    assert all(torch.equal(a, b) for a, b in zip(older(cameras()), newer(cameras())))


# ---- Renderers


def test_a_homogeneous_slab() -> None:
    """Two cells of constant density d along an axis-parallel ray with 3 samples within: 1 - (1 - d)^3."""
    volumes = Volumes(torch.full((1, 1, 4, 4, 4), 0.3), torch.full((1, 2, 4, 4, 4), 5.0))
    camera = p3d.OrthographicCameras(T=torch.tensor([[0.0, 0, 5]]))
    sampler = p3d.NDCMultinomialRaysampler(image_width=2, image_height=2, n_pts_per_ray=3, min_depth=4.0, max_depth=6.0)
    image, bundle = p3d.VolumeRenderer(sampler, p3d.EmissionAbsorptionRaymarcher())(camera, volumes)
    opacity = 1 - 0.7**3
    assert torch.allclose(image, torch.tensor([5 * opacity, 5 * opacity, opacity]).expand(1, 2, 2, 3), atol=1e-5)
    assert bundle.lengths.shape == (1, 2, 2, 3)
    without = Volumes(torch.full((1, 1, 4, 4, 4), 0.3))
    alone, _ = p3d.VolumeRenderer(sampler, p3d.AbsorptionOnlyRaymarcher())(camera, without)
    assert torch.allclose(alone, torch.full((1, 2, 2, 1), opacity), atol=1e-6)
    with pytest.raises(ValueError, match="ray_bundle"):
        p3d.VolumeRenderer(sampler, p3d.EmissionAbsorptionRaymarcher())(cameras(), volumes)


@pytest.mark.parametrize(("name", "mode"), [("corners", "bilinear"), ("edges", "bilinear"), ("nearest", "nearest")])
def test_stored_volumes(shared: Path, name: str, mode: str) -> None:
    data = stored(shared, f"vol_p3d_renderer_{name}")
    given = {k: data[k].clone().requires_grad_() for k in ("densities", "features", "R", "T")}
    volumes = Volumes(
        given["densities"], given["features"], data["voxel_size"].item(), data["volume_translation"],
        bool(data["align_corners"]),
    )  # fmt: skip
    camera = p3d.FoVPerspectiveCameras(R=given["R"], T=given["T"], fov=data["fov"].item())
    height, width = data["image"].shape[1:3]
    sampler = p3d.NDCMultinomialRaysampler(
        image_width=width, image_height=height, n_pts_per_ray=int(data["n_pts"]), min_depth=data["min_depth"].item(),
        max_depth=data["max_depth"].item(), unit_directions=bool(data["unit_directions"]),
    )  # fmt: skip
    image, bundle = p3d.VolumeRenderer(sampler, p3d.EmissionAbsorptionRaymarcher(), mode)(camera, volumes)
    for field in ("origins", "directions", "lengths", "xys"):
        close(getattr(bundle, field), data[field])
    local = volumes.world_to_local_coords(p3d.ray_bundle_to_ray_points(bundle).flatten(1, -2))
    close(local[:, ::97], data["local_points"])
    close(volumes.get_coord_grid()[:, ::3, ::3, ::3], data["coord_grid"])
    close(image, data["image"])
    wanted = [k for k in given if f"grad_{k}" in data]
    gradients = torch.autograd.grad((image * data["grad_out"]).sum(), [given[k] for k in wanted])
    for k, gradient in zip(wanted, gradients):
        close(gradient, data[f"grad_{k}"], 1e-4)


def test_a_stored_field(shared: Path) -> None:
    data = stored(shared, "vol_p3d_implicit")

    def ball(ray_bundle: p3d.RayBundle, cameras: p3d.CamerasBase, sharpness: float) -> tuple[Tensor, Tensor]:
        points = p3d.ray_bundle_to_ray_points(ray_bundle)
        densities = 0.4 * torch.sigmoid(sharpness * (0.8 - points.norm(dim=-1, keepdim=True)))
        return densities, 0.5 + 0.5 * torch.sin(3 * points)

    focal, principal = (data[k][None].float() for k in ("focal", "principal"))
    camera = p3d.PerspectiveCameras(R=data["R"], T=data["T"], focal_length=focal, principal_point=principal)
    lengths = data["lengths"]
    sampler = p3d.NDCMultinomialRaysampler(
        image_width=18, image_height=24, n_pts_per_ray=lengths.shape[-1], min_depth=lengths.min().item(),
        max_depth=lengths.max().item(),
    )  # fmt: skip
    image, bundle = p3d.ImplicitRenderer(sampler, p3d.EmissionAbsorptionRaymarcher())(camera, ball, sharpness=8.0)
    for field in ("origins", "directions", "lengths", "xys"):
        close(getattr(bundle, field), data[field])
    close(image, data["image"])


# ---- Embeddings and samples


def test_harmonics_are_in_the_documented_order() -> None:
    x = random(3, 2)
    found = p3d.HarmonicEmbedding(3, omega_0=2.0)(x)
    columns = [f(2.0 * 2**k * x[:, d]) for f in (torch.sin, torch.cos) for d in range(2) for k in range(3)]
    assert torch.allclose(found, torch.stack((*columns, x[:, 0], x[:, 1]), 1))
    assert found.shape[1] == p3d.HarmonicEmbedding(3).get_output_dim(2)


def test_expected_harmonics() -> None:
    """E sin(f x) of a normal distribution, by quadrature."""
    mean, variance = 0.4, 0.3
    x = torch.linspace(mean - 8, mean + 8, 20001, dtype=torch.float64)
    density = torch.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    embedding = p3d.HarmonicEmbedding(3, logspace=False, append_input=False)
    expected = torch.trapezoid(embedding(x[:, None]) * density[:, None], x, dim=0)
    found = embedding(torch.tensor([mean]).double(), diag_cov=torch.tensor([variance]).double())
    assert torch.allclose(found, expected, atol=1e-9)


def test_samples_of_a_distribution() -> None:
    bins, weights = torch.tensor([0.0, 1, 3, 4]), torch.tensor([1.0, 0, 3])
    found = sample_pdf(bins, weights, 6, det=True)
    assert torch.allclose(found, torch.tensor([0, 0.8, 3.2, 3 + 0.35 / 0.75, 3 + 0.55 / 0.75, 4]), atol=1e-4)
    drawn = sample_pdf(bins.expand(1, 4), weights.expand(1, 3), 4000)
    assert ((drawn < 1).double().mean() - 0.25).abs() < 0.03
    assert ((drawn > 1.01) & (drawn < 2.99)).sum() == 0
    weights.requires_grad_()
    with pytest.raises(NotImplementedError, match="sample_pdf_python"):
        sample_pdf(bins, weights, 5)
    sample_pdf_python(bins, weights, 5, det=True).sum().backward()
    assert weights.grad is not None
    assert weights.grad.isfinite().all()
    with pytest.raises(ValueError, match="bins"):
        sample_pdf_python(bins, torch.ones(4), 5)


def test_stored_samples(shared: Path) -> None:
    data = stored(shared, "vol_p3d_sample_pdf")
    close(sample_pdf(data["bins"], data["weights"], data["samples_det"].shape[-1], det=True), data["samples_det"])


# ---- Points to volumes


def spread(points: Tensor, values: Tensor, volumes: Volumes, mode: str) -> tuple[Tensor, Tensor]:
    """A loop over points and voxels: weights are products of hats, or 1 for the nearest voxel."""
    depth, height, width = volumes.densities().shape[2:]
    size = torch.tensor([width, height, depth]).double()
    local = volumes.world_to_local_coords(points)
    place = (local + 1) / 2 * (size - 1) if volumes.align_corners else ((local + 1) * size - 1) / 2
    voxels = torch.stack(
        torch.meshgrid(torch.arange(depth), torch.arange(height), torch.arange(width), indexing="ij"), -1
    )
    apart = (place[:, :, None, None, None] - voxels.flip(-1)).abs()
    weights = (1 - apart).clamp(min=0).prod(-1) if mode == "trilinear" else (apart < 0.5).all(-1).double()
    return weights.sum(1)[:, None], torch.einsum("npdhw,npc->ncdhw", weights, values)


@pytest.mark.parametrize("mode", ["trilinear", "nearest"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_points_are_added_to_volumes(mode: str, align_corners: bool) -> None:
    """Some of the points lie outside, or across the border."""
    points, values = (random(2, 40, 3) * 9 - 4.5).requires_grad_(), random(2, 40, 2, seed=1).requires_grad_()
    empty = Volumes(
        torch.zeros(2, 1, 4, 6, 5).double(), torch.zeros(2, 2, 4, 6, 5).double(), align_corners=align_corners
    )
    clouds = p3d.Pointclouds(points, features=values)
    summed = ops.add_pointclouds_to_volumes(clouds, empty, mode, rescale_features=False)
    densities, sums = spread(points, values, empty, mode)
    features = summed.features()
    assert features is not None
    assert torch.allclose(summed.densities(), densities)
    assert torch.allclose(features, sums)
    assert not empty.densities().any()
    averaged = ops.add_pointclouds_to_volumes(clouds, empty, mode).features()
    assert averaged is not None
    assert torch.allclose(averaged, sums / densities.clamp(min=1e-4 if mode == "trilinear" else 1))
    scale = random(2, 2, 4, 6, 5, seed=2)
    wanted = (points, values) if mode == "trilinear" else (values,)
    for mine, theirs in zip(
        torch.autograd.grad((features * scale).sum() + summed.densities().square().sum(), wanted),
        torch.autograd.grad((sums * scale).sum() + (densities.square().sum() if mode == "trilinear" else 0), wanted),
    ):
        assert torch.allclose(mine, theirs)


def test_points_of_different_clouds() -> None:
    """Neither the padding of the smaller cloud nor non-finite points are added."""
    clouds = p3d.Pointclouds(
        [torch.zeros(3, 3), torch.tensor([[0.0, 0, 0], [math.nan, 0, 0]])],
        features=[torch.ones(3, 1), torch.ones(2, 1)],
    )
    empty = Volumes(torch.zeros(2, 1, 3, 3, 3), torch.zeros(2, 1, 3, 3, 3))
    added = ops.add_pointclouds_to_volumes(clouds, empty)
    assert added.densities().sum((1, 2, 3, 4)).tolist() == [3, 1]
    with pytest.raises(ValueError, match="mode"):
        ops.add_pointclouds_to_volumes(clouds, empty, "cubic")
    with pytest.raises(ValueError, match="features"):
        ops.add_pointclouds_to_volumes(p3d.Pointclouds(torch.zeros(2, 3, 3)), empty)


def test_every_name_is_where_programs_look_for_it() -> None:
    assert all(getattr(p3d.renderer, name) is getattr(implicit, name) for name in implicit.__all__)
