"""Errors of materials relative to those of a known mesh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.render.mesh import render_mesh
from lumigrad.render.scene import render
from lumigrad.render.shading import pbr_terms
from lumigrad.render.surface import Surface
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera
from lumigrad.scene.color import srgb_encode
from lumigrad.scene.light.lights import Light
from lumigrad.scene.materials import PBRMaterial
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh


def material_channels(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
    """A shader: linear base colour, roughness, metallic, and normals in world space [P, 8]."""
    terms = pbr_terms(surface)
    return torch.cat((terms.base_color, terms.roughness, terms.metallic, surface.normal), -1)


@torch.no_grad()
def material_image(mesh: Mesh, camera: PerspectiveCamera) -> tuple[Tensor, Tensor]:
    """The image [N, H, W, 8] of a surface's materials, and coverage [N, H, W, 1].

    Channels are linear base colour (3), roughness, metallic, and normals in world space, bent by the normal map (3).
    """
    shot = render(Scene(mesh), camera, shading=material_channels, lights=(), tone_mapping=None, buffers=False)
    return shot.color, shot.mask


@torch.no_grad()
def check_same_place(mesh: Mesh, truth: Mesh, cameras: Iterable[PerspectiveCamera]) -> None:
    """Raise ValueError if no camera [1] sees both a mesh and the one that it is to be measured against."""
    for camera in cameras:
        mask, there = (render_mesh(Mesh(one.positions, one.faces), camera).mask for one in (mesh, truth))
        if bool(((mask > 0.99) & (there > 0.99)).any()):
            return
    raise ValueError("truth: no photograph that is held out shows it and the mesh; expected it where the mesh is")


@torch.no_grad()
def material_errors(mesh: Mesh, truth: Mesh, cameras: Sequence[PerspectiveCamera]) -> dict[str, float]:
    """Mean errors over the pixels in which cameras [1] see both surfaces.

    Returns:
        base_color_error: mean absolute difference of display-encoded base colours.
        base_color_gain_error: the same after one gain of each channel (of linear light) for all cameras: photographs
            alone do not tell how much of their brightness and tint is light.
        base_color_gain: the mean of these gains.
        roughness_error, metallic_error: mean absolute differences.
        normal_error_deg, flat_normal_error_deg: mean angles in degrees between shading normals; the latter without the
            mesh's normal map, which has to be below it for the map to be of use.

    >>> from dataclasses import replace
    >>> from lumigrad.fit.materials import material_errors
    >>> from lumigrad.scene import PBRMaterial, PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit([0.0], 0.0, 4.0, fov_y=40.0, size=(32, 32))
    >>> ball, other = (replace(icosphere(2), materials=(PBRMaterial(roughness=r),)) for r in (0.25, 0.5))
    >>> found = material_errors(ball, other, [camera])
    >>> round(found["roughness_error"], 3), round(found["base_color_error"], 3)
    (0.25, 0.0)
    """
    flat = replace(mesh, materials=(PBRMaterial(),), face_materials=None)
    ours, theirs, smooth = [], [], []
    for camera in cameras:
        (found, mask), (right, there) = material_image(mesh, camera), material_image(truth, camera)
        both = ((mask > 0.99) & (there > 0.99))[..., 0]
        ours.append(found[both])
        theirs.append(right[both])
        smooth.append(material_image(flat, camera)[0][both])
    found, right, unbent = torch.cat(ours), torch.cat(theirs), torch.cat(smooth)
    color, true_color = found[:, :3], right[:, :3]
    gains = (color * true_color).sum(0) / color.square().sum(0).clamp_min(1e-12)
    return {
        "base_color_error": _encoded_error(color, true_color),
        "base_color_gain_error": _encoded_error(color * gains, true_color),
        "base_color_gain": float(gains.mean()),
        "roughness_error": float((found[:, 3] - right[:, 3]).abs().mean()),
        "metallic_error": float((found[:, 4] - right[:, 4]).abs().mean()),
        "normal_error_deg": _angle(found[:, 5:], right[:, 5:]),
        "flat_normal_error_deg": _angle(unbent[:, 5:], right[:, 5:]),
    }


def _encoded_error(color: Tensor, truth: Tensor) -> float:
    return float((srgb_encode(color.clamp(0, 1)) - srgb_encode(truth.clamp(0, 1))).abs().mean())


def _angle(normals: Tensor, truth: Tensor) -> float:
    """Mean, in degrees."""
    angle = torch.atan2(torch.linalg.cross(normals, truth).norm(dim=-1), (normals * truth).sum(-1))
    return float(torch.rad2deg(angle).mean())
