"""The stages of a fit of a grid of signed distances, from coarse to fine, and its progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lumigrad.fit.photos.progress import Timed, progress_of


@dataclass(frozen=True)
class SDFStage:
    """A part of the fit with its own settings.

    Attributes:
        iterations: gradient steps.
        resolution: voxels along each side of the grid.
        size: rows of the images compared.
        batch: views per step.
        rate: step of the values at first, in voxels; falls to a fifth over the stage.
        smoothing: passes of a small blur over the gradient of the values, which let it reach voxels beside the surface.
        eikonal: weight of `eikonal_loss`.
        curvature: weight of `curvature_loss`, with voxels of size 1.
        mask: weight of the coverage beside that of the colours.
        color_rate: step of the colours, where these are fitted.
    """

    iterations: int
    resolution: int
    size: int
    batch: int = 4
    rate: float = 0.3
    smoothing: int = 4
    eikonal: float = 0.01
    curvature: float = 1e-3
    mask: float = 1.0
    color_rate: float = 0.02


def default_sdf_stages(size: int = 128, resolution: int = 96, effort: float = 1.0) -> list[SDFStage]:
    """Three stages that suit closed shapes.

    Args:
        size: rows of the images; the first stage uses half of them where that divides.
        resolution: voxels along a side in the last stage; half and two thirds of them before.
        effort: scales the number of iterations.

    >>> from lumigrad.fit import default_sdf_stages
    >>> [(stage.iterations, stage.resolution, stage.size) for stage in default_sdf_stages(size=64, resolution=48)]
    [(60, 24, 32), (60, 32, 64), (80, 48, 64)]
    """
    counts = [max(1, round(n * effort)) for n in (60, 60, 80)]
    small = size if size % 2 else size // 2
    return [
        SDFStage(counts[0], max(resolution // 2, 2), small, rate=0.3),
        SDFStage(counts[1], max(2 * resolution // 3, 2), size, rate=0.2),
        SDFStage(counts[2], max(resolution, 2), size, rate=0.15),
    ]


@dataclass(frozen=True)
class SDFSchedule:
    """Length and settings of a fit.

    Attributes:
        stages: in order.
        minutes: of fitting at most; all stages are shortened if it does not suffice for all steps.
        seed: of the order of views.
    """

    stages: Sequence[SDFStage]
    minutes: float | None = None
    seed: int = 0

    @property
    def iterations(self) -> int:
        """Steps of all stages."""
        return sum(stage.iterations for stage in self.stages)

    def begin(self, number: int) -> float:
        """Progress at which a stage begins; for the number after the last stage, the end."""
        return sum(stage.iterations for stage in self.stages[:number]) / self.iterations

    def progress(self, state: Timed) -> float:
        """The part of the steps that is done, from 0 to 1."""
        costs = [(self.begin(number), stage.batch * stage.size**2.0) for number, stage in enumerate(self.stages)]
        return progress_of(state, self.iterations, self.minutes, costs)

    def stage(self, progress: float) -> int:
        """Number of the stage at a progress in [0, 1)."""
        return max(number for number in range(len(self.stages)) if progress >= self.begin(number))

    def within(self, progress: float) -> float:
        """The part of its stage that is done, from 0 to 1."""
        number = self.stage(progress)
        begin = self.begin(number)
        return (progress - begin) / (self.begin(number + 1) - begin)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to be stored beside a state and compared before it is resumed."""
        return {"stages": [asdict(stage) for stage in self.stages]}
