"""Projection of 3D Gaussians to the image, defined in plain PyTorch (Zwicker et al. 2001, "EWA splatting")."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference.splat._compositing import tensors_of
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.types.splats import ProjectedGaussians
from lumigrad.types.view import View


def project_gaussians(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    view: View,
    *,
    blur: float = 0.3,
) -> ProjectedGaussians:
    """Centres, conics, depths and compensations of Gaussians. Arguments and result: `lumigrad.project_gaussians`.

    Sigma = R diag(scales^2) R^T in the world, W Sigma W^T before the camera, J W Sigma W^T J^T + blur I on the image,
    J the Jacobian of the projection at the centre (for perspective cameras with x/z and y/z kept within the image
    and 15 % of its width on either side). Gaussians that are not between near and far get depth NaN and zeros.
    """
    finite = scales.isfinite().all(-1) & quats.isfinite().all(-1)
    xy, jacobian, z, seen = linearised(means, finite, view)
    half = jacobian @ (rotations(finite_rows(quats)) * finite_rows(scales)[:, None, :])  # [N, V, 2, 3]
    covariances = half.detach() @ half.detach().transpose(-1, -2)
    seen = seen & are_ellipses(covariances, blur)
    half = torch.where(seen[..., None, None], half, 0)
    return footprints(xy, half @ half.transpose(-1, -2), z, seen, blur)


def are_ellipses(covariances: Tensor, blur: float) -> Tensor:
    """Whether covariances [..., 2, 2] can be inverted once they are blurred."""
    det = _blurred(covariances, blur)[3]
    return (det > 0) & det.isfinite()


def footprints(xy: Tensor, covariances: Tensor, depths: Tensor, seen: Tensor, blur: float) -> ProjectedGaussians:
    """The result of `project_gaussians` for covariances on the image [N, V, 2, 2], zero where not `seen`."""
    a, b, c, det, sharp = _blurred(covariances, blur)
    det = torch.where(seen, det, 1)
    ratio = (sharp / det).clamp(min=MIN_COMPENSATION**2)
    conics = torch.stack((c / det, -b / det, a / det), -1)
    keep = seen[..., None]
    return ProjectedGaussians(
        torch.where(keep, xy, 0), torch.where(keep, conics, 0), torch.where(seen, depths, torch.nan),
        torch.where(seen, ratio.sqrt(), 0),
    )  # fmt: skip


def linearised(means: Tensor, finite: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The image positions of centres, and their derivatives.

    Args:
        means: [V, 3]. finite: whether all other values of a Gaussian are finite [V].

    Returns:
        Pixels [N, V, 2], their derivatives by the world's coordinates [N, V, 2, 3], depths [N, V], and whether these
        are between near and far, and all is finite. Others are treated as if they were at distance 1 straight ahead.
    """
    matrix, fx, fy, cx, cy = tensors_of(view)
    size, projection, near, far = view[5:]
    camera = finite_rows(means) @ matrix[:, None, :3, :3].transpose(-1, -2).squeeze(1) + matrix[:, None, :3, 3]
    x, y, z = camera[..., 0], -camera[..., 1], -camera[..., 2]  # x right, y down, z into the scene
    seen = (z > near) & (z < far) & means.isfinite().all(-1) & finite
    if projection == "fisheye":  # centres so far aside that the distance overflows are not visible
        seen = seen & (x * x + y * y + z * z).isfinite()
    x, y, z = (torch.where(seen, v, fill) for v, fill in ((x, 0), (y, 0), (z, 1)))
    intrinsics = fx[:, None], fy[:, None], cx[:, None], cy[:, None]
    xy, jacobian = PROJECTIONS[projection](x, y, z, *intrinsics, size)
    turn = matrix[:, None, :3, :3] * matrix.new_tensor([1, -1, -1])[:, None]
    return xy, jacobian @ turn, z, seen


MIN_COMPENSATION = 0.005


def _blurred(cov: Tensor, blur: float) -> tuple[Tensor, ...]:
    """a, b, c of the blurred covariances [[a, b], [b, c]], their determinants, and these without the blur."""
    sharp = cov[..., 0, 0] * cov[..., 1, 1] - cov[..., 0, 1].square()
    a, b, c = cov[..., 0, 0] + blur, cov[..., 0, 1], cov[..., 1, 1] + blur
    return a, b, c, a * c - b * b, sharp


def rotations(quats: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions (w, x, y, z) of any length; of a zero one the identity."""
    norm = quats.norm(dim=-1, keepdim=True)
    unit = torch.where(norm > 0, quats / torch.where(norm > 0, norm, 1), quats.new_tensor([1.0, 0, 0, 0]))
    w, x, y, z = unit.unbind(-1)
    entries = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(entries, -1).view(*quats.shape[:-1], 3, 3)


def _perspective(x: Tensor, y: Tensor, z: Tensor, fx: Tensor, fy: Tensor, cx: Tensor, cy: Tensor,
                 size: tuple[int, int]) -> tuple[Tensor, Tensor]:  # fmt: skip
    height, width = size
    xy = torch.stack((fx * x / z + cx, fy * y / z + cy), -1)
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    tx = torch.minimum(torch.maximum(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    ty = torch.minimum(torch.maximum(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    return xy, _rows((fx / z, zero, -fx * tx / z), (zero, fy / z, -fy * ty / z))


def _orthographic(x: Tensor, y: Tensor, z: Tensor, fx: Tensor, fy: Tensor, cx: Tensor, cy: Tensor,
                  size: tuple[int, int]) -> tuple[Tensor, Tensor]:  # fmt: skip
    zero = torch.zeros_like(z)
    xy = torch.stack((fx * x + cx, fy * y + cy), -1)
    return xy, _rows((fx + zero, zero, zero), (zero, fy + zero, zero))


def _fisheye(x: Tensor, y: Tensor, z: Tensor, fx: Tensor, fy: Tensor, cx: Tensor, cy: Tensor,
             size: tuple[int, int]) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Equidistant: the distance from the principal point is the focal length times the angle from the axis."""
    r2 = x * x + y * y
    off = r2 > 1e-14 * z * z
    r = torch.where(off, r2, 1).sqrt()
    angle = torch.atan2(r, z)
    scale = torch.where(off, angle / r, 1 / z)  # xy = f * scale * (x, y)
    # d scale / d x = slope * x, and the same for y; d scale / d z = -1 / (r^2 + z^2)
    slope = torch.where(off, (z / (r2 + z * z) - angle / r) / torch.where(off, r2, 1), 0)
    dz = -1 / (r2 + z * z)
    xy = torch.stack((fx * scale * x + cx, fy * scale * y + cy), -1)
    cross = slope * x * y
    return xy, _rows(
        (fx * (scale + slope * x * x), fx * cross, fx * dz * x), (fy * cross, fy * (scale + slope * y * y), fy * dz * y)
    )


def _rows(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
    return torch.stack((torch.stack(first, -1), torch.stack(second, -1)), -2)


PROJECTIONS = {"perspective": _perspective, "orthographic": _orthographic, "fisheye": _fisheye}
