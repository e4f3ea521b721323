"""Which Gaussians a camera sees, and tensors of only these."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_ALPHA = 1 / 255
MAX_ALPHA = 0.99
STOP = 1e-4  # the transmittance at which a pixel is done
EXTENT = 3.33  # in standard deviations: there exp(-x^2 / 2) is about MIN_ALPHA


def screen_radii(
    xy: Tensor, conics: Tensor, depths: Tensor, opacities: Tensor | None, size: tuple[int, int], clip: float
) -> Tensor:
    """Half the sides of the Gaussians' bounding boxes in pixels, int32 [C, N, 2]; 0 for those that are not seen.

    A Gaussian ends where it is below 1/255 of opacity, at the latest after 3.33 standard deviations (without opacities
    there). Not seen is what is fainter, has both radii at `clip` or below, is not drawn for its depth, or has its box
    off the image.
    """
    a, b, c = conics.detach().unbind(-1)
    det = a * c - b * b
    drawn = depths.isfinite() & (det > 0)
    spread = torch.stack((c, a), -1) / torch.where(drawn, det, 1)[..., None]  # the variances along x and y
    extent = torch.full_like(depths, EXTENT)
    if opacities is not None:
        extent = (2 * (opacities.detach() / MIN_ALPHA).clamp(min=1).log()).sqrt().clamp(max=EXTENT)
        drawn = drawn & (opacities.detach() >= MIN_ALPHA)
    radii = (extent[..., None] * spread.clamp(min=0).sqrt()).ceil()
    image = xy.new_tensor([size[1], size[0]])
    centre = xy.detach()
    seen = drawn & ~(radii <= clip).all(-1)
    seen = seen & (centre + radii > 0).all(-1) & (centre - radii < image).all(-1)
    return torch.where(seen[..., None], radii, 0).nan_to_num().clamp(max=2**31 - 256).int()


class Packing(NamedTuple):
    """The places [images, N] of the visible Gaussians, in order of images, then of Gaussians."""

    image_ids: Tensor
    gaussian_ids: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, visible: Tensor) -> Packing:
        image_ids, gaussian_ids = visible.nonzero(as_tuple=True)
        return cls(image_ids, gaussian_ids, visible.shape)

    def pack(self, value: Tensor) -> Tensor:
        """[C, N, ...] as [nnz, ...]."""
        return value[self.image_ids, self.gaussian_ids]

    def unpack(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """[nnz, ...] as [C, N, ...], with `fill` for what is not visible."""
        full = packed.new_full((*self.shape, *packed.shape[1:]), fill)
        return full.index_put((self.image_ids, self.gaussian_ids), packed)
