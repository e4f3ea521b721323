"""A known mesh and photographs of it, both in the space of the fit and checked against each other."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch

from lumigrad.fit.photos import Photo
from lumigrad.fit.photos.job import load_split
from lumigrad.fit.reconstruct.conventions import reread
from lumigrad.fit.reconstruct.hull import agreement
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.shapes.mesh import Mesh

# A mesh that fills less than this of the masks (or than the second number, of photographs without masks) is in the
# wrong place.
_SAME_PLACE, _SEEN = 0.3, 0.002


class Reading(Protocol):
    """The options for reading photographs and their cameras."""

    @property
    def reduce(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...
    @property
    def axes(self) -> str: ...
    @property
    def poses(self) -> str: ...


class KnownMesh(NamedTuple):
    """A mesh in the ball of radius one, and photographs of it.

    Attributes:
        mesh: with its texture coordinates, if it has any.
        photos: to fit, in the space of the mesh.
        held_out: as they are in the world.
        place: where the ball is in the world.
        settings: of the fit, see `lumigrad.fit.photos.job.load_split`.
    """

    mesh: Mesh
    photos: PhotoSet
    held_out: list[Photo]
    place: Placement
    settings: dict[str, Any]


def load(data: PosedPhotos, options: Reading, device: torch.device) -> tuple[PhotoSet, list[Photo], dict[str, Any]]:
    """Photographs to fit, those held out, and the settings of the fit."""
    photos, held_out, settings = load_split(reread(data, options.axes, options.poses), options, device)
    return PhotoSet.of(photos), held_out, settings


def place_mesh(mesh: Mesh, data: PosedPhotos, options: Reading, device: torch.device) -> KnownMesh:
    """Load photographs, and move the mesh and them to where it fills the ball of radius one.

    Args:
        device: where the fit is to run; what is returned is on the CPU.

    Raises:
        FileNotFoundError, ValueError: see `PosedPhotos.split` and `load_photos`; the mesh has no extent, or lies where
            the photographs do not show it; or its texture coordinates are not in [0, 1].
    """
    photos, held_out, settings = load(data, options, device)
    if not len(mesh.faces):
        raise ValueError("mesh: expected at least one face, got none")
    place = Placement.around(*mesh.bounds())
    if not 0 < place.scale < float("inf"):
        raise ValueError("mesh: it has no extent, or positions that are not finite")
    photos = photos.with_camera(place.camera(photos.camera))
    if mesh.uvs is not None and bool((mesh.uvs - 0.5).abs().max() > 0.5 + 1e-4):
        raise ValueError("mesh: expected texture coordinates in [0, 1]; others would repeat the texture")
    placed = Mesh(place.inward(mesh.positions.float()), mesh.faces, mesh.uvs, mesh.uv_faces)
    _check_place(placed, photos)
    return KnownMesh(placed, photos, held_out, place, settings)


def _check_place(mesh: Mesh, photos: PhotoSet) -> None:
    """Raise ValueError if photographs do not show a mesh."""
    inside = torch.zeros(len(photos))
    for n in range(len(photos)):
        camera = photos.camera[n : n + 1]
        pixels, depth = camera.pixels(mesh.positions)[0], camera.depth(mesh.positions)[0]
        height, width = photos.size
        there = (depth > 0) & (pixels >= 0).all(-1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        inside[n] = there.float().mean()
    if float(inside.max()) < _SEEN:
        raise ValueError("mesh: no photograph shows it; expected it in the coordinates of the cameras (see --axes)")
    if photos.alpha is not None and agreement(mesh, photos) < _SAME_PLACE:
        share = 100 * agreement(mesh, photos)
        raise ValueError(
            f"mesh: it fills {share:.0f} % of the masks; expected it in the coordinates of the cameras (see --axes)"
        )
