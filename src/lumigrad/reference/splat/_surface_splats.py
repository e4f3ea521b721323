"""Elliptical surface splats, defined in plain PyTorch (Yifan et al. 2019, "Differentiable Surface Splatting")."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.reference.splat._compositing import pixel_centres, tensors_of
from lumigrad.reference.splat._finite import finite_rows
from lumigrad.types.splats import Splats
from lumigrad.types.view import View

MIN_DISTANCE2 = 1e-10
MIN_WEIGHT = 1e-30  # for discs that are drawn


def surface_splats(
    positions: Tensor,
    normals: Tensor,
    radii: Tensor,
    features: Tensor,
    view: View,
    background: Tensor | None = None,
    *,
    blur: float = 1.0,
    cutoff: float = 2.0,
    merge: float | None = 0.05,
    visibility_gradient: bool = False,
    reach: float = 10.0,
) -> Splats:
    """Average oriented discs within a band of depth. Arguments and result: `lumigrad.surface_splats`.

    With n the unit normal, W the view's rotation, J the projection's Jacobian at the centre, h = radius^2:
        V = J W h (I - n n') W' J' + blur I
        w(x) = a exp(-x' V^-1 x / 2) / (2 pi sqrt(det V)) where x' V^-1 x <= cutoff^2, else 0
    and a the area on the image of a unit of the disc's plane: fx fy |W n . p| / z^3 for a centre p before a perspective
    camera, fx fy |(W n)_z| for an orthographic one.
    """
    matrix, fx, fy, cx, cy = tensors_of(view)
    size, projection, near, far = view[5:]
    views = len(matrix)
    background = features.new_zeros(features.shape[-1]) if background is None else background
    background = background.expand(views, -1)
    features = features.expand(views, *features.shape[-2:])
    flip = matrix.new_tensor([1, -1, -1])
    length = finite_rows(normals).norm(dim=-1, keepdim=True)
    finite = torch.cat((positions, normals, radii[:, None]), 1).isfinite().all(1) & (radii > 0) & (length[:, 0] > 0)
    columns, rows = pixel_centres(size, positions)
    images = []
    for i in range(views):
        turn = flip[:, None] * matrix[i, :3, :3]
        centre = finite_rows(positions) @ turn.T + flip * matrix[i, :3, 3]
        kept = (finite & (centre[:, 2] > near) & (centre[:, 2] < far)).nonzero()[:, 0]
        p, normal, h = centre[kept], normals[kept] / length[kept], radii[kept].square()
        xy, jacobian = _projection(p, (fx[i], fy[i], cx[i], cy[i]), projection)
        across = torch.eye(3).to(p) - normal[:, :, None] * normal[:, None, :]
        m = jacobian @ turn
        covariance = m @ across @ m.mT * h[:, None, None] + blur * torch.eye(2).to(p)
        area_vector = normal @ (torch.linalg.det(turn) * torch.linalg.inv(turn))
        along = (area_vector * p).sum(-1) / p[:, 2] ** 3 if projection == "perspective" else area_vector[:, 2]
        height = (fx[i] * fy[i] * along).abs() / (2 * math.pi * torch.linalg.det(covariance).sqrt())
        away = torch.stack((columns[:, None] - xy[:, 0], rows[:, None] - xy[:, 1]), -1)
        q = torch.einsum("pvi,vij,pvj->pv", away, torch.linalg.inv(covariance), away)
        drawn = height.detach() > MIN_WEIGHT  # not exactly edge-on
        near_enough = (q <= cutoff * cutoff) & drawn
        z = p[:, 2]
        if merge is not None:
            nearest = torch.where(near_enough, z.detach(), torch.inf).amin(1, keepdim=True) if len(z) else z.sum()
            near_enough = near_enough & (z.detach() <= nearest + merge)
        weights = torch.where(near_enough, height * torch.exp(-0.5 * q), 0)
        total = weights.sum(1, keepdim=True)
        covered = total > 0
        weights = weights / torch.where(covered, total, 1)
        alpha = covered[:, 0].to(p.dtype)
        if visibility_gradient:
            radius = torch.where(drawn, reach * torch.linalg.eigvalsh(covariance.detach())[:, 1].sqrt(), -1)
            alpha = _VisibilityGradient.apply(alpha, xy, radius, columns, rows)  # type: ignore[no-untyped-call]
        image = torch.where(covered, weights @ features[i, kept], background[i])
        images.append((image.view(*size, -1), alpha.view(size), (weights @ z).view(size)))
    return Splats(*(torch.stack(values) for values in zip(*images)))


def _projection(p: Tensor, intrinsics: tuple[Tensor, ...], projection: str) -> tuple[Tensor, Tensor]:
    """The image positions [V, 2] of points in camera space, and their derivatives [V, 2, 3]."""
    fx, fy, cx, cy = intrinsics
    x, y, z = p.unbind(-1)
    zero, one = torch.zeros_like(z), torch.ones_like(z)
    if projection == "orthographic":
        rows = (one, zero, zero), (zero, one, zero)
        place = torch.stack((x, y), -1)
    else:
        rows = (one / z, zero, -x / z**2), (zero, one / z, -y / z**2)
        place = torch.stack((x / z, y / z), -1)
    focal = torch.stack((fx, fy))
    jacobian = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return focal * place + torch.stack((cx, cy)), focal[:, None] * jacobian


class _VisibilityGradient(torch.autograd.Function):
    """Returns alpha [P]; its gradient g goes to the centres c [V, 2]: sum_p g_p (p - c) / (|p - c|^2 + 1e-10)."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, xy: Tensor, radius: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(xy, radius, columns, rows)
        return alpha.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        xy, radius, columns, rows = ctx.saved_tensors
        away = torch.stack((columns[:, None] - xy[:, 0], rows[:, None] - xy[:, 1]), -1)
        distance2 = away.square().sum(-1, keepdim=True)
        within = (distance2 <= radius.square()[:, None]) & (radius >= 0)[:, None]
        part = torch.where(within, away / (distance2 + MIN_DISTANCE2), 0)
        return grad, (grad[:, None, None] * part).sum(0), None, None, None
