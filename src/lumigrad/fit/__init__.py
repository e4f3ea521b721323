"""Recovering scenes from images: parameterisations, losses, optimisers, metrics, checkpoints, and whole jobs.

The jobs are `lumigrad.fit.mesh` (a mesh and its texture from renders), `lumigrad.fit.reconstruct` (the same from
photographs), `lumigrad.fit.pose` (where a known mesh is in a photograph), `lumigrad.fit.splats` (Gaussians or spheres),
`lumigrad.fit.fields` (fields of density and colour), `lumigrad.fit.silhouettes` (a closed surface from masks),
`lumigrad.fit.materials` (materials and light of a known mesh) and `lumigrad.fit.capture` (a face over time from several
cameras). All but `mesh` and `pose` share `lumigrad.fit.photos`.
"""

from __future__ import annotations

from lumigrad.fit._laplacian import LargeSteps, laplacian, laplacian_energy, unique_edges
from lumigrad.fit._remesh import remesh
from lumigrad.fit.atlas import bake, make_atlas
from lumigrad.fit.cameras import CameraRefinement
from lumigrad.fit.checkpoints import CheckpointError, Checkpoints, run_with_checkpoints
from lumigrad.fit.factorized import FactorizedGrid
from lumigrad.fit.implicit import curvature_loss, eikonal_loss, grid_gradients
from lumigrad.fit.interruption import Interruption
from lumigrad.fit.job import Job
from lumigrad.fit.mesh import (
    FitState,
    MeshJob,
    MeshOptions,
    Stage,
    Views,
    default_stages,
    fibonacci_cameras,
    fit,
    render_views,
)
from lumigrad.fit.metrics import chamfer_distance, psnr, ssim, write_metrics
from lumigrad.fit.normals import normal_consistency, normals_from_depth
from lumigrad.fit.occupancy import OccupancyGrid
from lumigrad.fit.optim import AdamUniform
from lumigrad.fit.pose import PoseEstimate, PoseWarning, fit_pose, fit_poses, track_pose
from lumigrad.fit.sdf import SDFStage, default_sdf_stages, fit_sdf, largest_piece, visual_hull
from lumigrad.fit.template import (
    ArapEnergy,
    Landmarks,
    TemplateFit,
    adjacent_faces,
    barycentric_points,
    bending_loss,
    blend_shapes,
    cotangent_weights,
    edge_length_loss,
    edge_lengths,
    fit_template,
    mean_value_coordinates,
    mirror_vertices,
    skin,
    symmetry_loss,
)

__all__ = [
    "AdamUniform",
    "ArapEnergy",
    "CameraRefinement",
    "CheckpointError",
    "Checkpoints",
    "FactorizedGrid",
    "FitState",
    "Interruption",
    "Job",
    "Landmarks",
    "LargeSteps",
    "MeshJob",
    "MeshOptions",
    "OccupancyGrid",
    "PoseEstimate",
    "PoseWarning",
    "SDFStage",
    "Stage",
    "TemplateFit",
    "Views",
    "adjacent_faces",
    "bake",
    "barycentric_points",
    "bending_loss",
    "blend_shapes",
    "chamfer_distance",
    "cotangent_weights",
    "curvature_loss",
    "default_sdf_stages",
    "default_stages",
    "edge_length_loss",
    "edge_lengths",
    "eikonal_loss",
    "fibonacci_cameras",
    "fit",
    "fit_pose",
    "fit_poses",
    "fit_sdf",
    "fit_template",
    "grid_gradients",
    "laplacian",
    "laplacian_energy",
    "largest_piece",
    "make_atlas",
    "mean_value_coordinates",
    "mirror_vertices",
    "normal_consistency",
    "normals_from_depth",
    "psnr",
    "remesh",
    "render_views",
    "run_with_checkpoints",
    "skin",
    "ssim",
    "symmetry_loss",
    "track_pose",
    "unique_edges",
    "visual_hull",
    "write_metrics",
]
