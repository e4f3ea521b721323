"""Photographs as a pinhole camera would have taken them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.types.shapes import Bool, Float


@torch.no_grad()
def undistort_image(
    image: Float[Tensor, "height width channels"], camera: PerspectiveCamera
) -> tuple[Float[Tensor, "height width channels"], Bool[Tensor, "height width"], PerspectiveCamera]:
    """Resample one photograph (bicubic) so that straight lines are straight.

    Args:
        image: [H, W, C], taken by `camera`.
        camera: one camera, no batch, of the image's size.

    Returns:
        The image [H, W, C], clamped to [0, 1] (a cubic overshoots); which of its pixels the photograph covers,
        boolean [H, W], the rest being its nearest colours; and the camera without distortion. All as they are where
        there is no distortion.

    Raises:
        ValueError: a batch of cameras, or an image of another size.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, RadialTangentialDistortion, undistort_image
    >>> barrel = RadialTangentialDistortion(k1=-0.2)
    >>> camera = PerspectiveCamera(torch.eye(4), 30.0, 30.0, 20.0, 15.0, (30, 40), distortion=barrel)
    >>> image, covered, plain = undistort_image(torch.rand(30, 40, 3), camera)
    >>> image.shape, covered.all().item(), plain.distortion
    (torch.Size([30, 40, 3]), True, None)
    """
    if camera.shape:
        raise ValueError(f"camera: expected one, got a batch {list(camera.shape)}")
    height, width = camera.size
    if image.ndim != 3 or tuple(image.shape[:2]) != (height, width):
        raise ValueError(f"image: expected shape [{height}, {width}, C], got {list(image.shape)}")
    if camera.distortion is None:
        return image, torch.ones(height, width, dtype=torch.bool), camera
    rows, columns = torch.arange(height, dtype=torch.float64) + 0.5, torch.arange(width, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid((rows - camera.cy) / camera.fy, (columns - camera.cx) / camera.fx, indexing="ij")
    ideal = torch.stack([x, y], dim=-1).reshape(-1, 2)
    bent = camera.distortion.distort(ideal)
    # Beyond the radius where the lens's polynomial turns around, it would show the inside of the photograph again.
    covered = ideal.norm(dim=-1) < camera.distortion.max_radius(ideal)
    focal, centre = torch.stack([camera.fx, camera.fy]), torch.stack([camera.cx, camera.cy])
    size = torch.tensor([width, height], dtype=torch.float64)
    grid = 2 * (centre + focal * bent) / size - 1
    covered &= (grid.abs() <= 1).all(dim=-1)
    sampled = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None].float(),
        grid.reshape(1, height, width, 2).float(),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    plain = replace(camera, distortion=None)
    return sampled[0].permute(1, 2, 0).clamp(0, 1).to(image), covered.reshape(height, width), plain
