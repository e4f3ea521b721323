"""PyTorch3D's textures: colours of vertices, images on texture coordinates, small images of faces."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lumigrad.compat.pytorch3d.renderer.mesh._textures_atlas import TexturesAtlas
from lumigrad.compat.pytorch3d.renderer.mesh._textures_base import TexturesBase
from lumigrad.compat.pytorch3d.renderer.mesh._textures_uv import TexturesUV
from lumigrad.compat.pytorch3d.renderer.mesh._textures_vertex import TexturesVertex
from lumigrad.compat.pytorch3d.structures._rows import Rows

__all__ = ["Textures", "TexturesAtlas", "TexturesBase", "TexturesUV", "TexturesVertex"]


def Textures(maps: Any = None, faces_uvs: Any = None, verts_uvs: Any = None, verts_rgb: Any = None) -> TexturesBase:
    """The old name of `TexturesUV` and `TexturesVertex`.

    Raises:
        ValueError: neither all of an image's parts nor colours of vertices.
    """
    warnings.warn(
        "Textures class is deprecated, use TexturesUV, TexturesAtlas, TexturesVertex instead.",
        PendingDeprecationWarning,
        stacklevel=2,
    )
    if maps is not None and faces_uvs is not None and verts_uvs is not None:
        return TexturesUV(maps, faces_uvs, verts_uvs)
    if verts_rgb is not None:
        return TexturesVertex(verts_rgb)
    raise ValueError("Textures either requires all three of (faces uvs, verts uvs, maps) or verts rgb")


def _list_to_padded_wrapper(x: Sequence[Tensor], pad_value: float = 0.0) -> Tensor:
    """[N, most rows, ...] of tensors [R_n, ...]."""
    return Rows(x, fill=pad_value).padded()
