"""The page of the history: for every machine a plot of all ops by commit, and a table of the last two."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.report import Column, Table, milliseconds, ratio

# On a machine that is otherwise nearly idle, two measurements of one commit differ by less than this.
NOISE = 0.1

Entry = dict[str, Any]

_HEAD = """# Speed by commit

What a few ops of every family cost at the commits that were measured, by `python -m benchmarks.history run`. One is
the **floor**: the time in which the same machine, in the same minutes, copies as many bytes as the op has to read and
write. Ops that compute much are far above it on every machine. What counts is whether a line rises.

This page is written by `python -m benchmarks.history plot`, from the files in `benchmarks/history/`.
[Benchmarks](benchmarks.md#history) says how to add a commit.

![{alt}](images/history.png)
"""


def write(folder: Path, docs: Path) -> list[Path]:
    """Writes `history.md` and `images/history.png` to docs, from all entries in `folder`.

    Raises:
        ValueError: there are no entries, or a file is not one.
    """
    machines = by_machine(read(folder))
    image, page = docs / "images/history.png", docs / "history.md"
    image.parent.mkdir(parents=True, exist_ok=True)
    _draw(machines, image)
    alt = f"{len(machines)} plots, one a machine: each op's time over its floor, by commit"
    sections = [_HEAD.format(alt=alt), *(_section(name, entries) for name, entries in machines.items())]
    page.write_text("\n".join(sections), encoding="utf-8")
    return [page, image]


def read(folder: Path) -> list[Entry]:
    """All entries, oldest commit first, except those of modified checkouts."""
    entries = []
    for path in sorted(folder.glob("*.json")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if not entry["changed"]:
                entries.append({key: entry[key] for key in ("commit", "date", "version", "machine", "copy", "ops")})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected an entry of `python -m benchmarks.history run`, got {error!r}"
            ) from error
    if not entries:
        raise ValueError(f"{folder}: expected JSON files of `python -m benchmarks.history run`, found none")
    return sorted(entries, key=lambda entry: entry["date"])


def by_machine(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Groups of comparable entries: of one processor, instruction set and number of threads."""
    machines = defaultdict(list)
    for entry in entries:
        of = entry["machine"]
        threads = "1 thread" if of["threads"] == 1 else f"{of['threads']} threads"
        machines[f"{of['processor']}, {of['isa']}, {threads}"].append(entry)
    return dict(machines)


def _draw(machines: dict[str, list[Entry]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8 * len(machines)), layout="constrained")
    axes = figure.subplots(len(machines), squeeze=False)[:, 0]
    for plot, (name, entries) in zip(axes, machines.items()):
        _draw_machine(plot, entries)
        plot.set_title(name, loc="left", fontsize=10)
    figure.savefig(path, dpi=90)


def _draw_machine(plot: Any, entries: list[Entry]) -> None:
    """A line for each op, with its name at the right end, clear of the other names."""
    ops = list(dict.fromkeys(op for entry in entries for op in entry["ops"]))
    ends = {}
    for index, op in enumerate(ops):
        known = [(k, entry["ops"][op]["ratio"]) for k, entry in enumerate(entries) if op in entry["ops"]]
        color = "black" if index == 10 else f"C{index % 11}"
        plot.plot(*zip(*known), color=color, marker="o", markersize=4, linewidth=1.5)
        ends[op] = (known[-1][1], color)
    plot.set_yscale("log", base=2)
    plot.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    plot.axhline(1, color="0.6", linewidth=1, linestyle=":")
    plot.set_ylabel("times the floor")
    plot.set_xticks(range(len(entries)), [f"{entry['commit']}\n{entry['date']}" for entry in entries], fontsize=8)
    plot.set_xlim(-0.5, len(entries) - 0.5)
    plot.grid(axis="y", color="0.9")
    plot.spines[["top", "right"]].set_visible(False)
    _label(plot, ends)


def _label(plot: Any, ends: dict[str, tuple[float, str]]) -> None:
    """Places names beside the axes at the heights of their lines, or as near as the other names allow."""
    transform, back = plot.transData, plot.transAxes.inverted()
    heights = {op: back.transform(transform.transform((0, value)))[1] for op, (value, _) in ends.items()}
    lowest = 0.0
    for op in sorted(heights, key=lambda op: heights[op]):
        lowest = max(lowest, heights[op])
        value, color = ends[op]
        number = f"{value:.3g}" if value < 100 else f"{value:.0f}"
        plot.annotate(f"{op}  {number}", (1.01, lowest), xycoords="axes fraction", color=color, fontsize=8, va="center")
        lowest += 0.048


def _section(machine: str, entries: list[Entry]) -> str:
    """The costs at the last commit, and their change since the one before."""
    last, before = entries[-1], entries[-2] if len(entries) > 1 else None
    columns = [
        Column("op", "op"),
        Column("seconds", "ms", milliseconds),
        Column("ratio", "times the floor", ratio),
        Column("change", "change", _change),
    ]
    table = Table(f"Commit {last['commit']} of {last['date']}", columns)
    for op, row in last["ops"].items():
        shown = {"op": op, "seconds": row["seconds"], "ratio": row["ratio"]}
        if before is not None and op in before["ops"]:
            shown["change"] = row["ratio"] / before["ops"][op]["ratio"] - 1
        table.rows.append(shown)
    of = last["machine"]
    facts = f"{of['system']}, torch {of['torch']}, a copy of 64 MB in {last['copy'] * 1e3:.1f} ms, load {of['load']}."
    compared = f" The change is that from {before['commit']}; **bold** beyond {NOISE:.0%}." if before else ""
    return f"## {machine}\n\n{facts}{compared}\n{table.markdown()}\n"


def _change(value: float) -> str:
    return f"**{value:+.0%}**" if abs(value) > NOISE else f"{value:+.0%}"
