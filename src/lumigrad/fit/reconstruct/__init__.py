"""Textured meshes from photographs."""

from __future__ import annotations

from lumigrad.fit.reconstruct.atlas import Atlas, unwrap
from lumigrad.fit.reconstruct.components import without_crumbs
from lumigrad.fit.reconstruct.fusion import Fused, fuse_depths, fused_surface
from lumigrad.fit.reconstruct.job import ReconstructJob, ReconstructOptions
from lumigrad.fit.reconstruct.loop import refine
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.projection import project_colors, project_texture
from lumigrad.fit.reconstruct.resolution import texture_size
from lumigrad.fit.reconstruct.scene import SceneSchedule, SceneState, first_surface, fit_scene
from lumigrad.fit.reconstruct.scene_job import SceneJob
from lumigrad.fit.reconstruct.schedule import Schedule, Stage, object_stages, scene_stages, texture_stages
from lumigrad.fit.reconstruct.space import Contracted
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.fit.reconstruct.sweep import Swept, mesh_depths, sweep_depths
from lumigrad.fit.reconstruct.truth import surface_errors
from lumigrad.fit.reconstruct.visible import seen_faces

__all__ = [
    "Atlas",
    "Contracted",
    "Fused",
    "PhotoSet",
    "Placement",
    "ReconstructJob",
    "ReconstructOptions",
    "ReconstructState",
    "SceneJob",
    "SceneSchedule",
    "SceneState",
    "Schedule",
    "Stage",
    "Swept",
    "first_surface",
    "fit_scene",
    "fuse_depths",
    "fused_surface",
    "mesh_depths",
    "object_stages",
    "project_colors",
    "project_texture",
    "refine",
    "scene_stages",
    "seen_faces",
    "surface_errors",
    "sweep_depths",
    "texture_size",
    "texture_stages",
    "unwrap",
    "without_crumbs",
]
