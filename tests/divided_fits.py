"""Short fits of every kind that processes can divide: in one process, or started by torchrun.

`python -m torch.distributed.run --nproc-per-node 3 divided_fits.py FOLDER` writes `losses-3.json` to a folder in which
`prepare` has made what is fitted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from capture_common import small_rig
from dataset_common import ring, write_transforms
from reconstruct_common import ball, write_photos, write_room

from lumigrad.fit.capture import CaptureJob, CaptureOptions, load_rig
from lumigrad.fit.distributed import Group, exchanged, join
from lumigrad.fit.fields import FieldJob, FieldOptions
from lumigrad.fit.photos.job import DividedJob
from lumigrad.fit.reconstruct import ReconstructJob, ReconstructOptions, SceneJob, SceneState
from lumigrad.fit.reconstruct.schedule import Stage
from lumigrad.fit.splats import SplatState
from lumigrad.fit.splats.divided_rows import DividedRows
from lumigrad.fit.splats.job import SplatJob, SplatOptions
from lumigrad.fit.splats.rows import Rows
from lumigrad.io import PosedPhotos, load_dataset


@dataclass(frozen=True)
class Ellipsoids(SplatJob):
    """A fit that does not begin with balls: their rotations have no gradient but for roundings, and Adam turns them by
    these all the same."""

    def begin(self) -> SplatState:
        state, generator = super().begin(), torch.Generator().manual_seed(1)
        for name in ("scales", "quats"):
            if name in state.rows.parameters:
                value = state.rows.parameters[name]
                value += 0.5 * torch.randn(value.shape, generator=generator)
        return state


def primitives(photos: PosedPhotos, **options: Any) -> DividedJob[Any]:
    """A fit whose primitives are divided, and whose two photographs a step are, in strips, among three processes."""
    job = Ellipsoids.prepare(
        photos, SplatOptions(iterations=20, points=150, degree=1, max_primitives=300, batch=2, **options)
    )
    eager = {"every": 5} if options.get("strategy") == "mcmc" else {"every": 5, "threshold": 1e-5}
    return replace(
        job,
        strategy=replace(job.strategy, **eager),  # type: ignore[type-var]
        schedule=replace(job.schedule, levels=((0.0, 2), (0.4, 1))),
    )


def prepare(folder: Path) -> None:
    """Write the data to be fitted."""
    write_transforms(folder / "photos", ring(9, (40, 48)))
    write_photos(folder / "object", ball(), 9, (32, 32))
    write_room(folder / "room", 7, (24, 32))
    small_rig(folder)


def jobs(folder: Path) -> dict[str, DividedJob[Any]]:
    """Fits that add primitives, refine voxels, begin stages, correct cameras; of batches that do not divide evenly."""
    photos, of_object = load_dataset(folder / "photos"), load_dataset(folder / "object")
    splat = SplatJob.prepare(photos, SplatOptions(iterations=20, points=150, degree=1, max_primitives=300, batch=4))
    eager = replace(splat.strategy, every=5, threshold=1e-5)  # type: ignore[type-var]
    mcmc = SplatOptions(iterations=12, points=150, strategy="mcmc", batch=5)
    surface = ReconstructJob.of_object(
        of_object, ReconstructOptions(iterations=8, cameras="focal", detail=0.4, texture_size=64)
    )
    # Remeshing and texture coordinates before the first step alone: later, they may decide otherwise for a rounding.
    stages = (
        Stage(0.0, 2, edge_length=0.15, rate=0.01, textured=True),
        Stage(0.5, 1, rate=0.002, squares=4.0, textured=True),
    )
    return {
        "splat": replace(splat, strategy=eager),
        "mcmc": SplatJob.prepare(photos, mcmc),
        "primitives": primitives(photos, divide="primitives"),
        "mcmc primitives": primitives(photos, divide="primitives", strategy="mcmc"),
        "spheres": primitives(photos, divide="primitives", spheres=True),
        "voxels": FieldJob.prepare(photos, FieldOptions("voxels", iterations=12, voxels=24, rays=100)),
        "hash": FieldJob.prepare(photos, FieldOptions("hash", iterations=6, rays=100)),
        "reconstruct": replace(surface, schedule=replace(surface.schedule, stages=stages)),
        # The field is fog of which rays see no end, and the surface is where half of their light is lost.
        "scene": SceneJob.prepare(
            load_dataset(folder / "room"), ReconstructOptions(iterations=4, batch=4, detail=0.05, texture_size=32)
        ),
        "capture": CaptureJob.of_rig(
            load_rig(folder / "rig"), CaptureOptions(iterations=6, batch=5, widths=(8, 8, 8), texture_size=32)
        ),
    }


def run(job: DividedJob[Any], group: Group) -> Any:
    """Run a job; returns its final state."""
    return job.fit(job.begin_together(group), lambda _: not group.any(False), 4, group)


def losses(state: Any) -> list[float]:
    """The losses of all steps; for a scene, those of the field followed by those of the surface."""
    return [*state.field.losses, *state.surface.losses] if isinstance(state, SceneState) else list(state.losses)


def digest(value: Any) -> str:
    """A digest of a state without its times."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        parts = [digest(value[key]) for key in sorted(value, key=str) if key != "seconds"]
    elif isinstance(value, (list, tuple)):
        parts = [digest(part) for part in value]
    else:
        parts = [repr(value)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def parts(state: Any) -> set[str]:
    """The parts of a state that are divided among processes."""
    return {"rows"} if isinstance(getattr(state, "rows", None), DividedRows) else set()


def exchange(group: Group) -> dict[str, float]:
    """How far rows that are exchanged, and their gradients, are from what they are to be: rank r sends r + d rows to
    process d, number n of which is 100 r + 10 d + n."""
    counts = [group.rank + other for other in range(group.size)]
    rows = [100.0 * group.rank + 10 * other + number for other, count in enumerate(counts) for number in range(count)]
    own = torch.tensor(rows, dtype=torch.float64)[:, None].requires_grad_()
    received, coming = exchanged(group, own, counts)
    wanted = [100.0 * other + 10 * group.rank + number for other, count in enumerate(counts) for number in range(count)]
    (received.square().sum() * (group.rank + 1)).backward()
    factors = torch.tensor([other + 1.0 for other, count in enumerate(counts) for _ in range(count)])[:, None]
    assert own.grad is not None
    return {
        "rows": float((received.detach()[:, 0] - torch.tensor(wanted)).abs().sum()),
        "counts": float(sum(abs(one - other) for one, other in zip(counts, coming, strict=True))),
        "gradients": float((own.grad - 2 * factors * own).detach().abs().sum()),
    }


def moved_rows(group: Group) -> float:
    """How far divided rows are from those of one process, after some have been added, moved and removed."""
    start = {"means": torch.arange(60.0).view(20, 3), "opacities": torch.arange(20.0)}
    alone, divided = Rows(dict(start)), DividedRows.of(Rows(dict(start)) if group.is_first else None, group)
    generator = torch.Generator().manual_seed(3)
    for rows in (alone, divided):
        rows.first["means"] += 1
        rows.statistic("pull").add_(rows.parameters["opacities"])
    for _ in range(4):
        source = torch.randint(len(alone), (len(alone) + 3,), generator=generator)
        fresh, mask = (torch.rand(len(source), generator=generator) < 0.4 for _ in range(2))
        for rows in (alone, divided):
            rows.take(source, fresh)
            rows.keep(mask)
    values = ("parameters", "means"), ("parameters", "opacities"), ("first", "means"), ("statistics", "pull")
    assert len(divided) == len(alone) > 0
    return float(sum((divided.whole(getattr(divided, k)[n]) - getattr(alone, k)[n]).abs().sum() for k, n in values))


def main(folder: Path) -> None:
    """Fit all, and write losses and whether states are the same in all processes."""
    torch.set_num_threads(1)
    group = join()
    found: dict[str, Any] = {"exchange": exchange(group), "rows": moved_rows(group)}
    for name, job in jobs(folder).items():
        state = run(job, group)
        own = digest({key: value for key, value in state.to_dict().items() if key not in parts(state)})
        first = group.copied(lambda own=own: {"digest": own})["digest"]  # type: ignore[misc]
        found[name] = {
            "losses": losses(state),
            "curve": state.curve,
            "same": not group.any(first != own),
            "digest": own,
        }
        if parts(state):
            counts = group.joined(torch.tensor([state.rows.count])).tolist()
            with state.rows.all(folder) as rows:
                if rows is not None:
                    found[name] |= {"counts": counts, "means": rows.parameters["means"].tolist()}
    if group.is_first:
        (folder / f"losses-{group.size}.json").write_text(json.dumps(found))
    group.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
