"""Rendering of 3D Gaussians with gsplat's signature."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._arguments import CAMERA_MODELS, LINEARISED, UNDISTORT, merged, one_of, refuse
from lumigrad.compat.gsplat._features import features_of
from lumigrad.compat.gsplat._projection import Shapes, check_cameras, check_planes, project
from lumigrad.compat.gsplat._visible import MAX_ALPHA, MIN_ALPHA, STOP, Packing, screen_radii
from lumigrad.ops import splat
from lumigrad.reference.splat._finite import finite_or_zero
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
HIT_MODES = ("d", "Ed", "RGB-d", "RGB-Ed")
RASTERIZE_MODES = ("classic", "antialiased")
PLANE = "Gaussians are drawn in the image plane alone; leave it at its default"
ADVICE = {
    "sparse_grad": "gradients are dense",
    "absgrad": "gradients of means2d are sums with signs; use retain_grad() and a lower threshold",
    "distributed": "wrap the program in torch.nn.parallel.DistributedDataParallel, which divides cameras",
    "with_ut": LINEARISED, "ut_params": LINEARISED, "global_z_order": "the order is that of depths",
    "with_eval3d": PLANE, "return_normals": PLANE + "; rasterization_2dgs returns normals", "rays": PLANE,
    "renderer_config": PLANE, "radial_coeffs": UNDISTORT, "tangential_coeffs": UNDISTORT,
    "thin_prism_coeffs": UNDISTORT, "ftheta_coeffs": UNDISTORT, "external_distortion_coeffs": UNDISTORT,
    "lidar_coeffs": "render with cameras", "rolling_shutter": "give each image one pose",
    "viewmats_rs": "give each image one pose",
}  # fmt: skip


def rasterization(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    colors: Tensor | None,
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
    tile_size: int | None = None,
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
    return_normals: bool = False,
    global_z_order: bool = True,
    rays: Tensor | None = None,
    radial_coeffs: Tensor | None = None,
    tangential_coeffs: Tensor | None = None,
    thin_prism_coeffs: Tensor | None = None,
    ftheta_coeffs: Any = None,
    lidar_coeffs: Any = None,
    external_distortion_coeffs: Any = None,
    rolling_shutter: Any = None,
    viewmats_rs: Tensor | None = None,
    ut_params: Any = None,
    extra_signals: Tensor | None = None,
    extra_signals_sh_degree: int | None = None,
    renderer_config: Any = None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render 3D Gaussians in C cameras, of one scene or of a batch of them (...).

    Args:
        means: [..., N, 3]. quats: (w, x, y, z) of any length [..., N, 4]. scales: [..., N, 3]. opacities: [..., N].
        colors: [..., N, D] or [..., C, N, D]; with `sh_degree` coefficients [N, K, D] or [C, N, K, D], K at least
            (sh_degree + 1)^2, whose sum plus 0.5, not below 0, is the colour. None if `render_mode` has no colour.
        viewmats: world to camera, x right, y down, z forward [..., C, 4, 4].
        Ks: [..., C, 3, 3], in pixels; for "ortho" the focal lengths are pixels per world unit. A skew has no effect.
        near_plane, far_plane: what is not between is not drawn.
        radius_clip: what has no larger radius on the image is not drawn, in pixels.
        eps2d: added to the variances on the image, square pixels.
        packed: whether `meta` lists only what is visible, in one row for all cameras.
        backgrounds: [..., C, D], 0 by default; has no part in depth and in `extra_signals`.
        render_mode: "RGB"; "D": the sum of depths times weights; "ED": that divided by alpha, the expected depth;
            "RGB+D" and "RGB+ED": colours, and depth as one channel more.
        rasterize_mode: "antialiased" takes from the opacity what `eps2d` adds to the area.
        camera_model: "pinhole", "ortho" or "fisheye".
        covars: covariances [..., N, 3, 3], in place of `quats` and `scales`.
        extra_signals: further features [..., N, E] or [..., C, N, E]; with `extra_signals_sh_degree` coefficients
            [N, K, E], whose sum plus 0.5 is the feature.
        tile_size, channel_chunk, segmented: do not change the result; lumigrad has tiles of its own and no limit
            to channels. `tile_size` (16 by default) is handed on in `meta`.

    Returns:
        Image [..., C, height, width, D, D + 1 or 1], alpha [..., C, height, width, 1], and `meta`: "means2d" (pixels,
        the outer corner of the top left one is (0, 0)), "radii" (int32, along x and y, 0 if not visible), "depths",
        "conics", "opacities" (as used) of shape [..., C, N, ...], or [nnz, ...] if packed, then with "camera_ids",
        "gaussian_ids" and "batch_ids" (None otherwise); "width", "height", "tile_size", "tile_width", "tile_height",
        "n_cameras", "n_batches", and "render_extra_signals" [..., C, height, width, E] if there are any.
        ``meta["means2d"].retain_grad()`` gives the gradients that densification goes by. Lists of tiles are not in it;
        `isect_tiles` makes them. Gradients reach every tensor given.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.
        NotImplementedError: for render modes of hit distances ("d", "Ed", "RGB-d", "RGB-Ed") and for sparse_grad,
            absgrad, distributed, with_ut, with_eval3d, return_normals, global_z_order=False, rays, coefficients of
            distortion and of lidars, a rolling shutter, ut_params and renderer_config, if they are in use.
    """
    refuse(
        ADVICE, sparse_grad=sparse_grad, absgrad=absgrad, distributed=distributed, with_ut=with_ut,
        with_eval3d=with_eval3d, return_normals=return_normals, global_z_order=not global_z_order, rays=rays,
        radial_coeffs=radial_coeffs, tangential_coeffs=tangential_coeffs, thin_prism_coeffs=thin_prism_coeffs,
        ftheta_coeffs=ftheta_coeffs, lidar_coeffs=lidar_coeffs, external_distortion_coeffs=external_distortion_coeffs,
        viewmats_rs=viewmats_rs, ut_params=ut_params, renderer_config=_other_config(renderer_config),
        rolling_shutter=getattr(rolling_shutter, "name", rolling_shutter) not in (None, "GLOBAL"),
    )  # fmt: skip
    if render_mode in HIT_MODES:
        raise NotImplementedError(f"render_mode: {render_mode!r} is not offered; {PLANE.partition(';')[0]}; use 'ED'")
    size, tile_size = check.size((height, width)), 16 if tile_size is None else tile_size
    _check_options(render_mode, rasterize_mode, camera_model, tile_size)
    check_planes(near_plane, far_plane)
    means, viewmats, Ks = check_cameras(means, viewmats, Ks)
    batch, cameras, count = tuple(means.shape[:-2]), viewmats.shape[-3], means.shape[-2]
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (*batch, count))
    shapes = Shapes.of(covars, quats, scales, means)
    colors = colors if "RGB" in render_mode else None
    if colors is None and "RGB" in render_mode:
        raise ValueError(f"colors: expected a tensor for render_mode={render_mode!r}, got None")
    features, backgrounds, extra = features_of(
        colors, sh_degree, extra_signals, extra_signals_sh_degree, backgrounds, means, viewmats
    )
    xy, conics, depths, compensations = project(
        merged(means, 2), shapes, merged(viewmats, 3), merged(Ks, 3), size,
        camera_model, near_plane, far_plane, eps2d,
    )  # fmt: skip
    strengths = merged(opacities.expand(cameras, *opacities.shape).movedim(0, -2), 1)
    if rasterize_mode == "antialiased":
        strengths = finite_or_zero(strengths) * compensations
    radii = screen_radii(xy, conics, depths, strengths, size, radius_clip)
    listed, composited = _list(xy, conics, depths, strengths, radii, None if packed else (*batch, cameras), cameras)
    xy, conics, depths, strengths = composited
    out = splat.splat(
        xy, conics, depths, features, size, strengths, backgrounds, max_alpha=MAX_ALPHA, min_alpha=MIN_ALPHA, stop=STOP
    )
    colored = out._replace(image=out.image[..., : out.image.shape[-1] - extra])
    meta = {
        **listed, "width": width, "height": height, "tile_size": tile_size, "tile_width": -(-width // tile_size),
        "tile_height": -(-height // tile_size), "n_cameras": cameras, "n_batches": math.prod(batch),
    }  # fmt: skip
    if extra_signals is not None:
        signals = out.image[..., out.image.shape[-1] - extra :]
        meta["render_extra_signals"] = signals.unflatten(0, (*batch, cameras))
    return (
        image_of(colored, render_mode).unflatten(0, (*batch, cameras)),
        out.alpha[..., None].unflatten(0, (*batch, cameras)), meta,
    )  # fmt: skip


def _list(
    xy: Tensor, conics: Tensor, depths: Tensor, opacities: Tensor, radii: Tensor, dims: tuple[int, ...] | None,
    cameras: int,
) -> tuple[dict[str, Tensor | None], tuple[Tensor, ...]]:  # fmt: skip
    """What is said of single Gaussians, and the tensors [images, N, ...] to composite.

    The latter are made of the former: that is how what is handed out gets gradients. `dims` replace the first
    dimension; None is for packed lists.
    """
    visible = (radii > 0).all(-1)
    names = ("means2d", "conics", "depths", "opacities", "radii")
    if dims is not None:
        values = (xy, conics, torch.where(visible, depths, 0), opacities, radii)
        listed = {name: value.unflatten(0, dims) for name, value in zip(names, values)}
        xy, conics, depths, opacities = (listed[name].flatten(0, len(dims) - 1) for name in names[:4])
        ids = dict.fromkeys(("batch_ids", "camera_ids", "gaussian_ids"))
        return {**ids, **listed}, (xy, conics, torch.where(visible, depths, torch.nan), opacities)
    packing = Packing.of(visible)
    listed = {name: packing.pack(value) for name, value in zip(names, (xy, conics, depths, opacities, radii))}
    fills = (0.0, 0.0, torch.nan, 0.0)
    composited = tuple(packing.unpack(listed[name], fill) for name, fill in zip(names, fills))
    return {
        "batch_ids": packing.image_ids // cameras, "camera_ids": packing.image_ids % cameras,
        "gaussian_ids": packing.gaussian_ids, **listed,
    }, composited  # fmt: skip


def _check_options(render_mode: str, rasterize_mode: str, camera_model: str, tile_size: int) -> None:
    one_of("render_mode", render_mode, RENDER_MODES)
    one_of("rasterize_mode", rasterize_mode, RASTERIZE_MODES)
    one_of("camera_model", camera_model, tuple(CAMERA_MODELS))
    if isinstance(tile_size, bool) or not isinstance(tile_size, int) or tile_size < 1:
        raise ValueError(f"tile_size: expected a positive integer, got {tile_size!r}")


def _other_config(config: Any) -> Any:
    """A choice of kernels, unless it is the one that says nothing."""
    return None if type(config).__name__ == "RendererConfig_MixedBatch" else config


def image_of(out: Splats, render_mode: str) -> Tensor:
    """The channels that a mode asks for."""
    if render_mode == "RGB":
        return out.image
    assert out.depth is not None
    depth = out.depth / out.alpha.clamp(min=1e-10) if render_mode.endswith("ED") else out.depth
    return torch.cat((out.image, depth[..., None]), -1)
