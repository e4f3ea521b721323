"""Refinement of depths by comparing neighbouring photographs: true depths have the same colours in them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.ops.surface import interpolate, rasterize
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

# Preferred angle between a photograph and its neighbours: at smaller ones depths are inaccurate, at larger ones
# appearance differs.
_ANGLE = 20.0
# Larger squared differences of colours count no more: occluders are not compared.
_TRUNCATED = 0.15**2
# A place is hidden if a neighbour sees something nearer than this fraction of its depth.
_HIDDEN = 0.03
# Pixels on each side of a window; the weight of those whose depth differs by this fraction falls by e.
_WINDOW, _SAME = 3, 0.02
# Independent pixels per window.
_INDEPENDENT = 10.0
# Weights of depths for which photographs give no evidence, and of surfaces seen at a grazing angle.
_UNKNOWN, _GRAZING = 0.01, 0.02
_FAR = 1e4
# Squared differences of colours due to rounding to 8 bits alone, approximately.
_NOISE = 1e-5


class Swept(NamedTuple):
    """Depths, and how sure they are.

    Attributes:
        depths: along the viewing direction [N, H, W]; infinite where nothing is seen, 0 where pixels do not count.
        weights: [N, H, W], above 0 and at most about 1; less where colours say little, and at grazing angles.
    """

    depths: Tensor
    weights: Tensor


class _Found(NamedTuple):
    """Parts by which depths [H, W] of one photograph are to change, and the variances of these parts."""

    change: Tensor
    variance: Tensor


@torch.no_grad()
def mesh_depths(mesh: Mesh, camera: PerspectiveCamera) -> Tensor:
    """Depths [N, H, W] along the viewing direction of what cameras [N] see of a mesh; infinite where they see nothing.

    >>> import torch
    >>> from lumigrad.fit.reconstruct import mesh_depths
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(torch.zeros(1), 0.0, 3.0, fov_y=60.0, size=(9, 9))
    >>> depths = mesh_depths(icosphere(4), camera)
    >>> round(depths[0, 4, 4].item(), 2), depths[0, 0, 0].item()
    (2.0, inf)
    """
    found = []
    for n in range(camera.shape[0]):
        one = camera[n : n + 1]
        shot = rasterize(one.project(mesh.positions), mesh.faces, one.size, derivatives=False)
        own = one.depth(mesh.positions)[0][:, None]
        found.append(torch.where(shot.tri < 0, torch.inf, interpolate(own, shot, mesh.faces)[..., 0]))
    return torch.cat(found)


@torch.no_grad()
def sweep_depths(depths: Tensor, photos: PhotoSet, reach: float, steps: int = 17, neighbours: int = 8) -> Swept:
    """Depths of a surface that is nearly right, moved to where photographs agree.

    In each photograph the surface is moved along the rays, by parts of its depth, and seen in neighbours it has the
    colours that these show there. The differences of colours are averaged over windows of pixels with similar depths,
    and the part with the least one is found, between steps by a parabola. How sure it is follows from the curvature
    of the differences and from what remains of them: as much as that is expected, the depth stays where it was.

    Args:
        depths: along the viewing direction [N, H, W], as `mesh_depths` has them.
        photos: [N], of that size.
        reach: largest part by which depths change.
        steps: parts that are tried, an odd number.
        neighbours: of each photograph that it is compared with, at most.

    Raises:
        ValueError: depths that do not fit the photographs, fewer than two of these, or fewer than 5 or an even number
            of steps.

    Sources: Collins 1996, "A Space-Sweep Approach to True Multi-Image Matching"; Kanade and Okutomi 1994, "A Stereo
    Matching Algorithm with an Adaptive Window: Theory and Experiment".

    >>> import torch
    >>> from lumigrad.fit import fibonacci_cameras
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.fit.reconstruct import PhotoSet, mesh_depths, sweep_depths
    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import Lighting, Mesh, icosphere
    >>> ball, camera = icosphere(5), fibonacci_cameras(40, (64, 64))
    >>> painted = Mesh(ball.positions, ball.faces, colors=0.5 + 0.5 * torch.sin(9 * ball.positions))
    >>> shot = render_mesh(painted, camera, Lighting.unlit())
    >>> one = torch.ones(1, 64, 64, 1)
    >>> photos = PhotoSet.of([Photo(shot.color[n : n + 1], one, camera[n : n + 1]) for n in range(40)])
    >>> true, begin = (mesh_depths(Mesh(size * ball.positions, ball.faces), camera) for size in (1.0, 0.96))
    >>> swept = sweep_depths(begin, photos, reach=0.04, neighbours=4)
    >>> seen = torch.isfinite(begin)
    >>> before, after = (float((depths - true)[seen].abs().median()) for depths in (begin, swept.depths))
    >>> before > 0.04, after < 0.015
    (True, True)
    """
    if depths.shape != (len(photos), *photos.size):
        raise ValueError(f"depths: expected {[len(photos), *photos.size]}, got {list(depths.shape)}")
    if len(photos) < 2 or steps < 5 or steps % 2 == 0:
        raise ValueError(f"expected 2 photographs or more and an odd number of 5 or more steps, got {steps}")
    near = _neighbours(photos.camera, depths, neighbours)
    origins, directions = photos.camera.rays()
    parts = torch.linspace(1 - reach, 1 + reach, steps, device=depths.device, dtype=depths.dtype)
    found = []
    for n, depth in enumerate(depths):
        along = -photos.camera.world_to_camera[n, 2, :3]
        rays = directions[n] * (depth.clamp(max=_FAR) / (directions[n] @ along))[..., None]
        cost, count = _costs(n, near[n].tolist(), origins[n], rays, parts, depths, photos)
        one = _lowest(_windowed(cost, count, depth), parts, reach)
        variance = torch.where(torch.isfinite(depth) & (count > 0), one.variance, torch.inf)
        # Prior on the surface: a third of the reach.
        change = one.change * (reach / 3) ** 2 / ((reach / 3) ** 2 + variance)
        sure = (reach / 8) ** 2 / ((reach / 8) ** 2 + variance) + _UNKNOWN
        found.append((depth * (1 + change), sure * _facing(rays)))
    moved, weights = (torch.stack(images) for images in zip(*found, strict=True))
    return Swept(torch.where(photos.counts[..., 0], moved, 0), weights)


def _neighbours(camera: PerspectiveCamera, depths: Tensor, count: int) -> Tensor:
    """The cameras [N, K] that see what a camera looks at under an angle near to the best one."""
    eyes, ahead = camera.position, -camera.world_to_camera[:, 2, :3]
    typical = torch.stack([depth[torch.isfinite(depth)].median().nan_to_num(1.0) for depth in depths])
    looked_at = eyes + typical[:, None] * ahead
    towards = torch.nn.functional.normalize(looked_at[:, None] - eyes, dim=-1)
    own = towards.diagonal(dim1=0, dim2=1).T[:, None]
    angles = torch.rad2deg(torch.acos((towards * own).sum(-1).clamp(-1, 1)))
    strange = (angles.clamp_min(0.05) / _ANGLE).log().abs()
    strange = strange.fill_diagonal_(torch.inf)
    return strange.argsort(dim=1)[:, : min(count, len(eyes) - 1)]


def _costs(
    n: int, near: list[int], origins: Tensor, rays: Tensor, parts: Tensor, depths: Tensor, photos: PhotoSet
) -> tuple[Tensor, Tensor]:
    """Sums of squared differences [S, H, W] over neighbours that see the surface, and how many do [H, W]."""
    camera, (height, width) = photos.camera, photos.size
    image = photos.images[n].float()
    total = rays.new_zeros(len(parts), height, width)
    count = rays.new_zeros(height, width)
    scale = rays.new_tensor([2 / width, 2 / height])
    for k in near:
        pose = camera.world_to_camera[k]
        base, step = origins @ pose[:3, :3].T + pose[:3, 3], rays @ pose[:3, :3].T
        x, y, z = (base + parts[:, None, None, None] * step).unbind(-1)
        ahead = (-z).clamp_min(1e-6)
        place = torch.stack((camera.cx[k] + camera.fx[k] * x / ahead, camera.cy[k] - camera.fy[k] * y / ahead), -1)
        grid = place * scale - 1
        middle, own = grid[len(parts) // 2], -z[len(parts) // 2]
        seen = _sampled(depths[k].clamp(max=_FAR)[None], middle[None], "nearest")[0, 0]
        counted = _sampled(photos.counts[k, ..., 0].float()[None], middle[None], "nearest")[0, 0] > 0
        shown = counted & (middle.abs() < 1).all(-1) & (own > 0) & (seen > own * (1 - _HIDDEN))
        other = photos.images[k].float().permute(2, 0, 1)
        gain = _gain(_sampled(other, middle[None])[:, 0], image.permute(2, 0, 1), shown & photos.counts[n, ..., 0])
        colors = _sampled(other, grid) * gain[:, None, None, None]
        error = (colors - image.permute(2, 0, 1)[:, None]).square().sum(0).clamp(max=_TRUNCATED)
        total += error * shown
        count += shown
    return total, count * photos.counts[n, ..., 0]


def _sampled(image: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    """Values [C, S, H, W] of an image [C, H, W] at places [S, H, W, 2]."""
    steps, height, width, _ = grid.shape
    found = torch.nn.functional.grid_sample(
        image[None], grid.reshape(1, steps * height, width, 2), mode, padding_mode="border", align_corners=False
    )
    return found[0].view(-1, steps, height, width)


def _gain(colors: Tensor, wanted: Tensor, shown: Tensor) -> Tensor:
    """By which colours [3, H, W] are brighter in one photograph than in another, [3]: exposure and white balance."""
    ours, theirs = (image[:, shown].sum(1) for image in (colors, wanted))
    return torch.where(ours > 0, theirs / ours.clamp_min(1e-6), 1.0).clamp(0.25, 4.0)


def _windowed(cost: Tensor, count: Tensor, depth: Tensor) -> Tensor:
    """Mean costs [S, H, W] of windows, mostly of what is as far away as their middle."""
    reach, (height, width) = _WINDOW, depth.shape
    pad = (reach,) * 4
    logs = depth.clamp(1e-6, _FAR).log()
    costs, counts, others = (
        torch.nn.functional.pad(image[None], pad, mode="replicate")[0] for image in (cost, count[None], logs[None])
    )
    total, weight = torch.zeros_like(cost), torch.zeros_like(count)
    for row in range(2 * reach + 1):
        for column in range(2 * reach + 1):
            across = slice(row, row + height), slice(column, column + width)
            far = ((row - reach) ** 2 + (column - reach) ** 2) / (2 * (0.6 * reach) ** 2)
            like = torch.exp(-far - (others[0][across] - logs).abs() / _SAME)
            total.addcmul_(like, costs[:, across[0], across[1]])
            weight.addcmul_(like, counts[0][across])
    return total / weight.clamp_min(1e-6)


def _lowest(cost: Tensor, parts: Tensor, reach: float) -> _Found:
    """Where costs [S, H, W] are lowest."""
    width = float(parts[1] - parts[0])
    best = cost[1:-1].argmin(0)[None] + 1
    before, here, after = (cost.gather(0, best + step)[0] for step in (-1, 0, 1))
    bend = (before + after - 2 * here).clamp_min(1e-9)
    between = (0.5 * (before - after) / bend).clamp(-1, 1)
    variance = here.clamp_min(_NOISE) * width**2 / (_INDEPENDENT * bend)
    ends = (best[0] == 1) | (best[0] == len(parts) - 2)
    return _Found((parts[best[0]] - 1 + between * width).clamp(-reach, reach), variance.masked_fill(ends, torch.inf))


def _facing(rays: Tensor) -> Tensor:
    """Cosines [H, W] between the rays [H, W, 3] that end at a surface and its normals."""
    across, down = rays[:, 2:] - rays[:, :-2], rays[2:] - rays[:-2]
    normals = torch.linalg.cross(across[1:-1], down[:, 1:-1])
    cosine = torch.cosine_similarity(normals, rays[1:-1, 1:-1], dim=-1).abs()
    return torch.nn.functional.pad(cosine[None], (1,) * 4, mode="replicate")[0].clamp_min(_GRAZING)
