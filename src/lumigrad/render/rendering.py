"""The results of renderers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.render.background import resolve_background
from lumigrad.render.color import srgb_decode
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int32


@dataclass(frozen=True, eq=False)
class Rendering:
    """N images and what was seen in them.

    Attributes:
        color: what the shapes send, multiplied with their coverage ("premultiplied") [N, H, W, C]. Linear light where
            there is a `tone_mapping`, otherwise as displayed.
        mask: coverage [N, H, W, 1] in [0, 1], transparency included.
        image: the picture as displayed, in front of its background [N, H, W, C]; before black where nothing was given.
        depth: distance along the viewing direction [N, H, W, 1], in world units.
        normals: shading normals [N, H, W, 3], world space, of unit length.
        uv: texture coordinates [N, H, W, 2].
        motion: where the point was seen before, in pixels, subtracted from where it is seen now [N, H, W, 2]: x to the
            right, y down.
        primitive_ids: number of the triangle in its mesh, or of the point, Gaussian or surfel in its cloud, int32
            [N, H, W], -1 where nothing is seen.
        shape_ids: number of the mesh or cloud in the scene or batch, int32 [N, H, W], -1 where nothing is seen.
        tone_mapping: from linear light to display; None where colours are display-encoded already.
        transmittance: how much of the background is seen [N, H, W, 1], or of each of its channels; None where it is
            1 - mask, as it is but for `render_soft`, and `render_path` with media.
        albedo: the material's colour at what is seen first [N, H, W, 3]; of `render_path` and `render_direct`.
        samples: with how many samples each pixel was computed, int32 [N, H, W]; of `render_path` with an `error` alone.

    The buffers from `depth` to `shape_ids` are None where they were not asked for or are not known. They are zero where
    nothing is seen. Those of meshes tell of the first surface that is not wholly transparent, at the pixel's centre;
    they are neither antialiased nor averaged over samples. Those of points, spheres, Gaussians and surfels are means of
    what contributes to the pixel, weighted like its colour; of ids each renderer says which. Depth, normals, uv and
    motion carry gradients.

    >>> from lumigrad.render import render
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render(icosphere(2), camera, shading="unlit")
    >>> round(shot.mask[0, 12, 16, 0].item(), 2), round(shot.depth[0, 12, 16, 0].item(), 1)
    (1.0, 2.0)
    >>> shot.shape_ids[0, 12, 16].item(), shot.shape_ids[0, 0, 0].item()  # the only shape; nothing
    (0, -1)
    >>> shot.over((0.0, 0.0, 1.0))[0, 0, 0].tolist()  # the background
    [0.0, 0.0, 1.0]
    >>> shot.straight().shape  # with alpha, for a PNG file
    torch.Size([1, 24, 32, 4])
    """

    color: Float[Tensor, "views height width channels"]
    mask: Float[Tensor, "views height width 1"]
    image: Float[Tensor, "views height width image_channels"] = None  # type: ignore[assignment]
    depth: Float[Tensor, "views height width 1"] | None = None
    normals: Float[Tensor, "views height width 3"] | None = None
    uv: Float[Tensor, "views height width 2"] | None = None
    motion: Float[Tensor, "views height width 2"] | None = None
    primitive_ids: Int32[Tensor, "views height width"] | None = None
    shape_ids: Int32[Tensor, "views height width"] | None = None
    tone_mapping: Callable[[Tensor], Tensor] | None = None
    transmittance: Float[Tensor, "views height width _"] | None = None
    albedo: Float[Tensor, "views height width 3"] | None = None
    samples: Int32[Tensor, "views height width"] | None = None

    def __post_init__(self) -> None:
        if self.image is None:
            object.__setattr__(self, "image", self._displayed(self.color))

    def _displayed(self, color: Tensor) -> Tensor:
        return color if self.tone_mapping is None else self.tone_mapping(color)

    def over(self, background: Any) -> Float[Tensor, "views height width channels"]:
        """Image [N, H, W, C] in front of a display-encoded colour, or anything that broadcasts to the image."""
        behind = check.constant(background, self.color)
        if self.tone_mapping is not None:
            behind = srgb_decode(behind)
        through = 1 - self.mask if self.transmittance is None else self.transmittance
        return self._displayed(self.color + through * behind)

    def straight(self) -> Float[Tensor, "views height width channels"]:
        """Displayed colours not multiplied with coverage, and coverage [N, H, W, C + 1]: what PNG files hold."""
        share = self.mask if self.transmittance is None else 1 - self.transmittance.mean(-1, keepdim=True)
        color = self.color / share.where(share > 0, share.new_ones(()))
        return torch.cat([self._displayed(color), self.mask], -1)

    def _repr_png_(self) -> bytes | None:
        """What notebooks show of it: the images side by side, on white; None where they are no colours."""
        if self.color.shape[-1] not in (1, 3) or not self.color.numel():
            return None
        row = torch.cat(list(self.over(1.0).detach()), dim=1)
        pixels = (row.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, -1, 3)
        file = io.BytesIO()
        require("PIL.Image", "the picture of a Rendering").fromarray(pixels.cpu().numpy()).save(file, "png")
        return file.getvalue()


def finished(
    color: Tensor,
    mask: Tensor,
    background: Any,
    cameras: Sequence[Camera],
    tone_mapping: Callable[[Tensor], Tensor] | None,
    buffers: Mapping[str, Tensor],
    transmittance: Tensor | None = None,
) -> Rendering:
    """The rendering of premultiplied colours [N, H, W, C] in front of a background, see `resolve_background`.

    Args:
        cameras: of the N images, at their size.
        buffers: by the names that `Rendering` has for them.
        color, mask, tone_mapping, transmittance: as `Rendering` has them.
    """
    behind = resolve_background(background, cameras, color, tone_mapping is not None)
    image = color + (1 - mask if transmittance is None else transmittance) * behind
    return Rendering(
        color,
        mask,
        image if tone_mapping is None else tone_mapping(image),
        tone_mapping=tone_mapping,
        transmittance=transmittance,
        **buffers,
    )


def averaged(image: Tensor, step: int) -> Tensor:
    """Means of blocks of step x step pixels of images [N, H, W, C]."""
    if step == 1:
        return image
    images, height, width, channels = image.shape
    return image.reshape(images, height // step, step, width // step, step, channels).mean((2, 4))
