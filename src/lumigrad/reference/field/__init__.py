"""Definitions of the ops on fields."""

from lumigrad.reference.field._composite import composite
from lumigrad.reference.field._distortion import contract, distortion_loss
from lumigrad.reference.field._hash_encode import hash_encode
from lumigrad.reference.field._march import march
from lumigrad.reference.field._mixed_rays import mixed_rays
from lumigrad.reference.field._occupancy import occupancy
from lumigrad.reference.field._sample_rays import resample_rays, sample_rays

__all__ = [
    "composite",
    "contract",
    "distortion_loss",
    "hash_encode",
    "march",
    "mixed_rays",
    "occupancy",
    "resample_rays",
    "sample_rays",
]
