"""Ops on fields."""

from lumigrad.ops.field._composite import composite
from lumigrad.ops.field._distortion import contract, distortion_loss
from lumigrad.ops.field._hash_encode import hash_encode
from lumigrad.ops.field._march import march
from lumigrad.ops.field._occupancy import occupancy
from lumigrad.ops.field._sample_rays import resample_rays, sample_rays

__all__ = [
    "composite",
    "contract",
    "distortion_loss",
    "hash_encode",
    "march",
    "occupancy",
    "resample_rays",
    "sample_rays",
]
