"""The length, stages and loss of a capture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lumigrad.fit.capture._high_pass import AMOUNT, FACTOR
from lumigrad.fit.photos.progress import Timed, check_limits, progress_of

# From coarse to fine, so that what has moved by many pixels is found; coarse images have at least so many rows.
_STAGES = ((0.0, 4), (0.3, 2), (0.6, 1))
_COARSE_ROWS = 40
# The Laplacian measures offsets in tenths of the length that is 1 in the space of the fit.
LAPLACIAN_UNITS = 10.0


def coarse_to_fine(size: tuple[int, int]) -> tuple[tuple[float, int], ...]:
    """Stages for images of a size (height, width): see `CaptureSchedule.stages`.

    >>> from lumigrad.fit.capture.schedule import coarse_to_fine
    >>> coarse_to_fine((1024, 1024)), coarse_to_fine((96, 128))
    (((0.0, 4), (0.3, 2), (0.6, 1)), ((0.0, 2), (0.3, 2), (0.6, 1)))
    """
    most = max(1, min(size) // _COARSE_ROWS)
    return tuple((begin, min(factor, most)) for begin, factor in _STAGES)


@dataclass(frozen=True)
class CaptureSchedule:
    """Length and settings of a fit; lengths are in units of half the diagonal of the base's box.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most.
        batch: images per step, each a random frame seen by a random camera.
        laplacian: weight of the uniform Laplacian of offsets, see `UniformLaplacian`, in tenths of those units.
        high_pass: which part of the blurred images is taken away, and by what factor they are reduced for it.
        stages: (progress, factor): by what factor images are averaged down from that progress on.
        basis_rate, weight_rate, offset_rate, rigid_rate, texture_rate, exposure_rate: Adam's rates: of M3, of weights,
            M1 and M2, of offsets in their place, of rigid transforms, of texels, and of contrasts and brightnesses.
        warm_up: part of the fit over which the rates of shapes rise from 0, while the texture appears.
        decay: what part of the rates is left at the end; they fall exponentially.
        seed: of the order of images.
    """

    iterations: int | None = None
    minutes: float | None = None
    batch: int = 4
    laplacian: float = 3.0
    high_pass: tuple[float, int] = (AMOUNT, FACTOR)
    stages: tuple[tuple[float, int], ...] = ((0.0, 1),)
    basis_rate: float = 3e-4
    weight_rate: float = 1e-2
    offset_rate: float = 2e-3
    rigid_rate: float = 1e-3
    texture_rate: float = 0.02
    exposure_rate: float = 2e-3
    warm_up: float = 0.1
    decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)
        begins = [begin for begin, _ in self.stages]
        if not begins or begins[0] != 0 or sorted(begins) != begins or begins[-1] >= 1:
            raise ValueError(f"stages: expected beginnings that rise from 0 and stay below 1, got {begins}")

    def progress(self, state: Timed) -> float:
        """The part of the steps that is done, from 0 to 1."""
        # Half of a step's time does not depend on the number of pixels.
        costs = [(begin, 1 + 1 / factor**2) for begin, factor in self.stages]
        return progress_of(state, self.iterations, self.minutes, costs)

    def factor(self, progress: float) -> int:
        """The factor by which images are averaged down at a progress in [0, 1]."""
        return next(factor for begin, factor in reversed(self.stages) if progress >= begin)

    def rates(self, progress: float) -> dict[str, float]:
        """The learning rates at a progress in [0, 1], by the model's parameter."""
        fallen = self.decay**progress
        risen = fallen * min(1.0, progress / self.warm_up) if self.warm_up else fallen
        return {
            **dict.fromkeys(("weights", "m1", "m2"), risen * self.weight_rate),
            "m3": risen * self.basis_rate,
            "offsets": risen * self.offset_rate,
            **dict.fromkeys(("turns", "shifts"), risen * self.rigid_rate),
            "texture": fallen * self.texture_rate,
            **dict.fromkeys(("contrast", "brightness"), fallen * self.exposure_rate),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to be stored beside a state and compared before it is resumed."""
        return asdict(self)
