"""Triangle meshes: what each pixel sees, and how that changes."""

from lumigrad.reference.surface._antialias import antialias
from lumigrad.reference.surface._edge_gradient import edge_gradient
from lumigrad.reference.surface._edge_topology import edge_topology
from lumigrad.reference.surface._interpolate import interpolate
from lumigrad.reference.surface._nmr_gradient import nmr_gradient
from lumigrad.reference.surface._opendr_gradient import opendr_gradient
from lumigrad.reference.surface._outlines import blend_outlines, outlines
from lumigrad.reference.surface._peel import peel
from lumigrad.reference.surface._rasterize import rasterize, visibility
from lumigrad.reference.surface._splat_gradient import splat_gradient

__all__ = [
    "antialias",
    "blend_outlines",
    "edge_gradient",
    "edge_topology",
    "interpolate",
    "nmr_gradient",
    "opendr_gradient",
    "outlines",
    "peel",
    "rasterize",
    "splat_gradient",
    "visibility",
]
