"""What renderers return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lumigrad._engine import validation as check
from lumigrad.render.color import srgb_decode


@dataclass(frozen=True, eq=False)
class Rendering:
    """N images and what was seen in them.

    Attributes:
        color: what the surfaces send, multiplied with their coverage ("premultiplied") [N, H, W, C]. Linear light where
            there is a `tone_mapping`, otherwise as displayed.
        mask: coverage [N, H, W, 1] in [0, 1], transparency included.
        image: the picture as displayed, in front of its background [N, H, W, C]; before black where nothing was given.
        depth: distance along the viewing direction [N, H, W, 1], in world units.
        normals: shading normals [N, H, W, 3], world space.
        uv: texture coordinates [N, H, W, 2].
        motion: where the point was seen before, in pixels, subtracted from where it is seen now [N, H, W, 2]: x to the
            right, y down.
        triangle_ids: number of the triangle in its mesh, int32 [N, H, W], -1 where nothing is seen.
        mesh_ids: number of the mesh in the scene or batch, int32 [N, H, W], -1 where nothing is seen.
        tone_mapping: from linear light to display; None where colours are display-encoded already.

    The buffers from `depth` to `mesh_ids` are None where they were not asked for. They tell of the first surface that
    is not wholly transparent, at the pixel's centre; they are neither antialiased nor averaged over samples, and zero
    where nothing is seen. Depth, normals, uv and motion carry gradients.
    """

    color: Tensor
    mask: Tensor
    image: Tensor = None  # type: ignore[assignment]
    depth: Tensor | None = None
    normals: Tensor | None = None
    uv: Tensor | None = None
    motion: Tensor | None = None
    triangle_ids: Tensor | None = None
    mesh_ids: Tensor | None = None
    tone_mapping: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.image is None:
            object.__setattr__(self, "image", self._displayed(self.color))

    def _displayed(self, color: Tensor) -> Tensor:
        return color if self.tone_mapping is None else self.tone_mapping(color)

    def over(self, background: Any) -> Tensor:
        """Image [N, H, W, C] in front of a display-encoded colour, or anything that broadcasts to the image."""
        behind = check.constant(background, self.color)
        if self.tone_mapping is not None:
            behind = srgb_decode(behind)
        return self._displayed(self.color + (1 - self.mask) * behind)

    def straight(self) -> Tensor:
        """Displayed colours not multiplied with coverage, and coverage [N, H, W, C + 1]: what PNG files hold."""
        seen = self.mask > 0
        color = self.color / self.mask.where(seen, self.mask.new_ones(()))
        return torch.cat([self._displayed(color), self.mask], -1)
