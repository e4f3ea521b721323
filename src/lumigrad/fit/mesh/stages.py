"""The stages of a fit to images of a mesh, from coarse to fine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A part of the fit with its own settings.

    Attributes:
        iterations: gradient steps.
        size: rows of the images compared.
        batch: views per step.
        edge_length: target of the remeshing at the start, in scene units; 0 keeps the mesh.
        rate: step of positions, in scene units; falls to a fifth over the stage.
        smoothness: lambda of `LargeSteps`.
        appearance_rate: step of colours or texels.
        squares: weight of the mean squared error beside the mean absolute error.
        laplacian: weight of the Laplacian energy.
        texture_size: rows of the texture; 0 for vertex colours.
    """

    iterations: int
    size: int
    batch: int = 4
    edge_length: float = 0.0
    rate: float = 0.01
    smoothness: float = 16.0
    appearance_rate: float = 0.02
    squares: float = 0.0
    laplacian: float = 0.0
    texture_size: int = 0


def default_stages(size: int = 512, texture_size: int = 1024, effort: float = 1.0, detail: float = 1.0) -> list[Stage]:
    """Four stages that suit closed shapes in the unit ball seen in images `size` rows high.

    Args:
        size: rows of the reference images; coarser stages use a half, quarter and eighth where that divides.
        texture_size: of the recovered texture.
        effort: scales the number of iterations.
        detail: scales the number of vertices per length.

    >>> from lumigrad.fit import default_stages
    >>> [(stage.iterations, stage.size) for stage in default_stages(size=512, effort=0.5)]
    [(120, 64), (100, 128), (80, 256), (120, 512)]
    """

    def count(n: int) -> int:
        return max(1, round(n * effort))

    def reduced(factor: int) -> int:
        while factor > 1 and (size % factor or size // factor < 64):
            factor //= 2
        return size // factor

    # Long edges need little smoothing; more would keep thin parts such as legs from growing.
    return [
        Stage(count(240), reduced(8), edge_length=0.08 / detail, rate=0.03, smoothness=2.0, laplacian=0.05),
        Stage(count(200), reduced(4), edge_length=0.04 / detail, rate=0.02, smoothness=2.0, laplacian=0.05),
        Stage(count(160), reduced(2), edge_length=0.03 / detail, rate=0.01, smoothness=2.0, laplacian=0.05),
        Stage(
            count(240),
            size,
            batch=2,
            edge_length=0.03 / detail,
            rate=0.002,
            smoothness=4.0,
            squares=4.0,
            laplacian=0.05,
            texture_size=texture_size,
        ),
    ]


def stages_to_dict(stages: list[Stage]) -> list[dict[str, Any]]:
    """Plain values, to be stored beside a state and compared before it is resumed."""
    return [asdict(stage) for stage in stages]
