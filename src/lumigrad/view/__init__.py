"""A page in the browser that shows what lumigrad renders while the camera moves, on viser."""

from lumigrad.view.pace import Pace
from lumigrad.view.viewer import Viewer

__all__ = ["Pace", "Viewer"]
