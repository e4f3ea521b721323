"""Previews of a reconstruction while it runs."""

from __future__ import annotations

from torch import Tensor

from lumigrad.fit.mesh.report import detached
from lumigrad.fit.preview import Preview, frozen
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.state import ReconstructState
from lumigrad.scene.cameras.camera import PerspectiveCamera


def preview_of_mesh(state: ReconstructState, photos: PhotoSet, background: Tensor | None = None) -> Preview:
    """The mesh in its own colours, over a colour [3] or black."""
    drawer = Drawer(frozen(detached(state.mesh())), background)

    def draw(camera: PerspectiveCamera) -> Tensor:
        return drawer(camera).color

    return Preview.of_ball(draw, photos.camera, photos.images)
