"""Rendering of Gaussian surfels with gsplat's signature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.gsplat._arguments import one_of, refuse
from lumigrad.compat.gsplat._features import features_of
from lumigrad.compat.gsplat._projection import check_cameras, check_planes, view_of
from lumigrad.compat.gsplat._rasterization import ADVICE, RENDER_MODES, image_of
from lumigrad.compat.gsplat._visible import screen_radii
from lumigrad.fit.normals import normals_from_depth
from lumigrad.ops import installation
from lumigrad.ops.splat._surface_splats import ellipses
from lumigrad.ops.splat._surfel_projection import project_surfels
from lumigrad.ops.splat._surfels import composite_surfels
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats

LOW_PASS = 0.5  # square pixels
DEPTH_MODES = ("expected", "median")


def rasterization_2dgs(
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
    packed: bool = False,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    distloss: bool = False,
    depth_mode: str = "expected",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """Render Gaussian surfels in C pinhole cameras.

    Args:
        means: [N, 3]. quats: (w, x, y, z) of any length [N, 4]. opacities: [N].
        scales: [N, 3] or [N, 2]; the third has no effect.
        colors, viewmats, Ks, near_plane, far_plane, radius_clip, sh_degree, backgrounds, render_mode: as for
            `rasterization`.
        depth_mode: which depth the returned normals of depth are those of, "expected" or "median".
        eps2d, tile_size, distloss: do not change the result; the distortion is there in any case.

    Returns:
        Image [C, height, width, D, D + 1 or 1], alpha [.., 1], normals [.., 3] (in the world, weighted), normals of the
        depth [.., 3] (in the world; None if `render_mode` has no depth), distortion [.., 1], median depth [.., 1], and
        `meta`: "means2d" and "gradient_2dgs" (one tensor, whose ``retain_grad()`` gives the gradients that
        densification goes by), "radii" (int32, along x and y, 0 if not visible), "depths", "normals", "opacities",
        each [C, N, ...], "width", "height", "tile_size", "n_cameras", "render_distort". Gradients reach every tensor.

        Depth is that at which rays cut the surfels, in the image too. The distortion is that of `lumigrad.surfels` in
        depth: squared differences, where the original has absolute ones, so that its weight in a loss needs another
        value.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or names.
        NotImplementedError: for packed, sparse_grad and absgrad; on devices that have no kernels.
    """
    refuse(ADVICE, packed=packed, sparse_grad=sparse_grad, absgrad=absgrad)
    size = check.size((height, width))
    one_of("render_mode", render_mode, RENDER_MODES)
    one_of("depth_mode", depth_mode, DEPTH_MODES)
    check_planes(near_plane, far_plane)
    means, viewmats, Ks = check_cameras(means, viewmats, Ks)
    check.shape("means", means, ("N", 3))
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (len(means),))
    if means.device.type != "cpu" and not (means.is_cuda and installation.cuda_available(means.device)):
        raise NotImplementedError(
            f"means: rasterization_2dgs has no kernel for {means.device.type}; lumigrad.surfels runs there"
        )
    scales, quats = check.floating("scales", scales, means, "means"), check.floating("quats", quats, means, "means")
    if tuple(scales.shape) not in ((len(means), 3), (len(means), 2)):
        raise ValueError(f"scales: expected shape [{len(means)}, 3] or [{len(means)}, 2], got {tuple(scales.shape)}")
    check.shape("quats", quats, (len(means), 4))
    features, backgrounds, _ = features_of(
        colors if "RGB" in render_mode else None, sh_degree, None, None, backgrounds, means, viewmats
    )
    backgrounds = features.new_zeros(features.shape[-1]) if backgrounds is None else backgrounds
    view = view_of(viewmats, Ks, size, "pinhole", near_plane, far_plane)
    fx, fy, cx, cy = Ks[:, 0, 0], Ks[:, 1, 1], Ks[:, 0, 2], Ks[:, 1, 2]
    intrinsics = torch.stack((fx, fy, cx, cy), -1)
    projected = project_surfels(means, quats, scales[:, :2], view, intrinsics)
    xy, shapes, depths, facing = projected
    conics = ellipses(shapes.detach(), torch.ones_like(opacities), LOW_PASS)[0]
    strengths = opacities.expand(depths.shape)
    radii = screen_radii(xy, conics, depths, strengths, size, radius_clip)
    visible = (radii > 0).all(-1)
    projected = projected._replace(depths=torch.where(visible, depths, torch.nan))
    out = composite_surfels(projected, opacities, features, backgrounds, size)
    image = image_of(Splats(out.image, out.alpha, out.depth), render_mode)
    from_depth = None
    if render_mode != "RGB":
        expected = out.depth / out.alpha.clamp(min=1e-10)
        camera = PerspectiveCamera(view.matrix, fx, fy, cx, cy, size)
        from_depth = normals_from_depth(out.median_depth if depth_mode == "median" else expected, camera)
    meta = {
        "means2d": xy, "gradient_2dgs": xy, "radii": radii, "depths": torch.where(visible, depths, 0),
        "normals": facing, "opacities": strengths, "width": width, "height": height, "tile_size": tile_size,
        "n_cameras": len(viewmats), "render_distort": out.distortion[..., None],
    }  # fmt: skip
    return (
        image, out.alpha[..., None], out.normals, from_depth, out.distortion[..., None], out.median_depth[..., None],
        meta,
    )  # fmt: skip
