"""The image in which a pose is sought: cut out by its mask, and viewed in crops and by rotated cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import look_at
from lumigrad.types import validation

# For the border of an image without a mask: the largest difference of a background pixel from its colour, in multiples
# of the border's own deviation, and the largest deviation.
_DEVIATIONS, _MAX_DEVIATION = 4.0, 0.08


class Crop:
    """A square part of a photograph, at another resolution.

    Attributes:
        camera: standing at the origin, of this part.
        image: premultiplied colour and mask [size, size, 4].
        valid: 1 where the photograph is, 0 beyond its border [size, size, 1].
    """

    def __init__(self, photograph: Photograph, corner: tuple[int, int], side: int, size: int) -> None:
        camera, (left, top) = photograph.camera, corner
        height, width = camera.size
        padding = (-left, left + side - width, -top, top + side - height)
        both = torch.cat([photograph.image, torch.ones_like(photograph.image[..., :1])], -1).permute(2, 0, 1)[None]
        cut = torch.nn.functional.pad(both, padding)
        if size < side:
            cut = torch.nn.functional.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
        else:
            size = side
        scale = size / side
        self.camera: PerspectiveCamera = replace(
            camera,
            fx=camera.fx * scale,
            fy=camera.fy * scale,
            cx=(camera.cx - left) * scale,
            cy=(camera.cy - top) * scale,
            size=(size, size),
        )
        self.image, self.valid = cut[0].permute(1, 2, 0).split((4, 1), dim=-1)
        self.valid = (self.valid > 0.99).to(self.image)


@dataclass(frozen=True)
class Photograph:
    """One image and the intrinsics of its camera.

    Attributes:
        image: premultiplied colour and mask [H, W, 4].
        camera: standing at the origin.
    """

    image: Tensor
    camera: PerspectiveCamera

    @classmethod
    def of(cls, image: Tensor, camera: PerspectiveCamera, mask: Tensor | None) -> Photograph:
        """Of colours [H, W, 3 or 4]; without a mask, the fourth channel is the mask, or what differs from the border.

        Raises:
            TypeError, ValueError: shapes that do not fit, an empty mask, or none where the border is not of one colour.
        """
        if not validation.tensor("image", image).is_floating_point():
            raise TypeError(f"image: expected floating-point values in [0, 1], got {image.dtype}")
        if image.ndim != 3 or image.shape[-1] not in (3, 4):
            raise ValueError(f"image: expected shape [H, W, 3 or 4], got {list(image.shape)}")
        if not isinstance(camera, PerspectiveCamera):
            raise TypeError(f"camera: expected a PerspectiveCamera, got {type(camera).__name__}")
        if camera.shape:
            raise ValueError(f"camera: expected one, got a batch {list(camera.shape)}")
        if tuple(image.shape[:2]) != tuple(camera.size):
            raise ValueError(f"image: expected the camera's size {list(camera.size)}, got {list(image.shape[:2])}")
        colors = image[..., :3].float()
        if not bool(torch.isfinite(image).all()):
            raise ValueError("image: holds values that are not finite")
        if mask is None and image.shape[-1] == 4:
            mask = image[..., 3]
        if mask is None:
            mask = foreground(colors)
        mask = validation.tensor("mask", mask)
        mask = mask.squeeze(-1) if mask.ndim == 3 else mask
        if tuple(mask.shape) != tuple(camera.size):
            raise ValueError(f"mask: expected shape {list(camera.size)}, got {list(mask.shape)}")
        if not bool(mask.isfinite().all()):
            raise ValueError("mask: holds values that are not finite")
        mask = mask.to(colors).clamp(0, 1)
        if int((mask > 0.5).sum()) < 16:
            raise ValueError(f"mask: expected at least 16 pixels of the object, got {int((mask > 0.5).sum())}")
        eye = torch.eye(4, dtype=torch.float32, device=image.device)
        still = replace(
            camera, world_to_camera=eye, fx=camera.fx.float(), fy=camera.fy.float(),
            cx=camera.cx.float(), cy=camera.cy.float(),
        )  # fmt: skip
        return cls(torch.cat([colors * mask[..., None], mask[..., None]], -1), still)

    @property
    def mask(self) -> Tensor:
        """[H, W]."""
        return self.image[..., 3]

    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the mask, in pixels."""
        rows, columns = (self.mask > 0.5).nonzero().unbind(-1)
        return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)

    def crop(self, box: tuple[float, float, float, float], size: int) -> Crop:
        """A square around a box, at most `size` pixels wide; not finer than the photograph."""
        left, top, right, bottom = box
        side = max(8, int(max(right - left, bottom - top)) + 2)
        corner = (round(0.5 * (left + right - side)), round(0.5 * (top + bottom - side)))
        return Crop(self, corner, side, size)

    def axis(self) -> tuple[Tensor, float]:
        """Unit direction [3] to the mask's centroid, and the angle in radians of the cone that holds the mask."""
        pixels = (self.mask > 0.5).nonzero().flip(-1).to(self.image) + 0.5
        directions = self.camera.rays(pixels).directions
        axis = self.camera.rays(pixels.mean(0, keepdim=True)).directions[0]
        cosine = float((directions @ axis).clamp(-1, 1).min())
        return axis, float(torch.arccos(torch.tensor(cosine)))

    def turned(self, axis: Tensor, angles: Tensor, camera: PerspectiveCamera) -> tuple[Tensor, Tensor]:
        """What cameras see that look along `axis`, rolled by `angles` [A].

        Returns:
            Images [A, h, w, 4], and the rotations [A, 3, 3] from this photograph's camera space to theirs.
        """
        toward = look_at(torch.zeros_like(axis), axis)[:3, :3]
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        roll = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1], -1).view(-1, 3, 3)
        rotations = roll @ toward
        # Coarse pixels first, so that few of them make up one of the images.
        left, top, right, bottom = self.box()
        crop = self.crop((left, top, right, bottom), 2 * max(camera.size))
        directions = camera.rays().directions.reshape(-1, 3)
        height, width = camera.size
        places = crop.camera.pixels((directions @ rotations).reshape(-1, 3)).view(len(angles), height, width, 2)
        grid = 2 * places / crop.camera.size[0] - 1
        images = torch.nn.functional.grid_sample(
            crop.image.permute(2, 0, 1)[None].expand(len(angles), -1, -1, -1), grid, align_corners=False
        )
        return images.permute(0, 2, 3, 1), rotations


def foreground(colors: Tensor) -> Tensor:
    """Mask [H, W] of what is not of the border's colour, in an image [H, W, 3].

    Raises:
        ValueError: the border is not of one colour.
    """
    smooth = torch.nn.functional.avg_pool2d(
        colors.permute(2, 0, 1)[None], 3, stride=1, padding=1, count_include_pad=False
    )[0].permute(1, 2, 0)
    border = torch.cat([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
    color = border.median(0).values
    deviation = float((border - color).norm(dim=-1).median())
    if deviation > _MAX_DEVIATION:
        raise ValueError("mask: expected one, since the image's border is not of one colour")
    return ((smooth - color).norm(dim=-1) > max(0.06, _DEVIATIONS * deviation)).to(colors)
