"""Lights from files, adjusted for a picture."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.cli.subjects import Subject
from lumigrad.scene.light.lights import Light, PunctualLight
from lumigrad.scene.shapes.mesh import Mesh

_SAMPLES = 20_000  # number of faces at which the light is measured
_DARKEST, _BRIGHTEST = 1 / 16, 4.0  # brightness of a white surface outside of which lights are dimmed or strengthened


def file_lights(subjects: Sequence[Subject], shading: str, as_they_are: bool) -> tuple[Light, ...]:
    """The lights of files that are shown together, for a shading; none if it needs none.

    Files hold lux and candela, which some programs mean and others do not. If white surfaces would be overexposed or
    nearly black, all lights are dimmed or strengthened by one factor, which a warning states.

    Args:
        as_they_are: leave them alone.
    """
    names = ", ".join(name for subject in subjects for name, _ in subject.lights)
    if not names or shading in ("unlit", "normals", "depth", "ids"):
        return ()
    paths = ", ".join(str(subject.path) for subject in subjects if subject.lights)
    if shading == "diffuse":
        warnings.warn(f"{paths}: --shading diffuse does not use the lights of the file ({names})", stacklevel=2)
        return ()
    lights = [light for subject in subjects for _, light in subject.lights]
    white = _brightness(subjects, lights) / (math.pi if shading == "pbr" else 1)
    if as_they_are or not white > 0 or _DARKEST <= white <= _BRIGHTEST:
        return tuple(lights)
    hint = "; --exposure 0 shows them as they are" if shading == "pbr" else ""
    warnings.warn(f"{paths}: the lights of the file ({names}) are multiplied with {1 / white:.3g}{hint}", stacklevel=2)
    return tuple(_dimmed(light, 1 / white) for light in lights)


def _dimmed(light: Light, factor: float) -> Light:
    assert isinstance(light, PunctualLight)
    changed: dict[str, Any] = {"intensity": light.intensity * factor}
    return replace(light, **changed)


def _brightness(subjects: Sequence[Subject], lights: Sequence[Light]) -> float:
    """The irradiance that a quarter of the lit surface exceeds: small bright spots do not count."""
    meshes = [subject.shape for subject in subjects if isinstance(subject.shape, Mesh)]
    found = [_irradiance(mesh, lights) for mesh in meshes]
    if not found:
        return 0.0
    values, areas = (torch.cat(parts) for parts in zip(*found))
    values, order = values.where(areas > 0, values.new_zeros(())).sort()
    share = (areas[order] * (values > 0)).double().cumsum(0)
    return float(values[torch.searchsorted(share, 0.75 * share[-1:]).clamp_max(len(values) - 1)])


def _irradiance(mesh: Mesh, lights: Sequence[Light]) -> tuple[Tensor, Tensor]:
    """The largest channel of the light that falls on the middle of some of the faces, from either side; their areas."""
    corners = mesh.positions[mesh.faces[:: max(1, len(mesh.faces) // _SAMPLES)]]
    normals = torch.nan_to_num(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    areas = normals.norm(dim=-1)
    normals = torch.nn.functional.normalize(normals, dim=-1, eps=1e-30)
    total = torch.zeros_like(normals)
    for light in lights:
        if isinstance(light, PunctualLight):
            towards, radiance = light.radiance(corners.mean(1))
            total += radiance * (normals * towards).sum(-1, keepdim=True).abs()
    return torch.nan_to_num(total).amax(-1), areas
