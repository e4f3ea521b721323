"""Jobs that fit to photographs, small ones."""

from __future__ import annotations

from typing import Any

from lumigrad.fit.fields import FieldJob, FieldOptions
from lumigrad.fit.materials import MaterialsJob, MaterialsOptions
from lumigrad.fit.reconstruct import ReconstructJob, ReconstructOptions
from lumigrad.fit.silhouettes import SilhouetteJob, SilhouetteOptions
from lumigrad.fit.splats import SplatJob, SplatOptions
from lumigrad.io import PosedPhotos
from lumigrad.scene import icosphere

KINDS = ("fields", "splats", "texture", "object", "silhouettes", "materials")


def prepared(kind: str, data: PosedPhotos) -> Any:
    """The job of a kind, with two steps; the photographs show a ball, which is known where a mesh is to be given."""
    if kind == "fields":
        return FieldJob.prepare(data, FieldOptions(kind="voxels", iterations=2, voxels=12, boxes=2, rays=40))
    if kind == "splats":
        return SplatJob.prepare(data, SplatOptions(iterations=2, points=40, degree=0))
    if kind == "silhouettes":
        return SilhouetteJob.prepare(data, SilhouetteOptions(iterations=2, voxels=16))
    if kind == "materials":
        options = MaterialsOptions(iterations=2, texture_size=64, light_size=4)
        return MaterialsJob.of(icosphere(2, 0.8), data, options)
    if kind == "texture":
        return ReconstructJob.of_texture(icosphere(2, 0.8), data, ReconstructOptions(iterations=2, texture_size=64))
    return ReconstructJob.of_object(data, ReconstructOptions(iterations=2, detail=0.3))
