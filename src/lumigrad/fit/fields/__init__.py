"""Voxels from posed photographs: the model, the loop, and the whole job."""

from __future__ import annotations

from lumigrad.fit.fields.job import FieldJob, FieldOptions
from lumigrad.fit.fields.loop import FieldState, Schedule, evaluate, fit_field
from lumigrad.fit.fields.voxels import Voxels

__all__ = ["FieldJob", "FieldOptions", "FieldState", "Schedule", "Voxels", "evaluate", "fit_field"]
