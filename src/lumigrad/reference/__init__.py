"""Every primitive, defined in plain PyTorch: the same names and signatures as in `lumigrad.ops`.

These functions define what the fast kernels must compute. They are short and differentiable by autograd, work in
float32 and float64 on any device, and are tested against closed forms; the kernels are tested against them.
"""

from __future__ import annotations

from lumigrad.reference.field import (
    composite,
    contract,
    distortion_loss,
    hash_encode,
    march,
    mixed_rays,
    occupancy,
    resample_rays,
    sample_rays,
)
from lumigrad.reference.implicit import (
    flexicubes,
    marching_cubes,
    marching_tetrahedra,
    neus_alpha,
    redistance,
    sphere_trace,
    trace_grid,
    volsdf_density,
)
from lumigrad.reference.light import direct_light, trace_paths
from lumigrad.reference.ray import occluded, offset_origins, trace
from lumigrad.reference.soft import soft_attributes, soft_colors, soft_interpolate, soft_rasterize, soft_silhouette
from lumigrad.reference.splat import project_gaussians, spheres, spherical_harmonics, splat, surface_splats, surfels
from lumigrad.reference.surface import (
    antialias,
    blend_outlines,
    edge_gradient,
    edge_topology,
    interpolate,
    nmr_gradient,
    opendr_gradient,
    outlines,
    peel,
    rasterize,
    splat_gradient,
    visibility,
)
from lumigrad.reference.texture import build_mips, texture, texture_cube

__all__ = [
    "antialias",
    "blend_outlines",
    "build_mips",
    "composite",
    "contract",
    "direct_light",
    "distortion_loss",
    "edge_gradient",
    "edge_topology",
    "flexicubes",
    "hash_encode",
    "interpolate",
    "march",
    "marching_cubes",
    "marching_tetrahedra",
    "mixed_rays",
    "neus_alpha",
    "nmr_gradient",
    "occluded",
    "occupancy",
    "offset_origins",
    "opendr_gradient",
    "outlines",
    "peel",
    "project_gaussians",
    "rasterize",
    "redistance",
    "resample_rays",
    "sample_rays",
    "soft_attributes",
    "soft_colors",
    "soft_interpolate",
    "soft_rasterize",
    "soft_silhouette",
    "sphere_trace",
    "spheres",
    "spherical_harmonics",
    "splat",
    "splat_gradient",
    "surface_splats",
    "surfels",
    "texture",
    "texture_cube",
    "trace",
    "trace_grid",
    "trace_paths",
    "visibility",
    "volsdf_density",
]
