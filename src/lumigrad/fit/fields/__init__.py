"""Fields from posed photographs: the models, the loop, and the whole job."""

from __future__ import annotations

from lumigrad.fit.fields.file import FittedField, load_field, save_field
from lumigrad.fit.fields.hashed import HashField
from lumigrad.fit.fields.job import FieldJob, FieldOptions
from lumigrad.fit.fields.loop import evaluate, fit_field
from lumigrad.fit.fields.model import FieldModel
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.fields.voxels import Voxels

__all__ = [
    "FieldJob",
    "FieldModel",
    "FieldOptions",
    "FieldState",
    "FittedField",
    "HashField",
    "Schedule",
    "Voxels",
    "evaluate",
    "fit_field",
    "load_field",
    "save_field",
]
