"""Trilinear mipmapped texture lookups, forward and backward, compared with torch's grid_sample at the same uv."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.settings import Settings
from benchmarks.timing import copy_task, measure

# Texels from one pixel to the next: between two mip levels, so that both are read.
TEXELS_PER_PIXEL = 1.5
TURN_DEGREES = 20.0
FILTER = "linear-mipmap-linear"


def run(settings: Settings) -> Table:
    side = 256 if settings.quick else 1024
    table = Table(
        f"Texture: {side}^2 coherent lookups in {side}^2 texels of 3 channels, forward + backward (medians)",
        [
            Column("variant", "variant"),
            Column("time", "ms", milliseconds),
            Column("forward", "forward ms", milliseconds),
            Column("grid_sample ratio", "/ grid_sample", ratio),
            Column("copy ratio", "/ copy 64 MB", ratio),
        ],
        notes=[
            "mips built inside or given: trilinear, gradients to texels, uv and uv_d, and to given mips",
            "bilinear, grid_sample: the finest level alone, gradients to texels and uv",
        ],
    )
    tasks = _tasks(side)
    timings = measure({"copy": copy_task()} | tasks, settings.budget)
    reference = timings["grid_sample"].median
    for name in tasks:
        if name.endswith(" forward"):
            continue
        timing = timings[name]
        table.rows.append(
            {
                "variant": name,
                "time": timing,
                "forward": timings[f"{name} forward"],
                "grid_sample ratio": timing.median / reference,
                "copy ratio": timing.median / timings["copy"].median,
            }
        )
    table.rows.append({"variant": "copy 64 MB", "time": timings["copy"]})
    return table


def _tasks(side: int) -> dict[str, Callable[[], object]]:
    import lumigrad as lg

    generator = torch.Generator().manual_seed(0)
    texels = torch.rand(1, side, side, 3, generator=generator)
    gradient = torch.randn(1, side, side, 3, generator=generator)
    uv, uv_d = lookups(side)
    leaves = [tensor.clone().requires_grad_() for tensor in (texels, uv, uv_d)]
    tex, at, at_d = leaves
    mips = [level.detach().clone().requires_grad_() for level in lg.build_mips(texels)]

    def inside() -> torch.Tensor:
        return lg.texture(tex, at, at_d, filter=FILTER)

    def prebuilt() -> torch.Tensor:
        return lg.texture(tex, at, at_d, mips=mips, filter=FILTER)

    def bilinear() -> torch.Tensor:
        return lg.texture(tex, at, filter="linear")

    planes = texels.permute(0, 3, 1, 2).contiguous().requires_grad_()
    grid = (uv * 2 - 1).requires_grad_()
    planes_gradient = gradient.permute(0, 3, 1, 2).contiguous()

    def sampled() -> torch.Tensor:
        return F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    return {
        "lumigrad, mips built inside": lambda: torch.autograd.grad(inside(), leaves, gradient),
        "lumigrad, mips built inside forward": _without_gradients(inside),
        "lumigrad, mips given": lambda: torch.autograd.grad(prebuilt(), [*leaves, *mips], gradient),
        "lumigrad, mips given forward": _without_gradients(prebuilt),
        "lumigrad, bilinear": lambda: torch.autograd.grad(bilinear(), (tex, at), gradient),
        "lumigrad, bilinear forward": _without_gradients(bilinear),
        "grid_sample": lambda: torch.autograd.grad(sampled(), (planes, grid), planes_gradient),
        "grid_sample forward": _without_gradients(sampled),
    }


def _without_gradients(task: Callable[[], torch.Tensor]) -> Callable[[], object]:
    return torch.no_grad()(task)


def lookups(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A tilted plane that fills the image: uv [1, side, side, 2] in [0, 1) and uv_d [1, side, side, 2, 2].

    The coordinates are wrapped here rather than by the lookup, so that libraries that cannot wrap read the same texels.
    """
    step = TEXELS_PER_PIXEL / side
    turn = math.radians(TURN_DEGREES)
    jacobian = step * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    pixels = torch.arange(side, dtype=torch.float32)
    row, column = torch.meshgrid(pixels, pixels, indexing="ij")
    uv = (torch.stack([column, row], -1) @ jacobian.T).remainder(1.0)
    return uv[None].contiguous(), jacobian.expand(1, side, side, 2, 2).contiguous()
