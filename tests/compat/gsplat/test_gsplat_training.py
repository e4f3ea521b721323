"""Strategies, optimisers and files under gsplat's names, and which names there are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gsplat_common import SIZE, small_scene
from ops_common import random
from torch import Tensor

from lumigrad.compat import gsplat
from lumigrad.compat.gsplat._missing import ADVICE
from lumigrad.compat.gsplat.cuda import _wrapper
from lumigrad.compat.gsplat.exporter import load_ply_to_splats
from lumigrad.compat.gsplat.relocation import compute_relocation
from lumigrad.compat.gsplat.strategy import ops
from lumigrad.io import load_gaussians

# What gsplat 1.6's documentation and package offer at the top level.
NAMES = [
    "CameraModel", "DefaultStrategy", "ExternalDistortionModelMeta", "ExternalDistortionModelParameters",
    "FusedGaussianLosses", "LidarTiling", "MCMCStrategy", "PngCompression", "RasterizeMode", "RenderMode",
    "RendererConfig", "RendererConfig_MixedBatch", "RendererConfig_ParallelBatch", "RollingShutterType",
    "RowOffsetStructuredSpinningLidarModelParameters", "RowOffsetStructuredSpinningLidarModelParametersExt",
    "SelectiveAdam", "SpinningDirection", "Strategy", "__version__", "accumulate", "accumulate_2dgs",
    "build_sparse_tile_layout", "color_correct_affine", "color_correct_quadratic",
    "compute_lidar_angles_to_columns_map", "compute_lidar_tiling", "create_ssim_window", "depth_l1_loss",
    "export_splats", "fully_fused_projection", "fully_fused_projection_2dgs", "fully_fused_projection_with_ut",
    "gaussian_density_reg", "gaussian_scale_reg", "gaussian_z_scale_reg", "has_2dgs", "has_3dgs", "has_3dgut",
    "has_adam", "has_camera_wrappers", "has_losses", "has_reloc", "isect_offset_encode", "isect_tiles",
    "isect_tiles_lidar", "isect_tiles_sparse", "l1_loss", "lidar_background_loss", "lidar_distance_loss",
    "lidar_intensity_loss", "lidar_raydrop_loss", "mse_loss", "opacity_reg_loss", "out_of_bound_loss", "proj",
    "quat_scale_to_covar_preci", "rasterization", "rasterization_2dgs", "rasterization_2dgs_inria_wrapper",
    "rasterization_inria_wrapper", "rasterize_contributing_gaussian_ids",
    "rasterize_contributing_gaussian_ids_sparse", "rasterize_num_contributing_gaussians",
    "rasterize_num_contributing_gaussians_sparse", "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs", "rasterize_to_pixels", "rasterize_to_pixels_2dgs",
    "rasterize_to_pixels_eval3d", "rasterize_to_pixels_sparse", "rasterize_top_contributing_gaussian_ids",
    "rasterize_top_contributing_gaussian_ids_sparse", "scale_reg_loss", "spherical_harmonics",
    "spherical_harmonics_l0", "spherical_harmonics_l1_plus", "ssim_loss", "torch_ssim_loss", "total_variation_loss",
    "world_to_cam",
]  # fmt: skip
# What gsplat 0.1 offered besides.
OLD_NAMES = [
    "NDRasterizeGaussians", "ProjectGaussians", "RasterizeGaussians", "SphericalHarmonics", "bin_and_sort_gaussians",
    "compute_cov2d_bounds", "compute_cumulative_intersects", "get_tile_bin_edges", "map_gaussian_to_intersects",
    "project_gaussians", "rasterize_gaussians",
]  # fmt: skip


def test_all_names_are_there() -> None:
    names = [*NAMES, *OLD_NAMES]
    assert [name for name in names if not hasattr(gsplat, name)] == []
    assert sorted([*names, "install"]) == sorted(gsplat.__all__)
    for name, advice in ADVICE.items():
        with pytest.raises(NotImplementedError) as error:
            getattr(gsplat if hasattr(gsplat, name) else _wrapper, name)(1, two=2)
        assert str(error.value).startswith(f"{name}: not offered")
        assert advice in str(error.value)
    assert (gsplat.has_3dgs(), gsplat.has_3dgut()) == (True, False)
    with pytest.raises(TypeError, match="RendererConfig is a base class"):
        gsplat.RendererConfig()


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_relocation(count: int) -> None:
    """Several relocated Gaussians in one place are as opaque as the original, and hide as much of a line through
    them."""
    opacity, scale = 0.9, 0.3
    binoms = gsplat.MCMCStrategy().initialize_state()["binoms"]
    assert binoms[7, 3] == 35
    opacities, scales = compute_relocation(
        torch.tensor([opacity]).double(), torch.full((1, 3), scale).double(), torch.tensor([count]), binoms, 0.0
    )
    assert 1 - (1 - opacities.item()) ** count == pytest.approx(opacity)
    x = np.linspace(-6, 6, 20001) * scale
    hidden = 1 - (1 - opacities.item() * np.exp(-((x / scales[0, 0].item()) ** 2) / 2)) ** count
    assert np.trapezoid(hidden, x) == pytest.approx(opacity * scale * math.sqrt(2 * math.pi), rel=1e-5)
    assert compute_relocation(torch.tensor([1e-4]), torch.ones(1, 3), torch.tensor([2]), binoms)[0].item() == (
        pytest.approx(0.005)
    )


class Fit:
    """Parameters of Gaussians with Adam's state, whose averages identify the rows."""

    def __init__(self, count: int = 6) -> None:
        scene = small_scene(count)
        values = {
            "means": scene["means"], "quats": scene["quats"], "scales": scene["scales"].log(),
            "opacities": scene["opacities"].logit(), "colors": scene["colors"],
        }  # fmt: skip
        self.params = torch.nn.ParameterDict({name: torch.nn.Parameter(value) for name, value in values.items()})
        self.params["fixed"] = torch.nn.Parameter(random(count, 2), requires_grad=False)
        self.optimizers = {name: torch.optim.Adam([self.params[name]], lr=1e-3) for name in values}
        for name, optimizer in self.optimizers.items():
            self.params[name].sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            average = optimizer.state[self.params[name]]["exp_avg"]
            average += torch.arange(1.0, count + 1).view(-1, *[1] * (average.dim() - 1))
        self.state = {"grad2d": torch.arange(float(count)), "scene_scale": 1.0}
        self.before = {name: value.detach().clone() for name, value in self.params.items()}

    def rows(self) -> list[float]:
        """The original row of each row's averages, 0 for new ones; all optimisers agree."""
        found = []
        for name, optimizer in self.optimizers.items():
            (param,) = optimizer.param_groups[0]["params"]
            assert param is self.params[name]
            average = optimizer.state[param]["exp_avg"]
            assert average.shape == param.shape
            found.append(average.flatten(1)[:, 0].floor().tolist() if average.dim() > 1 else average.floor().tolist())
        assert all(rows == found[0] for rows in found)
        assert len(self.params["fixed"]) == len(found[0])
        assert not self.params["fixed"].requires_grad
        return found[0]

    def mask(self, *rows: int) -> Tensor:
        mask = torch.zeros(len(self.params["means"]), dtype=torch.bool)
        mask[list(rows)] = True
        return mask


def test_duplicate_and_remove() -> None:
    fit = Fit()
    ops.duplicate(fit.params, fit.optimizers, fit.state, fit.mask(1, 4))
    for name, value in fit.params.items():
        assert torch.equal(value, fit.before[name][[0, 1, 2, 3, 4, 5, 1, 4]])
    assert fit.rows() == [1, 2, 3, 4, 5, 6, 0, 0]
    assert fit.state["grad2d"].tolist() == [0, 1, 2, 3, 4, 5, 1, 4]
    ops.remove(fit.params, fit.optimizers, fit.state, fit.mask(0, 6))
    assert fit.rows() == [2, 3, 4, 5, 6, 0]
    assert torch.equal(fit.params["means"], fit.before["means"][[1, 2, 3, 4, 5, 4]])
    assert fit.state["grad2d"].tolist() == [1, 2, 3, 4, 5, 4]


@pytest.mark.parametrize("revised", [False, True])
def test_split(revised: bool) -> None:
    fit = Fit()
    ops.split(fit.params, fit.optimizers, fit.state, fit.mask(1, 4), revised)
    assert fit.rows() == [1, 3, 4, 6, 0, 0, 0, 0]
    order = [0, 2, 3, 5, 1, 4, 1, 4]
    assert torch.allclose(fit.params["scales"].exp()[4:], fit.before["scales"].exp()[order[4:]] / 1.6)
    assert torch.equal(fit.params["quats"], fit.before["quats"][order])
    before, after = (values["opacities"].detach().sigmoid() for values in (fit.before, fit.params))
    assert torch.allclose(1 - (1 - after[4:]) ** 2 if revised else after[4:], before[order[4:]])
    # The offsets have the covariance of the Gaussian: checked with many copies of one.
    many = Fit(1)
    for name, value in many.params.items():
        many.params[name] = torch.nn.Parameter(
            value.detach().repeat(20000, *[1] * (value.dim() - 1)), requires_grad=False
        )
    torch.manual_seed(0)
    ops.split(many.params, {}, {}, torch.ones(20000, dtype=torch.bool))
    offsets = many.params["means"] - many.before["means"]
    covariance, _ = gsplat.quat_scale_to_covar_preci(many.before["quats"], many.before["scales"].exp())
    assert torch.allclose(offsets.T @ offsets / len(offsets), covariance[0], atol=0.02 * covariance.abs().max().item())


def test_reset() -> None:
    fit = Fit()
    ops.reset_opa(fit.params, fit.optimizers, fit.state, 0.3)
    expected = fit.before["opacities"].sigmoid().clamp(max=0.3)
    assert torch.allclose(fit.params["opacities"].sigmoid(), expected)
    assert not fit.optimizers["opacities"].state[fit.params["opacities"]]["exp_avg"].any()
    assert fit.optimizers["means"].state[fit.params["means"]]["exp_avg"].any()


def test_relocate_and_add() -> None:
    fit = Fit()
    with torch.no_grad():
        fit.params["opacities"][:] = torch.tensor([1e-3, 0.5, 1e-3, 1e-9, 1e-9, 1e-9]).logit()
    binoms = gsplat.MCMCStrategy().initialize_state()["binoms"]
    fit.before = {name: value.detach().clone() for name, value in fit.params.items()}
    torch.manual_seed(0)
    ops.relocate(fit.params, fit.optimizers, fit.state, fit.mask(0, 2), binoms, 0.0)
    assert torch.equal(fit.params["means"][[0, 1, 2]], fit.before["means"][[1, 1, 1]])
    assert fit.rows() == [1, 0, 3, 4, 5, 6]
    opacities, scales = compute_relocation(
        torch.tensor([0.5]), fit.before["scales"][1:2].exp(), torch.tensor([3]), binoms, 0.0
    )
    assert torch.allclose(fit.params["opacities"][:3].sigmoid().float(), opacities.expand(3), atol=1e-6)
    assert torch.allclose(fit.params["scales"][:3].exp(), scales.expand(3, 3), rtol=1e-5)
    assert torch.equal(fit.params["scales"][3:], fit.before["scales"][3:])
    ops.sample_add(fit.params, fit.optimizers, fit.state, 4, binoms, 0.0)
    assert len(fit.params["means"]) == 10
    assert fit.rows()[6:] == [0, 0, 0, 0]
    assert fit.state["grad2d"].tolist() == [0, 0, 2, 3, 4, 5, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="mask: expected some Gaussians that stay"):
        ops.relocate(fit.params, fit.optimizers, {}, torch.ones(10, dtype=torch.bool), binoms)


def test_noise() -> None:
    """Faint Gaussians move with their covariance applied to noise, opaque ones do not move."""
    fit = Fit(2)
    with torch.no_grad():
        fit.params["opacities"][:] = torch.tensor([0.005, 0.9]).logit()
    torch.manual_seed(3)
    ops.inject_noise_to_position(fit.params, fit.optimizers, {}, scaler=0.5)
    torch.manual_seed(3)
    noise = torch.randn(2, 3, dtype=torch.float64)
    covars, _ = gsplat.quat_scale_to_covar_preci(fit.before["quats"], fit.before["scales"].exp())
    moved = fit.params["means"] - fit.before["means"]
    assert torch.allclose(moved[0], 0.25 * covars[0] @ noise[0], atol=1e-7)
    assert moved[1].abs().max() < 1e-20
    with pytest.raises(TypeError, match="noise_scale: expected a number"):
        ops.inject_noise_to_position(fit.params, fit.optimizers, {})
    with pytest.raises(ValueError, match="noise_scale, scaler"):
        ops.inject_noise_to_position(fit.params, fit.optimizers, {}, 1.0, scaler=2.0)


@pytest.mark.parametrize("packed", [False, True])
def test_default_strategy(packed: bool) -> None:
    """Gradients on the image are summed as they are defined, and decide what is cloned and what is split."""
    fit, scene = Fit(), small_scene(6)
    strategy = gsplat.DefaultStrategy(
        grow_grad2d=0.0, grow_scale3d=0.5, refine_start_iter=0, refine_every=2, refine_scale2d_stop_iter=3,
        grow_scale2d=1e9,
    )  # fmt: skip
    strategy.check_sanity(fit.params, fit.optimizers)
    state = strategy.initialize_state(scene_scale=1.0)
    expected, counts = torch.zeros(6), torch.zeros(6)
    for step in (1, 2):
        image, _, info = gsplat.rasterization(
            fit.params["means"], fit.params["quats"], fit.params["scales"].exp(), fit.params["opacities"].sigmoid(),
            fit.params["colors"], scene["viewmats"], scene["Ks"], **SIZE, packed=packed,
        )  # fmt: skip
        strategy.step_pre_backward(fit.params, fit.optimizers, state, step, info)
        image.square().sum().backward()
        places = (info["gaussian_ids"],) if packed else (info["radii"] > 0).all(-1).nonzero().T
        for row, grad in zip(places[-1].tolist(), info["means2d"].grad[() if packed else tuple(places)]):
            expected[row] += math.hypot(grad[0] * 10 / 2 * 2, grad[1] * 8 / 2 * 2)
            counts[row] += 1
        if step == 1:
            strategy.step_post_backward(fit.params, fit.optimizers, state, step, info, packed=packed)
            assert torch.allclose(state["grad2d"], expected)
            assert torch.equal(state["count"], counts)
            assert torch.allclose(state["radii"], _largest(info, packed) / 10)
    small = fit.params["scales"].detach().exp().amax(-1) <= 0.5
    assert 0 < small.sum() < 6
    strategy.step_post_backward(fit.params, fit.optimizers, state, 2, info, packed=packed)
    steep = expected > 0
    assert len(fit.params["means"]) == 6 + int(steep.sum())
    assert not state["grad2d"].any()
    assert len(state["grad2d"]) == len(fit.params["means"])
    with pytest.raises(NotImplementedError, match="absgrad"):
        gsplat.DefaultStrategy(absgrad=True)
    with pytest.raises(AssertionError, match="scales, quats, opacities is missing"):
        strategy.check_sanity({"means": fit.params["means"]}, {"means": fit.optimizers["means"]})


def _largest(info: dict, packed: bool) -> Tensor:
    radii = torch.zeros(6)
    rows = info["gaussian_ids"].tolist() if packed else 2 * list(range(6))
    for row, radius in zip(rows, info["radii"].reshape(-1, 2).amax(-1).tolist()):
        radii[row] = max(radii[row], radius)
    return radii


def test_pruning_and_mcmc(capsys: pytest.CaptureFixture) -> None:
    fit = Fit()
    with torch.no_grad():
        fit.params["opacities"][2] = torch.tensor(0.001).logit()
        fit.params["scales"][4] = 3.0
    info = {
        "width": 10, "height": 8, "n_cameras": 1, "radii": torch.ones(1, 6, 2), "means2d": torch.zeros(1, 6, 2),
    }  # fmt: skip
    info["means2d"].grad = torch.zeros(1, 6, 2)
    strategy = gsplat.DefaultStrategy(
        refine_start_iter=0, refine_every=1, reset_every=5, prune_scale3d=10.0, verbose=True
    )
    state = strategy.initialize_state()
    strategy.step_post_backward(fit.params, fit.optimizers, state, 4, info)
    assert torch.equal(fit.params["means"], fit.before["means"][[0, 1, 3, 4, 5]])
    assert "1 dropped; 5 Gaussians" in capsys.readouterr().out
    for name in ("radii", "means2d"):
        info[name] = torch.ones(1, 5, 2)
    info["means2d"].grad = torch.zeros(1, 5, 2)
    strategy.step_post_backward(fit.params, fit.optimizers, state, 5, info)  # resets
    assert fit.params["opacities"].sigmoid().max().item() == pytest.approx(0.01)
    strategy.step_post_backward(fit.params, fit.optimizers, state, 6, info)
    assert torch.equal(fit.params["means"], fit.before["means"][[0, 1, 3, 5]])
    fit = Fit(40)
    with torch.no_grad():
        fit.params["opacities"][3] = torch.tensor(0.001).logit()
    mcmc = gsplat.MCMCStrategy(cap_max=41, refine_start_iter=0, refine_every=1, noise_lr=0.0, verbose=True)
    state = mcmc.initialize_state()
    mcmc.step_post_backward(fit.params, fit.optimizers, state, 1, {}, lr=1.0)
    assert "1 moved, 1 added; 41 Gaussians" in capsys.readouterr().out
    assert (fit.params["opacities"].sigmoid() > 0.005).all()
    mcmc.step_post_backward(fit.params, fit.optimizers, state, 2, {}, lr=1.0)
    assert len(fit.params["means"]) == 41


def test_selective_adam() -> None:
    """Adam's averages without their correction, in the rows that are seen."""
    param = torch.nn.Parameter(random(3, 2, dtype=torch.float64))
    value, mean, square = param.detach().numpy().copy(), np.zeros((3, 2)), np.zeros((3, 2))
    optimizer = gsplat.SelectiveAdam([{"params": [param], "lr": 0.1}], eps=1e-8, betas=(0.9, 0.99))
    for step, rows in enumerate(([0, 2], [0], [1, 2])):
        seen = np.zeros(3, bool)
        seen[rows] = True
        grad = random(3, 2, seed=step + 5, dtype=torch.float64)
        param.grad = grad
        optimizer.step(torch.tensor(seen))
        g = grad.numpy()
        mean[seen] = 0.9 * mean[seen] + 0.1 * g[seen]
        square[seen] = 0.99 * square[seen] + 0.01 * g[seen] ** 2
        value[seen] -= 0.1 * mean[seen] / (np.sqrt(square[seen]) + 1e-8)
        np.testing.assert_allclose(param.detach().numpy(), value, rtol=1e-12)


def test_export(tmp_path: Path) -> None:
    """The file holds the parameters as they are, read here by hand; non-finite rows are left out."""
    count = 5
    values = {
        "means": random(count, 3), "scales": random(count, 3, seed=1), "quats": random(count, 4, seed=2),
        "opacities": random(count, seed=3), "sh0": random(count, 1, 3, seed=4), "shN": random(count, 8, 3, seed=5),
    }  # fmt: skip
    values["sh0"][3, 0, 1] = math.nan
    data = gsplat.export_splats(**values, save_to=str(tmp_path / "a.ply"))
    assert (tmp_path / "a.ply").read_bytes() == data
    header, _, body = data.partition(b"end_header\n")
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property float ")]
    table = dict(zip(names, np.frombuffer(body, "<f4").reshape(-1, len(names)).T))
    kept = [0, 1, 2, 4]
    np.testing.assert_allclose(table["y"], values["means"][kept, 1])
    np.testing.assert_allclose(table["scale_2"], values["scales"][kept, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table["opacity"], values["opacities"][kept], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table["f_dc_1"], values["sh0"][kept, 0, 1])
    np.testing.assert_allclose(table["f_rest_10"], values["shN"][kept, 2, 1])  # green's third of eight
    unit = values["quats"] / values["quats"].norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(table["rot_3"], unit[kept, 3], rtol=1e-5)
    back = load_ply_to_splats(str(tmp_path / "a.ply"))
    for name, value in values.items():
        expected = unit if name == "quats" else value
        assert torch.allclose(back[name], expected[kept], atol=1e-5), name
    with pytest.warns(UserWarning, match="shN is left out"):
        gsplat.export_splats(**values, format="splat", save_to=str(tmp_path / "a.splat"))
    assert torch.equal(load_gaussians(tmp_path / "a.splat").means, values["means"][kept])
    with pytest.raises(NotImplementedError, match="ply_compressed"):
        gsplat.export_splats(**values, format="ply_compressed")
    with pytest.raises(ValueError, match="format: expected 'ply' or 'splat'"):
        gsplat.export_splats(**values, format="obj")
    with pytest.raises(ValueError, match="sh0: expected shape"):
        gsplat.export_splats(**{**values, "sh0": values["shN"]})
