"""The benchmark history: what is measured, and the page of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import history, history_page
from benchmarks.history_ops import Op, make_ops
from benchmarks.timing import COPY_BYTES, Budget, Timing, copy_task


def entry(commit: str, date: str, ratios: dict[str, float], **more: Any) -> dict[str, Any]:
    machine = {"processor": "Abacus", "isa": "portable", "threads": 1, "system": "none", "torch": "2", "load": 0.1}
    ops = {op: {"seconds": 0.002 * value, "floor": 0.002, "ratio": value} for op, value in ratios.items()}
    found = {"commit": commit, "date": date, "changed": False, "version": "0", "ops": ops}
    return {**found, "machine": machine, "copy": 0.005, **more}


def write(folder: Path, **entries: dict[str, Any]) -> None:
    for name, found in entries.items():
        (folder / f"{name}.json").write_text(json.dumps(found))


def test_floors_are_bytes_that_must_move() -> None:
    pixels = 32 * 32
    ops = make_ops(scale=16)
    n = 50  # an octahedron's faces, cut into n^2 triangles each
    vertices, faces = 4 * n * n + 2, 8 * n * n
    # Positions, triangles; then the triangle, two barycentrics and depth of each pixel.
    assert ops["rasterize"].bytes == 16 * vertices + 12 * faces + 16 * pixels
    # Texture and coordinates are read twice and their gradients written; the image is written, its gradient read.
    assert ops["texture, backward"].bytes == 3 * (12 + 8) * pixels + 2 * 12 * pixels


def test_all_ops_run_and_are_compared_with_the_copy() -> None:
    found = history.record(make_ops(scale=16), Budget(repeats=1, seconds=0.0))
    assert len(found["ops"]) >= 10
    for row in found["ops"].values():
        assert row["ratio"] == pytest.approx(row["seconds"] / row["floor"])
        assert row["seconds"] > 0


def test_the_copy_is_one_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        history, "measure", lambda *_: {"copy": Timing(9.0, 2.0, 9.0, 3), "a copy": Timing(9.0, 3.0, 9.0, 3)}
    )
    found = history.record({"a copy": Op(copy_task(), 2 * COPY_BYTES)}, Budget())
    assert found["ops"]["a copy"] == {"seconds": 3.0, "floor": 2.0, "ratio": 1.5}  # of the fastest runs
    assert found["machine"]["threads"] == torch.get_num_threads()


def test_page(tmp_path: Path) -> None:
    write(
        tmp_path,
        b=entry("bbbb", "2026-02-01", {"trace": 12.0, "new": 3.0}),
        a=entry("aaaa", "2026-01-01", {"trace": 10.0}),
        changed=entry("cccc", "2026-03-01", {"trace": 1.0}, changed=True),
        other=entry("aaaa", "2026-01-01", {"trace": 5.0}, machine=entry("", "", {})["machine"] | {"threads": 4}),
    )
    page, image = history_page.write(tmp_path, tmp_path / "docs")
    text = page.read_text()
    assert image.stat().st_size > 1000
    assert "## Abacus, portable, 1 thread\n" in text
    assert "## Abacus, portable, 4 threads\n" in text
    assert "| trace | 24.00 | 12.00 | **+20%** |" in text
    assert "| new | 6.00 | 3.00 | - |" in text
    assert "cccc" not in text


def test_files_that_are_no_entries_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none"):
        history_page.read(tmp_path)
    for text in ("{", "[]", '{"changed": false}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match=r"a\.json: expected an entry"):
            history_page.read(tmp_path)
