"""Light on surfaces: (ambient + diffuse) times texture, plus specular."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.ops.interp_face_attrs import interpolate_face_attributes, mix, present_faces, spread
from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase
from lumigrad.compat.pytorch3d.renderer.lighting import per_point
from lumigrad.compat.pytorch3d.renderer.materials import Materials
from lumigrad.compat.pytorch3d.renderer.mesh.rasterizer import Fragments
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


def _light(
    points: Tensor, normals: Tensor, owner: Tensor, lights: Any, cameras: CamerasBase, materials: Materials
) -> tuple[Tensor, Tensor]:
    """Light that the texture is multiplied with, and light that is added, at points [P, 3] of meshes `owner` [P]."""

    def rows(value: Tensor) -> Tensor:
        return value if len(value) == 1 else value[owner]

    lights, materials = (thing if len(thing) == 1 else thing.mapped(rows) for thing in (lights, materials))
    # To lights, each point is a mesh of its own.
    points, normals = points[:, None], normals[:, None]
    ambient = per_point(materials.ambient_color, points) * per_point(lights.ambient_color, points)
    diffuse = per_point(materials.diffuse_color, points) * lights.diffuse(normals, points)
    specular = lights.specular(normals, points, rows(cameras.get_camera_center().to(points)), materials.shininess)
    return (ambient + diffuse)[:, 0], (per_point(materials.specular_color, points) * specular)[:, 0]


def _lit(
    corners: Tensor, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Colours [N, H, W, K, C] of fragments from places and normals at the corners of faces [F, 3, 6]."""
    present, faces = present_faces(fragments.pix_to_face)
    weights = fragments.bary_coords.reshape(-1, 3).index_select(0, present)
    points, normals = mix(weights, corners, faces).split(3, 1)
    owner = present.div(math.prod(fragments.pix_to_face.shape[1:]), rounding_mode="floor")
    times, plus = _light(points, normals, owner, lights, cameras, materials)
    texels = texels.reshape(-1, texels.shape[-1]).index_select(0, present)
    return spread(times * texels + plus, present, fragments.pix_to_face)


def phong_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at every fragment with interpolated normals, [N, H, W, K, 3]; zero where there is no face."""
    corners = torch.cat((meshes.verts_packed(), meshes.verts_normals_packed()), 1)[meshes.faces_packed()]
    return _lit(corners, fragments, lights, cameras, materials, texels)


def flat_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> Tensor:
    """Lit at the middle of every face with its own normal, [N, H, W, K, 3]; zero where there is no face."""
    middles = meshes.verts_packed()[meshes.faces_packed()].mean(1)
    light = _light(
        middles, meshes.faces_normals_packed(), meshes.faces_packed_to_mesh_idx(), lights, cameras, materials
    )
    present, faces = present_faces(fragments.pix_to_face)
    times, plus = (value.expand(len(middles), -1).index_select(0, faces) for value in light)
    texels = texels.reshape(-1, texels.shape[-1]).index_select(0, present)
    return spread(times * texels + plus, present, fragments.pix_to_face)


def gouraud_shading(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials
) -> Tensor:
    """Lit at the vertices, whose colours are interpolated, [N, H, W, K, 3]; zero where there is no face.

    Raises:
        ValueError: textures other than of vertices.
    """
    if not hasattr(meshes.textures, "verts_features_packed"):
        raise ValueError(
            "Mesh textures must be an instance of TexturesVertex for Gouraud shading, got "
            f"{type(meshes.textures).__name__}"
        )
    owner = meshes.verts_packed_to_mesh_idx()
    times, plus = _light(meshes.verts_packed(), meshes.verts_normals_packed(), owner, lights, cameras, materials)
    colors = times * meshes.textures.verts_features_packed() + plus
    corners = colors[meshes.faces_packed()]
    return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)


def _phong_shading_with_pixels(
    meshes: Meshes, fragments: Fragments, lights: Any, cameras: CamerasBase, materials: Materials, texels: Tensor
) -> tuple[Tensor, Tensor]:
    """`phong_shading`, and the places [N, H, W, K, 3] of the fragments in the world."""
    corners = meshes.verts_packed()[meshes.faces_packed()]
    places = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)
    return phong_shading(meshes, fragments, lights, cameras, materials, texels), places
