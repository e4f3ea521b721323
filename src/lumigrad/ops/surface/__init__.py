"""Triangle meshes: visibility per pixel, and its gradients."""

from lumigrad.ops.surface._antialias import antialias
from lumigrad.ops.surface._edge_gradient import edge_gradient
from lumigrad.ops.surface._edge_topology import edge_topology
from lumigrad.ops.surface._interpolate import interpolate
from lumigrad.ops.surface._nmr_gradient import nmr_gradient
from lumigrad.ops.surface._outlines import blend_outlines, outlines
from lumigrad.ops.surface._peel import peel
from lumigrad.ops.surface._rasterize import rasterize

__all__ = [
    "antialias",
    "blend_outlines",
    "edge_gradient",
    "edge_topology",
    "interpolate",
    "nmr_gradient",
    "outlines",
    "peel",
    "rasterize",
]
