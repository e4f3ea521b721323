"""Functions on meshes and point clouds."""

from lumigrad.compat.pytorch3d.ops.ball_query import ball_query
from lumigrad.compat.pytorch3d.ops.interp_face_attrs import interpolate_face_attributes
from lumigrad.compat.pytorch3d.ops.knn import knn_gather, knn_points
from lumigrad.compat.pytorch3d.ops.laplacian_matrices import cot_laplacian, laplacian, norm_laplacian
from lumigrad.compat.pytorch3d.ops.mesh_face_areas_normals import mesh_face_areas_normals
from lumigrad.compat.pytorch3d.ops.packed_to_padded import packed_to_padded, padded_to_packed
from lumigrad.compat.pytorch3d.ops.points_normals import (
    estimate_pointcloud_local_coord_frames,
    estimate_pointcloud_normals,
)
from lumigrad.compat.pytorch3d.ops.points_to_volumes import (
    add_pointclouds_to_volumes,
    add_points_features_to_volume_densities_features,
)
from lumigrad.compat.pytorch3d.ops.sample_points_from_meshes import sample_points_from_meshes
from lumigrad.compat.pytorch3d.ops.subdivide_meshes import SubdivideMeshes
from lumigrad.compat.pytorch3d.ops.utils import (
    convert_pointclouds_to_tensor,
    eyes,
    get_point_covariances,
    is_pointclouds,
    masked_gather,
    wmean,
)

__all__ = [
    "SubdivideMeshes",
    "add_pointclouds_to_volumes",
    "add_points_features_to_volume_densities_features",
    "ball_query",
    "convert_pointclouds_to_tensor",
    "cot_laplacian",
    "estimate_pointcloud_local_coord_frames",
    "estimate_pointcloud_normals",
    "eyes",
    "get_point_covariances",
    "interpolate_face_attributes",
    "is_pointclouds",
    "knn_gather",
    "knn_points",
    "laplacian",
    "masked_gather",
    "mesh_face_areas_normals",
    "norm_laplacian",
    "packed_to_padded",
    "padded_to_packed",
    "sample_points_from_meshes",
    "wmean",
]
