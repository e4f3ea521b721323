"""Normal maps as slopes of a height over the surface."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.ops.surface import rasterize
from lumigrad.scene.shapes.mesh import Mesh

# Texels that are this much shorter than the mean, or sheared, count as this long: near the poles of a globe's map, any
# height would otherwise be a cliff.
_SHORTEST = 0.2


@torch.no_grad()
def texel_axes(mesh: Mesh, size: tuple[int, int]) -> Tensor:
    """The extent of texels on the surface, relative to the side of a square texel of mean area [H, W, 3].

    The values (a, b, c) of a texel say that a step along the row is a t, and one down the column b t - c b', of the
    normal map's tangent t and bitangent b'. Off the surface, and in triangles without extent, they are (1, 0, 1).

    Args:
        mesh: with texture coordinates of which none overlap.
        size: (H, W).

    >>> import torch
    >>> from lumigrad.fit.materials.relief import texel_axes
    >>> from lumigrad.scene import Mesh
    >>> corners = torch.tensor([[0.0, 1.0, 0.0], [4.0, 1.0, 0.0], [0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    >>> uvs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> wide = Mesh(corners, torch.tensor([[0, 2, 1], [1, 2, 3]]), uvs=uvs)
    >>> texel_axes(wide, (8, 8))[0, 0].tolist()  # four times as wide as high
    [2.0, 0.0, 0.5]
    """
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    corners, uvs = mesh.positions[mesh.faces.long()], mesh.uvs[mesh.uv_faces.long()].to(mesh.positions)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (u1, v1), (u2, v2) = ((uvs[:, k] - uvs[:, 0]).unbind(-1) for k in (1, 2))
    area = u1 * v2 - u2 * v1
    right = (e1 * v2[:, None] - e2 * v1[:, None]) / (area * size[1])[:, None]
    down = (e2 * u1[:, None] - e1 * u2[:, None]) / (area * size[0])[:, None]
    a = right.norm(dim=-1)
    b = (down * right).sum(-1) / a
    c = (down.square().sum(-1) - b.square()).clamp_min(0).sqrt()
    axes = torch.stack((a, b, c), -1)
    regular = torch.isfinite(axes).all(-1) & (a * c > 0)
    areas, parts = (a * c)[regular], area.abs()[regular]
    mean = ((areas * parts).sum() / parts.sum().clamp_min(1e-30)).sqrt()
    square = axes.new_tensor((1.0, 0.0, 1.0))
    axes = torch.where(regular[:, None], axes / mean, square)
    u, v = mesh.uvs.to(mesh.positions).unbind(-1)
    flat = torch.stack((2 * u - 1, 1 - 2 * v, torch.zeros_like(u), torch.ones_like(u)), -1)
    tri = rasterize(flat[None], mesh.uv_faces, size, derivatives=False).tri[0]
    return torch.where((tri >= 0)[..., None], axes[tri.clamp_min(0).long()], square)


def relief_normals(height: Tensor, axes: Tensor) -> Tensor:
    """The tangent-space normals n = 2 t - 1 of a height over the surface, t [H, W, 3].

    A normal map that is the slope of a height is curl-free. Shading determines only the slope along the light; a height
    field combines the slopes of neighbours.

    Args:
        height: in sides of a texel of mean area, [H, W, 1].
        axes: see `texel_axes`, [H, W, 3].

    >>> import torch
    >>> from lumigrad.fit.materials.relief import relief_normals
    >>> ramp = torch.arange(4.0).expand(4, 4)[..., None]  # rises to the right
    >>> axes = torch.tensor([1.0, 0.0, 1.0]).expand(4, 4, 3)
    >>> [round(value, 3) for value in (2 * relief_normals(ramp, axes)[1, 1] - 1).tolist()]
    [-0.707, 0.0, 0.707]
    """
    down, right = (_slope(height, dim) for dim in (0, 1))
    a, b, c = axes.split(1, dim=-1)
    along = right / a.clamp_min(_SHORTEST)
    across = (down - b * along) / c.clamp_min(_SHORTEST)
    # The bitangent points up the column.
    bent = torch.cat((-along, across, torch.ones_like(along)), -1)
    return 0.5 + 0.5 * torch.nn.functional.normalize(bent, dim=-1)


def _slope(height: Tensor, dim: int) -> Tensor:
    """Central differences, one-sided at the borders."""
    if height.shape[dim] == 1:
        return torch.zeros_like(height)
    (slope,) = torch.gradient(height, dim=dim)
    return slope
