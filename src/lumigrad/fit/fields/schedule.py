"""The length and settings of a fit of a field."""

from __future__ import annotations

from dataclasses import dataclass

from lumigrad.fit.photos.progress import Timed, check_limits, progress_of


@dataclass(frozen=True)
class Schedule:
    """Length and settings of a fit. At least one of `iterations` and `minutes` is given.

    Attributes:
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most. The schedule is run through in this time if it does not suffice for all steps.
        levels: (progress, voxels, degree): from that progress on, the innermost grid has so many voxels per side and
            spherical harmonics up to that degree; neither may fall.
        rays: of random pixels, in each step.
        smoothness: weight of the total variation of densities, relative to the squared error.
        opaque: something is behind every pixel, as in photographs of rooms and landscapes, but not in renders of single
            objects. Then the background is random in each step, so that nothing dark is mistaken for transparent.
        seed: of everything that is random.
    """

    iterations: int | None = None
    minutes: float | None = None
    levels: tuple[tuple[float, int, int], ...] = ((0.0, 32, 0), (0.2, 64, 0), (0.5, 96, 0), (0.75, 128, 0))
    rays: int = 4096
    smoothness: float = 1e-5
    opaque: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)
        if self.rays < 1:
            raise ValueError(f"rays: expected at least 1, got {self.rays}")

    def progress(self, state: Timed) -> float:
        """The part of the steps that is done, from 0 to 1.

        >>> import torch
        >>> from lumigrad.fit.fields import FieldState, Schedule
        >>> state = FieldState.start([torch.zeros(2, 2, 2, 4)])
        >>> state.iteration = 300
        >>> Schedule(iterations=1000).progress(state)
        0.3
        """
        # The time of a step is proportional to the voxels along rays and the values per voxel.
        costs = [(begin, voxels * (degree + 1.0)) for begin, voxels, degree in self.levels]
        return progress_of(state, self.iterations, self.minutes, costs)

    def level(self, progress: float) -> tuple[int, int]:
        """Voxels per side of the innermost grid, and the degree."""
        return next((voxels, degree) for begin, voxels, degree in reversed(self.levels) if progress >= begin)
