"""Short fits of every kind that processes can divide: in one process, or started by torchrun.

`python -m torch.distributed.run --nproc-per-node 3 divided_fits.py FOLDER` writes `losses-3.json` to a folder in which
`prepare` has made what is fitted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from capture_common import small_rig
from dataset_common import ring, write_transforms
from reconstruct_common import ball, write_photos

from lumigrad.fit.capture import CaptureJob, CaptureOptions, load_rig
from lumigrad.fit.distributed import Group, join
from lumigrad.fit.fields import FieldJob, FieldOptions
from lumigrad.fit.photos.job import DividedJob
from lumigrad.fit.reconstruct import ReconstructJob, ReconstructOptions
from lumigrad.fit.reconstruct.schedule import Stage
from lumigrad.fit.splats.job import SplatJob, SplatOptions
from lumigrad.io import load_dataset


def prepare(folder: Path) -> None:
    """What is fitted."""
    write_transforms(folder / "photos", ring(9, (40, 48)))
    write_photos(folder / "object", ball(), 9, (32, 32))
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
        "voxels": FieldJob.prepare(photos, FieldOptions("voxels", iterations=12, voxels=24, rays=100)),
        "hash": FieldJob.prepare(photos, FieldOptions("hash", iterations=6, rays=100)),
        "reconstruct": replace(surface, schedule=replace(surface.schedule, stages=stages)),
        "capture": CaptureJob.of_rig(
            load_rig(folder / "rig"), CaptureOptions(iterations=6, batch=5, widths=(8, 8, 8), texture_size=32)
        ),
    }


def run(job: DividedJob[Any], group: Group) -> Any:
    """Its state at the end."""
    return job.fit(job.begin_together(group), lambda _: not group.any(False), 4, group)


def digest(value: Any) -> str:
    """A name for all of a state but its times."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        parts = [digest(value[key]) for key in sorted(value, key=str) if key != "seconds"]
    elif isinstance(value, (list, tuple)):
        parts = [digest(part) for part in value]
    else:
        parts = [repr(value)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def main(folder: Path) -> None:
    """Fit all, and write losses and whether states are the same in all processes."""
    torch.set_num_threads(1)
    group = join()
    found = {}
    for name, job in jobs(folder).items():
        state = run(job, group)
        own = digest(state.to_dict())
        first = group.copied(lambda own=own: {"digest": own})["digest"]  # type: ignore[misc]
        found[name] = {"losses": state.losses, "curve": state.curve, "same": not group.any(first != own), "digest": own}
    if group.is_first:
        (folder / f"losses-{group.size}.json").write_text(json.dumps(found))
    group.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
