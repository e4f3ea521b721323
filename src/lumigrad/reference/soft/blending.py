"""From soft fragments to images: the aggregations of soft renderers, as plain functions of tensors.

They are the definition of what :func:`lumigrad.soft_silhouette` and :func:`lumigrad.soft_colors` compute
without storing fragments, and the place to start from for a shader of one's own. Distances are in the units of
:func:`lumigrad.soft_rasterize`; ``sigma`` is in the same (squared) units.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.reference.soft._soft_rasterize import soft_interpolate
from lumigrad.types import validation as check
from lumigrad.types.fragments import SoftFragments
from lumigrad.types.shapes import Float, Int

FALLOFFS = ("sigmoid", "exponential")
# mode: (weight of the background as if it were a face at this nearness, its smallest weight)
MODES = {"softras": (1e-3, 0.0), "pytorch3d": (1e-10, 1e-10)}
NEGLIGIBLE = 1e-4  # a face's probability at the default blur radius


def default_blur_radius(sigma: float, falloff: str = "sigmoid") -> float:
    """The squared distance at which a face's probability has fallen to one in ten thousand.

    Args:
        sigma: the width of the falloff, a squared distance in units of half the image's shorter side.
        falloff: as for :func:`probability`.

    Returns:
        ``sigma * log(9999)`` for "sigmoid", ``sigma * log(10000)`` for "exponential".

    Raises:
        ValueError: another falloff.

    >>> import lumigrad as lg
    >>> round(lg.blending.default_blur_radius(1e-4), 6), round(lg.blending.default_blur_radius(1e-4, "exponential"), 6)
    (0.000921, 0.000921)
    """
    check_falloff(falloff)
    return sigma * math.log(1 / NEGLIGIBLE - 1) if falloff == "sigmoid" else -sigma * math.log(NEGLIGIBLE)


def check_falloff(falloff: str) -> None:
    if falloff not in FALLOFFS:
        raise ValueError(f"falloff: expected one of {', '.join(FALLOFFS)}, got {falloff!r}")


def check_mode(mode: str) -> None:
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")


def check_soft_fragments(frags: Any) -> SoftFragments:
    """`frags` if they are consistent in themselves."""
    if not isinstance(frags, SoftFragments):
        raise TypeError(f"frags: expected lumigrad.SoftFragments as made by soft_rasterize, got {type(frags).__name__}")
    tri = check.tensor("frags.tri", frags.tri)
    if tri.dtype != torch.int32:
        raise TypeError(f"frags.tri: expected int32, got {tri.dtype}")
    check.shape("frags.tri", tri, ("N", "H", "W", "K"))
    bary = check.floating("frags.bary", frags.bary)
    check.shape("frags.bary", bary, (*tri.shape, 3))
    for name in ("z", "dist"):
        check.shape(f"frags.{name}", check.floating(f"frags.{name}", getattr(frags, name)), tri.shape)
    for name in ("z", "dist", "bary"):
        device = getattr(frags, name).device
        if device != tri.device:
            raise ValueError(f"frags.{name}: expected device {tri.device} like frags.tri, got {device}")
    return frags


def probability(
    frags: SoftFragments, sigma: float, falloff: str = "sigmoid"
) -> Float[Tensor, "views height width faces_per_pixel"]:
    """How much each face counts at each pixel by its distance d, [N, H, W, K]; zero at pads.

    Args:
        frags: soft fragments.
        sigma: the width of the falloff, in the units of ``frags.dist``.
        falloff: "sigmoid": 1 / (1 + exp(d / sigma)), of SoftRas (Liu et al. 2019, equation 1) and PyTorch3D;
            "exponential": exp(-d / sigma) outside and 1 inside, of DIB-R (Chen et al. 2019, section 3.2).

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers, or another falloff.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2, blur_radius=0.1)
    >>> p = lg.blending.probability(frags, sigma=1e-2)
    >>> p.shape
    torch.Size([1, 8, 8, 2])
    >>> [round(value, 2) for value in p[0, 4, 1:5, 0].tolist()]
    [0.0, 0.42, 0.94, 0.94]
    """
    frags = check_soft_fragments(frags)
    sigma = check.number("sigma", sigma, positive=True)
    check_falloff(falloff)
    present = frags.tri >= 0
    if falloff == "sigmoid":
        return torch.where(present, torch.sigmoid(-frags.dist / sigma), 0)
    return torch.where(present, torch.where(frags.dist > 0, torch.exp(-frags.dist.clamp(min=0) / sigma), 1), 0)


def silhouette(frags: SoftFragments, sigma: float, falloff: str = "sigmoid") -> Float[Tensor, "views height width 1"]:
    """The soft mask 1 - prod(1 - p) of the faces' probabilities p, [N, H, W, 1].

    "sigmoid" is SoftRas' silhouette (Liu et al. 2019, equation 4) and PyTorch3D's sigmoid alpha blending,
    "exponential" DIB-R's mask, which is 1 where a face covers the pixel (Chen et al. 2019, equation 7).

    Args:
        frags, sigma, falloff: as for :func:`probability`.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers, or another falloff.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2, blur_radius=0.1)
    >>> mask = lg.blending.silhouette(frags, sigma=1e-2)
    >>> mask.shape
    torch.Size([1, 8, 8, 1])
    >>> [round(value, 2) for value in mask[0, 4, 1:5, 0].tolist()]
    [0.0, 0.42, 0.94, 0.94]
    """
    frags = check_soft_fragments(frags)
    sigma = check.number("sigma", sigma, positive=True)
    check_falloff(falloff)
    if falloff == "exponential":
        return 1 - (1 - probability(frags, sigma, falloff)).prod(-1, keepdim=True)
    # The product as a sum of logarithms, and over the fragments that exist: most of many faces per pixel are pads.
    present = (frags.tri >= 0).flatten().nonzero()[:, 0]
    log_rest = torch.nn.functional.logsigmoid(frags.dist.flatten().index_select(0, present) / sigma)
    *image, faces = frags.tri.shape
    pixels = frags.dist.new_zeros(math.prod(image))
    total = pixels.index_add(0, present.div(faces, rounding_mode="floor"), log_rest)
    return -torch.expm1(total).reshape(*image, 1)


def nearness(
    frags: SoftFragments,
    pos: Float[Tensor, "views vertices 4"] | Float[Tensor, "vertices 4"],
    tri: Int[Tensor, "triangles 3"],
    depth_range: tuple[float, float] | None = None,
) -> Float[Tensor, "views height width faces_per_pixel"]:
    """The definition of :func:`lumigrad.blending.nearness`."""
    if depth_range is None:
        return (1 - frags.z) / 2
    return nearness_by_w(soft_interpolate(pos[..., 3:], frags, tri)[..., 0], depth_range)


def nearness_by_w(w: Float[Tensor, "*image"], depth_range: tuple[float, float]) -> Float[Tensor, "*image"]:
    """1 where the clip coordinate w is the near end of (near, far), 0 where it is the far one."""
    near, far = depth_range
    return (far - w) / (far - near)


def soft_blend(
    colors: Float[Tensor, "views height width faces_per_pixel channels"],
    frags: SoftFragments,
    nearness: Float[Tensor, "views height width faces_per_pixel"],
    sigma: float,
    gamma: float,
    background: Float[Tensor, " ..."] | float = 0.0,
    mode: str = "softras",
) -> Float[Tensor, "views height width channels+1"]:
    """Mix the faces' colours by distance and nearness, [N, H, W, C + 1]: colours, then the silhouette.

    With the probabilities p and nearness s of a pixel's faces, their weights are w = p exp(s / gamma), the
    background's is exp(eps / gamma), and the colour is the weighted mean (Liu et al. 2019, equation 3).

    Args:
        colors: [N, H, W, K, C], from :func:`lumigrad.soft_interpolate` or a shader.
        frags: the fragments.
        nearness: [N, H, W, K], see :func:`nearness`.
        sigma, gamma: how soft edges and the order in depth are.
        background: a number, or a tensor that broadcasts with [N, H, W, C].
        mode: "softras": eps = 1e-3. "pytorch3d": eps = 1e-10, and the background counts at least 1e-10 of what
            the nearest face counts at most.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers, or another mode.

    >>> import torch
    >>> import lumigrad as lg
    >>> pos = torch.tensor([[-0.5, -0.5, 0.0, 1.0], [0.5, -0.5, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0]])
    >>> tri = torch.tensor([[0, 1, 2]])
    >>> frags = lg.soft_rasterize(pos, tri, (8, 8), faces_per_pixel=2, blur_radius=0.1)
    >>> red = lg.soft_interpolate(torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3), frags, tri)
    >>> nearness = lg.blending.nearness(frags, pos, tri)
    >>> image = lg.blending.soft_blend(red, frags, nearness, sigma=1e-3, gamma=1e-2, background=1.0)
    >>> image.shape
    torch.Size([1, 8, 8, 4])
    >>> [round(value, 2) for value in image[0, 4, 4].tolist()]
    [1.0, 0.0, 0.0, 1.0]
    """
    frags = check_soft_fragments(frags)
    shape = frags.tri.shape
    colors = check.floating("colors", colors, frags.dist, "frags.dist")
    check.shape("colors", colors, (*shape, "C"))
    nearness = check.floating("nearness", nearness, colors, "colors")
    check.shape("nearness", nearness, shape)
    sigma, gamma = check.number("sigma", sigma, positive=True), check.number("gamma", gamma, positive=True)
    if isinstance(background, Tensor):
        background = check.floating("background", background, colors, "colors")
        check.like_image("background", background, (*shape[:3], colors.shape[-1]))
    else:
        background = check.real("background", background)
    check_mode(mode)
    eps, min_behind = MODES[mode]
    present = frags.tri >= 0
    # Pads are set before exponentials: an infinite one would make their gradient NaN.
    log_p = torch.nn.functional.logsigmoid(torch.where(present, -frags.dist, 0) / sigma)
    # Nearness is compared with the nearest face's before it is divided: s / gamma has few digits left for p.
    top = torch.where(present, nearness, -torch.inf).amax(-1, keepdim=True).clamp(min=eps)
    top = top if min_behind else top.detach()  # without the least, nothing depends on what is subtracted
    exponent = log_p + torch.where(present, nearness - top, 0) / gamma
    behind = (eps - top) / gamma
    if not min_behind:  # this leaves something of the face that counts most
        largest = torch.where(present, exponent, -torch.inf).amax(-1, keepdim=True).maximum(behind).detach()
        exponent, behind = exponent - largest, behind - largest
    weight = torch.where(present, torch.exp(torch.where(present, exponent, 0)), 0)
    behind = torch.exp(behind).clamp(min=min_behind)
    total = weight.sum(-1, keepdim=True) + behind
    mixed = ((weight[..., None] * colors).sum(-2) + behind * background) / total
    return torch.cat((mixed, silhouette(frags, sigma)), -1)
