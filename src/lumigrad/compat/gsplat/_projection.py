"""Projection of Gaussians to the image with gsplat's signature and culling."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.gsplat._arguments import CAMERA_MODELS, merged, one_of, refuse
from lumigrad.compat.gsplat._covariances import full
from lumigrad.compat.gsplat._visible import Packing, screen_radii
from lumigrad.ops import splat
from lumigrad.reference.splat._finite import finite_or_zero, finite_rows
from lumigrad.reference.splat._project_gaussians import are_ellipses, footprints, linearised
from lumigrad.types import validation as check
from lumigrad.types.splats import ProjectedGaussians
from lumigrad.types.view import View


class Shapes(NamedTuple):
    """What Gaussians look like in the world: covariances [B, N, 3, 3], or `quats` [B, N, 4] and `scales` [B, N, 3]."""

    covars: Tensor | None
    quats: Tensor | None
    scales: Tensor | None

    @classmethod
    def of(cls, covars: Tensor | None, quats: Tensor | None, scales: Tensor | None, means: Tensor) -> Shapes:
        """Checked, with means [..., N, 3]; the dimensions before N become one."""
        count, batch = means.shape[-2], tuple(means.shape[:-2])
        if covars is not None:
            covars = full(check.floating("covars", covars, means, "means"))
            check.shape("covars", covars, (*batch, count, 3, 3))
            return cls(merged(covars, 3), None, None)
        if quats is None or scales is None:
            raise ValueError("quats, scales: expected both, or covars, got None")
        quats, scales = check.floating("quats", quats, means, "means"), check.floating("scales", scales, means, "means")
        check.shape("quats", quats, (*batch, count, 4))
        check.shape("scales", scales, (*batch, count, 3))
        return cls(None, merged(quats, 2), merged(scales, 2))


def view_of(viewmats: Tensor, Ks: Tensor, size: tuple[int, int], camera_model: str, near: float, far: float) -> View:
    """Cameras [C, 4, 4] that look along +z, with y down, as lumigrad's."""
    flip = viewmats.new_tensor([1.0, -1, -1, 1])[:, None]
    return View(
        flip * viewmats, Ks[..., 0, 0], Ks[..., 1, 1], Ks[..., 0, 2], Ks[..., 1, 2], size,
        CAMERA_MODELS[camera_model], near, far,
    )  # fmt: skip


def project(
    means: Tensor, shapes: Shapes, viewmats: Tensor, Ks: Tensor, size: tuple[int, int], camera_model: str,
    near: float, far: float, blur: float,
) -> ProjectedGaussians:  # fmt: skip
    """Gaussians [B, N, ...] as cameras [B, C, ...] see them: [B * C, N, ...]."""
    parts = []
    for i, (centres, matrices, intrinsics) in enumerate(zip(means, viewmats, Ks)):
        view = view_of(matrices, intrinsics, size, camera_model, near, far)
        if shapes.covars is not None:
            parts.append(_project_covariances(centres, shapes.covars[i], view, blur))
        else:
            assert shapes.quats is not None
            assert shapes.scales is not None
            parts.append(splat.project_gaussians(centres, shapes.quats[i], shapes.scales[i], view, blur=blur))
    return parts[0] if len(parts) == 1 else ProjectedGaussians(*map(torch.cat, zip(*parts)))


def _project_covariances(means: Tensor, covars: Tensor, view: View, blur: float) -> ProjectedGaussians:
    finite = covars.isfinite().all(-1).all(-1)
    xy, jacobian, depths, seen = linearised(means, finite, view)
    covars = finite_rows(covars.flatten(-2)).view_as(covars)
    flat = (jacobian @ covars @ jacobian.transpose(-1, -2)).detach()
    seen = seen & are_ellipses(flat, blur)
    jacobian = torch.where(seen[..., None, None], jacobian, 0)
    return footprints(xy, jacobian @ covars @ jacobian.transpose(-1, -2), depths, seen, blur)


def check_cameras(means: Tensor, viewmats: Tensor, Ks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means [..., N, 3], viewmats [..., C, 4, 4] and Ks [..., C, 3, 3] of the same batch."""
    means = check.floating("means", means)
    viewmats, Ks = check.floating("viewmats", viewmats, means, "means"), check.floating("Ks", Ks, means, "means")
    if means.dim() < 2 or means.shape[-1] != 3:
        raise ValueError(f"means: expected shape [..., N, 3], got {tuple(means.shape)}")
    batch = tuple(means.shape[:-2])
    if 0 in batch:
        raise ValueError(f"means: expected at least one scene, got shape {tuple(means.shape)}")
    check.shape("viewmats", viewmats, (*batch, "C", 4, 4))
    check.shape("Ks", Ks, (*batch, viewmats.shape[-3], 3, 3))
    return means, viewmats, Ks


def check_planes(near_plane: float, far_plane: float) -> None:
    if not 0 <= near_plane < far_plane:
        raise ValueError(f"near_plane, far_plane: expected 0 <= near < far, got {near_plane}, {far_plane}")


def fully_fused_projection(
    means: Tensor,
    covars: Tensor | None,
    quats: Tensor | None,
    scales: Tensor | None,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    eps2d: float = 0.3,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    packed: bool = False,
    sparse_grad: bool = False,
    calc_compensations: bool = False,
    camera_model: str = "pinhole",
    opacities: Tensor | None = None,
) -> tuple[Tensor | None, ...]:
    """Project Gaussians to the images of cameras.

    Args:
        means: [..., N, 3]. covars: upper triangles [..., N, 6] or matrices [..., N, 3, 3]; without them `quats`
            [..., N, 4] and `scales` [..., N, 3].
        viewmats, Ks, near_plane, far_plane, radius_clip, eps2d, camera_model: as for `rasterization`.
        opacities: [..., N]. With them boxes end where opacity is 1/255, and what is fainter has none.

    Returns:
        Radii (half the sides of the boxes in pixels, int32, 0 for what is not seen), means in pixels, depths, conics
        and compensations (None without `calc_compensations`), of shape [..., C, N, ...]. With `packed` the indices of
        batches, cameras and Gaussians (int64), the number of entries before each image and in all (int32), and these
        five, of what is seen alone [nnz, ...].

    Raises:
        TypeError, ValueError: wrong types, shapes, devices or names.
        NotImplementedError: `sparse_grad`.
    """
    refuse({}, sparse_grad=sparse_grad)
    size = check.size((height, width))
    one_of("camera_model", camera_model, tuple(CAMERA_MODELS))
    check_planes(near_plane, far_plane)
    means, viewmats, Ks = check_cameras(means, viewmats, Ks)
    batch, cameras, count = tuple(means.shape[:-2]), viewmats.shape[-3], means.shape[-2]
    xy, conics, depths, compensations = project(
        merged(means, 2), Shapes.of(covars, quats, scales, means), merged(viewmats, 3),
        merged(Ks, 3), size, camera_model, near_plane, far_plane, eps2d,
    )  # fmt: skip
    if opacities is not None:
        check.shape("opacities", opacities, (*batch, count))
        opacities = merged(opacities.expand(cameras, *opacities.shape).movedim(0, -2), 1)
        opacities = finite_or_zero(opacities) * compensations if calc_compensations else opacities
    radii = screen_radii(xy, conics, depths, opacities, size, radius_clip)
    visible = (radii > 0).all(-1)
    values = (radii, xy, torch.where(visible, depths, 0), conics, compensations if calc_compensations else None)
    if not packed:
        return tuple(v if v is None else v.view(*batch, cameras, count, *v.shape[2:]) for v in values)
    packing = Packing.of(visible)
    offsets = torch.cat((visible.new_zeros(1, dtype=torch.int64), visible.sum(-1).cumsum(0))).int()
    return (
        packing.image_ids // cameras, packing.image_ids % cameras, packing.gaussian_ids, offsets,
        *(v if v is None else packing.pack(v) for v in values),
    )  # fmt: skip
