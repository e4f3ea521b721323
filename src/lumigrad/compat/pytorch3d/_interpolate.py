"""Values at fragments from those at the corners of faces."""

from __future__ import annotations

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
        raise ValueError(f"face_attributes: expected shape [F, 3, D], got {tuple(face_attributes.shape)}")
    if barycentric_coords.shape != (*pix_to_face.shape, 3):
        expected = (*pix_to_face.shape, 3)
        raise ValueError(f"barycentric_coords: expected shape {expected}, got {tuple(barycentric_coords.shape)}")
    # Most of many faces per pixel are pads: only the others are looked up.
    present = (pix_to_face >= 0).nonzero(as_tuple=True)
    corners = face_attributes[pix_to_face[present]]
    values = (barycentric_coords[present][..., None] * corners).sum(1)
    return values.new_zeros((*pix_to_face.shape, values.shape[-1])).index_put(present, values)
