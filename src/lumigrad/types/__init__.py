"""What ops return and take: named tuples of tensors."""

from lumigrad.types.fields import Composited, Marched, Occupancy, Rays, RaySamples
from lumigrad.types.fragments import Fragments, SoftFragments
from lumigrad.types.hits import Bvh, Hits
from lumigrad.types.light import DirectLight, LitScene, Media, TracedPaths
from lumigrad.types.outlines import Outlines
from lumigrad.types.splats import ProjectedGaussians, Splats, Surfels
from lumigrad.types.surface_hits import SurfaceHits
from lumigrad.types.view import View

__all__ = [
    "Bvh",
    "Composited",
    "DirectLight",
    "Fragments",
    "Hits",
    "LitScene",
    "Marched",
    "Media",
    "Occupancy",
    "Outlines",
    "ProjectedGaussians",
    "RaySamples",
    "Rays",
    "SoftFragments",
    "Splats",
    "SurfaceHits",
    "Surfels",
    "TracedPaths",
    "View",
]
