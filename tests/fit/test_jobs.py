"""Checkpoints, interruption, and whole jobs without the command line."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from capture_common import small_rig
from dataset_common import ring, write_transforms
from jobs_common import KINDS, prepared
from reconstruct_common import ball, write_photos

from lumigrad.fit import (
    CheckpointError,
    Checkpoints,
    Interruption,
    MeshJob,
    MeshOptions,
    run_with_checkpoints,
)
from lumigrad.fit.capture import CaptureJob, CaptureOptions, load_rig
from lumigrad.fit.fields import FieldJob, FieldOptions
from lumigrad.fit.materials import MaterialsJob, MaterialsOptions
from lumigrad.fit.mesh import FitState
from lumigrad.fit.silhouettes import SilhouetteJob, SilhouetteOptions
from lumigrad.fit.splats import SplatJob, SplatOptions
from lumigrad.io import PosedPhotos, load_dataset, load_gaussians, load_mesh, save_image
from lumigrad.scene import creature, icosphere

TINY = MeshOptions(size=32, views=4, test_views=2, texture_size=64, effort=0.02, detail=0.3)


@dataclass
class Count:
    number: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number}


@dataclass
class Large:
    values: torch.Tensor

    def to_dict(self) -> dict[str, Any]:
        return {"values": self.values}


def test_checkpoints_come_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {"seed": 0, "mesh": "abc"}, {"mesh": "another mesh"})
    with pytest.raises(CheckpointError, match="no state to resume from"):
        checkpoints.load()
    checkpoints.save(Count(3))
    checkpoints.save(Count(4))
    assert checkpoints.load() == {"number": 4}
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    with pytest.raises(CheckpointError, match="seed was 0, now 1"):
        Checkpoints(tmp_path, {"seed": 1, "mesh": "abc"}, {}).load()
    with pytest.raises(CheckpointError, match="belongs to another mesh"):
        Checkpoints(tmp_path, {"seed": 1, "mesh": "abd"}, {"mesh": "another mesh"}).load()
    (tmp_path / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="cannot read"):
        checkpoints.load()


def _damages(value: Any) -> list[Any]:
    """Invalid variants of a state's value."""
    wrong: list[Any] = ["text", None]
    if isinstance(value, dict):
        wrong += [{}] if value else []
        wrong += [{**value, "unknown": 1}, *({k: v for k, v in value.items() if k != key} for key in value)]
        wrong += [{**value, key: changed} for key in value for changed in _damages(value[key])]
    elif isinstance(value, torch.Tensor):
        wrong += [value[:0], value[..., None]] if value.ndim else []
        if value.is_floating_point() and value.numel():
            wrong.append(torch.full_like(value, float("nan")))
        elif value.numel() and value.dtype != torch.uint8:
            wrong.append(value - 10_000)
    elif isinstance(value, list) and value:
        wrong += [["text"] * len(value)]
    return wrong


def _resume_damaged(job: Any, folder: Path, optional: set[str]) -> None:
    """Any damage to a checkpoint raises an error that names the file."""
    saved = torch.load(folder / "state.pt", weights_only=True)
    for key, value in saved["state"].items():
        for wrong in _damages(value):
            if wrong is None and key in optional:
                continue
            torch.save({**saved, "state": {**saved["state"], key: wrong}}, folder / "state.pt")
            with pytest.raises(CheckpointError, match=r"state\.pt is damaged: ."):
                assert not job.resume(folder), f"accepted: {key} = {wrong}"
    for state in ("text", {}, None, {"unknown": 1}):
        torch.save({**saved, "state": state}, folder / "state.pt")
        with pytest.raises(CheckpointError, match=r"state\.pt"):
            job.resume(folder)
    torch.save(saved, folder / "state.pt")
    job.resume(folder)


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {}, {})
    (tmp_path / "state.pt.part").mkdir()
    with pytest.raises(CheckpointError, match=r"cannot write .*state\.pt: .*[Dd]irectory"):
        checkpoints.save(Count(3))


def test_a_full_disk_leaves_the_state_that_was_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {}, {})
    for large in (False, True):  # a small file is written when it is closed, a large one while it is made
        checkpoints.save(Count(3))
        (tmp_path / "state.pt.part").symlink_to("/dev/full")
        with pytest.raises(CheckpointError, match=r"cannot write .*state\.pt: the disk is full; .*before is kept"):
            checkpoints.save(Large(torch.zeros(10**6)) if large else Count(4))
        assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
        assert checkpoints.load() == {"number": 3}


def test_a_state_is_on_the_disk_before_it_replaces_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str, function: Any) -> Any:
        return lambda *arguments: calls.append(name) or function(*arguments)  # type: ignore[func-returns-value]

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    Checkpoints(tmp_path, {}, {}).save(Count(3))
    assert calls == ["fsync", "replace", "fsync"]  # the file, then its folder


def test_whenever_a_process_is_killed_a_whole_state_is_left(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {}, {})
    for wait in (0.01, 0.02, 0.03, 0.05):
        child = os.fork()
        if not child:
            for number in itertools.count():
                checkpoints.save(Large(torch.full((10**6,), float(number))))
        while not (tmp_path / "state.pt").exists():
            time.sleep(0.001)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        values = checkpoints.load()["values"]
        assert values.shape == (10**6,)
        assert bool((values == values[0]).all())


def test_a_signal_ends_the_loop_after_the_step(tmp_path: Path) -> None:
    def loop(after_step: Any) -> Count:
        state = Count()
        for _ in range(10):
            state.number += 1
            if state.number == 4:
                signal.raise_signal(signal.SIGINT)
            if not after_step(state):
                break
        return state

    checkpoints, seen = Checkpoints(tmp_path, {}, {}), []
    before = signal.getsignal(signal.SIGINT)
    state = run_with_checkpoints(loop, checkpoints, lambda now: seen.append(now.number))
    assert state.number == 4
    assert seen == [1, 2, 3, 4]
    assert checkpoints.load() == {"number": 4}
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_signal_stops_at_once() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_other_threads_leave_signals_alone() -> None:
    found = []

    def enter() -> None:
        with Interruption():
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [before]


def test_mesh_job(tmp_path: Path) -> None:
    mesh = creature(level=2, texture_height=32)
    mesh = replace(mesh, positions=3 * mesh.positions + 5)
    job, steps = MeshJob.prepare(mesh, TINY), []
    state = job.run(job.begin(), tmp_path, lambda now: steps.append(now.iteration))
    assert job.complete(state)
    assert steps == list(range(1, job.iterations + 1))
    numbers = job.write_results(state, tmp_path, frames=2)
    assert json.loads((tmp_path / "metrics.json").read_text()) == numbers
    assert (load_mesh(tmp_path / "mesh.glb").positions - 5).abs().max() < 5
    again = job.resume(tmp_path)
    assert isinstance(again, FitState)
    assert torch.equal(again.positions, state.positions)
    _resume_damaged(job, tmp_path, optional={"uvs", "uv_faces", "parameter"})
    with pytest.raises(CheckpointError, match="seed was 0, now 1"):
        MeshJob.prepare(mesh, replace(TINY, seed=1)).resume(tmp_path)
    with pytest.raises(CheckpointError, match="another mesh or texture"):
        MeshJob.prepare(creature(level=2, texture_height=16), TINY).resume(tmp_path)


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> PosedPhotos:
    """Photographs of a ball, with an alpha channel."""
    return load_dataset(write_photos(tmp_path_factory.mktemp("shots"), ball(), count=5, size=(32, 32)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_goes_on_with_the_same_photographs_only(kind: str, shots: PosedPhotos, tmp_path: Path) -> None:
    job = prepared(kind, shots)
    begun = job.begin()
    job.checkpoints(tmp_path).save(begun)
    assert job.resume(tmp_path).iteration == 0

    white, half = tmp_path / "white.png", tmp_path / "half.png"
    save_image(torch.ones(32, 32, 3), white)
    save_image(torch.cat([torch.ones(32, 31, 3), torch.zeros(32, 1, 3)], 1), half)
    masked = replace(shots, masks=(white,) * 5)
    prepared(kind, masked).resume(tmp_path)  # masks by which all pixels count say nothing
    longer = tuple(replace(camera, fx=1.01 * camera.fx) for camera in shots.cameras)
    fitted, kept = shots.split()
    for other, message in (
        (replace(masked, masks=tuple(half if n == fitted[0] else white for n in range(5))), "belongs to other masks$"),
        (replace(masked, masks=tuple(half if n in kept else white for n in range(5))), "belongs to .*held out$"),
        (replace(shots, cameras=longer), "belongs to other focal lengths"),
    ):
        with pytest.raises(CheckpointError, match=message):
            prepared(kind, other).resume(tmp_path)

    path = tmp_path / "state.pt"
    saved = torch.load(path, weights_only=True)
    del saved["settings"]["masks"]
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match="from another version of lumigrad: it has no masks"):
        job.resume(tmp_path)


def test_mesh_without_extent() -> None:
    ball = icosphere(0)
    with pytest.raises(ValueError, match="no extent"):
        MeshJob.prepare(replace(ball, positions=0 * ball.positions))


def test_field_job(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path / "data", ring(5, (24, 32))))
    job = FieldJob.prepare(data, FieldOptions(kind="voxels", iterations=6, voxels=12, boxes=2, rays=40))
    state = job.run(job.begin(), tmp_path, evaluate_every=3)
    assert job.complete(state)
    assert [row["iteration"] for row in state.curve] == [3, 6]
    assert job.write_results(state, tmp_path, frames=2)["parameters"] == [[12, 12, 12, 4], [9, 9, 9, 4]]
    assert job.schedule.opaque
    clear = FieldJob.prepare(
        replace(data, masks=data.paths, masks_are_alpha=True), FieldOptions(kind="voxels", boxes=2)
    )
    assert not clear.schedule.opaque  # the alpha channel says where nothing is
    assert torch.equal(job.resume(tmp_path).parameters[0], state.parameters[0])
    _resume_damaged(job, tmp_path, optional=set())
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    kept = saved["state"]
    for name in ("parameters", "first", "second", "occupied"):
        for wrong in ([], kept[name][:1], [kept[name][0][:1], kept[name][1]], [kept[name][0][None], kept[name][1]]):
            if name == "occupied" and not wrong:
                continue  # nobody has looked yet
            torch.save({**saved, "state": {**kept, name: wrong}}, tmp_path / "state.pt")
            with pytest.raises(CheckpointError, match=r"state\.pt is damaged: ."):
                job.resume(tmp_path)


def test_hash_field_job(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path / "data", ring(5, (24, 32))))
    job = FieldJob.prepare(data, FieldOptions(iterations=2, rays=20))
    state = job.run(job.begin(), tmp_path)
    numbers = job.write_results(state, tmp_path, frames=2)
    assert numbers["parameters"] == [list(values.shape) for values in state.parameters]
    assert torch.equal(job.resume(tmp_path).parameters[0], state.parameters[0])
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    kept = saved["state"]
    for name in ("parameters", "first", "second"):
        for wrong in ([], kept[name][:1], [kept[name][0][:1], *kept[name][1:]]):
            torch.save({**saved, "state": {**kept, name: wrong}}, tmp_path / "state.pt")
            with pytest.raises(CheckpointError, match=r"state\.pt is damaged: ."):
                job.resume(tmp_path)
    with pytest.raises(ValueError, match="kind: expected one of hash, voxels, got 'clouds'"):
        FieldOptions(kind="clouds")


def test_splat_job(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path / "data", ring(5, (24, 32))))
    job = SplatJob.prepare(data, SplatOptions(iterations=6, points=60, degree=0))
    state = job.run(job.begin(), tmp_path, evaluate_every=3)
    assert job.complete(state)
    assert [row["iteration"] for row in state.curve] == [3, 6]
    numbers = job.write_results(state, tmp_path, frames=2)
    assert len(load_gaussians(tmp_path / "gaussians.ply")) == numbers["primitives"]
    assert torch.equal(job.resume(tmp_path).rows.parameters["means"], state.rows.parameters["means"])
    state.rows.statistics.clear()  # a fit goes on without them
    job.run(state, tmp_path)
    _resume_damaged(job, tmp_path, optional=set())
    assert job.schedule.minutes is None
    assert SplatOptions().schedule().minutes is None
    assert SplatOptions(minutes=5).schedule().iterations == SplatOptions().iterations


def test_damaged_states_of_materials(shots: PosedPhotos, tmp_path: Path) -> None:
    options = MaterialsOptions(iterations=2, texture_size=64, light_size=4, normals=True)
    job = MaterialsJob.of(icosphere(1, 0.8), shots, options)
    state = job.run(job.begin(), tmp_path, lambda now: torch.save(now.to_dict(), tmp_path / "during.pt"))
    during = torch.load(tmp_path / "during.pt", weights_only=True)
    assert not any(level.requires_grad for levels in during["parameters"].values() for level in levels)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    for key, value in saved["state"].items():
        for wrong in _damages(value):
            with pytest.raises(ValueError, match=r"^state"):  # there are hundreds, too many for files
                assert not job.read({**saved["state"], key: wrong}), f"accepted: {key} = {wrong}"
    for name, wrong in (("optimizer", {}), ("uvs", state.uvs[:-1]), ("uvs", state.uvs[:, :1])):
        torch.save({**saved, "state": {**saved["state"], name: wrong}}, tmp_path / "state.pt")
        with pytest.raises(CheckpointError, match=rf"state\.pt is damaged: state\.{name[:2]}"):
            job.resume(tmp_path)


def test_damaged_states_of_captures(tmp_path: Path) -> None:
    options = CaptureOptions(iterations=2, widths=(2, 2, 2), texture_size=16, blur_factor=8)
    job = CaptureJob.of_rig(load_rig(small_rig(tmp_path)), options)
    job.run(job.begin(), tmp_path)
    _resume_damaged(job, tmp_path, optional=set())


def test_silhouette_job(shots: PosedPhotos, tmp_path: Path) -> None:
    job = SilhouetteJob.prepare(shots, SilhouetteOptions(iterations=4, voxels=16))
    assert [stage.iterations for stage in job.schedule.stages] == [1, 1, 2]
    state = job.run(job.begin(), tmp_path, evaluate_every=2)
    assert job.complete(state)
    assert [row["iteration"] for row in state.curve] == [2, 4]
    assert torch.equal(job.resume(tmp_path).values, state.values)
    _resume_damaged(job, tmp_path, optional={"colors"})
    assert SilhouetteJob.prepare(shots, SilhouetteOptions(iterations=1, voxels=16)).schedule.iterations == 1
    timed = SilhouetteJob.prepare(shots, SilhouetteOptions(minutes=1e-4, voxels=16))
    assert timed.fit(timed.begin(), lambda state: True).iteration < timed.options.iterations
