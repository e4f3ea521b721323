"""lumigrad: differentiable rendering for PyTorch, fast on any CPU, with correct gradients everywhere."""

from lumigrad import _startup  # noqa: F401 (before all that takes long)

# isort: split
from lumigrad import gradients, reference
from lumigrad.ops.field import composite, contract, distortion_loss, march, occupancy
from lumigrad.ops.implicit import (
    flexicubes,
    marching_cubes,
    marching_tetrahedra,
    neus_alpha,
    redistance,
    sphere_trace,
    volsdf_density,
)
from lumigrad.ops.soft import blending, soft_colors, soft_interpolate, soft_rasterize, soft_silhouette
from lumigrad.ops.splat import (
    gaussians,
    points,
    project_gaussians,
    spheres,
    spherical_harmonics,
    splat,
    surface_splats,
    surfels,
)
from lumigrad.ops.surface import antialias, blend_outlines, edge_topology, interpolate, outlines, peel, rasterize
from lumigrad.ops.texture import build_mips, texture, texture_cube
from lumigrad.types import (
    Composited,
    Fragments,
    Marched,
    Occupancy,
    Outlines,
    ProjectedGaussians,
    Rays,
    RaySamples,
    SoftFragments,
    Splats,
    SurfaceHits,
    Surfels,
    View,
)

__version__ = "0.1.0"
__all__ = [
    "Composited",
    "Fragments",
    "Marched",
    "Occupancy",
    "Outlines",
    "ProjectedGaussians",
    "RaySamples",
    "Rays",
    "SoftFragments",
    "Splats",
    "SurfaceHits",
    "Surfels",
    "View",
    "antialias",
    "blend_outlines",
    "blending",
    "build_mips",
    "composite",
    "contract",
    "distortion_loss",
    "edge_topology",
    "flexicubes",
    "gaussians",
    "gradients",
    "interpolate",
    "march",
    "marching_cubes",
    "marching_tetrahedra",
    "neus_alpha",
    "occupancy",
    "outlines",
    "peel",
    "points",
    "project_gaussians",
    "rasterize",
    "redistance",
    "reference",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
    "sphere_trace",
    "spheres",
    "spherical_harmonics",
    "splat",
    "surface_splats",
    "surfels",
    "texture",
    "texture_cube",
    "volsdf_density",
]
