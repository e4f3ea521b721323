"""`lumigrad.compat.gsplat` against stored numbers of another implementation, closed forms and finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gsplat_common import SIZE, covariances, small_scene
from ops_common import gradcheck, random, scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad.compat.gsplat import (
    RendererConfig_MixedBatch,
    RendererConfig_ParallelBatch,
    rasterization,
    rasterization_2dgs,
    spherical_harmonics,
    spherical_harmonics_l0,
    spherical_harmonics_l1_plus,
)

NAMES = ["means", "quats_wxyz", "scales", "opacities", "sh", "viewmats", "Ks"]
MODES = ["classic", "antialiased"]


class Stored:
    """One of the oracles, as tensors of a dtype."""

    def __init__(self, shared: Path, mode: str, dtype: torch.dtype = torch.float64) -> None:
        self.numbers, self.dtype = np.load(shared / "oracles" / f"gaussians_{mode}.npz"), dtype
        self.size = {"width": self["width"].int().item(), "height": self["height"].int().item()}

    def __getitem__(self, name: str) -> Tensor:
        return torch.tensor(self.numbers[name]).to(self.dtype)

    def leaves(self) -> list[Tensor]:
        return [self[name].requires_grad_() for name in NAMES]


def rigid(grad: Tensor, viewmats: Tensor) -> Tensor:
    """The part of a gradient of matrices that concerns rotations and translations, [C, 4, 3]."""
    turned = grad[:, :3, :3] @ viewmats[:, :3, :3].transpose(1, 2)
    return torch.cat((turned - turned.transpose(1, 2), grad[:, None, :3, 3]), 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_oracle(shared: Path, mode: str, packed: bool, dtype: torch.dtype) -> None:
    stored = Stored(shared, mode, dtype)
    leaves = stored.leaves()
    image, alpha, _ = rasterization(*leaves, **stored.size, sh_degree=3, rasterize_mode=mode, packed=packed,
                                    render_mode="RGB+D")  # fmt: skip
    assert alpha.shape == (2, stored.size["height"], stored.size["width"], 1)
    assert scaled_error(image[..., :3], stored["image"]) < 1e-5
    assert scaled_error(image[..., 3], stored["depth_accumulated"]) < 1e-5
    assert scaled_error(alpha[..., 0], stored["alpha"]) < 1e-5
    loss = (image[..., :3] * stored["grad_image"]).sum() + (alpha[..., 0] * stored["grad_alpha"]).sum()
    for name, grad in zip(NAMES, torch.autograd.grad(loss, leaves)):
        expected = stored[f"grad_{name.removesuffix('_wxyz')}"]
        if name == "Ks":  # it has a skew, which lumigrad's cameras have not
            expected = expected * torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=dtype)
        if name == "viewmats":  # the derivative with respect to non-rigid changes is a matter of definition
            grad, expected = (rigid(value, stored[name]) for value in (grad, expected))
        assert scaled_error(grad, expected) < 1e-4, name


@pytest.mark.parametrize("mode", MODES)
def test_oracle_meta(shared: Path, mode: str) -> None:
    """The metadata of single Gaussians are reproduced, packed and not."""
    stored = Stored(shared, mode)
    options = {**stored.size, "sh_degree": 3, "rasterize_mode": mode}
    *_, meta = rasterization(*stored.leaves(), **options, packed=False)
    for name in ("means2d", "depths", "conics"):
        assert scaled_error(meta[name], stored[name]) < 1e-10, name
    opacities = stored["opacities"] * (stored["compensation"] if mode == "antialiased" else torch.ones(2, 1))
    assert scaled_error(meta["opacities"], opacities) < 1e-10
    radii = meta["radii"]
    assert radii.dtype == torch.int32
    assert (radii <= stored["radii"]).all()  # those do not shrink with opacity
    # A Gaussian is below 1/255 on the sides of its box, at whatever other coordinate, and above it one pixel inside.
    a, b, c = stored["conics"].unbind(-1)
    reach = torch.stack((a - b * b / c, c - b * b / a), -1)
    assert (opacities[..., None] * (-reach * radii**2 / 2).exp()).max() < 1.001 / 255
    smaller = opacities[..., None] * (-reach * (radii - 1) ** 2 / 2).exp()
    assert smaller[radii > 0].min() > 1 / 255
    *_, rows = rasterization(*stored.leaves(), **options)
    places = rows["camera_ids"], rows["gaussian_ids"]
    assert torch.equal(torch.stack(places, 1), (radii > 0).all(-1).nonzero())
    for name in ("means2d", "depths", "conics", "opacities", "radii"):
        assert torch.equal(rows[name], meta[name][places]), name
    assert not rows["batch_ids"].any()
    assert (meta["width"], meta["height"], meta["tile_width"], meta["tile_height"]) == (80, 56, 5, 4)
    assert (meta["tile_size"], meta["n_cameras"], meta["n_batches"]) == (16, 2, 1)


def test_screen_gradients() -> None:
    """The gradients of `means2d`, which densification goes by: the same packed and not, and as finite differences of
    compositing say."""
    scene, weights = small_scene(), random(2, 8, 10, 3, seed=9, dtype=torch.float64)
    metas, grads = [], []
    for packed in (True, False):
        image, _, meta = rasterization(**{k: v.requires_grad_() for k, v in scene.items()}, **SIZE, packed=packed)
        meta["means2d"].retain_grad()
        (image * weights).sum().backward()
        metas.append(meta)
        grads.append(meta["means2d"].grad)
    assert torch.allclose(grads[0], grads[1][metas[0]["camera_ids"], metas[0]["gaussian_ids"]])
    fixed = {k: v.detach() if isinstance(v, Tensor) else v for k, v in metas[1].items()}

    def loss(xy: Tensor) -> Tensor:
        out = lg.splat(xy, fixed["conics"], fixed["depths"], scene["colors"].detach(), (8, 10), fixed["opacities"],
                       max_alpha=0.99, min_alpha=1 / 255, stop=1e-4)  # fmt: skip
        return (out.image * weights).sum()

    step = torch.zeros_like(fixed["means2d"])
    step[1, 2, 0] = 1e-6
    slope = (loss(fixed["means2d"] + step) - loss(fixed["means2d"] - step)) / 2e-6
    assert grads[1][1, 2, 0].item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("camera_model", "render_mode", "packed"),
    [("pinhole", "RGB+D", True), ("ortho", "RGB+ED", False), ("fisheye", "ED", True)],
)
def test_gradients(camera_model: str, render_mode: str, packed: bool) -> None:
    scene = small_scene(3)
    scene["Ks"][:, :2, :2] /= 3 if camera_model == "ortho" else 1
    scene["backgrounds"] = random(2, 3, seed=8, dtype=torch.float64)
    names = list(scene)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return rasterization(**dict(zip(names, values)), **SIZE, camera_model=camera_model, render_mode=render_mode,
                             packed=packed, rasterize_mode="antialiased")[:2]  # fmt: skip

    used = scene if "RGB" in render_mode else {k: v for k, v in scene.items() if k not in ("colors", "backgrounds")}
    for name in used:
        scene[name].requires_grad_()
    # Steps across the edge at alpha = 1/255 have no derivative; there are none of them in these scenes.
    assert gradcheck(run, tuple(scene.values()), 1e-7, 1e-5, 1e-4)


def test_render_modes() -> None:
    """A single Gaussian straight ahead: alpha is its opacity, what is missing is background, except in depth."""
    scene = small_scene(1, 1)
    scene["means"], scene["opacities"] = torch.zeros(1, 3).double(), torch.tensor([0.6]).double()
    scene["viewmats"][0, :3, 3] = torch.tensor([0, 0, 4.0])
    scene["Ks"][0, 0, 2], scene["Ks"][0, 1, 2] = 5.5, 4.5
    back = torch.ones(1, 3, dtype=torch.float64)
    at = (0, 4, 5)
    color = 0.6 * scene["colors"][0] + 0.4
    expected = {"RGB": [color], "D": [2.4], "ED": [4.0], "RGB+D": [color, 2.4], "RGB+ED": [color, 4.0]}
    for mode, parts in expected.items():
        image, alpha, _ = rasterization(**scene, **SIZE, backgrounds=back, render_mode=mode)
        whole = torch.cat([torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in parts])
        assert image.shape == (1, 8, 10, len(whole))
        assert torch.allclose(image[at], whole)
        assert alpha[at].item() == pytest.approx(0.6)


@pytest.mark.parametrize("packed", [True, False])
def test_radius_clip_and_planes(packed: bool) -> None:
    """Culled Gaussians have no effect and are listed as culled."""
    scene = small_scene(5, 1)
    scene["scales"][1] = 1e-3  # the blur leaves it a radius of 2
    scene["means"][2, 2], scene["means"][3, 2], scene["opacities"][4] = -3.9, 90.0, 1e-3
    image, _, meta = rasterization(**scene, **SIZE, packed=packed, radius_clip=2.5, near_plane=0.5, far_plane=50)
    alone = {k: v if k in ("viewmats", "Ks") else v[:1] for k, v in scene.items()}
    assert torch.equal(image, rasterization(**alone, **SIZE)[0])
    if packed:
        assert meta["gaussian_ids"].tolist() == [0]
    else:
        assert (meta["radii"] > 0).all(-1).tolist() == [[True, False, False, False, False]]
        assert meta["depths"].isfinite().all()


def test_colors() -> None:
    """Colours per camera, any number of channels, and harmonics of fewer degrees than there are coefficients for."""
    scene = small_scene()
    colors = random(2, 5, 7, dtype=torch.float64)
    both, _, _ = rasterization(**{**scene, "colors": colors}, **SIZE)
    for i in range(2):
        assert torch.equal(both[i], rasterization(**{**scene, "colors": colors[i]}, **SIZE)[0][i])
    sh = random(5, 16, 3, dtype=torch.float64)
    few = rasterization(**{**scene, "colors": sh}, **SIZE, sh_degree=1)[0]
    assert torch.equal(few, rasterization(**{**scene, "colors": sh[:, :4].contiguous()}, **SIZE, sh_degree=1)[0])
    assert torch.equal(few, rasterization(**{**scene, "colors": sh.expand(2, -1, -1, -1)}, **SIZE, sh_degree=1)[0])
    constant = rasterization(**{**scene, "colors": sh}, **SIZE, sh_degree=0)[0]
    values = (sh[:, 0] / math.sqrt(4 * math.pi) + 0.5).clamp(min=0)
    assert torch.allclose(constant, rasterization(**{**scene, "colors": values}, **SIZE)[0])


def test_harmonics() -> None:
    coeffs, dirs = random(2, 5, 16, 3, dtype=torch.float64), random(2, 5, 3, seed=1, dtype=torch.float64)
    masks = torch.tensor([[True, False, True, True, False]]).expand(2, 5)
    out = spherical_harmonics(2, dirs, coeffs, masks)
    for i in range(2):
        assert torch.equal(out[i][masks[i]], lg.spherical_harmonics(coeffs[i, :, :9], dirs[i])[masks[i]])
    assert not out[~masks].any()
    with pytest.raises(ValueError, match="degrees_to_use: expected an integer"):
        spherical_harmonics(5, dirs, coeffs)
    with pytest.raises(ValueError, match="dirs: expected shape"):
        spherical_harmonics(2, dirs[0], coeffs)


def test_empty() -> None:
    """Without Gaussians or visible Gaussians, or with cameras that see none: backgrounds, and gradients of zero."""
    scene = {k: v[:0] if k not in ("viewmats", "Ks") else v for k, v in small_scene().items()}
    back = random(2, 3, dtype=torch.float64)
    image, alpha, meta = rasterization(**scene, **SIZE, backgrounds=back)
    assert torch.equal(image, back[:, None, None].expand_as(image))
    assert not alpha.any()
    assert meta["means2d"].shape == (0, 2)
    scene = small_scene()
    scene["viewmats"][:, 2, 3] = -9
    means = scene["means"].requires_grad_()
    image, _, meta = rasterization(**scene, **SIZE, render_mode="RGB+ED")
    image.sum().backward()
    assert not means.grad.any()
    assert meta["gaussian_ids"].numel() == 0


@pytest.mark.parametrize("camera_model", ["pinhole", "ortho", "fisheye"])
def test_covars(camera_model: str) -> None:
    """Covariances in place of quaternions and scales: the same image, and gradients by finite differences."""
    scene = small_scene(3)
    covars = covariances(scene.pop("quats"), scene.pop("scales"))
    options = {**SIZE, "camera_model": camera_model, "rasterize_mode": "antialiased", "render_mode": "RGB+D"}
    image, alpha, meta = rasterization(quats=None, scales=None, **scene, **options, covars=covars, packed=False)
    expected = rasterization(**small_scene(3), **options, packed=False)
    assert scaled_error(image, expected[0]) < 1e-12
    assert scaled_error(alpha, expected[1]) < 1e-12
    assert torch.equal(meta["radii"], expected[2]["radii"])
    weights = random(*image.shape, dtype=torch.float64)

    def run(means: Tensor, covars: Tensor) -> Tensor:
        symmetric = (covars + covars.transpose(1, 2)) / 2
        moved = {**scene, "means": means, "covars": symmetric}
        return (rasterization(quats=None, scales=None, **moved, **options)[0] * weights).sum()

    assert gradcheck(run, (scene["means"].requires_grad_(), covars.requires_grad_()), 1e-7, 1e-5, 1e-4)


@pytest.mark.parametrize("packed", [True, False])
def test_batches(packed: bool) -> None:
    """Scenes in a batch are the same as one by one, and so is what is said of their Gaussians."""
    scenes = [small_scene(), small_scene()]
    scenes[1] = {k: v if k in ("viewmats", "Ks") else v.flip(0) + 0.05 for k, v in scenes[1].items()}
    batch = {k: torch.stack([scene[k] for scene in scenes])[None] for k in scenes[0]}
    image, alpha, meta = rasterization(**batch, **SIZE, packed=packed, render_mode="RGB+ED")
    assert image.shape == (1, 2, 2, 8, 10, 4)
    for i, scene in enumerate(scenes):
        single, single_alpha, rows = rasterization(**scene, **SIZE, packed=packed, render_mode="RGB+ED")
        assert torch.equal(image[0, i], single)
        assert torch.equal(alpha[0, i], single_alpha)
        for name in ("means2d", "conics", "depths", "opacities", "radii"):
            part = meta[name][meta["batch_ids"] == i] if packed else meta[name][0, i]
            assert torch.equal(part, rows[name]), name
        if packed:
            assert torch.equal(meta["camera_ids"][meta["batch_ids"] == i], rows["camera_ids"])
            assert torch.equal(meta["gaussian_ids"][meta["batch_ids"] == i], rows["gaussian_ids"])
    assert meta["n_batches"] == 2
    sh = random(5, 4, 3, dtype=torch.float64)
    shared = rasterization(**{**batch, "colors": sh}, **SIZE, sh_degree=1)[0]
    single = rasterization(**{**scenes[1], "colors": sh}, **SIZE, sh_degree=1)[0]
    assert torch.allclose(shared[0, 1], single, atol=1e-14)


def test_extra_signals() -> None:
    """They are composited like colours, without a background, and those from harmonics are not clamped."""
    scene, signals = small_scene(), random(2, 5, 4, seed=7, dtype=torch.float64)
    back = random(2, 3, seed=8, dtype=torch.float64)
    options = {**SIZE, "backgrounds": back, "render_mode": "RGB+D"}
    image, _, meta = rasterization(**scene, **options, extra_signals=signals)
    assert torch.equal(image, rasterization(**scene, **options)[0])
    expected = rasterization(**{**scene, "colors": signals}, **SIZE)[0]
    assert torch.equal(meta["render_extra_signals"], expected)
    sh = random(5, 4, 2, seed=9, dtype=torch.float64)
    values = spherical_harmonics(1, scene["means"], scene["viewmats"], sh) + 0.5
    assert values.min() < 0
    _, _, meta = rasterization(**scene, **SIZE, extra_signals=sh, extra_signals_sh_degree=1)
    assert torch.allclose(meta["render_extra_signals"], rasterization(**{**scene, "colors": values}, **SIZE)[0])
    depth = rasterization(**{**scene, "colors": None}, **SIZE, render_mode="D", extra_signals=signals)
    assert depth[0].shape == (2, 8, 10, 1)
    assert torch.equal(depth[2]["render_extra_signals"], expected)


def test_defaults_that_say_nothing() -> None:
    scene = small_scene()
    image, _, meta = rasterization(**scene, **SIZE)
    same = rasterization(**scene, **SIZE, renderer_config=RendererConfig_MixedBatch(), global_z_order=True, tile_size=4)
    assert torch.equal(image, same[0])
    assert (meta["tile_size"], same[2]["tile_size"]) == (16, 4)


def test_harmonics_of_cameras() -> None:
    """gsplat 1.6's arguments: those of 1.5 with the directions from the cameras, all at once or some of them."""
    means, coeffs = random(2, 5, 3, dtype=torch.float64), random(5, 16, 4, seed=1, dtype=torch.float64)
    viewmats = torch.linalg.matrix_exp(random(2, 3, 4, 4, seed=2, dtype=torch.float64))
    viewmats[..., :3, :3] = torch.linalg.qr(viewmats[..., :3, :3])[0]
    viewmats[..., 3, :] = torch.tensor([0.0, 0, 0, 1])
    dirs = means[:, None] - torch.linalg.inv(viewmats)[..., None, :3, 3]
    expected = spherical_harmonics(3, dirs, coeffs.expand(2, 3, -1, -1, -1))
    out = spherical_harmonics(3, means, viewmats, coeffs)
    assert torch.allclose(out, expected, atol=1e-12)
    named = spherical_harmonics(degrees_to_use=3, dirs=dirs, coeffs=coeffs.expand(2, 3, -1, -1, -1))
    assert torch.equal(named, expected)
    ids = torch.tensor([[0, 1, 1], [2, 0, 1], [4, 3, 0]])
    some = spherical_harmonics(3, means, viewmats, coeffs[ids[2]], None, *ids)
    assert torch.allclose(some, expected[ids[0], ids[1], ids[2]], atol=1e-12)
    constant, rest = (
        spherical_harmonics_l0(coeffs[:, :1]),
        spherical_harmonics_l1_plus(3, means, viewmats, coeffs[:, 1:]),
    )
    assert torch.allclose(constant + rest, expected, atol=1e-12)
    half_way = viewmats.clone()
    half_way[..., :3, 3] += random(2, 3, 3, seed=3, dtype=torch.float64)
    middle = viewmats.clone()
    middle[..., :3, 3] = (viewmats + half_way)[..., :3, 3] / 2
    between = spherical_harmonics(3, means, viewmats, coeffs, viewmats_rs=half_way)
    assert torch.allclose(between, spherical_harmonics(3, means, middle, coeffs), atol=1e-12)
    halves = spherical_harmonics(3, means.float(), viewmats.float(), coeffs.half())
    assert scaled_error(halves, expected) < 2e-3
    leaves = (means.clone().requires_grad_(), viewmats.clone().requires_grad_())
    for grad in torch.autograd.grad(spherical_harmonics(0, *leaves, coeffs).sum(), leaves):
        assert not grad.any()
    with pytest.raises(ValueError, match="batch_ids, camera_ids, gaussian_ids: expected all or none"):
        spherical_harmonics(3, means, viewmats, coeffs, camera_ids=ids[0])
    with pytest.raises(ValueError, match=r"shN: expected shape .* at least 15"):
        spherical_harmonics_l1_plus(3, means, viewmats, coeffs[:, 2:])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"means": torch.zeros(5, 2).double()}, ValueError, "means: expected shape"),
        ({"quats": torch.zeros(5, 3).double()}, ValueError, "quats: expected shape"),
        ({"scales": torch.zeros(5, 3)}, TypeError, "scales: expected"),
        ({"opacities": torch.zeros(5, 1).double()}, ValueError, "opacities: expected shape"),
        ({"colors": torch.zeros(4, 3).double()}, ValueError, "colors: expected shape"),
        ({"sh_degree": 1}, ValueError, "colors: expected shape"),
        ({"sh_degree": 2, "colors": torch.zeros(5, 4, 3).double()}, ValueError, "colors: expected shape"),
        ({"viewmats": torch.eye(4).double()}, ValueError, "viewmats: expected shape"),
        ({"Ks": torch.eye(3)[None].double()}, ValueError, "Ks: expected shape"),
        ({"backgrounds": torch.zeros(3).double()}, ValueError, "backgrounds: expected shape"),
        ({"width": 0}, ValueError, "size: expected"),
        ({"near_plane": 2.0, "far_plane": 1.0}, ValueError, "near_plane, far_plane: expected"),
        ({"render_mode": "depth"}, ValueError, "render_mode: expected one of 'RGB'"),
        ({"rasterize_mode": "sharp"}, ValueError, "rasterize_mode: expected one of"),
        ({"camera_model": "ftheta"}, ValueError, "camera_model: expected one of"),
        ({"tile_size": 0}, ValueError, "tile_size: expected"),
        ({"sparse_grad": True}, NotImplementedError, "sparse_grad: not offered"),
        ({"absgrad": True}, NotImplementedError, "absgrad: not offered"),
        ({"covars": torch.zeros(5, 5).double()}, ValueError, "covars: expected shape"),
        ({"radial_coeffs": torch.zeros(2, 6)}, NotImplementedError, "radial_coeffs: not offered.*undistort"),
        ({"thin_prism_coeffs": torch.zeros(2, 4)}, NotImplementedError, "thin_prism_coeffs: not offered.*undistort"),
        ({"with_ut": True}, NotImplementedError, "with_ut: not offered"),
        ({"with_eval3d": True}, NotImplementedError, "with_eval3d: not offered"),
        ({"return_normals": True}, NotImplementedError, "return_normals: not offered.*rasterization_2dgs"),
        ({"global_z_order": False}, NotImplementedError, "global_z_order: not offered"),
        ({"rays": torch.zeros(2, 8, 10, 6)}, NotImplementedError, "rays: not offered"),
        ({"lidar_coeffs": object()}, NotImplementedError, "lidar_coeffs: not offered"),
        ({"ut_params": object()}, NotImplementedError, "ut_params: not offered"),
        ({"renderer_config": RendererConfig_ParallelBatch()}, NotImplementedError, "renderer_config: not offered"),
        ({"distributed": True}, NotImplementedError, "distributed: not offered"),
        ({"render_mode": "RGB-Ed"}, NotImplementedError, "render_mode: 'RGB-Ed' is not offered"),
        ({"colors": None}, ValueError, "colors: expected a tensor"),
        ({"quats": None}, ValueError, "quats, scales: expected both"),
        ({"extra_signals": torch.zeros(4, 2).double()}, ValueError, "extra_signals: expected shape"),
        ({"rolling_shutter": "TOP_TO_BOTTOM"}, NotImplementedError, "rolling_shutter: not offered"),
        ({"shade": True}, TypeError, "shade"),
    ],
)
def test_wrong_calls(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rasterization(**{**small_scene(), **SIZE, **change})


def test_surfels() -> None:
    """The arguments arrive where they should: the same as `lumigrad.surfels` with the cameras turned."""
    scene = small_scene(20)
    size = (SIZE["height"], SIZE["width"])
    flip = torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)[:, None]
    Ks = scene["Ks"]
    view = lg.View(flip * scene["viewmats"], Ks[:, 0, 0], Ks[:, 1, 1], Ks[:, 0, 2], Ks[:, 1, 2], size)
    expected = lg.surfels(
        scene["means"], scene["quats"], scene["scales"][:, :2], scene["opacities"], scene["colors"], view
    )
    image, alpha, normals, from_depth, distortion, median, meta = rasterization_2dgs(
        **scene, **SIZE, render_mode="RGB+ED", distloss=True
    )
    assert torch.equal(image[..., :3], expected.image)
    assert torch.allclose(image[..., 3] * alpha[..., 0], expected.depth, atol=1e-12)
    assert torch.equal(alpha[..., 0], expected.alpha)
    assert torch.equal(normals, expected.normals)
    assert torch.equal(distortion[..., 0], expected.distortion)
    assert torch.equal(median[..., 0], expected.median_depth)
    assert from_depth.shape == normals.shape
    assert (from_depth * normals).sum(-1).mean() > 0
    assert meta["radii"].shape == (2, 20, 2)
    assert torch.equal(meta["normals"].norm(dim=-1).round(decimals=9), torch.ones(2, 20, dtype=torch.float64))


def test_surfels_densification_and_refusals() -> None:
    scene = {k: v.requires_grad_() for k, v in small_scene().items()}
    image, *_, meta = rasterization_2dgs(**scene, **SIZE, backgrounds=torch.ones(2, 3, dtype=torch.float64))
    meta["gradient_2dgs"].retain_grad()
    image.square().sum().backward()
    assert meta["means2d"].grad.abs().sum() > 0
    for name in ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks"):
        assert scene[name].grad.abs().sum() > 0, name
    assert rasterization_2dgs(**scene, **SIZE, render_mode="D")[0].shape == (2, 8, 10, 1)
    with pytest.raises(NotImplementedError, match="packed"):
        rasterization_2dgs(**scene, **SIZE, packed=True)
    with pytest.raises(ValueError, match="depth_mode: expected"):
        rasterization_2dgs(**scene, **SIZE, depth_mode="mean")
    with pytest.raises(ValueError, match="scales: expected shape"):
        rasterization_2dgs(**{**scene, "scales": scene["scales"][1:]}, **SIZE)
