"""The stages of a reconstruction, from coarse to fine, and its progress."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lumigrad.fit.photos.progress import Staged, Timed, check_limits, progress_of

# The part of the cameras that is fitted.
CAMERAS = ("fixed", "poses", "focal")


@dataclass(frozen=True)
class Stage:
    """A part of the fit with its own settings; lengths are in units of the subject's radius.

    Attributes:
        begin: progress at which the stage begins.
        factor: by which photographs are averaged down.
        batch: photographs per step.
        edge_length: target of the remeshing at the start; 0 keeps the mesh, as do surfaces that are not closed.
        rate: step of positions, which falls to a fifth over the stage; 0 keeps them.
        smoothness: lambda of `LargeSteps`.
        laplacian: weight of the Laplacian energy.
        color_rate: step of colours or texels, which falls to a tenth over the stage.
        squares: weight of the mean squared error beside the mean absolute error.
        textured: a texture instead of vertex colours.
        camera_rate: step of cameras, where these are fitted, in pixels of the stage's images; it falls like `rate`.
    """

    begin: float
    factor: int = 1
    batch: int = 4
    edge_length: float = 0.0
    rate: float = 0.0
    smoothness: float = 2.0
    laplacian: float = 0.05
    color_rate: float = 0.02
    squares: float = 0.0
    textured: bool = False
    camera_rate: float = 0.4


@dataclass(frozen=True)
class Schedule(Staged):
    """Length and settings of a fit. At least one of `iterations` and `minutes` is given.

    Attributes:
        stages: in order; the first one begins at 0.
        iterations: gradient steps; a fit that ends by them can be repeated exactly.
        minutes: of fitting at most. The schedule is run through in this time if it does not suffice for all steps.
        exposure: fit a gain of each channel to each photograph.
        texture_size: rows and columns of the texture, approximately; None for what the photographs can show.
        cameras: "fixed"; or "poses" or "focal", to fit the photographs' poses, or these and the focal length that they
            share, see `CameraRefinement`.
        seed: of the order of photographs.
    """

    stages: tuple[Stage, ...]
    iterations: int | None = None
    minutes: float | None = None
    exposure: bool = True
    texture_size: int | None = None
    cameras: str = CAMERAS[0]
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.iterations, self.minutes)
        if self.cameras not in CAMERAS:
            raise ValueError(f"cameras: expected one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        begins = [stage.begin for stage in self.stages]
        if not begins or begins[0] != 0 or sorted(begins) != begins or begins[-1] >= 1:
            raise ValueError(f"stages: expected beginnings that rise from 0 and stay below 1, got {begins}")

    def progress(self, state: Timed) -> float:
        """The part of the steps that is done, from 0 to 1."""
        # Half of a step's time does not depend on the number of pixels.
        costs = [(stage.begin, stage.batch * (1 + 1 / stage.factor**2)) for stage in self.stages]
        return progress_of(state, self.iterations, self.minutes, costs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to be stored beside a state and compared before it is resumed."""
        return asdict(self)


def texture_stages() -> tuple[Stage, ...]:
    """For a texture on a fixed mesh."""
    return (Stage(0.0, color_rate=0.02, squares=8.0, textured=True),)


def object_stages(detail: float = 1.0) -> tuple[Stage, ...]:
    """For a closed surface that photographs show from all around, with masks.

    Args:
        detail: scales the number of vertices per length.
    """
    return (
        Stage(0.0, 4, edge_length=0.06 / detail, rate=0.02),
        Stage(0.2, 2, edge_length=0.04 / detail, rate=0.01),
        Stage(0.4, 1, edge_length=0.03 / detail, rate=0.005),
        Stage(0.6, 1, rate=0.002, smoothness=4.0, squares=4.0, textured=True),
        Stage(0.85, 1, squares=8.0, textured=True),
    )


def scene_stages() -> tuple[Stage, ...]:
    """For all of space around cameras, without masks, in `Contracted` space; the mesh is as fine as the fused grid."""
    return (
        Stage(0.0, 2, rate=0.002, smoothness=4.0),
        Stage(0.3, 1, rate=0.001, smoothness=4.0),
        Stage(0.5, 1, rate=0.0005, smoothness=4.0, squares=4.0, textured=True),
        Stage(0.8, 1, squares=8.0, textured=True),
    )
