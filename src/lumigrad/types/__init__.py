"""What ops return and take: named tuples of tensors."""

from lumigrad.types.fragments import Fragments, SoftFragments
from lumigrad.types.outlines import Outlines
from lumigrad.types.splats import ProjectedGaussians, Splats, Surfels
from lumigrad.types.surface_hits import SurfaceHits
from lumigrad.types.view import View

__all__ = ["Fragments", "Outlines", "ProjectedGaussians", "SoftFragments", "Splats", "SurfaceHits", "Surfels", "View"]
