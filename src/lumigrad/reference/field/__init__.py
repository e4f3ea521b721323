"""Definitions of the ops on fields."""

from lumigrad.reference.field._composite import composite
from lumigrad.reference.field._march import march
from lumigrad.reference.field._occupancy import occupancy

__all__ = ["composite", "march", "occupancy"]
