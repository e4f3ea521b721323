"""Densities and opacities of volumes that are to become surfaces, computed from signed distances in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.reference._gradients import finite_gradient
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float


def volsdf_density(distance: Float[Tensor, "*shape"], beta: float | Tensor) -> Float[Tensor, "*shape"]:
    """The density of a volume around a surface, as VolSDF has it: 1 / beta inside, fading across the surface.

    It is 1 / beta times the distribution function of Laplace's distribution of scale beta at minus the distance. Light
    that reaches a plane at the cosine c has exp(-1 / (2 c)) of its strength left there.

    Args:
        distance: signed, negative inside.
        beta: positive; a tensor may ask for a gradient.

    Raises:
        TypeError, ValueError: for wrong types, or a beta that is not positive.

    Source: Yariv et al. 2021, "Volume Rendering of Neural Implicit Surfaces", equations 2 and 3.

    >>> import torch
    >>> import lumigrad as lg
    >>> lg.volsdf_density(torch.tensor([-100.0, 0.0, 100.0]), beta=0.5)
    tensor([2., 1., 0.])
    """
    distance = check.floating("distance", distance)
    distance, scale = finite_gradient(distance), _positive("beta", beta, distance)
    # -expm1 of minus the distance (in units of beta), halved: exact for small distances and without overflow for large
    # ones.
    scale = finite_gradient(scale.expand(distance.shape))
    tail = -0.5 * torch.expm1(-distance.abs() / scale)
    return (0.5 - torch.sign(distance) * tail) / scale


def neus_alpha(
    front: Float[Tensor, "*shape"], back: Float[Tensor, "*shape"], sharpness: float | Tensor
) -> Float[Tensor, "*shape"]:
    """The opacity of a segment of a ray, as NeuS has it, from the signed distances at its ends.

    Transmittance is the ratio of sigmoids of `sharpness` times the distance: one half at a plane, at any angle. A
    segment along which the distance grows has no opacity.

    Args:
        front, back: signed distances where the segment begins and ends, negative inside.
        sharpness: positive, per distance; a tensor may ask for a gradient.

    Raises:
        TypeError, ValueError: for wrong types or shapes, or a sharpness that is not positive.

    Source: Wang et al. 2021, "NeuS: Learning Neural Implicit Surfaces", equation 13.

    >>> import torch
    >>> import lumigrad as lg
    >>> lg.neus_alpha(torch.tensor([9.0, 1.0]), torch.tensor([0.0, 2.0]), sharpness=10.0)
    tensor([0.5000, 0.0000])
    """
    front = check.floating("front", front)
    back = check.floating("back", back, front, "front")
    check.shape("back", back, tuple(front.shape))
    scale = _positive("sharpness", sharpness, front).expand(front.shape)
    front, back, scale = map(finite_gradient, (front, back, scale))
    # 1 - sigmoid(b) / sigmoid(a), computed with logarithms, so that nothing is divided by zero deep inside.
    logs = torch.nn.functional.logsigmoid(scale * back) - torch.nn.functional.logsigmoid(scale * front)
    return torch.expm1(logs.clamp(max=0.0)).abs()


def _positive(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        return like.new_tensor(check.number(name, value, positive=True))
    value = check.floating(name, value, like, "the distances")
    if check.values_can_be_checked() and value.device.type != "meta" and not bool((value > 0).all()):
        raise ValueError(f"{name}: expected positive numbers, got {value.detach().min().item()}")
    return value
