"""Points to begin from: those of a reconstruction, or points on which photographs agree."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.fit.photos import Photo, focus
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.shapes.point_cloud import PointCloud

_DEPTHS = 24
_ENOUGH = 500


def first_points(data: PosedPhotos, photos: list[Photo], count: int, generator: torch.Generator) -> PointCloud:
    """The reconstruction's points if there are enough of them, otherwise `count` points that photographs agree on.

    Args:
        photos: at least two of the data set's.

    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.fit.splats import Photo, first_points
    >>> from lumigrad.io import PosedPhotos
    >>> from lumigrad.scene import PerspectiveCamera, PointCloud
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> reconstructed = PointCloud(torch.rand(600, 3), torch.rand(600, 3))
    >>> data = PosedPhotos(Path(), (), (), reconstructed)
    >>> first_points(data, photos, 30, torch.Generator()) is reconstructed
    True
    >>> len(first_points(PosedPhotos(Path(), (), ()), photos, 30, torch.Generator()))
    30
    """
    if data.points is not None and data.points.colors is not None and len(data.points) >= _ENOUGH:
        return data.points
    height = min(photo.camera.size[0] for photo in photos)
    return agreeing_points([photo.reduced(max(1, min(4, height // 32))) for photo in photos], count, generator)


@torch.no_grad()
def agreeing_points(photos: list[Photo], count: int, generator: torch.Generator) -> PointCloud:
    """Points in front of the cameras that have a similar colour in all photographs.

    Each point lies on the ray of a random pixel. Out of several random depths, it has the one at which the other
    photographs show the most similar colour: a plane sweep of single rays, accurate enough to begin from.

    Args:
        photos: at least two; of low resolution, so that single pixels can be compared.
        generator: on the photographs' device.

    >>> import torch
    >>> from lumigrad.fit.splats import Photo, agreeing_points
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> cloud = agreeing_points(photos, 30, torch.Generator().manual_seed(0))
    >>> cloud.positions.shape, cloud.colors[0].tolist()
    (torch.Size([30, 3]), [0.5, 0.5, 0.5])
    """
    _, distance = focus(photos)
    per_photo = -(-count // len(photos))
    positions, colors = [], []
    for photo in photos:
        height, width = photo.camera.size
        device = generator.device
        place = torch.rand(per_photo, 2, generator=generator, device=device)
        place = place * place.new_tensor([width, height])
        # Near depths need finer steps than far ones: even steps of the logarithm, from 0.1 to 4 times the distance.
        jitter = torch.rand(per_photo, _DEPTHS, generator=generator, device=device)
        steps = (torch.arange(_DEPTHS, device=device) + jitter) / _DEPTHS
        depth = distance * 0.1 * 40**steps
        spots = place[:, None].expand(-1, _DEPTHS, -1).reshape(1, -1, 2)
        points = photo.camera.unproject(spots, depth.reshape(1, -1))[0]
        own = photo.image[0, place[:, 1].long(), place[:, 0].long()]
        best = _disagreement(points, own.repeat_interleave(_DEPTHS, 0), photos).view(-1, _DEPTHS).argmin(1)
        positions.append(points.view(-1, _DEPTHS, 3)[torch.arange(per_photo, device=device), best])
        colors.append(own)
    return PointCloud(torch.cat(positions)[:count], torch.cat(colors)[:count])


def _disagreement(points: Tensor, colors: Tensor, photos: list[Photo]) -> Tensor:
    """Mean difference [P] between the given colours and those that the photographs show at the points."""
    total, seen = points.new_zeros(len(points)), points.new_zeros(len(points))
    for photo in photos:
        height, width = photo.camera.size
        grid = 2 * photo.camera.pixels(points)[0] / points.new_tensor([width, height]) - 1
        visible = (photo.camera.depth(points)[0] > 0) & (grid.abs() < 1).all(-1)
        shown = torch.nn.functional.grid_sample(photo.image.permute(0, 3, 1, 2), grid[None, None], align_corners=False)[
            0, :, 0
        ].T
        # Bounded, because something else may hide the point.
        difference = (shown - colors).abs().mean(-1).clamp(max=0.2)
        total += torch.where(visible, difference, 0.0)
        seen += visible
    # The point's own photograph agrees at any depth, so points that few others see are penalised.
    return (total + 0.1) / seen.clamp_min(1) + 0.1 * (seen < 3)


def spacing(positions: Tensor, alone: float = 0.01) -> Tensor:
    """Root mean square distance of each point [V, 3] to its three nearest others, [V].

    Args:
        alone: what a single point gets, and a ten-thousandth of which nearly equal points get.

    >>> import torch
    >>> from lumigrad.fit.splats import spacing
    >>> spacing(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))[0].item()
    1.0
    """
    near = min(4, len(positions))
    if near < 2:
        return positions.new_full((len(positions),), alone)
    tree = require("scipy.spatial", "lumigrad.fit.splats.spacing").cKDTree
    places = positions.double().cpu().numpy()
    distances, _ = tree(places).query(places, k=near)
    return torch.from_numpy(distances[:, 1:]).square().mean(-1).sqrt().to(positions).clamp_min(1e-4 * alone)
