"""The cost of one call of each primitive when there is almost nothing to compute: an image of one pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.report import Column, Table, microseconds
from benchmarks.settings import Settings
from benchmarks.timing import measure

Call = Callable[[], object]


def run(settings: Settings) -> Table:
    calls = 20 if settings.quick else 200
    table = Table(
        "Overhead: one call at 1x1 pixel (medians)",
        [
            Column("op", "op"),
            Column("forward", "forward us", microseconds),
            Column("both", "forward + backward us", microseconds),
        ],
        notes=["backward: torch.autograd.grad to every differentiable input"],
    )
    operations, missing = _operations()
    tasks: dict[str, Call] = {}
    for name, (forward, leaves) in operations.items():
        tasks[f"{name} forward"] = _repeated(torch.no_grad()(forward), calls)
        if leaves:
            tasks[f"{name} both"] = _repeated(_with_backward(forward, leaves), calls)
    timings = measure(tasks, settings.budget)
    for name, (_, leaves) in operations.items():
        row: dict[str, object] = {"op": name, "forward": timings[f"{name} forward"].median / calls}
        if leaves:
            row["both"] = timings[f"{name} both"].median / calls
        table.rows.append(row)
    table.notes += [f"lumigrad.{name} is not there" for name in missing]
    return table


def _repeated(call: Call, times: int) -> Call:
    def task() -> None:
        for _ in range(times):
            call()

    return task


def _with_backward(forward: Call, leaves: list[torch.Tensor]) -> Call:
    with torch.enable_grad():
        gradients = [torch.ones_like(output) for output in _differentiable(forward())]

    def both() -> object:
        return torch.autograd.grad(_differentiable(forward()), leaves, gradients, allow_unused=True)

    return both


def _differentiable(result: object) -> list[torch.Tensor]:
    parts = [result] if isinstance(result, torch.Tensor) else list(result)  # type: ignore[call-overload]
    return [part for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]


def _operations() -> tuple[dict[str, tuple[Call, list[torch.Tensor]]], list[str]]:
    """Each primitive on one triangle that covers the pixel, with its differentiable inputs; and the names of missing
    ones.
    """
    import lumigrad as lg

    pos = torch.tensor([[[-3.0, -3, 0, 1], [3, -3, 0, 1], [0, 3, 0, 1]]], requires_grad=True)
    tri = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    attr = torch.rand(3, 3, requires_grad=True)
    with torch.no_grad():
        frags = lg.rasterize(pos, tri, (1, 1))
        color = lg.interpolate(attr, frags, tri)
    bary = frags.bary.clone().requires_grad_()
    leaf_frags = frags._replace(bary=bary)
    color = color.clone().requires_grad_()
    topology = lg.edge_topology(tri)
    tex = torch.rand(1, 4, 4, 3, requires_grad=True)
    cube = torch.rand(1, 6, 4, 4, 3, requires_grad=True)
    uv = torch.full((1, 1, 1, 2), 0.4, requires_grad=True)
    uv_d = torch.eye(2).reshape(1, 1, 1, 2, 2).clone().requires_grad_()
    direction = torch.tensor([0.2, 0.3, 1.0]).reshape(1, 1, 1, 3).clone().requires_grad_()
    table: dict[str, tuple[str, Call, list[torch.Tensor]]] = {
        "rasterize": ("rasterize", lambda: lg.rasterize(pos, tri, (1, 1)), [pos]),
        "rasterize, no derivatives": (
            "rasterize",
            lambda: lg.rasterize(pos, tri, (1, 1), derivatives=False),
            [pos],
        ),
        "rasterize, attributes": ("rasterize", lambda: lg.rasterize(pos, tri, (1, 1), attributes=attr), [pos, attr]),
        "peel, one layer": ("peel", lambda: next(iter(lg.peel(pos, tri, (1, 1), layers=1))), [pos]),
        "interpolate": ("interpolate", lambda: lg.interpolate(attr, leaf_frags, tri), [attr, bary]),
        "antialias": (
            "antialias",
            lambda: lg.antialias(color, frags, pos, tri, topology=topology),
            [color, pos],
        ),
        "edge_topology": ("edge_topology", lambda: lg.edge_topology(tri), []),
        "texture, linear": ("texture", lambda: lg.texture(tex, uv, filter="linear"), [tex, uv]),
        "texture, mipmapped": (
            "texture",
            lambda: lg.texture(tex, uv, uv_d, filter="linear-mipmap-linear"),
            [tex, uv, uv_d],
        ),
        "texture_cube": (
            "texture_cube",
            lambda: lg.texture_cube(cube, direction, filter="linear"),
            [cube, direction],
        ),
        "build_mips": ("build_mips", lambda: lg.build_mips(tex), [tex]),
    }
    present = {name: (call, leaves) for name, (op, call, leaves) in table.items() if hasattr(lg, op)}
    missing = sorted({op for op, _, _ in table.values() if not hasattr(lg, op)})
    return present, missing
