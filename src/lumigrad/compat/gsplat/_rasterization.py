"""Rendering of 3D Gaussians with gsplat's signature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._spherical_harmonics import coefficients_of
from lumigrad.compat.gsplat._visible import MIN_ALPHA, Packing, screen_radii
from lumigrad.ops import splat
from lumigrad.ops.splat._spherical_harmonics import eyes
from lumigrad.reference.splat._finite import finite_or_zero, finite_rows
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats
from lumigrad.types.view import View

CAMERA_MODELS = {"pinhole": "perspective", "ortho": "orthographic", "fisheye": "fisheye"}
RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
RASTERIZE_MODES = ("classic", "antialiased")


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: Tensor | None = None,
    with_ut: bool = False,
    with_eval3d: bool = False,
    radial_coeffs: Tensor | None = None,
    tangential_coeffs: Tensor | None = None,
    thin_prism_coeffs: Tensor | None = None,
    ftheta_coeffs: Any = None,
    rolling_shutter: Any = None,
    viewmats_rs: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render 3D Gaussians in C cameras.

    Args:
        means: [N, 3]. quats: (w, x, y, z) of any length [N, 4]. scales: [N, 3]. opacities: [N].
        colors: [N, D] or [C, N, D]; with `sh_degree` coefficients [N, K, D] or [C, N, K, D], K at least
            (sh_degree + 1)^2, whose sum plus 0.5, not below 0, is the colour.
        viewmats: world to camera, x right, y down, z forward [C, 4, 4].
        Ks: [C, 3, 3], in pixels; for "ortho" the focal lengths are pixels per world unit. A skew has no effect.
        near_plane, far_plane: what is not between is not drawn.
        radius_clip: what has no larger radius on the image is not drawn, in pixels.
        eps2d: added to the variances on the image, square pixels.
        packed: whether `meta` lists only what is visible, in one row for all cameras.
        backgrounds: [C, D], 0 by default; has no part in depth.
        render_mode: "RGB"; "D": the sum of depths times weights; "ED": that divided by alpha, the expected depth;
            "RGB+D" and "RGB+ED": colours, and depth as one channel more.
        rasterize_mode: "antialiased" takes from the opacity what `eps2d` adds to the area.
        camera_model: "pinhole", "ortho" or "fisheye".
        tile_size, channel_chunk, segmented: do not change the result; lumigrad has tiles of its own and no limit
            to channels. `tile_size` is handed on in `meta`.

    Returns:
        Image [C, height, width, D, D + 1 or 1], alpha [C, height, width, 1], and `meta`: "means2d" (pixels, the
        outer corner of the top left one is (0, 0)), "radii" (int32, along x and y, 0 if not visible), "depths",
        "conics", "opacities" (as used) of shape [C, N, ...], or [nnz, ...] if packed, then with "camera_ids",
        "gaussian_ids" and "batch_ids"; "width", "height", "tile_size", "tile_width", "tile_height", "n_cameras" and
        "n_batches" (1). ``meta["means2d"].retain_grad()`` gives the gradients that densification goes by. There are no
        lists of intersections with tiles. Gradients reach every tensor given.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.
        NotImplementedError: for sparse_grad, absgrad, distributed, covars, with_ut, with_eval3d, coefficients of
            distortion and a rolling shutter.
    """
    _refuse(
        sparse_grad=sparse_grad, absgrad=absgrad, distributed=distributed, covars=covars, with_ut=with_ut,
        with_eval3d=with_eval3d, radial_coeffs=radial_coeffs, tangential_coeffs=tangential_coeffs,
        thin_prism_coeffs=thin_prism_coeffs, ftheta_coeffs=ftheta_coeffs, viewmats_rs=viewmats_rs,
        rolling_shutter=getattr(rolling_shutter, "name", rolling_shutter) not in (None, "GLOBAL"),
    )  # fmt: skip
    size = check.size((height, width))
    _check_options(render_mode, rasterize_mode, camera_model, tile_size)
    if not 0 <= near_plane < far_plane:
        raise ValueError(f"near_plane, far_plane: expected 0 <= near < far, got {near_plane}, {far_plane}")
    means, opacities, viewmats, Ks = _checked(means, opacities, viewmats, Ks)
    features = _features(colors, sh_degree, means, viewmats)
    if backgrounds is not None:
        backgrounds = check.floating("backgrounds", backgrounds, means, "means")
        check.shape("backgrounds", backgrounds, (viewmats.shape[0], features.shape[-1]))
    flip = viewmats.new_tensor([1.0, -1, -1, 1])[:, None]
    view = View(
        flip * viewmats, Ks[:, 0, 0], Ks[:, 1, 1], Ks[:, 0, 2], Ks[:, 1, 2], size, CAMERA_MODELS[camera_model],
        near_plane, far_plane,
    )  # fmt: skip
    xy, conics, depths, compensations = splat.project_gaussians(means, quats, scales, view, blur=eps2d)
    opacities = (
        finite_or_zero(opacities) * compensations if rasterize_mode == "antialiased" else opacities.expand(depths.shape)
    )
    radii = screen_radii(xy, conics, depths, opacities, size, radius_clip)
    meta = {
        "width": width, "height": height, "tile_size": tile_size, "tile_width": -(-width // tile_size),
        "tile_height": -(-height // tile_size), "n_cameras": viewmats.shape[0], "n_batches": 1,
    }  # fmt: skip
    listed, (xy, conics, depths, opacities) = _list(xy, conics, depths, opacities, radii, packed)
    if "RGB" not in render_mode:
        features, backgrounds = features[..., :0], None
    out = splat.splat(
        xy, conics, depths, features, size, opacities, backgrounds, max_alpha=0.99, min_alpha=MIN_ALPHA, stop=1e-4
    )
    return _image(out, render_mode), out.alpha[..., None], {**meta, **listed}


def _list(
    xy: Tensor, conics: Tensor, depths: Tensor, opacities: Tensor, radii: Tensor, packed: bool
) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """What is said of single Gaussians, and the tensors [C, N, ...] to composite.

    The latter are made of the former: that is how what is handed out gets gradients.
    """
    visible = (radii > 0).all(-1)
    names = ("means2d", "conics", "depths", "opacities", "radii")
    if not packed:
        listed = dict(zip(names, (xy, conics, torch.where(visible, depths, 0), opacities, radii)))
        return listed, (xy, conics, torch.where(visible, listed["depths"], torch.nan), opacities)
    packing = Packing.of(visible)
    listed = {name: packing.pack(value) for name, value in zip(names, (xy, conics, depths, opacities, radii))}
    fills = (0.0, 0.0, torch.nan, 0.0)
    composited = tuple(packing.unpack(listed[name], fill) for name, fill in zip(names, fills))
    listed.update(
        camera_ids=packing.camera_ids, gaussian_ids=packing.gaussian_ids,
        batch_ids=torch.zeros_like(packing.camera_ids),
    )  # fmt: skip
    return listed, composited


def _check_options(render_mode: str, rasterize_mode: str, camera_model: str, tile_size: int) -> None:
    _one_of("render_mode", render_mode, RENDER_MODES)
    _one_of("rasterize_mode", rasterize_mode, RASTERIZE_MODES)
    _one_of("camera_model", camera_model, tuple(CAMERA_MODELS))
    if isinstance(tile_size, bool) or not isinstance(tile_size, int) or tile_size < 1:
        raise ValueError(f"tile_size: expected a positive integer, got {tile_size!r}")


def _checked(means: Tensor, opacities: Tensor, viewmats: Tensor, Ks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    means = check.floating("means", means)
    opacities, viewmats, Ks = (
        check.floating(name, value, means, "means")
        for name, value in (("opacities", opacities), ("viewmats", viewmats), ("Ks", Ks))
    )
    check.shape("means", means, ("N", 3))
    check.shape("opacities", opacities, (means.shape[0],))
    check.shape("viewmats", viewmats, ("C", 4, 4))
    check.shape("Ks", Ks, (viewmats.shape[0], 3, 3))
    return means, opacities, viewmats, Ks


def _refuse(**options: Any) -> None:
    """Complain about the first option that is in use."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise NotImplementedError(f"{name}: not offered by lumigrad's rasterization; leave it at its default")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")


def _features(colors: Tensor, sh_degree: int | None, means: Tensor, viewmats: Tensor) -> Tensor:
    """The colours [N, D] or [C, N, D], from harmonics if there is a degree."""
    colors = check.floating("colors", colors, means, "means")
    views, count = viewmats.shape[0], means.shape[0]
    inner = 1 if sh_degree is None else 2
    if tuple(colors.shape[:-inner]) not in ((count,), (views, count)):
        tail = "D" if sh_degree is None else "K, D"
        raise ValueError(
            f"colors: expected shape [{count}, {tail}] or [{views}, {count}, {tail}], got {tuple(colors.shape)}"
        )
    if sh_degree is None:
        return colors
    used = coefficients_of(sh_degree, colors, "sh_degree", "colors")
    directions = finite_rows(means) - eyes(viewmats)
    if used.dim() == 4:
        directions, used = directions.flatten(0, 1), used.flatten(0, 1)
    return (splat.spherical_harmonics(used, directions) + 0.5).clamp(min=0).view(views, count, -1)


def _image(out: Splats, render_mode: str) -> Tensor:
    """The channels that a mode asks for."""
    if render_mode == "RGB":
        return out.image
    assert out.depth is not None
    depth = out.depth / out.alpha.clamp(min=1e-10) if render_mode.endswith("ED") else out.depth
    return torch.cat((out.image, depth[..., None]), -1)
