"""Frames of a model as seen by the cameras, without light."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.fit.capture.model import CaptureModel
from lumigrad.ops.surface import antialias, interpolate, rasterize
from lumigrad.ops.texture import build_mips, texture
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.types.shapes import Float, Int, Int32


def draw_frames(
    model: CaptureModel,
    positions: Float[Tensor, "views vertices 3"],
    camera: PerspectiveCamera,
    cameras: Int[Tensor, " views"],
    background: tuple[float, float, float],
    topology: Int32[Tensor, "faces 3"],
) -> Float[Tensor, "views height width channels"]:
    """Images of shapes in the model's texture, over a background, with the exposures of their cameras.

    Args:
        camera: all of the rig.
        cameras: the number of the camera that sees each shape.
        topology: `edge_topology` of the faces.
    """
    mesh = model.mesh
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    seen = camera[cameras]
    clip = seen.project(positions)
    frags = rasterize(clip, mesh.faces, seen.size, derivatives=True)
    uv, uv_d = interpolate(mesh.uvs, frags, mesh.uv_faces, derivatives=True)
    image = model.texture[None]
    color = texture(image, uv, uv_d, mips=build_mips(image))
    color = torch.where((frags.tri >= 0)[..., None], color, color.new_tensor(background))
    return model.exposed(antialias(color, frags, clip, mesh.faces, topology), cameras)
