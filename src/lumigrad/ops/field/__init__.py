"""Ops on fields: what rays see of grids."""

from lumigrad.ops.field._composite import composite
from lumigrad.ops.field._distortion import contract, distortion_loss
from lumigrad.ops.field._march import march
from lumigrad.ops.field._occupancy import occupancy

__all__ = ["composite", "contract", "distortion_loss", "march", "occupancy"]
