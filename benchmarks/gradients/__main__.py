"""How accurate gradients of visibility are, by family of scenes and on whole meshes.

Usage:
    python -m benchmarks.gradients                          # everything, some minutes; writes benchmark-gradients.json
    python -m benchmarks.gradients --quick                  # one scene of each family
    python -m benchmarks.gradients --families thin,confetti --methods exact,antialias
    python -m benchmarks.gradients --pictures docs/images   # pictures of gradients, too
    python -m benchmarks.gradients --page docs/gradients.md # replaces the page's tables
    python -m benchmarks.gradients --read benchmark-gradients.json --page docs/gradients.md  # tables of an earlier run
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gradients import scenes, whole_meshes
from benchmarks.gradients.judging import FUNCTIONALS, Judgement, cases, judge, three
from benchmarks.gradients.methods import Entry, available
from benchmarks.report import Column, Table

MESHES = Path("../shared/data/meshes")
# The other methods take seconds for a large image.
FOR_MESHES = ("exact", "exact pixels", "antialias", "antialias x2", "edge", "nvdiffrast (compat)", "drtk", "nvdiffrast")
SIZES = (128, 256, 512, 1024)

COLORS = ("flat", "smooth")
GAIN = "Gain"
OWN = "Difference to derivatives of the method's own image"
NOT_ON_PAGE = (OWN, f"{GAIN}, smooth")
# These lines enclose the tables in a page of documentation.
BEGIN, END = "<!-- benchmarks.gradients: tables -->", "<!-- benchmarks.gradients: end -->"

Judgements = dict[str, Judgement]


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    methods = _chosen(options.methods, available(), "method")
    families = list(_chosen(options.families, scenes.FAMILIES, "family"))
    results = json.loads(options.read.read_text()) if options.read else _measured(options, methods, families)
    tables = _tables(results)
    if not options.read:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
        print(f"\nwritten: {options.json}")
    if options.pictures:
        from benchmarks.gradients import pictures

        for path in pictures.draw(methods, options.pictures):
            print(f"written: {path}")
    if options.page:
        _put_into(options.page, [table for table in tables if not table.title.startswith(NOT_ON_PAGE)])


def _measured(options: argparse.Namespace, methods: dict[str, Entry], families: list[str]) -> dict[str, Any]:
    """The requested measurements, as plain data. Tables are printed as soon as they are complete."""
    seeds = 1 if options.quick else options.seeds
    results: dict[str, Any] = {"seeds": seeds}
    for colors in ["flat"] if options.quick else options.colors.split(","):
        found = _judged(methods, families, seeds, colors == "smooth")
        results[colors] = {name: judgement.data() for name, judgement in found.items()}
        _print(_family_tables(found, colors))
    if not options.no_meshes:
        sizes = [128] if options.quick else options.sizes
        names = ["spot"] if options.quick else whole_meshes.NAMES
        fast = {name: entry for name, entry in methods.items() if options.methods or name in FOR_MESHES}
        results["meshes"] = _of_meshes(fast, names, sizes, options.meshes)
        _print([_mesh_table(results["meshes"])])
    return results


def _tables(results: dict[str, Any]) -> list[Table]:
    tables = []
    for colors in COLORS:
        if colors in results:
            found = {name: Judgement.of(data) for name, data in results[colors].items()}
            tables += _family_tables(found, colors)
    return tables + ([_mesh_table(results["meshes"])] if "meshes" in results else [])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description="Judges gradients.")
    parser.add_argument("--families", help="comma-separated beginnings of names; all by default")
    parser.add_argument("--methods", help="comma-separated names; all by default, on meshes the fast ones")
    parser.add_argument(
        "--colors", default="flat,smooth", help="constant on surfaces (flat), varying (smooth), or both"
    )
    parser.add_argument("--seeds", type=int, default=6, help="scenes of each family")
    parser.add_argument("--meshes", type=Path, default=MESHES, help="folder of OBJ files")
    parser.add_argument("--no-meshes", action="store_true", help="small scenes only")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="sides of the images of meshes")
    parser.add_argument("--pictures", type=Path, help="folder to write pictures to")
    parser.add_argument("--page", type=Path, help="page of documentation to put the tables into")
    parser.add_argument("--read", type=Path, help="results of an earlier run, instead of measuring")
    parser.add_argument("--quick", action="store_true", help="few and small scenes, within a minute")
    parser.add_argument("--json", type=Path, default=Path("benchmark-gradients.json"), help="where to write")
    return parser.parse_args(arguments)


def _chosen(words: str | None, known: dict[str, Any], what: str) -> dict[str, Any]:
    """Those of `known` that are named; a family may be given by the beginning of its name."""
    if words is None:
        return known
    chosen: dict[str, Any] = {}
    for word in words.split(","):
        fitting = [word] if word in known else [name for name in known if what == "family" and name.startswith(word)]
        if not fitting:
            raise SystemExit(f"{what} {word!r}: expected some of {', '.join(known)}")
        chosen |= {name: known[name] for name in fitting}
    return chosen


def _judged(methods: dict[str, Entry], families: list[str], seeds: int, smooth: bool) -> Judgements:
    given = cases(families, seeds, smooth)
    return {name: judge(entry.image, dtype=entry.dtype, given=given) for name, entry in methods.items()}


# ---- Tables


def _family_tables(found: Judgements, colors: str) -> list[Table]:
    """Cosines, gains, agreement with the methods' own images, and a summary."""
    families = next(iter(found.values())).families()

    def table(title: str, cell: Callable[[Judgement, str], str | None]) -> Table:
        columns = [Column("family", "family"), *(Column(name, name) for name in found)]
        rows = [
            {"family": family, **{name: cell(judgement, family) for name, judgement in found.items()}}
            for family in families
        ]
        return Table(f"{title}, {colors} colours", columns, rows)

    def cosines(judgement: Judgement, family: str) -> str | None:
        means = [judgement.mean("cosine", family, functional) for functional in FUNCTIONALS]
        return None if None in means else " ".join(three(mean) for mean in means if mean is not None)

    def gain(judgement: Judgement, family: str) -> str | None:
        mean = judgement.mean("gain", family)
        return None if mean is None else f"{mean:.2f}"

    def own(judgement: Judgement, family: str) -> str | None:
        mean = judgement.mean("own", family)
        return None if mean is None else f"{mean:.2f}"

    return [
        table("Cosine with the exact gradient, smooth and white-noise losses", cosines),
        table(GAIN, gain),
        table(f"{OWN} (0: none, 1: one of them is zero)", own),
        _summary(found, colors),
    ]


def _summary(found: Judgements, colors: str) -> Table:
    columns = [
        Column("method", "method"),
        *(Column(f"cosine {f}", f"cosine {f}", three) for f in FUNCTIONALS),
        Column("worst", "worst", three),
        Column("gain", "gain", lambda value: f"{value:.2f}"),
        Column("length", "length", lambda value: f"{value:.2f}"),
        Column("own", "own image", lambda value: f"{value:.2f}"),
        Column("error", "image error", lambda value: f"{value:.1e}"),
        Column("seconds", "ms", lambda value: f"{value * 1e3:.1f}"),
    ]
    rows = [{"method": name, **judgement.row()} for name, judgement in found.items()]
    return Table(f"All families, {colors} colours", columns, rows)


def _of_meshes(methods: dict[str, Entry], names: Iterable[str], sizes: Iterable[int], folder: Path) -> dict[str, Any]:
    """Verdicts on whole meshes: rows with the mesh, the size, the method, and a verdict for each functional."""
    found: dict[str, Any] = {"rows": [], "notes": []}
    for name in names:
        for size in sizes:
            given, note = whole_meshes.mesh_cases(name, size, folder, FUNCTIONALS)
            found["notes"] += [note] if note and note not in found["notes"] else []
            for method, entry in methods.items():
                judgement = judge(entry.image, dtype=torch.float32, given=given, own=False)
                found["rows"].append({"mesh": name, "size": size, "method": method, "verdicts": judgement.data()})
    return found


def _mesh_table(found: dict[str, Any]) -> Table:
    def both(row: dict[str, Any], write: Callable[[dict[str, Any]], str]) -> str:
        return " ".join(write(verdict) for verdict in row["verdicts"])

    columns = [
        Column("mesh", "mesh"),
        Column("size", "size"),
        Column("method", "method"),
        Column("cosine", "cosine by vertex"),
        Column("gain", "gain"),
        Column("deformation", "along deformations"),
        Column("camera", "along camera moves"),
        Column("error", "image error", lambda value: f"{value:.1e}"),
        Column("seconds", "ms", lambda value: f"{value * 1e3:.0f}"),
    ]
    rows = [
        {
            **{key: row[key] for key in ("mesh", "size", "method")},
            "cosine": both(row, lambda verdict: three(verdict["cosine"])),
            "gain": both(row, lambda verdict: f"{verdict['gain']:.2f}"),
            "deformation": both(row, lambda verdict: f"{verdict['along']['deformation']:.3f}"),
            "camera": both(row, lambda verdict: f"{verdict['along']['camera']:.3f}"),
            "error": row["verdicts"][0]["error"],
            "seconds": min(verdict["seconds"] for verdict in row["verdicts"]),
        }
        for row in found["rows"]
    ]
    title = "Whole meshes in six colours, smooth and white-noise losses; errors of derivatives along motions"
    return Table(title, columns, rows, found["notes"])


def _print(tables: Iterable[Table]) -> None:
    for table in tables:
        print(table.text(), flush=True)


def _put_into(page: Path, tables: Iterable[Table]) -> None:
    """Replaces the part of a page between the two marker lines."""
    before, _, rest = page.read_text().partition(f"{BEGIN}\n")
    _, _, after = rest.partition(f"{END}\n")
    if not rest or not after:
        raise SystemExit(f"{page}: expected the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(table.markdown() for table in tables) + f"\n\n{END}\n{after}")
    print(f"written: {page}")


if __name__ == "__main__":
    main()
