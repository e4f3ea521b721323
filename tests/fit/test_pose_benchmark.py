"""The benchmark of poses: its trials, and runs that go on where an earlier one ended."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("benchmarks", reason="not part of source distributions")

from benchmarks import pose
from lumigrad.scene import creature, rotation_angle


def test_trials_depend_on_their_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[pose.Trial] = []

    def found(mesh: Any, one: pose.Trial, kind: str) -> Any:
        seen.append(one)
        raise StopIteration

    monkeypatch.setattr(pose, "fitted", found)
    mesh = creature(level=2)
    for number in (3, 7, 3):
        with pytest.raises(StopIteration):
            pose.measured("creature", mesh, "noisy", number, seed=5)
    first, other, again = seen
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.start, again.start)
    assert not torch.equal(first.start, other.start)
    for one in seen:
        away = math.degrees(rotation_angle(one.start[:3, :3], one.camera.world_to_camera[:3, :3]))
        assert 0 < away <= pose.FARTHEST_START_DEGREES
        assert 0.01 < one.mask.mean() < 0.3
        outside = one.image[one.mask == 0]
        assert float(outside.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(outside.std()) == pytest.approx(0.1, abs=0.01)


def test_a_run_goes_on_where_an_earlier_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []
    degrees = {("start", 0): 0.1, ("start", 1): 5.0, ("start", 2): 0.3}

    def measured(name: str, mesh: Any, kind: str, number: int, seed: int) -> dict[str, Any]:
        asked.append((kind, number))
        off = degrees.get((kind, number), 0.2)
        said = {"ambiguous": kind == "hidden", "occluded": False, "doubts": ["ambiguous"] if kind == "hidden" else []}
        times = {"seconds": 1.0, "processor": 2.0 + number}
        return {"mesh": name, "kind": kind, "trial": number, "degrees": off, **said, **times}

    monkeypatch.setattr(pose, "measured", measured)
    monkeypatch.setattr(pose, "machine", dict)
    path = tmp_path / "found.json"
    command = ["--json", str(path), "--kinds", "start,hidden"]
    pose.main([*command, "--trials", "2"])
    assert asked == [("start", 0), ("hidden", 0), ("start", 1), ("hidden", 1)]
    pose.main([*command, "--trials", "3", "--resume"])
    assert asked[4:] == [("start", 2), ("hidden", 2)]
    found = json.loads(path.read_text())
    assert len(found["trials"]) == 6
    start, hidden = found["rows"]["rows"]
    assert (start["median"], start["worst"], start["longest"]) == (0.3, 5.0, 4.0)
    assert (start["within"], start["silent"]) == pytest.approx((2 / 3, 1 / 3))
    assert (hidden["unsure"], hidden["silent"], hidden["trials"]) == (1, 0, 3)
    assert "| creature | start | 3 | 0.300 | 67% | 5.00 |" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--seed: expected that of .*, 0, got 1"):
        pose.main([*command, "--seed", "1", "--resume"])
    pose.main([*command, "--trials", "1"])
    assert len(json.loads(path.read_text())["trials"]) == 2
