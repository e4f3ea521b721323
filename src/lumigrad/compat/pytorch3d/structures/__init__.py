"""Batches of meshes, of point clouds and of volumes, and conversions between lists, packed and padded tensors."""

from lumigrad.compat.pytorch3d.structures.meshes import Meshes, join_meshes_as_batch, join_meshes_as_scene
from lumigrad.compat.pytorch3d.structures.pointclouds import (
    Pointclouds,
    join_pointclouds_as_batch,
    join_pointclouds_as_scene,
)
from lumigrad.compat.pytorch3d.structures.utils import (
    list_to_packed,
    list_to_padded,
    packed_to_list,
    padded_to_list,
    padded_to_packed,
)
from lumigrad.compat.pytorch3d.structures.volumes import VolumeLocator, Volumes

__all__ = [
    "Meshes",
    "Pointclouds",
    "VolumeLocator",
    "Volumes",
    "join_meshes_as_batch",
    "join_meshes_as_scene",
    "join_pointclouds_as_batch",
    "join_pointclouds_as_scene",
    "list_to_packed",
    "list_to_padded",
    "packed_to_list",
    "padded_to_list",
    "padded_to_packed",
]
