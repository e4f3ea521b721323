"""How accurate the gradient of an image function is, compared with the exact gradient and with its own image.

from benchmarks.gradients import judge
print(judge(my_image))       # my_image(scene, pos): the image [H, W, C] or [1, H, W, C] of clip positions pos [V, 4]
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.gradients import scenes
from benchmarks.gradients.scenes import Scene
from benchmarks.report import Column, Table

Image = Callable[[Scene, Tensor], Tensor]
FUNCTIONALS = ("smooth", "white")
DIRECTIONS = 6
STEP = {torch.float64: 1e-3, torch.float32: 2e-2}  # displacement on the screen in pixels, for differences of an image


class UnsupportedSceneError(Exception):
    """Raised by an image function for a scene that it cannot render."""


@dataclass(frozen=True)
class Case:
    """A scene, the derivative of a loss with respect to its image, and the exact results.

    Attributes:
        scene: what is seen.
        functional: "smooth" or "white": whether the pull varies smoothly or is independent in each pixel.
        pull: [H, W, C], the derivative of the loss with respect to the image.
        image: [H, W, C], exact.
        gradient: of the loss with respect to the scene's parameters, exact.
        directions: motions of the parameters by name, [K, ...]; directional derivatives are compared, too.
    """

    scene: Scene
    functional: str
    pull: Tensor
    image: Tensor
    gradient: Tensor
    directions: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """How an image function performed on a case. Numbers are None if it cannot render the scene.

    Attributes:
        cosine: of the angle between its gradient and the exact one.
        gain: the projection of its gradient onto the exact one, relative to the latter's length; 1 is right.
        length: the length of its gradient relative to the exact one.
        own: by how much directional derivatives differ from differences of the function's own image, as part of the
            larger of the two; the median. 0: the gradient is that of the image. 1: one of them is zero.
        error: the root mean square difference between its image and the exact one.
        seconds: of forward and backward pass.
        along: for each kind of the case's directions, the relative error of derivatives along them.
    """

    family: str
    scene: str
    functional: str
    cosine: float | None
    gain: float | None
    length: float | None
    own: float | None
    error: float | None
    seconds: float | None
    along: dict[str, float] = field(default_factory=dict)


@dataclass
class Judgement:
    """The results of `judge`: a verdict for every case. Printed, a table of the means of every family."""

    verdicts: list[Verdict]

    def families(self) -> list[str]:
        return list(dict.fromkeys(verdict.family for verdict in self.verdicts))

    def mean(self, what: str, family: str | None = None, functional: str | None = None) -> float | None:
        """The mean of a number over the verdicts; the median for `own` and `seconds`."""
        found = [
            getattr(verdict, what)
            for verdict in self.verdicts
            if family in (None, verdict.family) and functional in (None, verdict.functional)
        ]
        found = [value for value in found if value is not None]
        if not found:
            return None
        return statistics.median(found) if what in ("own", "seconds") else statistics.fmean(found)

    def worst(self, family: str | None = None) -> float | None:
        cosines = [verdict.cosine for verdict in self.verdicts if family in (None, verdict.family)]
        return min((cosine for cosine in cosines if cosine is not None), default=None)

    def data(self) -> list[dict[str, Any]]:
        """The verdicts as plain data."""
        return [asdict(verdict) for verdict in self.verdicts]

    @classmethod
    def of(cls, data: Iterable[dict[str, Any]]) -> Judgement:
        """The inverse of `data`."""
        return cls([Verdict(**verdict) for verdict in data])

    def __str__(self) -> str:
        columns = [Column("family", "family"), *_columns()]
        rows = [{"family": name, **self.row(name)} for name in self.families()]
        return Table("", columns, [*rows, {"family": "all", **self.row(None)}]).text().lstrip("\n")

    def row(self, family: str | None = None) -> dict[str, float | None]:
        """The means of a family, or of all families, as a row of a table."""
        row: dict[str, float | None] = {f"cosine {f}": self.mean("cosine", family, f) for f in FUNCTIONALS}
        row["worst"] = self.worst(family)
        for what in ("gain", "length", "own", "error", "seconds"):
            row[what] = self.mean(what, family)
        return row


def _columns() -> list[Column]:
    return [
        *(Column(f"cosine {f}", f"cosine {f}", three) for f in FUNCTIONALS),
        Column("worst", "worst", three),
        Column("gain", "gain", three),
        Column("length", "length", three),
        Column("own", "own image", lambda value: f"{value:.1e}" if value < 0.0095 else f"{value:.2f}"),
        Column("error", "image error", lambda value: f"{value:.1e}"),
        Column("seconds", "ms", lambda value: f"{value * 1e3:.1f}"),
    ]


def three(value: float) -> str:
    """Three decimals without the leading zero; 1 only for a value that is 1 to six decimals."""
    if 1 - 5e-4 <= value < 1 - 5e-7:
        return ".999+"
    return f"{value:.3f}".replace("0.", ".", 1)


def cases(
    families: Iterable[str] | None = None,
    seeds: int = 4,
    smooth: bool = False,
    functionals: Sequence[str] = FUNCTIONALS,
) -> list[Case]:
    """Scenes of the families, all by default, each with every kind of image gradient.

    smooth: colours vary over surfaces, instead of being constant.
    """
    made = [scenes.make(family, seed, smooth) for family in families or scenes.FAMILIES for seed in range(seeds)]
    return [case for scene in made for case in cases_of(scene, functionals)]


def cases_of(
    scene: Scene, functionals: Sequence[str] = FUNCTIONALS, directions: dict[str, Tensor] | None = None
) -> list[Case]:
    """The cases of a scene."""
    parameters = scene.parameters.clone().requires_grad_()
    image = scene.exact(scene.positions(parameters))
    found = []
    for number, functional in enumerate(functionals):
        pull = pulls(functional, image.shape, number)
        (gradient,) = torch.autograd.grad((image * pull).sum(), parameters, retain_graph=True)
        found.append(Case(scene, functional, pull, image.detach(), gradient, directions or {}))
    return found


def pulls(functional: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """The gradient [H, W, C] of a loss with respect to the image: white noise, or waves of at most two periods across
    it.
    """
    generator = torch.Generator().manual_seed(seed)
    if functional == "white":
        return torch.randn(*shape, generator=generator, dtype=torch.float64)
    if functional != "smooth":
        raise ValueError(f"functional: expected one of {', '.join(FUNCTIONALS)}, got {functional!r}")
    height, width, channels = shape
    y, x = torch.meshgrid(torch.linspace(0, 1, height).double(), torch.linspace(0, 1, width).double(), indexing="ij")
    number = torch.rand(channels, 5, 4, generator=generator, dtype=torch.float64)
    waves = torch.zeros(height, width, channels, dtype=torch.float64)
    for channel in range(channels):
        for a, b, phase, size in number[channel].tolist():
            argument = 2 * math.pi * ((4 * a - 2) * x + (4 * b - 2) * y + phase)
            waves[..., channel] += (size + 0.2) * torch.cos(argument)
    return waves


def judge(
    image: Image,
    families: Iterable[str] | None = None,
    seeds: int = 4,
    smooth: bool = False,
    dtype: torch.dtype = torch.float64,
    given: Sequence[Case] | None = None,
    own: bool = True,
) -> Judgement:
    """Compares the gradient of an image function with the exact one, over families of scenes.

    Args:
        image: called with a :class:`Scene` and clip-space positions [V, 4] (OpenGL's conventions, those of its
            parameters); returns the image [H, W, C] or [1, H, W, C], row 0 at the top, or raises
            `UnsupportedSceneError`. ``scene.tri``, ``scene.color``, ``scene.background`` and ``scene.size`` say what
            to render; ``scene.shade`` makes colours of lumigrad's fragments.
        families: of `scenes.FAMILIES`; all by default.
        seeds: the number of scenes of each.
        smooth: colours vary over surfaces.
        dtype: of the positions.
        given: cases to judge by instead.
        own: whether to compare with differences of the function's own image, too.
    """
    given = cases(families, seeds, smooth) if given is None else given
    return Judgement([_verdict(image, case, dtype, own) for case in given])


def gradient_of(image: Image, case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The image [H, W, C] from an image function, and the gradient of the loss with respect to the parameters."""
    parameters = case.scene.parameters.clone().requires_grad_()
    shown = _rendered(image, case.scene, parameters, dtype)
    if not shown.requires_grad:
        return shown.double(), torch.zeros_like(parameters)
    (gradient,) = torch.autograd.grad((shown * case.pull.to(shown)).sum(), parameters, allow_unused=True)
    return shown.detach().double(), torch.zeros_like(parameters) if gradient is None else gradient


def _rendered(image: Image, scene: Scene, parameters: Tensor, dtype: torch.dtype) -> Tensor:
    shown = image(scene, scene.positions(parameters).to(dtype))
    return (shown[0] if shown.dim() == 4 else shown).cpu()


def _verdict(image: Image, case: Case, dtype: torch.dtype, own: bool) -> Verdict:
    start = time.perf_counter()
    names = case.scene.family, case.scene.name, case.functional
    try:
        shown, gradient = gradient_of(image, case, dtype)
    except UnsupportedSceneError:
        return Verdict(*names, None, None, None, None, None, None)
    seconds = time.perf_counter() - start
    truth, found = case.gradient.flatten(), gradient.flatten()
    product = (truth @ found).item()
    size, found_size = truth.norm().item(), found.norm().item()
    along = {}
    for name, directions in case.directions.items():
        wanted = directions.flatten(1) @ truth
        along[name] = ((directions.flatten(1) @ found - wanted).norm() / wanted.norm()).item()
    return Verdict(
        *names,
        cosine=product / (size * found_size) if found_size else 0.0,
        gain=product / size**2,
        length=found_size / size,
        own=_own(image, case, gradient, dtype) if own else None,
        error=(shown - case.image).square().mean().sqrt().item(),
        seconds=seconds,
        along=along,
    )


def _own(image: Image, case: Case, gradient: Tensor, dtype: torch.dtype) -> float:
    """How far the gradient is from that of the image itself, along random directions."""
    scene, generator = case.scene, torch.Generator().manual_seed(1)
    at = scene.parameters
    found = []
    for _ in range(DIRECTIONS):
        along = torch.randn(at.shape, generator=generator, dtype=torch.float64)
        along *= STEP[dtype] / _pixels_moved(scene, along)
        with torch.no_grad():
            ends = [_rendered(image, scene, at + sign * along, dtype).double() for sign in (1, -1)]
        difference = ((ends[0] - ends[1]) * case.pull).sum().item() / 2
        claimed = (gradient * along).sum().item()
        larger = max(abs(difference), abs(claimed))
        found.append(abs(difference - claimed) / larger if larger else 0.0)
    return statistics.median(found)


def _pixels_moved(scene: Scene, along: Tensor) -> float:
    """The median displacement in pixels of the vertices in front of the eye as the parameters change."""
    small = 1e-6
    here, there = scene.positions(scene.parameters), scene.positions(scene.parameters + small * along)
    before = here[:, 3] > 0.1
    moved = there[before, :2] / there[before, 3:] - here[before, :2] / here[before, 3:]
    pixels = moved * here.new_tensor([scene.size[1] / 2, scene.size[0] / 2])
    return pixels.norm(dim=1).median().item() / small
