"""Losses: regularisers of meshes, each mesh's mean averaged over the batch, and distances of point clouds."""

from lumigrad.compat.pytorch3d.loss.chamfer import chamfer_distance
from lumigrad.compat.pytorch3d.loss.mesh_edge_loss import mesh_edge_loss
from lumigrad.compat.pytorch3d.loss.mesh_laplacian_smoothing import mesh_laplacian_smoothing
from lumigrad.compat.pytorch3d.loss.mesh_normal_consistency import mesh_normal_consistency
from lumigrad.compat.pytorch3d.loss.point_mesh_distance import point_mesh_edge_distance, point_mesh_face_distance

__all__ = [
    "chamfer_distance",
    "mesh_edge_loss",
    "mesh_laplacian_smoothing",
    "mesh_normal_consistency",
    "point_mesh_edge_distance",
    "point_mesh_face_distance",
]
