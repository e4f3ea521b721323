"""What ops return and take: named tuples of tensors."""

from lumigrad.types.fields import Marched, Occupancy, Rays
from lumigrad.types.fragments import Fragments, SoftFragments
from lumigrad.types.outlines import Outlines
from lumigrad.types.splats import ProjectedGaussians, Splats, Surfels
from lumigrad.types.view import View

__all__ = [
    "Fragments",
    "Marched",
    "Occupancy",
    "Outlines",
    "ProjectedGaussians",
    "Rays",
    "SoftFragments",
    "Splats",
    "Surfels",
    "View",
]
