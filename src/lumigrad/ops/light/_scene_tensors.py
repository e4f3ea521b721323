"""The tensors of a scene, in the order in which path tracing ops declare them, and the sizes given by their shapes."""

from __future__ import annotations

from torch import Tensor

SCENE_TENSORS = (
    "Tensor positions, Tensor tri, Tensor? corner_normals, Tensor? corner_uvs, Tensor? corner_second_uvs, "
    "Tensor? corner_colors, Tensor? corner_tangents, Tensor face_materials, Tensor materials, Tensor kinds, "
    "Tensor? alpha_modes, Tensor texels, Tensor textures, Tensor? lamps, Tensor? lamp_intensities, "
    "Tensor? lamp_kinds, Tensor emitter_faces, Tensor emitter_sums, Tensor face_emitters, Tensor? environment, "
    "Tensor? environment_rotation, Tensor? row_sums, Tensor? texel_sums, Tensor? media, Tensor? medium_grids, "
    "Tensor? medium_values, Tensor? medium_places, Tensor? medium_faces, Tensor boxes, Tensor children, "
    "Tensor corners, Tensor leaf_tri, Tensor bounds"
)
SCENE_SIZES = (
    "vertices triangles material_count texture_count texel_count lamp_count emitter_count side "
    "medium_count medium_value_count nodes leaves"
)
IMAGE_SIZES = f"{SCENE_SIZES} height width"


def scene_sizes(
    positions: Tensor, tri: Tensor, materials: Tensor, texels: Tensor, textures: Tensor, lamps: Tensor | None,
    emitter_faces: Tensor, environment: Tensor | None, media: Tensor | None, medium_values: Tensor | None,
    boxes: Tensor, leaf_tri: Tensor,
) -> tuple[int, ...]:  # fmt: skip
    return (
        positions.shape[0], tri.shape[0], materials.shape[0], textures.shape[0], texels.shape[0],
        0 if lamps is None else lamps.shape[0], emitter_faces.shape[0],
        0 if environment is None else environment.shape[1], 0 if media is None else media.shape[0],
        0 if medium_values is None else medium_values.shape[0], boxes.shape[0], leaf_tri.shape[0],
    )  # fmt: skip


def image_sizes(
    positions: Tensor, tri: Tensor, materials: Tensor, texels: Tensor, textures: Tensor, lamps: Tensor | None,
    emitter_faces: Tensor, environment: Tensor | None, media: Tensor | None, medium_values: Tensor | None,
    boxes: Tensor, leaf_tri: Tensor, directions: Tensor,
) -> tuple[int, ...]:  # fmt: skip
    """The same, together with the sizes of the image, from rays through the corners of its pixels."""
    scene = scene_sizes(
        positions, tri, materials, texels, textures, lamps, emitter_faces, environment, media, medium_values,
        boxes, leaf_tri,
    )  # fmt: skip
    return (*scene, directions.shape[0] - 1, directions.shape[1] - 1)
