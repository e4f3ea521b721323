"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import reference
from lumigrad.fragments import Fragments
from lumigrad.ops import antialias, edge_topology, interpolate, peel, rasterize

__version__ = "0.1.0"
__all__ = ["Fragments", "antialias", "edge_topology", "interpolate", "peel", "rasterize", "reference"]
