"""The primitives, one module each. ``import lumigrad as lg`` re-exports them all."""

from lumigrad.ops.antialias import antialias
from lumigrad.ops.edge_topology import edge_topology
from lumigrad.ops.interpolate import interpolate
from lumigrad.ops.peel import peel
from lumigrad.ops.rasterize import rasterize

__all__ = ["antialias", "edge_topology", "interpolate", "peel", "rasterize"]
