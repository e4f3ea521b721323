"""The subjects of `lumigrad render`: meshes, points and Gaussians from files, and their extent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.errors import UserError
from lumigrad.cli.shared import read_mesh
from lumigrad.io.gaussians import READERS, load_gaussians
from lumigrad.io.mesh import READABLE
from lumigrad.io.points import load_points
from lumigrad.io.scene import named_lights
from lumigrad.scene.light.lights import Light, PointLight
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud

# The angle in degrees beyond which faces of files without normals have an edge between them.
_CREASE = 40.0
# Gaussians are framed up to this many times the distance from their median within which 90 % of them lie: those farther
# out are the blurred surroundings of what was photographed.
_CORE, _REACH = 0.9, 1.5
Shape = Mesh | PointCloud | GaussianCloud | SurfelCloud  # what files hold


@dataclass(frozen=True)
class Subject:
    """The contents of a file: a shape, and lights with their names."""

    path: Path
    shape: Shape
    lights: tuple[tuple[str, Light], ...] = ()

    def around(self, centre: Tensor) -> Subject:
        """The same with `centre` as the origin: coordinates far from the origin have few digits for what is seen."""
        name = "means" if isinstance(self.shape, (GaussianCloud, SurfelCloud)) else "positions"
        places: Tensor = getattr(self.shape, name)
        moved: dict[str, Any] = {name: (places.double() - centre).to(places)}
        lights = tuple((name, _moved(light, -centre)) for name, light in self.lights)
        return replace(self, shape=replace(self.shape, **moved), lights=lights)


def _moved(light: Light, by: Tensor) -> Light:
    return replace(light, position=light.position + by.to(light.position)) if isinstance(light, PointLight) else light


def read_subject(path: Path, texture: Path | None, crease: float | None, double_sided: bool) -> Subject:
    """Read a file according to its contents.

    Args:
        texture: an image in place of the mesh's own.
        crease: angle at which faces have an edge between them; None for the normals of the file, where it has some.
        double_sided: draw all faces from both sides.
    """
    kind = _kind(path)
    if kind == "mesh":
        mesh = read_mesh(path, texture, materials=True)
        if crease is not None or mesh.normals is None:
            mesh = mesh.creased(_CREASE if crease is None else crease)
        return Subject(path, _two_sided(mesh) if double_sided else mesh, _lights(path))
    if texture is not None:
        raise UserError(f"--texture: {path} holds {kind}, no mesh")
    try:
        return Subject(path, _shown(load_points(path)) if kind == "points" else load_gaussians(path))
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _lights(path: Path) -> tuple[tuple[str, Light], ...]:
    try:
        return tuple(named_lights(path))
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _kind(path: Path) -> str:
    """ "mesh", "points" or "Gaussians"; of a PLY file by its header."""
    suffix = path.suffix.lower()
    if suffix not in (*READABLE, *READERS):
        raise UserError(f"cannot read {path}: expected one of {', '.join(dict.fromkeys((*READABLE, *READERS)))}")
    if suffix in (".splat", ".spz"):
        return "Gaussians"
    if suffix != ".ply" or not path.is_file():
        return "mesh"
    with path.open("rb") as file:
        header = file.read(1 << 16).partition(b"end_header")[0].decode("ascii", "replace")
    lines = [line.split() for line in header.splitlines()]
    properties = {line[-1] for line in lines if line[:1] == ["property"]}
    if properties & {"f_dc_0", "packed_position"}:
        return "Gaussians"
    faces = [line for line in lines if line[:1] == ["element"] and line[1] in ("face", "tristrips") and line[-1] != "0"]
    return "mesh" if faces else "points"


def _shown(cloud: PointCloud) -> PointCloud:
    """The points with three channels of colour; their alpha is an opacity."""
    if cloud.colors is None or cloud.colors.shape[1] == 3:
        return cloud
    alpha = cloud.colors[:, 3] if cloud.opacities is None else cloud.opacities
    return replace(cloud, colors=cloud.colors[:, :3].contiguous(), opacities=alpha.contiguous())


def _two_sided(mesh: Mesh) -> Mesh:
    return replace(mesh, materials=tuple(replace(material, double_sided=True) for material in mesh.materials))


@dataclass(frozen=True)
class Ball:
    """A ball that contains everything to be shown."""

    centre: Tensor
    radius: float


def ball_of(subjects: Sequence[Subject]) -> Ball:
    """The ball around everything in the files."""
    names = ", ".join(str(subject.path) for subject in subjects)
    try:
        points = torch.cat([_points(subject.shape) for subject in subjects]).double()
    except ValueError as error:
        raise UserError(f"{names}: {error}") from error
    centre = 0.5 * (points.amin(0) + points.amax(0))
    radius = float((points - centre).norm(dim=-1).max())
    if not (math.isfinite(radius) and radius > 0):
        raise UserError(f"{names} has no extent, or positions that are not finite")
    return Ball(centre, radius)


def _points(shape: Shape) -> Tensor:
    """Points [P, 3] that are to be in the picture."""
    points = shape.positions[shape.faces.reshape(-1).long()] if isinstance(shape, Mesh) else shape.centers
    points = points[points.isfinite().all(-1)]
    if not len(points):
        raise ValueError("it holds no points with finite positions")
    if isinstance(shape, (Mesh, PointCloud)):
        return points
    apart = (points - points.median(dim=0).values).norm(dim=-1)
    core = torch.quantile(apart[:: max(1, len(apart) // 100_000)], _CORE)
    return points[apart <= _REACH * core]
