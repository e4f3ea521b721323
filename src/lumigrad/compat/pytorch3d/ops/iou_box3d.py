"""How much boxes have in common."""

from __future__ import annotations

import torch
from torch import Tensor

# Sides of a box by its corners, in the order around each.
_SIDES = ((0, 1, 2, 3), (4, 7, 6, 5), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0))


def box3d_overlap(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Volumes of intersections [N, M], and the same divided by those of unions.

    Gradients reach the corners; PyTorch3D's do not.

    Args:
        boxes1, boxes2: corners [N, 8, 3] and [M, 8, 3]: four around one side, and those across from them.
        eps: how far the corners of a side may be from a plane, as a sine, and the least area of a side.

    Raises:
        ValueError: other shapes, sides that are not plane, or without area.
    """
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if boxes.shape[1:] != (8, 3):
            raise ValueError(f"Each box in the batch must be of shape (8, 3), got {name} of {tuple(boxes.shape)}")
        _check_sides(boxes.detach(), eps)
    count, others = len(boxes1), len(boxes2)
    first = boxes1[:, None].expand(-1, others, -1, -1).reshape(-1, 8, 3)
    second = boxes2[None].expand(count, -1, -1, -1).reshape(-1, 8, 3)
    middle = first.mean(1, keepdim=True)
    one, other = _outward(first - middle), _outward(second - middle)
    common = _volume_below(one, other, keep_shared=True) + _volume_below(other, one, keep_shared=False)
    common = common.clamp(min=0)
    union = _volume(one) + _volume(other) - common
    return common.reshape(count, others), (common / union).reshape(count, others)


def _check_sides(boxes: Tensor, eps: float) -> None:
    side = boxes[:, torch.tensor(_SIDES, device=boxes.device)]
    a, b, c, d = side.unbind(2)
    first, second = torch.linalg.cross(b - a, c - a), torch.linalg.cross(c - a, d - a)
    if bool((first.norm(dim=-1) / 2 < eps).any()) or bool((second.norm(dim=-1) / 2 < eps).any()):
        raise ValueError("Planes have zero areas")
    across = torch.nn.functional.normalize(d - a, dim=-1)
    if bool(((across * torch.nn.functional.normalize(first, dim=-1)).sum(-1).abs() > eps).any()):
        raise ValueError("Plane vertices are not coplanar")


def _outward(boxes: Tensor) -> Tensor:
    """Corners of sides [B, 6, 4, 3], counter-clockwise seen from outside."""
    sides = boxes[:, torch.tensor(_SIDES, device=boxes.device)]
    normal = torch.linalg.cross(sides[:, :, 1] - sides[:, :, 0], sides[:, :, 2] - sides[:, :, 0])
    away = (normal * (sides.mean(2) - boxes.mean(1)[:, None])).sum(-1) > 0
    return torch.where(away[:, :, None, None], sides, sides.flip(2))


def _planes(sides: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals [B, 6, 3], and how far the planes are from the origin along them [B, 6]."""
    normal = torch.linalg.cross(sides[:, :, 1] - sides[:, :, 0], sides[:, :, 2] - sides[:, :, 0])
    normal = torch.nn.functional.normalize(normal, dim=-1)
    return normal, (normal * sides[:, :, 0]).sum(-1)


def _volume(sides: Tensor) -> Tensor:
    """Volumes [B] between outward polygons [B, S, K, 3], by the divergence theorem."""
    base = sides[:, :, :1]
    area = torch.linalg.cross(sides[:, :, 1:-1] - base, sides[:, :, 2:] - base).sum(2) / 2
    return (area * base[:, :, 0]).sum((1, 2)) / 3


def _volume_below(sides: Tensor, other: Tensor, keep_shared: bool) -> Tensor:
    """What the sides, cut by the planes of another box, contribute to the volume in common [B].

    Sides that lie in a plane of the other box, on the same side of it, count in one of the two boxes only.
    """
    normals, offsets = _planes(other)
    own, _ = _planes(sides)
    polygon = sides.flatten(0, 1)
    size = sides.detach().abs().amax((1, 2, 3)).clamp(min=1e-30)
    close = 1e-6 * size.repeat_interleave(6)[:, None]
    dropped = torch.zeros(len(polygon), dtype=torch.bool, device=sides.device)
    for k in range(6):
        normal, offset = normals[:, k].repeat_interleave(6, 0), offsets[:, k].repeat_interleave(6)
        height = (polygon * normal[:, None]).sum(-1) - offset[:, None]
        height = torch.where(height.abs() <= close, torch.zeros_like(height), height)
        if not keep_shared:
            same = (own.flatten(0, 1) * normal).sum(-1) > 0
            dropped |= same & (height.detach() == 0).all(1)
        polygon, empty = _cut(polygon, height)
        dropped |= empty
    polygon = torch.where(dropped[:, None, None], torch.zeros_like(polygon), polygon)
    return _volume(polygon.unflatten(0, (-1, 6)))


def _cut(polygon: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """The part [P, K + 1, 3] of convex polygons [P, K, 3] where height <= 0, and which have none.

    Source: Sutherland and Hodgman 1974, "Reentrant Polygon Clipping". The last corner is repeated.
    """
    below = height <= 0
    after, height_after = polygon.roll(-1, 1), height.roll(-1, 1)
    crosses = ((height < 0) & (height_after > 0)) | ((height > 0) & (height_after < 0))
    step = torch.where(crosses, height - height_after, torch.ones_like(height))
    crossing = polygon + (height / step)[..., None] * (after - polygon)
    corners = torch.stack((polygon, crossing), 2).flatten(1, 2)
    kept = torch.stack((below, crosses), 2).flatten(1)
    count = kept.sum(1)
    order = torch.sort((~kept).to(torch.uint8), dim=1, stable=True).indices
    place = torch.arange(polygon.shape[1] + 1, device=polygon.device)
    order = order.gather(1, torch.minimum(place, (count - 1).clamp(min=0)[:, None]))
    return corners.gather(1, order[..., None].expand(-1, -1, 3)), count < 3
