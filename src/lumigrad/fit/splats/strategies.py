"""Strategies for adding and removing primitives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from lumigrad.fit.splats.models import Model, Parameters
from lumigrad.fit.splats.rows import Rows
from lumigrad.scene.cameras.camera import PerspectiveCamera


class Seen(NamedTuple):
    """The feedback of one photograph of a step to the primitives.

    Attributes:
        camera: [1].
        pull: lengths [V] of the gradients of its loss with respect to their positions; where processes divide the
            primitives, of those that this process has.
    """

    camera: PerspectiveCamera
    pull: Tensor


class Strategy(Protocol):
    """Called by the loop. What it records of each primitive is in `rows.statistics`, and is saved with the rows.

    Attributes:
        looks: whether it needs the feedback of photographs.
    """

    looks: ClassVar[bool]

    def penalty(self, parameters: Parameters) -> Tensor | None:
        """A term that is added to the loss: a mean over primitives."""

    def after_step(
        self, rows: Rows, seen: Sequence[Seen], model: Model, step: int, progress: float, generator: torch.Generator
    ) -> None:
        """Change the rows after a step of the optimiser.

        Processes may divide the primitives. `rows.whole` then gives what is decided by the values of all.

        Args:
            seen: the photographs of the step, if the strategy looks.
            step: counted from 1.
            progress: of the fit, in (0, 1].
            generator: on the rows' device.
        """


def _screen_gradient(means: Tensor, seen: Seen) -> Tensor:
    """Length [V] of the gradient of the position in the image, in units of half the longer side."""
    pixels = seen.pull * seen.camera.depth(means)[0].clamp_min(0) / seen.camera.fx
    return pixels * (0.5 * max(seen.camera.size))


@dataclass
class CloneSplitPrune:
    """Primitives with large gradients are cloned if small and split if large; faint ones are removed.

    Attributes:
        extent: size of the scene.
        max_primitives: largest number of primitives; those with the largest gradients come first.
        every: steps between two rounds.
        window: part of the fit in which primitives are added and removed.
        threshold: mean length of the gradient of the position in the image.
        small: size up to which a primitive is cloned, relative to `extent`.
        faint: opacity below which primitives are removed.

    Source: Kerbl et al. 2023, section 5.2; without its resets of opacity, which do not pay off in short fits.
    """

    extent: float = 1.0
    max_primitives: int = 60_000
    every: int = 100
    window: tuple[float, float] = (0.1, 0.85)
    threshold: float = 2e-4
    small: float = 0.01
    faint: float = 0.01
    looks: ClassVar[bool] = True

    def penalty(self, parameters: Parameters) -> Tensor | None:
        return None

    @torch.no_grad()
    def after_step(
        self, rows: Rows, seen: Sequence[Seen], model: Model, step: int, progress: float, generator: torch.Generator
    ) -> None:
        for one in seen:
            pull = _screen_gradient(rows.parameters["means"], one)
            rows.statistic("pull").add_(pull)
            rows.statistic("views").add_(pull > 0)
        if step % self.every or not self.window[0] <= progress <= self.window[1]:
            return
        self._grow(rows, model, generator)
        rows.keep(rows.whole(rows.parameters["opacities"].sigmoid() >= self.faint))
        rows.statistics.clear()

    def _grow(self, rows: Rows, model: Model, generator: torch.Generator) -> None:
        mean = rows.whole(rows.statistic("pull") / rows.statistic("views").clamp_min(1))
        large = rows.whole(rows.parameters["scales"].amax(-1).exp() > self.small * self.extent)
        wanted = torch.nonzero(mean > self.threshold)[:, 0]
        room = self.max_primitives - len(rows)
        if len(wanted) > room:
            wanted = wanted[mean[wanted].argsort(descending=True, stable=True)[: max(0, room)]]
        clones, splits = wanted[~large[wanted]], wanted[large[wanted]]
        twins = torch.arange(len(splits), device=rows.device) + len(rows) + len(clones)
        rows.double(torch.cat([clones, splits]))
        # Both halves of a split get a random position within the primitive.
        noise = torch.randn(2, len(splits), 3, 1, generator=generator, device=generator.device).flatten(0, 1)
        halves, places = rows.here(torch.cat([twins, splits]))
        parameters = {name: value[halves] for name, value in rows.parameters.items()}
        moved = parameters["means"] + (model.spread(parameters) @ noise[places].to(parameters["means"]))[..., 0]
        rows.replace("means", halves, moved)
        rows.replace("scales", halves, parameters["scales"] - math.log(1.6))


@dataclass
class MCMC:
    """Primitives as samples of a distribution: noise moves faint ones, and dead ones are moved onto opaque ones.

    Attributes:
        extent: size of the scene.
        max_primitives: number of primitives; each round adds up to 5 %.
        every: steps between two rounds.
        window: part of the fit in which primitives are added and moved.
        faint: opacity below which a primitive is dead.
        noise: of positions, relative to their step and to the primitives' covariance over the extent squared.
        opacity_weight, scale_weight: of the penalties on opacities, and on scales relative to the extent.

    Source: Kheradmand et al. 2024, "3D Gaussian Splatting as Markov Chain Monte Carlo", equations 8 and 9.
    """

    extent: float = 1.0
    max_primitives: int = 60_000
    every: int = 100
    window: tuple[float, float] = (0.02, 0.8)
    faint: float = 0.005
    noise: float = 1.25e7
    opacity_weight: float = 0.01
    scale_weight: float = 0.05
    looks: ClassVar[bool] = False

    def penalty(self, parameters: Parameters) -> Tensor | None:
        opacity = parameters["opacities"].sigmoid().mean()
        return self.opacity_weight * opacity + self.scale_weight * parameters["scales"].exp().mean() / self.extent

    @torch.no_grad()
    def after_step(
        self, rows: Rows, seen: Sequence[Seen], model: Model, step: int, progress: float, generator: torch.Generator
    ) -> None:
        if step % self.every == 0 and self.window[0] <= progress <= self.window[1]:
            self._relocate(rows, generator)
            self._add(rows, generator)
        spread = model.spread(rows.parameters)
        noise = torch.randn(len(rows), 3, 1, generator=generator, device=generator.device)
        noise = noise[rows.share].to(spread)
        freedom = torch.sigmoid(100 * (0.005 - rows.parameters["opacities"].sigmoid()))
        moved = (spread @ (spread.transpose(1, 2) @ noise))[..., 0] * freedom[:, None] / self.extent**2
        rows.parameters["means"].add_(moved, alpha=self.noise * model.rates["means"] * 0.01**progress)

    def _relocate(self, rows: Rows, generator: torch.Generator) -> None:
        opacity = rows.whole(rows.parameters["opacities"].sigmoid())
        dead = opacity < self.faint
        if not bool(dead.any()) or bool(dead.all()):
            return
        source = torch.arange(len(rows), device=rows.device)
        source[dead] = self._share(rows, opacity.masked_fill(dead, 0), int(dead.sum()), generator)
        rows.take(source, dead)

    def _add(self, rows: Rows, generator: torch.Generator) -> None:
        count = min(self.max_primitives, int(1.05 * len(rows))) - len(rows)
        if count > 0:
            opacity = rows.whole(rows.parameters["opacities"].sigmoid())
            rows.double(self._share(rows, opacity, count, generator))

    def _share(self, rows: Rows, weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Choose `count` primitives; make them so small and faint that together with their copies they look as before.

        Returns:
            Their numbers.
        """
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        parts = torch.bincount(chosen, minlength=len(weights)) + 1
        shared, places = rows.here(torch.nonzero(parts > 1)[:, 0])
        parts = parts[parts > 1][places]
        opacity, factor = shared_shape(rows.parameters["opacities"][shared].sigmoid(), parts)
        rows.replace("opacities", shared, opacity.clamp(self.faint, 1 - 1e-6).logit())
        rows.replace("scales", shared, rows.parameters["scales"][shared] + factor.log()[:, None])
        return chosen


def shared_shape(opacity: Tensor, parts: Tensor, max_count: int = 51) -> tuple[Tensor, Tensor]:
    """Opacity [V], and factor of scale [V], of `parts` equal Gaussians in one place that together look like one.

    Source: Kheradmand et al. 2024, equation 9.
    """
    parts = parts.clamp(max=max_count)
    one = opacity.double()
    new = 1 - (1 - one) ** (1 / parts)
    total = torch.zeros_like(new)
    for i in range(1, int(parts.max()) + 1 if len(parts) else 1):
        terms = [math.comb(i - 1, k) * (-1) ** k * new ** (k + 1) / math.sqrt(k + 1) for k in range(i)]
        total += torch.where(parts >= i, torch.stack(terms).sum(0), 0.0)
    return new.to(opacity), (one / total).to(opacity)
