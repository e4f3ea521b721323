"""From soft fragments to images: the aggregations of soft renderers, as plain functions of tensors.

They are the definition of what :func:`lumigrad.soft_silhouette` and :func:`lumigrad.soft_colors` compute without
storing fragments, and the place to start from for a shader of one's own. Distances are in the units of
:func:`lumigrad.soft_rasterize`; ``sigma`` is in the same (squared) units.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad.ops.soft._soft_blend import check_depth_range
from lumigrad.ops.soft._soft_rasterize import soft_interpolate
from lumigrad.reference.soft.blending import (
    FALLOFFS,
    MODES,
    check_soft_fragments,
    default_blur_radius,
    nearness_by_w,
    probability,
    silhouette,
    soft_blend,
)
from lumigrad.types import validation as check
from lumigrad.types.fragments import SoftFragments
from lumigrad.types.shapes import Float, Int

__all__ = ["FALLOFFS", "MODES", "default_blur_radius", "nearness", "probability", "silhouette", "soft_blend"]


def nearness(
    frags: SoftFragments,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    depth_range: tuple[float, float] | None = None,
) -> Float[Tensor, "views height width faces_per_pixel"]:
    """How near each fragment is, for `soft_blend`: 1 at the near end and 0 at the far one, [N, H, W, K].

    Args:
        frags: soft fragments of `pos` and `tri`.
        pos, tri: what was rasterized.
        depth_range: (near, far): (far - w) / (far - near), where w is the clip coordinate at the fragment, the
            distance in front of the camera for perspective projections. None: (1 - z) / 2, by the depth z.

    Returns:
        [N, H, W, K], linear and not clamped; carries gradients to `pos`.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices; with a `depth_range`, indices out of range.

    Source: Liu et al. 2019, "Soft Rasterizer", the normalised depth of equation 3; by w as in PyTorch3D.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2, blur_radius=0.1)
    >>> nearness = lg.blending.nearness(frags, pos, tri)
    >>> nearness[0, 4, 4].tolist()  # half way between the clip planes; what is no face counts as that too
    [0.5, 0.5]
    >>> lg.blending.nearness(frags, pos, tri, depth_range=(0.5, 2.5))[0, 4, 4, 0].item()  # w = 1
    0.75
    """
    frags = check_soft_fragments(frags)
    if depth_range is None:
        return (1 - frags.z) / 2
    depth_range = check_depth_range(depth_range)
    pos = check.floating("pos", pos, frags.bary, "frags.bary")
    if pos.dim() not in (2, 3) or pos.shape[-1] != 4 or (pos.dim() == 3 and len(pos) != len(frags.tri)):
        raise ValueError(f"pos: expected shape [{len(frags.tri)}, V, 4] or [V, 4], got {tuple(pos.shape)}")
    return nearness_by_w(soft_interpolate(pos[..., 3:], frags, tri)[..., 0], depth_range)
