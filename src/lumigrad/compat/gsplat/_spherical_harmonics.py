"""Spherical harmonics with the degree as an argument."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.compat.gsplat._arguments import merged
from lumigrad.types import validation as check


def spherical_harmonics(
    degrees_to_use: int,
    means: Tensor | None = None,
    viewmats: Tensor | None = None,
    coeffs: Tensor | None = None,
    masks: Tensor | None = None,
    batch_ids: Tensor | None = None,
    camera_ids: Tensor | None = None,
    gaussian_ids: Tensor | None = None,
    viewmats_rs: Tensor | None = None,
    *,
    dirs: Tensor | None = None,
) -> Tensor:
    """Evaluate spherical harmonics up to a degree, for cameras (gsplat 1.6) or for directions (gsplat 1.5).

    The latter is ``spherical_harmonics(degrees_to_use, dirs, coeffs, masks)``, by position or by name.

    Args:
        degrees_to_use: 0 to 4.
        means: where the functions are seen [..., N, 3], from cameras with `viewmats` [..., C, 4, 4]. With
            `viewmats_rs` it is from half way between these and those.
        dirs: directions [..., 3], of any length, in place of the three.
        coeffs: coefficients [N, K, D], K at least (degrees_to_use + 1)^2; the rest is not used. [..., K, D] with
            `dirs`, [nnz, K, D] with the three lists of ids.
        masks: bool, of the shape of the result but for its channels; where False the result is 0.
        batch_ids, camera_ids, gaussian_ids: which Gaussians are seen from where, [nnz] each, in place of all.

    Returns:
        [..., C, N, D], [..., D] with `dirs`, or [nnz, D]; nothing is added and nothing clamped. Gradients reach all.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.
    """
    if dirs is None and (viewmats is None or coeffs is None or coeffs.dtype == torch.bool):
        dirs, means = means, None
        if viewmats is not None:
            viewmats, coeffs, masks = None, viewmats, masks if coeffs is None else coeffs
    if coeffs is None:
        raise ValueError("coeffs: expected a tensor, got None")
    if dirs is not None:
        return _seen_along(degrees_to_use, dirs, coeffs, masks)
    directions, coeffs = _from_cameras(means, viewmats, coeffs, (batch_ids, camera_ids, gaussian_ids), viewmats_rs)
    return _masked(_evaluate(_used(degrees_to_use, coeffs), directions), masks)


def spherical_harmonics_l0(sh0: Tensor) -> Tensor:
    """The constant part of spherical harmonics: [N, D] of coefficients [N, 1, D]."""
    sh0 = _coefficients("sh0", sh0)
    check.shape("sh0", sh0, ("N", 1, "D"))
    return 0.28209479177387814 * sh0[:, 0]


def spherical_harmonics_l1_plus(
    degrees_to_use: int,
    means: Tensor,
    viewmats: Tensor,
    shN: Tensor,
    masks: Tensor | None = None,
    batch_ids: Tensor | None = None,
    camera_ids: Tensor | None = None,
    gaussian_ids: Tensor | None = None,
    viewmats_rs: Tensor | None = None,
) -> Tensor:
    """Spherical harmonics without their constant part: as `spherical_harmonics`, of coefficients [N, K - 1, D]."""
    shN = _coefficients("shN", shN)
    check.shape("shN", shN, ("N", "K - 1", "D"))
    directions, shN = _from_cameras(means, viewmats, shN, (batch_ids, camera_ids, gaussian_ids), viewmats_rs)
    coeffs = torch.cat((shN.new_zeros(len(shN), 1, shN.shape[-1]), shN), -2)
    return _masked(_evaluate(_used(degrees_to_use, coeffs, "shN", 1), directions), masks)


def _seen_along(degree: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None) -> Tensor:
    coeffs = _coefficients("coeffs", coeffs)
    dirs = check.floating("dirs", dirs, coeffs, "coeffs")
    used = coefficients_of(degree, coeffs, "degrees_to_use", "coeffs")
    if dirs.shape[-1:] != (3,) or dirs.shape[:-1] != coeffs.shape[:-2]:
        raise ValueError(f"dirs: expected shape {[*coeffs.shape[:-2], 3]}, got {tuple(dirs.shape)}")
    return _masked(reference.spherical_harmonics(used, dirs), masks)


def _from_cameras(
    means: Tensor | None, viewmats: Tensor | None, coeffs: Tensor, ids: tuple[Tensor | None, ...],
    viewmats_rs: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Directions from cameras to Gaussians [..., C, N, 3] or [nnz, 3], and the coefficients of their type."""
    means = check.floating("means", means)
    viewmats = check.floating("viewmats", viewmats, means, "means")
    batch, count = tuple(means.shape[:-2]), means.shape[-2]
    check.shape("viewmats", viewmats, (*batch, "C", 4, 4))
    eye = eyes_of(viewmats)
    if viewmats_rs is not None:
        check.shape("viewmats_rs", viewmats_rs, tuple(viewmats.shape))
        eye = (eye + eyes_of(viewmats_rs)) / 2
    coeffs = _coefficients("coeffs", coeffs).to(means.dtype)
    given = [name for name, value in zip(("batch_ids", "camera_ids", "gaussian_ids"), ids) if value is not None]
    if len(given) not in (0, 3):
        raise ValueError(f"batch_ids, camera_ids, gaussian_ids: expected all or none, got {' and '.join(given)} alone")
    if not given:
        check.shape("coeffs", coeffs, (count, "K", "D"))
        return means[..., None, :, :] - eye[..., None, :], coeffs
    scenes, cameras, rows = (value.long() for value in ids if value is not None)
    check.shape("coeffs", coeffs, (len(rows), "K", "D"))
    return merged(means, 2)[scenes, rows] - merged(eye, 2)[scenes, cameras], coeffs


def _evaluate(coeffs: Tensor, directions: Tensor) -> Tensor:
    colors = reference.spherical_harmonics(coeffs, directions)
    if coeffs.shape[-2] > 1:
        return colors
    # The constant has a gradient of zero to where it is seen from, not none.
    nowhere = torch.zeros_like(directions[..., :1], dtype=torch.bool)
    return colors + torch.where(nowhere, directions[..., :1], 0)


def eyes_of(viewmats: Tensor) -> Tensor:
    """Where rigid cameras are [..., 3]: -R^T t, which decides what the gradient of a matrix is as a matrix."""
    return -(viewmats[..., :3, :3].transpose(-1, -2) @ viewmats[..., :3, 3:])[..., 0]


def _coefficients(name: str, coeffs: Tensor) -> Tensor:
    """Coefficients, those of half precision as float32."""
    half = isinstance(coeffs, Tensor) and coeffs.dtype in (torch.float16, torch.bfloat16)
    return check.floating(name, coeffs.float() if half else coeffs)


def _used(degree: int, coeffs: Tensor, name: str = "coeffs", omitted: int = 0) -> Tensor:
    return coefficients_of(degree, coeffs, "degrees_to_use", name, omitted)


def _masked(colors: Tensor, masks: Tensor | None) -> Tensor:
    if masks is None:
        return colors
    check.tensor("masks", masks)
    check.shape("masks", masks, colors.shape[:-1])
    return colors.where(masks[..., None], 0)


def coefficients_of(degree: int, coeffs: Tensor, degree_name: str, name: str, omitted: int = 0) -> Tensor:
    """The coefficients up to a degree, [..., (degree + 1)^2, C]; `omitted` of them the caller has added."""
    if isinstance(degree, bool) or not isinstance(degree, int) or not 0 <= degree <= 4:
        raise ValueError(f"{degree_name}: expected an integer from 0 to 4, got {degree!r}")
    count = (degree + 1) ** 2
    if coeffs.dim() < 3 or coeffs.shape[-2] < count:
        shape = [*coeffs.shape[:-2], coeffs.shape[-2] - omitted, coeffs.shape[-1]] if omitted else coeffs.shape
        raise ValueError(
            f"{name}: expected shape [..., N, K, C] with K at least {count - omitted} for degree {degree}, "
            f"got {tuple(shape)}"
        )
    return coeffs[..., :count, :]
