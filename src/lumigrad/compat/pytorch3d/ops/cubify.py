"""Meshes of cubes from voxels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesAtlas
from lumigrad.compat.pytorch3d.structures.meshes import Meshes

# Each side of a cube: where the neighbour is (z, y, x), and its corners (z, y, x), around the normal that
# points out of the cube.
_SIDES = (
    ((0, 0, -1), ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))),
    ((0, 0, 1), ((0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 0, 1))),
    ((0, -1, 0), ((0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 0, 0))),
    ((0, 1, 0), ((0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1))),
    ((-1, 0, 0), ((0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))),
    ((1, 0, 0), ((1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))),
)


@torch.no_grad()
def cubify(
    voxels: Tensor, thresh: float, *, feats: Tensor | None = None, device: torch.device | str | None = None,
    align: str = "topleft",
) -> Meshes:  # fmt: skip
    """The surface of all voxels that are occupied, as cubes with vertices in common.

    Args:
        voxels: occupancies [N, D, H, W].
        thresh: voxels of at least this much are occupied.
        feats: colours of voxels [N, K, D, H, W], which become those of faces; with `align="center"` alone.
        device: where the meshes are.
        align: where the grid's ends -1 and 1 are: "topleft", the first corners of the outermost voxels; "corner", the
            corners of the grid; "center", the centres of the outermost voxels.

    Returns:
        N meshes, x along W, y along H, z along D.

    Raises:
        ValueError: another alignment, or colours with one that has none.
    """
    if align not in ("topleft", "corner", "center"):
        raise ValueError(f"Align mode must be one of (topleft, corner, center), got {align!r}.")
    if feats is not None and align != "center":
        raise ValueError(f'feats: colours of voxels need align="center", got {align!r}')
    device = voxels.device if device is None else torch.device(device)
    if len(voxels) == 0:
        return Meshes(verts=[], faces=[])
    meshes = [_surface(grid.to(device) >= thresh) for grid in voxels]
    sizes = torch.tensor(voxels.shape[1:], dtype=torch.float32, device=device).flip(0)
    span = sizes if align == "corner" else sizes - 1
    shift = 0.5 if align == "center" else 0.0
    verts = [(corners.flip(1) - shift) * 2 / span - 1 for corners, _, _ in meshes]
    textures = None
    if feats is not None and any(len(faces) for _, faces, _ in meshes):
        textures = TexturesAtlas(
            [
                image.to(device).reshape(len(image), -1).T[owner][:, None, None]
                for image, (_, _, owner) in zip(feats, meshes)
            ]
        )
    return Meshes(verts=verts, faces=[faces for _, faces, _ in meshes], textures=textures)


def _surface(full: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Corners (z, y, x) [V, 3], triangles [F, 3] and the voxel of each triangle [F]."""
    padded = torch.nn.functional.pad(full, (1, 1, 1, 1, 1, 1))
    size = torch.tensor([side + 1 for side in full.shape], device=full.device)
    quads, owners = [], []
    for (dz, dy, dx), side in _SIDES:
        neighbour = padded[
            1 + dz : 1 + dz + full.shape[0], 1 + dy : 1 + dy + full.shape[1], 1 + dx : 1 + dx + full.shape[2]
        ]
        bare = (full & ~neighbour).nonzero()
        at = bare[:, None] + torch.tensor(side, device=full.device)
        quads.append((at[..., 0] * size[1] + at[..., 1]) * size[2] + at[..., 2])
        owners.append((bare[:, 0] * full.shape[1] + bare[:, 1]) * full.shape[2] + bare[:, 2])
    numbers, quad = torch.unique(torch.cat(quads), return_inverse=True)
    faces = torch.stack((quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]), 1).reshape(-1, 3)
    z, rest = numbers // (size[1] * size[2]), numbers % (size[1] * size[2])
    corners = torch.stack((z, rest // size[2], rest % size[2]), 1).float()
    return corners, faces, torch.cat(owners).repeat_interleave(2)


def unravel_index(idx: Tensor, dims: Sequence[int]) -> Tensor:
    """Places [M, 4] in an array of four dimensions, of their numbers [M].

    Raises:
        ValueError: other dimensions.
    """
    if len(dims) != 4:
        raise ValueError(f"Expects a 4-element list, got {len(dims)}")
    places = []
    for size in reversed(dims):
        places.append(idx % size)
        idx = idx // size
    return torch.stack(places[::-1], 1)


def ravel_index(idx: Tensor, dims: Sequence[int]) -> Tensor:
    """Numbers [M] of places [M, 3] in an array of three dimensions.

    Raises:
        ValueError: other dimensions.
    """
    if len(dims) != 3 or idx.shape[1] != 3:
        raise ValueError(
            f"Expects a 3-element list and an index tensor of shape Nx3, got {len(dims)}, {tuple(idx.shape)}"
        )
    return (idx[:, 0] * dims[1] + idx[:, 1]) * dims[2] + idx[:, 2]
