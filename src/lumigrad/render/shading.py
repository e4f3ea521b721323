"""Shaders: functions from points on surfaces to colours.

A shader is any `shader(surface, lights, camera) -> [P, C]` with `surface` a `Surface` of P points, `lights` a sequence
of `Light` and `camera` the single camera that looks. Give your own to `render(shading=...)`.

`pbr` works in linear light; `render` encodes its images for display. The others work on display-encoded colours as
they are, like `render_mesh`. Every shader takes every material: what a material does not say follows from what it
says, by the formulas of `pbr_terms` and `phong_terms`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.render.brdf import MIN_ROUGHNESS, metallic_roughness, reflectance_at_normal, white_reflection
from lumigrad.render.color import srgb_decode, srgb_encode
from lumigrad.render.surface import Surface
from lumigrad.scene._vectors import dot
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, PunctualLight, SurroundingLight
from lumigrad.scene.materials import PBRMaterial, PhongMaterial
from lumigrad.scene.physical_materials import (
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    PlasticMaterial,
)
from lumigrad.types.shapes import Float
from lumigrad.types.validation import values_can_be_checked

Shader = Callable[[Surface, Sequence[Light], Camera], Tensor]


# ---- Parameters of materials ---------------------------------------------------------------------------------------


class PBRTerms(NamedTuple):
    """Linear base colour [P, 3], metallic, roughness, occlusion [P, 1], linear emitted light [P, 3]."""

    base_color: Float[Tensor, "points 3"]
    metallic: Float[Tensor, "points 1"]
    roughness: Float[Tensor, "points 1"]
    occlusion: Float[Tensor, "points 1"]
    emissive: Float[Tensor, "points 3"]


class PhongTerms(NamedTuple):
    """Ambient, diffuse and specular reflection [P, 3], shininess [P, 1], emitted light [P, 3]; display-encoded."""

    ambient: Float[Tensor, "points 3"]
    diffuse: Float[Tensor, "points 3"]
    specular: Float[Tensor, "points 3"]
    shininess: Float[Tensor, "points 1"]
    emissive: Float[Tensor, "points 3"]


def pbr_terms(surface: Surface) -> PBRTerms:
    """The metallic-roughness parameters at the points.

    A `PhongMaterial` has its diffuse colour as base colour, is no metal, and roughness^4 = 2 / (shininess + 2), which
    makes the widths of the two highlights agree (Walter et al. 2007).
    """
    material, like = surface.material, surface.position
    one = like.new_ones(()).expand(*like.shape[:-1], 1)
    if isinstance(material, PhongMaterial):
        phong = phong_terms(surface)
        roughness = (2 / (phong.shininess.clamp_min(0) + 2)) ** 0.25
        return PBRTerms(srgb_decode(phong.diffuse), 0 * one, roughness, one, srgb_decode(phong.emissive))
    if isinstance(material, (DiffuseMaterial, ConductorMaterial, DielectricMaterial, PlasticMaterial)):
        return _physical_terms(surface, material)
    if not isinstance(material, PBRMaterial):
        return PBRTerms(_tinted(surface, one.expand_as(like), True), 0 * one, 0.5 * one, one, torch.zeros_like(like))
    base = material.base_color[:3].to(like).expand_as(like)
    if (texel := surface.texel("base_color_texture", linear=True)) is not None:
        base = base * texel[..., :3]
    metallic, roughness = material.metallic * one, material.roughness * one
    if (texel := surface.texel("metallic_roughness_texture")) is not None:
        metallic, roughness = metallic * texel[..., 2:3], roughness * texel[..., 1:2]
    occlusion = one
    if (texel := surface.texel("occlusion_texture")) is not None:
        occlusion = 1 + material.occlusion_strength * (texel[..., :1] - 1)
    emissive = material.emissive.to(like).expand_as(like)
    if (texel := surface.texel("emissive_texture", linear=True)) is not None:
        emissive = emissive * texel
    return PBRTerms(_tinted(surface, base, True), metallic, roughness, occlusion, emissive)


def _physical_terms(
    surface: Surface, material: DiffuseMaterial | ConductorMaterial | DielectricMaterial | PlasticMaterial
) -> PBRTerms:
    """The closest equivalents: rough plastic for matt surfaces, metal of equal reflectance, white plastic for glass."""
    like = surface.position
    one = like.new_ones(()).expand(*like.shape[:-1], 1)
    dark = torch.zeros_like(like)
    if isinstance(material, ConductorMaterial):
        color = material.at_normal.to(like).expand_as(like)
        return PBRTerms(_tinted(surface, color, True), one, material.roughness * one, one, dark)
    if isinstance(material, DielectricMaterial):
        color = material.tint.to(like).expand_as(like)
        return PBRTerms(_tinted(surface, color, True), 0 * one, material.roughness * one, one, dark)
    color = material.base_color.to(like).expand_as(like)
    if (texel := surface.texel("base_color_texture", linear=True)) is not None:
        color = color * texel[..., :3]
    if isinstance(material, PlasticMaterial):
        return PBRTerms(_tinted(surface, color, True), 0 * one, material.roughness * one, one, dark)
    emissive = material.emissive.to(like).expand_as(like)
    if (texel := surface.texel("emissive_texture", linear=True)) is not None:
        emissive = emissive * texel
    return PBRTerms(_tinted(surface, color, True), 0 * one, one, one, emissive)


def phong_terms(surface: Surface, textured: bool = True) -> PhongTerms:
    """The Phong parameters at the points; without `textured`, those of an untextured, uncoloured surface.

    A `PBRMaterial` has (1 - metallic) of its base colour as ambient and diffuse colour, its reflectance at normal
    incidence as specular colour, and shininess 2 / roughness^4 - 2. All are display-encoded.
    """
    material, like = surface.material, surface.position
    if not isinstance(material, PhongMaterial):
        pbr = pbr_terms(surface) if textured else pbr_terms(replace(surface, uv=None, color=None))
        f0 = reflectance_at_normal(pbr.base_color, pbr.metallic)
        shininess = 2 / pbr.roughness.clamp_min(MIN_ROUGHNESS) ** 4 - 2
        diffuse = srgb_encode(pbr.base_color) * (1 - pbr.metallic)
        return PhongTerms(diffuse, diffuse, f0, shininess, srgb_encode(pbr.emissive))
    ambient, diffuse, specular, emissive = (
        color.to(like).expand_as(like)
        for color in (material.ambient, material.diffuse, material.specular, material.emissive)
    )
    if textured and (texel := surface.texel("diffuse_texture")) is not None:
        ambient, diffuse = ambient * texel[..., :3], diffuse * texel[..., :3]
    if textured and (texel := surface.texel("specular_texture")) is not None:
        specular = specular * texel
    if textured:
        ambient, diffuse = _tinted(surface, ambient), _tinted(surface, diffuse)
    shininess = material.shininess * like.new_ones(()).expand(*like.shape[:-1], 1)
    return PhongTerms(ambient, diffuse, specular, shininess, emissive)


def _tinted(surface: Surface, color: Tensor, linear: bool = False) -> Tensor:
    """The value multiplied by the vertex colours."""
    if surface.color is None:
        return color
    tint = surface.color[..., :3]
    return color * (srgb_decode(tint) if linear else tint)


# ---- Shaders -------------------------------------------------------------------------------------------------------


def pbr(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """Metallic-roughness materials under any lights; linear light [P, 3].

    Diffuse reflection is albedo / pi, so a `DirectionalLight` of intensity pi lights a white surface that faces it to
    1. Surrounding lights use the split-sum approximation; what microfacets reflect of white light is taken from the
    diffuse part, so that no energy is made. Occlusion dims surrounding lights alone.
    """
    terms = pbr_terms(surface)
    if surface.material.unlit:
        return terms.base_color
    normal, view = surface.normal, surface.view
    color = terms.emissive
    for light in lights:
        if isinstance(light, PunctualLight):
            direction, incoming = light.radiance(surface.position)
            color = color + incoming * metallic_roughness(
                normal, view, direction, terms.base_color, terms.metallic, terms.roughness
            )
    around = [light for light in lights if isinstance(light, SurroundingLight)]
    if not around:
        return color
    facing = dot(normal, view)
    mirror = 2 * facing * normal - view
    scale, offset = white_reflection(facing.clamp(0, 1), terms.roughness)
    white = reflectance_at_normal(terms.base_color, terms.metallic) * scale + offset
    albedo = (1 - white) * (1 - terms.metallic) * terms.base_color
    for light in around:
        gathered = albedo * light.diffuse(normal) + white * light.specular(mirror, terms.roughness)
        color = color + terms.occlusion * gathered
    return color


def phong(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """Phong's reflection at every pixel [P, 3]: (ambient + diffuse) colour + specular highlights.

    Ambient light comes from surrounding lights; a punctual light adds its irradiance times n.l, and to the highlights
    max(0, v.r)^shininess with r = 2 (n.l) n - l the mirrored light, where n.l > 0.

    Source: Phong 1975, "Illumination for Computer Generated Pictures".
    """
    if surface.material.unlit:
        return unlit(surface, lights, camera)
    terms = phong_terms(surface)
    ambient, diffuse, highlight = _phong_light(surface, lights, terms.shininess)
    return terms.ambient * ambient + terms.diffuse * diffuse + terms.specular * highlight + terms.emissive


def flat(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """As `phong`, with the light of each triangle evaluated once, at its centre, with its own normal [P, 3]."""
    if surface.center is None:
        raise ValueError("surface.center: flat shading needs the centres of triangles, got None")
    view = camera.towards(surface.center)
    facet = replace(surface, position=surface.center, view=view, normal=surface.geometric_normal)
    return phong(facet, lights, camera)


def gouraud(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """As `phong`, with light evaluated at the vertices and interpolated [P, 3]; textures are looked up at the pixels.

    Source: Gouraud 1971, "Continuous Shading of Curved Surfaces".
    """
    if surface.patch is None:
        raise ValueError("surface.patch: Gouraud shading needs the mesh's vertices, got None")
    if surface.material.unlit:
        return unlit(surface, lights, camera)
    terms = phong_terms(surface)
    at_vertices = surface.patch.interpolate_pairs(_vertex_light(surface, lights, camera, back=False))
    if surface.back is not None and (not values_can_be_checked() or bool(surface.back.any())):
        from_behind = surface.patch.interpolate_pairs(_vertex_light(surface, lights, camera, back=True))
        at_vertices = torch.where(surface.back, from_behind, at_vertices)
    ambient, diffuse, highlight = at_vertices.split(3, dim=-1)
    light: Tensor = terms.ambient * ambient + terms.diffuse * diffuse + terms.specular * highlight + terms.emissive
    return light


def _vertex_light(surface: Surface, lights: Sequence[Light], camera: Camera, back: bool) -> Tensor:
    assert surface.patch is not None
    vertices = surface.patch.vertices(camera, surface.material, back)
    shininess = phong_terms(vertices, textured=False).shininess
    return torch.cat(_phong_light(vertices, lights, shininess), dim=-1)


def _phong_light(surface: Surface, lights: Sequence[Light], shininess: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ambient, diffuse and highlight light that arrives at the points, each [P, 3]."""
    normal, points = surface.normal, surface.position
    ambient = diffuse = highlight = torch.zeros_like(points)
    for light in lights:
        if isinstance(light, SurroundingLight):
            ambient = ambient + light.diffuse(normal)
        elif isinstance(light, PunctualLight):
            direction, part = light.falloff(points)
            cosine = dot(normal, direction)
            diffuse = diffuse + part * cosine.clamp_min(0) * light.tint(points)
            mirrored = dot(surface.view, 2 * cosine * normal - direction)
            seen = (mirrored > 0) & (cosine > 0)
            # The base is 1 where there is no highlight, so that no power of zero is differentiated.
            power = mirrored.where(seen, mirrored.new_ones(())) ** shininess
            highlight = highlight + part * (power * seen) * light.tint(points, highlight=True)
    return ambient, diffuse, highlight


def unlit(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """Base or diffuse colours as they are, display-encoded [P, 3]."""
    if isinstance(surface.material, PhongMaterial):
        return phong_terms(surface).diffuse
    return srgb_encode(pbr_terms(surface).base_color)


def normals(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 3"]:
    """Shading normals in world space as colours (n + 1) / 2 [P, 3]."""
    return 0.5 + 0.5 * surface.normal


def depth(surface: Surface, lights: Sequence[Light], camera: Camera) -> Float[Tensor, "points 1"]:
    """Distance along the viewing direction, in world units [P, 1]."""
    return camera.depth(surface.position)[..., None] if surface.depth is None else surface.depth


SHADERS: dict[str, Shader] = {
    "flat": flat,
    "gouraud": gouraud,
    "phong": phong,
    "pbr": pbr,
    "unlit": unlit,
    "normals": normals,
    "depth": depth,
}
LINEAR: tuple[Shader, ...] = (pbr,)  # shaders whose result is linear light


def resolve_shader(shading: str | Shader) -> Shader:
    """A shader by its name, or a function as it is.

    Raises:
        ValueError: a name that no shader has.
    """
    if callable(shading):
        return shading
    if shading not in SHADERS:
        raise ValueError(f"shading: expected a function or one of {', '.join(SHADERS)}, got {shading!r}")
    return SHADERS[shading]
