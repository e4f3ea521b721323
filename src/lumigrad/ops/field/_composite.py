"""Compositing of samples along rays that the caller has evaluated.

Defined by :func:`lumigrad.reference.composite`; the kernel is ``native/field/composite.h``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.reference._gradients import finite_gradient
from lumigrad.types import Composited, RaySamples
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float

MODES = ("density", "alpha")


def composite(
    samples: RaySamples,
    density: Float[Tensor, " samples"],
    features: Float[Tensor, "samples channels"],
    background: Float[Tensor, "#rays channels"] | Float[Tensor, " channels"] | None = None,
    mode: str = "density",
) -> Composited:
    """Blend samples along rays, front to back.

    Args:
        samples: of R rays; the last offset is the number of samples.
        density: [S], extinction per length, or with `mode` "alpha" how much each sample absorbs of what reaches it.
        features: [S, C].
        background: [C] or [R, C], seen through what the samples let pass.
        mode: "density" or "alpha".

    Returns:
        Composited: features [R, C], alpha and depth [R], weights [S]. Gradients of all of them reach `density`,
        `features`, `background`, and `t_start`, `t_end` and `norms` of the samples. They are right where a sample's
        alpha is 1 too. Samples whose alpha is not finite absorb nothing.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or options.

    Source: Max 1995, "Optical models for direct volume rendering".

    >>> import torch
    >>> import lumigrad as lg
    >>> samples = lg.RaySamples(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), torch.tensor([0, 2]))
    >>> out = lg.composite(samples, torch.tensor([0.5, 1.0]), torch.tensor([[1.0], [2.0]]), mode="alpha")
    >>> out.features.tolist(), out.weights.tolist()
    ([[1.5]], [0.5, 0.5])
    """
    density = check.floating("density", density)
    check.shape("density", density, ("S",))
    features = check.floating("features", features, density, "density")
    count = density.shape[0]
    check.shape("features", features, (count, "C"))
    samples = check_samples(samples, density, count)
    rays = samples.offsets.shape[0] - 1
    if background is not None:
        background = check.floating("background", background, density, "density")
        check.like_image("background", background, (rays, features.shape[1]))
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    if needs_reference("composite", density):
        return reference.composite(samples, density, features, background, mode)
    norms = density.new_ones(rays) if samples.norms is None else samples.norms
    color, alpha, depth, weights = _op(
        density.contiguous(), features.contiguous(), samples.t_start.contiguous(), samples.t_end.contiguous(),
        norms.contiguous(), samples.offsets.contiguous(), mode == "alpha",
    )  # fmt: skip
    if background is not None:
        color = color + (1 - alpha)[:, None] * finite_gradient(background)
    return Composited(color, alpha, depth, weights)


def check_samples(samples: RaySamples, like: Tensor, count: int, name: str = "density") -> RaySamples:
    if not isinstance(samples, RaySamples):
        raise TypeError(f"samples: expected RaySamples, got {type(samples).__name__}")
    for end in ("t_start", "t_end"):
        check.shape(f"samples.{end}", check.floating(f"samples.{end}", getattr(samples, end), like, name), (count,))
    offsets = check.tensor("samples.offsets", samples.offsets)
    if offsets.dtype != torch.int64:
        raise TypeError(f"samples.offsets: expected int64, got {str(offsets.dtype).removeprefix('torch.')}")
    if offsets.dim() != 1 or not len(offsets):
        raise ValueError(f"samples.offsets: expected shape [R + 1], got {tuple(offsets.shape)}")
    if offsets.device != like.device:
        raise ValueError(f"samples.offsets: expected device {like.device} like {name}, got {offsets.device}")
    if check.values_can_be_checked() and offsets.device.type == "cpu":
        rising = bool((offsets[1:] >= offsets[:-1]).all())
        if not rising or int(offsets[0]) != 0 or int(offsets[-1]) != count:
            raise ValueError(f"samples.offsets: expected numbers that rise from 0 to {count}, got {offsets}")
    if samples.norms is not None:
        norms = check.floating("samples.norms", samples.norms, like, name)
        check.shape("samples.norms", norms, (len(offsets) - 1,))
    return samples


def _sizes(features: Tensor, offsets: Tensor) -> tuple[int, ...]:
    return offsets.shape[0] - 1, *features.shape


_op = declare(
    "composite(Tensor density, Tensor features, Tensor t_start, Tensor t_end, Tensor norms, Tensor offsets, "
    "bool opacity)",
    sizes=("rays samples channels", _sizes),
    outputs={"features_out": "rays channels", "alpha": "rays", "depth": "rays", "weights": "samples"},
)
