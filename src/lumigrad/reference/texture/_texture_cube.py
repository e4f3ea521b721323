"""Filtered lookups in cube maps, defined in plain PyTorch (OpenGL 4.6, sections 8.13 and 8.14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from lumigrad.reference.texture._build_mips import build_mips

from . import _filtering as filtering

# For each face, +x -x +y -y +z -z: its normal and the directions in which u and v grow.
NORMAL = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
ALONG_U = ((0, 0, -1), (0, 0, 1), (1, 0, 0), (1, 0, 0), (1, 0, 0), (-1, 0, 0))
ALONG_V = ((0, -1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (0, -1, 0), (0, -1, 0))


def texture_cube(
    tex: Tensor,
    direction: Tensor,
    direction_d: Tensor | None = None,
    mip_bias: Tensor | None = None,
    mips: Sequence[Tensor] | None = None,
    filter: str = "auto",
    max_level: int | None = None,
    anisotropy: int = 1,
) -> Tensor:
    """Look up a cube map.

    The face is that of the largest component (z where |z| > |x|, |y|, then y where |y| > |x|, else x); within
    it the lookup is that of a 2D texture. A texel beyond an edge is the one that touches it on the adjacent
    face; beyond a corner there is none, and the mean of the other three stands for it. The mip level comes
    from the derivatives of the coordinates within the face.

    The lookups of an anisotropic one are spread in the plane of the face. Each that is beyond an edge is made
    where the cube is seen through its point of the plane, on another face.

    Args:
        tex: cube maps [N, 6, S, S, C] or [1, 6, S, S, C], faces +x -x +y -y +z -z, OpenGL's orientations.
        direction: directions [N, h, w, 3] of any length. Zero or not finite: the result is 0.
        direction_d: their derivatives [N, h, w, 3, 2] by X and Y, the pixel's column and row.
        mip_bias, mips, filter, max_level, anisotropy: as for `texture`.

    Returns:
        [N, h, w, C].

    Raises:
        ValueError: an unknown filter, or no way to choose a level.
    """
    filter = filtering.choose_filter(filter, direction_d, mip_bias)
    if "mipmap" not in filter:
        direction_d = mip_bias = None
    levels = filtering.level_list(tex, mips, filter, max_level, lambda t, n: build_mips(t, n, cube=True))
    valid = filtering.all_finite(direction, direction_d, mip_bias) & (direction != 0).any(-1)
    towards = torch.where(valid[..., None], direction, direction.new_tensor((1.0, 0.0, 0.0))).flatten(0, 2)
    derivatives, bias = filtering.keep(valid, direction_d), filtering.keep(valid, mip_bias)

    face = _face(towards.detach())
    uv, footprint = _project(face, towards, None if derivatives is None else derivatives.flatten(0, 2))
    taps = torch.ones_like(uv[:, 0])
    squared, axis = None, torch.zeros_like(uv)
    if footprint is not None:
        footprint = footprint * tex.shape[2]
        squared = filtering.footprint_extent(footprint)
        if anisotropy > 1:
            axis, taps = filtering.major_axis(footprint, squared, anisotropy)
    level = filtering.choose_level(squared, taps, None if bias is None else bias.flatten(), len(levels))
    count = direction[0].numel() // 3 if len(direction) else 0
    image = torch.arange(len(direction), device=tex.device).repeat_interleave(count)

    def look_up(face: Tensor, uv: Tensor) -> Tensor:
        def sample(texels: Tensor, where: Tensor) -> Tensor:
            views = image[where] if len(tex) > 1 else torch.zeros_like(where)
            return _sample(texels, views, face[where], uv[where], filter)

        return filtering.mix_levels(levels, level, filter, sample)

    out = filtering.spread(taps, axis / tex.shape[2], lambda offset: look_up(*_onto_cube(face, uv + offset)))
    return cast(Tensor, filtering.keep(valid, out.view(*direction.shape[:-1], tex.shape[-1])))


def _face(direction: Tensor) -> Tensor:
    x, y, z = direction.abs().unbind(-1)
    axis = torch.where((z > x) & (z > y), 2, torch.where(y > x, 1, 0))
    along = direction.gather(-1, axis[:, None]).squeeze(-1)
    return 2 * axis + (along < 0).long()


def _project(face: Tensor, direction: Tensor, direction_d: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Coordinates [P, 2] in the face, and their derivatives [P, 2, 2] by X and Y."""
    normal, along = _frame(face, direction)
    m = (normal * direction).sum(-1)
    slope = (along @ direction[..., None]).squeeze(-1) / m[:, None]
    uv = (slope + 1) / 2
    if direction_d is None:
        return uv, None
    m_d = (normal[..., None] * direction_d).sum(-2)
    return uv, (along @ direction_d - slope[..., None] * m_d[:, None, :]) / (2 * m[:, None, None])


def _onto_cube(face: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Faces and coordinates of the points seen through `uv` of the planes of faces, which may be beyond [0, 1]."""
    normal, along = _frame(face, uv)
    direction = normal + ((2 * uv - 1)[:, None] @ along).squeeze(-2)
    within = ((uv >= 0) & (uv <= 1)).all(-1)
    face = torch.where(within, face, _face(direction.detach()))
    return face, torch.where(within[:, None], uv, _project(face, direction, None)[0])


def _frame(face: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Normals [P, 3] of faces, and the directions [P, 2, 3] in which u and v grow."""
    normal = like.new_tensor(NORMAL)[face]
    return normal, torch.stack((like.new_tensor(ALONG_U)[face], like.new_tensor(ALONG_V)[face]), -2)


def _sample(texels: Tensor, image: Tensor, face: Tensor, uv: Tensor, filter: str) -> Tensor:
    """Lookups [P, C] at one level."""
    size = texels.shape[2]
    if filter == "nearest":
        x, y = (uv * size).floor().long().clamp(0, size - 1).unbind(-1)
        return texels[image, face, y, x]
    st = uv * size - 0.5
    low = st.detach().floor()
    fx, fy = (st - low).unbind(-1)
    x, y = low.long().unbind(-1)
    corners, exists = zip(*(_texel(texels, image, face, x + i, y + j) for j in (0, 1) for i in (0, 1)))
    values, present = torch.stack(corners, 1), torch.stack(exists, 1)  # [P, 4, C], [P, 4]
    mean = values.sum(1) / present.sum(1, keepdim=True)
    values = torch.where(present[..., None], values, mean[:, None])
    weights = torch.stack(((1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy), 1)
    return (weights[..., None] * values).sum(1)


def _texel(texels: Tensor, image: Tensor, face: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Texels [P, C] at (x, y) of faces, on the adjacent face where x or y is one outside; and which exist."""
    size = texels.shape[2]
    inside_x, inside_y = (x >= 0) & (x < size), (y >= 0) & (y < size)
    exists = inside_x | inside_y
    # Centres of texels on a cube of half side `size`, in half texels. One step over the edge is one step
    # down the adjacent face: the coordinate that left the face is the adjacent face's normal.
    normal, along = _frame(face, torch.empty(0, dtype=torch.int64, device=face.device))
    a, b = 2 * x + 1 - size, 2 * y + 1 - size
    point = normal * (size - 1) + a[:, None] * along[:, 0] + b[:, None] * along[:, 1]
    over = torch.where(inside_x[:, None], along[:, 1] * b.sign()[:, None], along[:, 0] * a.sign()[:, None])
    adjacent = (over @ over.new_tensor(NORMAL).T).argmax(-1)
    outside = ~(inside_x & inside_y)
    face = torch.where(outside, adjacent, face)
    _, along = _frame(face, along)
    column, row = (((along * point[:, None]).sum(-1) + size - 1) // 2).clamp(0, size - 1).unbind(-1)
    column, row = torch.where(outside, column, x), torch.where(outside, row, y)
    column, row = column.clamp(0, size - 1), row.clamp(0, size - 1)
    value = texels[image, face, row, column]
    return torch.where(exists[:, None], value, 0), exists
