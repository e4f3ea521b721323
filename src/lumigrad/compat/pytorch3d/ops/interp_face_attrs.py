"""Values at fragments from those at the corners of faces."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate_face_attributes(pix_to_face: Tensor, barycentric_coords: Tensor, face_attributes: Tensor) -> Tensor:
    """Corner values mixed by the weights of each fragment.

    Args:
        pix_to_face: [N, H, W, K], packed faces, -1 where there is none.
        barycentric_coords: [N, H, W, K, 3].
        face_attributes: [F, 3, D].

    Returns:
        [N, H, W, K, D], zero where there is no face.

    Raises:
        ValueError: shapes that do not fit.
    """
    if face_attributes.ndim != 3 or face_attributes.shape[1] != 3:
        raise ValueError(
            f"Faces can only have three vertices: expected shape [F, 3, D], got {tuple(face_attributes.shape)}"
        )
    if barycentric_coords.shape != (*pix_to_face.shape, 3):
        expected = (*pix_to_face.shape, 3)
        raise ValueError(
            "pix_to_face must have shape (batch_size, H, W, K): barycentric_coords: expected shape "
            f"{expected}, got {tuple(barycentric_coords.shape)}"
        )
    # Most of many faces per pixel are pads: only the others are looked up.
    present, faces = present_faces(pix_to_face)
    weights = barycentric_coords.reshape(-1, 3).index_select(0, present)
    return spread(mix(weights, face_attributes, faces), present, pix_to_face)


def present_faces(pix_to_face: Tensor) -> tuple[Tensor, Tensor]:
    """Which fragments have a face, counted through all images [P], and the face of each [P]."""
    flat = pix_to_face.reshape(-1)
    present = (flat >= 0).nonzero()[:, 0]
    return present, flat[present]


def mix(weights: Tensor, face_attributes: Tensor, faces: Tensor) -> Tensor:
    """Corner values [F, 3, D] of faces [P], by weights [P, 3]: [P, D]."""
    return (weights[..., None] * face_attributes.index_select(0, faces)).sum(1)


def spread(values: Tensor, present: Tensor, pix_to_face: Tensor) -> Tensor:
    """Values [P, D] at the fragments that have a face, zero at the others: [N, H, W, K, D]."""
    out = values.new_zeros((pix_to_face.numel(), values.shape[1]))
    return out.index_copy(0, present, values).reshape(*pix_to_face.shape, values.shape[1])


def interpolate_face_attributes_python(
    pix_to_face: Tensor, barycentric_coords: Tensor, face_attributes: Tensor
) -> Tensor:
    """`interpolate_face_attributes` without lists of the fragments that have a face."""
    corners = face_attributes[pix_to_face.clamp(min=0)]
    mixed = (barycentric_coords[..., None] * corners).sum(-2)
    return torch.where(pix_to_face[..., None] < 0, torch.zeros_like(mixed), mixed)
