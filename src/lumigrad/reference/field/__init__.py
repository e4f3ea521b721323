"""Definitions of the ops on fields."""

from lumigrad.reference.field._composite import composite
from lumigrad.reference.field._distortion import contract, distortion_loss
from lumigrad.reference.field._march import march
from lumigrad.reference.field._occupancy import occupancy

__all__ = ["composite", "contract", "distortion_loss", "march", "occupancy"]
