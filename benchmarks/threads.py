"""How frame time falls with the number of threads, and whether lumigrad's and torch's threads disturb each other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks import meshes, peers
from benchmarks.report import Column, Table, milliseconds, ratio
from benchmarks.settings import Settings
from benchmarks.timing import Budget, Timing, measure

BLOCKS = 3


def run_scaling(settings: Settings) -> Table:
    """Frame time with one thread over frame time with two."""
    size = 256 if settings.quick else 1024
    table = Table(
        f"Threads: the frame at {size}^2 with one thread and with two (medians)",
        [
            Column("mesh", "mesh"),
            Column("renderer", "renderer"),
            Column("one", "1 thread ms", milliseconds),
            Column("two", "2 threads ms", milliseconds),
            Column("ratio", "1 / 2 threads", ratio),
        ],
    )
    for name in settings.names:
        mesh, _ = meshes.load(name, settings.meshes)
        work = meshes.workload(mesh, size)
        for renderer in settings.renderers:
            one, two = _with_threads(peers.RENDERERS[renderer](work).frame, (1, 2), settings.budget)
            row = {"mesh": mesh.name, "renderer": renderer, "one": one, "two": two}
            table.rows.append(row | {"ratio": one.median / two.median})
    return table


def _with_threads(task: Callable[[], object], counts: tuple[int, ...], budget: Budget) -> list[Timing]:
    """The task with each number of threads, in alternating blocks; torch's own number is restored afterwards."""
    before = torch.get_num_threads()
    share = Budget(max(2, budget.repeats // 2), budget.seconds / BLOCKS, budget.patience, budget.max_rounds)
    blocks: dict[int, list[Timing]] = {count: [] for count in counts}
    try:
        for _ in range(BLOCKS):
            for count in counts:
                torch.set_num_threads(count)
                blocks[count].append(measure({"task": task}, share)["task"])
    finally:
        torch.set_num_threads(before)
    return [_merge(blocks[count]) for count in counts]


def _merge(blocks: list[Timing]) -> Timing:
    medians = Timing.of([block.median for block in blocks])
    return Timing(
        medians.median,
        min(block.fastest for block in blocks),
        max(block.slowest for block in blocks),
        sum(block.runs for block in blocks),
    )


def run_alternation(settings: Settings) -> Table:
    """Torch operations and lumigrad's, each alone and in turns: the latter should cost no more than the sum."""
    size = 256 if settings.quick else 1024
    table = Table(
        f"Alternating with torch: lumigrad at {size}^2 and a torch operation (medians)",
        [
            Column("torch", "torch"),
            Column("lumigrad", "lumigrad"),
            Column("torch alone", "torch ms", milliseconds),
            Column("lumigrad alone", "lumigrad ms", milliseconds),
            Column("alternating", "in turn ms", milliseconds),
            Column("ratio", "in turn / sum", ratio),
        ],
    )
    mesh, _ = meshes.load(settings.names[-1], settings.meshes)
    renderer = peers.RENDERERS["lumigrad"](meshes.workload(mesh, size))
    for torch_name, torch_task in _torch_tasks().items():
        for own_name, own_task in {"rasterize": renderer.rasterize, "frame": renderer.frame}.items():
            table.rows.append(
                {"torch": torch_name, "lumigrad": f"{own_name} {mesh.name}"}
                | _alternate(torch_task, own_task, settings.budget)
            )
    return table


def _torch_tasks() -> dict[str, Callable[[], object]]:
    """Torch's own parallel work, into memory already allocated: one task bound by bandwidth, one by arithmetic."""
    values = torch.linspace(-1, 1, 4_000_000)
    positive = torch.empty_like(values)
    matrix = torch.rand(768, 768)
    product = torch.empty_like(matrix)
    return {
        "clamp 4M": lambda: torch.clamp_min(values, 0, out=positive),
        "matmul 768": lambda: torch.mm(matrix, matrix, out=product),
    }


def _alternate(theirs: Callable[[], object], ours: Callable[[], object], budget: Budget) -> dict[str, object]:
    turns = 8

    def repeated(*tasks: Callable[[], object]) -> Callable[[], object]:
        def task() -> None:
            for _ in range(turns):
                for part in tasks:
                    part()

        return task

    timings = measure({"a": repeated(theirs), "b": repeated(ours), "ab": repeated(theirs, ours)}, budget)
    alone = timings["a"].median + timings["b"].median
    return {
        "torch alone": timings["a"].median / turns,
        "lumigrad alone": timings["b"].median / turns,
        "alternating": timings["ab"].median / turns,
        "ratio": timings["ab"].median / alone,
    }
