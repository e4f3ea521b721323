"""The distortion loss of a ray's weights, and the contraction of unbounded space to a ball.

Defined by the functions of the same names in `lumigrad.reference`, which also serve as the implementation.
"""

from __future__ import annotations

from torch import Tensor

from lumigrad import reference
from lumigrad.ops.field._composite import check_samples
from lumigrad.types import RaySamples
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float


def distortion_loss(samples: RaySamples, weights: Float[Tensor, " samples"]) -> Float[Tensor, " rays"]:
    """Measure how far apart a ray's weights lie: small where they are in one short segment.

    Args:
        samples: of R rays, front to back.
        weights: [S], from :func:`~lumigrad.composite`.

    Returns:
        [R]: the sum over pairs of samples of w_i w_j |m_i - m_j|, m the segments' middles, and over samples of
        w_i^2 (t_end - t_start) / 3. Gradients reach `weights`, `t_start` and `t_end`. It takes time in proportion to
        the number of samples. A ray with numbers that are not finite has NaN, and no gradient.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    Source: Barron et al. 2022, "Mip-NeRF 360", equation 15.

    >>> import torch
    >>> import lumigrad as lg
    >>> samples = lg.RaySamples(torch.tensor([0.0, 4.0]), torch.tensor([0.0, 4.0]), torch.tensor([0, 2]))
    >>> lg.distortion_loss(samples, torch.tensor([0.5, 0.25])).item()  # 2 * 0.5 * 0.25 * 4
    1.0
    """
    weights = check.floating("weights", weights)
    check.shape("weights", weights, ("S",))
    return reference.distortion_loss(check_samples(samples, weights, weights.shape[0], "weights"), weights)


def contract(points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
    """Map all of space into the ball of radius 2: points x with |x| > 1 to (2 - 1 / |x|) x / |x|, others to themselves.

    Args:
        points: [..., 3].

    Returns:
        [..., 3]. Gradients reach `points`. Points that are not finite have NaN, and no gradient.

    Raises:
        TypeError, ValueError: for a wrong type or shape.

    Source: Barron et al. 2022, "Mip-NeRF 360", equation 10.

    >>> import torch
    >>> import lumigrad as lg
    >>> lg.contract(torch.tensor([[0.5, 0.0, 0.0], [0.0, 4.0, 0.0]])).tolist()
    [[0.5, 0.0, 0.0], [0.0, 1.75, 0.0]]
    """
    points = check.floating("points", points)
    if points.dim() < 1 or points.shape[-1] != 3:
        raise ValueError(f"points: expected shape [..., 3], got {tuple(points.shape)}")
    return reference.contract(points)
