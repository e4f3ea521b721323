"""What path tracing takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float, Int

MAX_DEPTH = 65535  # segments of a path that has no limit


class LitScene(NamedTuple):
    """Triangles, what they are made of, and lights, as plain tensors. `lumigrad.render.lit_scene` makes one of a scene.

    Attributes:
        positions: [V, 3].
        tri: int [F, 3].
        materials: [M, 12]: colour (3), roughness, metallic, index of refraction, extinction (3), emission (3), see
            :func:`lumigrad.ops.light.bsdf`.
        kinds: int [M, 5]: 0 diffuse, 1 metallic-roughness, 2 conductor, 3 dielectric; whether both sides are lit and
            emit; and the numbers of the textures that multiply the colour, the roughness and metallic (channels 1 and
            2), and the emission, or -1.
        face_materials: int [F].
        textures: each [H, W, 3], linear. Coordinate (0, 0) is the outer corner of texel [0, 0], v grows with the row;
            they repeat and are interpolated linearly.
        corner_normals: [F, 3, 3] of the faces' corners, or None for flat faces.
        corner_uvs: [F, 3, 2], or None.
        corner_colors: [F, 3, 3], linear, which multiply the colour, or None.
        lamps: [L, 12], of points, spots and distant lights: position, or direction towards a distant one (3); axis of
            the cone, from the lamp on (3); cosines of its inner and outer angle; distance at which the light has faded
            to nothing; and a, b, c of the falloff 1 / (a + b d + c d^2); or None.
        lamp_intensities: [L, 3]: irradiance at a falloff of 1, of surfaces that face the lamp.
        lamp_kinds: int [L]: 0 distant, 1 at a point.
        environment: radiance from a cube map at infinity [6, S, S, 3], or None.
        rotation: [3, 3], from directions of the environment to those of the world, or None.
    """

    positions: Float[Tensor, "vertices 3"]
    tri: Int[Tensor, "triangles 3"]
    materials: Float[Tensor, "materials 12"]
    kinds: Int[Tensor, "materials 5"]
    face_materials: Int[Tensor, " triangles"]
    textures: Sequence[Float[Tensor, "_ _ 3"]] = ()
    corner_normals: Float[Tensor, "triangles 3 3"] | None = None
    corner_uvs: Float[Tensor, "triangles 3 2"] | None = None
    corner_colors: Float[Tensor, "triangles 3 3"] | None = None
    lamps: Float[Tensor, "lamps 12"] | None = None
    lamp_intensities: Float[Tensor, "lamps 3"] | None = None
    lamp_kinds: Int[Tensor, " lamps"] | None = None
    environment: Float[Tensor, "6 side side 3"] | None = None
    rotation: Float[Tensor, "3 3"] | None = None


class TracedPaths(NamedTuple):
    """What paths through the pixels of an image bring back: means over all of them.

    Attributes:
        radiance: [H, W, 3] of what surfaces send to the camera.
        alpha: [H, W], how many paths meet a surface. What follows is of the surfaces that they meet first, and 0 of the
            other paths: divided by alpha it is the mean of what is seen.
        depth: [H, W], in units of the rays' directions.
        normals: [H, W, 3], shading normals, turned to the viewer.
        albedo: [H, W, 3], the material's colour; of conductors what they reflect at normal incidence.
    """

    radiance: Float[Tensor, "height width 3"]
    alpha: Float[Tensor, "height width"]
    depth: Float[Tensor, "height width"]
    normals: Float[Tensor, "height width 3"]
    albedo: Float[Tensor, "height width 3"]
