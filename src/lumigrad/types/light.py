"""The arguments and results of path tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.types.shapes import Float, Int

MAX_DEPTH = 65535  # segments of a path without a limit
# Columns of `LitScene.materials` and of `LitScene.kinds` that may be omitted, and their defaults.
MATERIAL_COLUMNS, KIND_COLUMNS = 12, 5
MORE_MATERIAL = (1.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
MORE_KINDS = (-1, -1, -1, -1, -1, 0, 0)
KINDS = 6  # of materials
# Columns of `kinds`: textures, and others.
COLOR_TEXTURE, ROUGHNESS_TEXTURE, EMISSION_TEXTURE, ALPHA_TEXTURE, NORMAL_TEXTURE = range(2, 7)
TRANSMISSION_TEXTURE, COAT_TEXTURE, COAT_ROUGHNESS_TEXTURE, ALPHA_MODE, SECOND_UV = range(7, 12)
OPAQUE, MASK, BLEND = range(3)


def all_columns(rows: Tensor, more: tuple[float, ...], first: int) -> Tensor:
    """Rows [M, K] with at least `first` columns, completed with the defaults `more` of the missing ones."""
    rest = rows.new_tensor(more[rows.shape[-1] - first :])
    return rows if not len(rest) else torch.cat((rows, rest.expand(len(rows), -1)), -1)


class Media(NamedTuple):
    """Participating media in closed surfaces, in boxes of voxels, or in a whole scene: fog, smoke, milk.

    A point belongs to the medium whose boundary a path entered last and has not left: the innermost of nested media.
    Boundaries are triangles with outward normals.

    Attributes:
        parameters: [K, 7]: extinction (3), of grids a factor of the density; albedo (3), the part of the light that
            collides and is scattered; and g, the mean cosine of the phase function of Henyey and Greenstein.
        faces: int [F, 2]: the number of the medium behind each triangle, or -1; and whether light passes the triangle
            unchanged. Otherwise the triangle's material determines how much passes.
        numbers: int [K]: the number of each medium's grid, or -1: the density is 1 everywhere.
        grids: each [D, H, W, 1] of densities, at least 0, or [D, H, W, 4], of densities and an albedo that multiplies
            that of the medium. Values belong to voxels' centres, between which they are trilinear.
        boxes: [G, 2, 3], the lower and the upper corner of each grid; outside of it there is nothing.
        surrounding: number of the medium in which everything else lies, or -1.
    """

    parameters: Float[Tensor, "media 7"]
    faces: Int[Tensor, "triangles 2"]
    numbers: Int[Tensor, " media"]
    grids: Sequence[Float[Tensor, "_ _ _ _"]] = ()
    boxes: Float[Tensor, "grids 2 3"] | None = None
    surrounding: int = -1


class LitScene(NamedTuple):
    """Triangles, materials and lights as plain tensors. `lumigrad.render.lit_scene` makes one from a scene.

    Attributes:
        positions: [V, 3].
        tri: int [F, 3].
        materials: [M, 12 to 21]: colour (3), roughness, metallic, index of refraction, extinction (3), emission (3),
            see :func:`lumigrad.ops.light.bsdf`; and, where they are not the default, alpha (1), the alpha from which
            on a masked material is there (0.5), transmission (0), coat (0), the coat's roughness (0), the scale of the
            normal map (1), and what the inside of dielectrics and solids absorbs per length (3, 0).
        kinds: int [M, 5 to 12]: 0 diffuse, 1 metallic-roughness, 2 conductor, 3 dielectric, 4 plastic, 5 solid
            metallic-roughness; whether both sides are lit and emit; the numbers of the textures that multiply the
            colour, the roughness and metallic (channels 1 and 2), and the emission, or -1; and, where they are not the
            default, those of alpha (channel 0), of the normal map, of transmission (0), coat (0) and the coat's
            roughness (1) (-1); the alpha mode, 0 opaque, 1 mask, 2 blend (0); and the sum of 2^k over the columns k
            whose textures are looked up at the second coordinates (0).
        face_materials: int [F].
        textures: each [H, W, 3], linear. Coordinate (0, 0) is the outer corner of texel [0, 0], v grows with the row;
            they repeat and are interpolated linearly.
        corner_normals: [F, 3, 3] of the faces' corners, or None for flat faces.
        corner_uvs: [F, 3, 2], or None.
        corner_second_uvs: [F, 3, 2], or None.
        corner_tangents: [F, 3, 4], for normal maps: the direction in which u grows, and the handedness of the frame;
            or None.
        corner_colors: [F, 3, 3], linear, which multiply the colour, or None.
        lamps: [L, 12], of points, spots and distant lights: position, or direction towards a distant one (3); axis of
            the cone, from the lamp on (3); cosines of its inner and outer angle; distance at which the light has faded
            to nothing; and a, b, c of the falloff 1 / (a + b d + c d^2); or None.
        lamp_intensities: [L, 3]: irradiance at a falloff of 1, of surfaces that face the lamp.
        lamp_kinds: int [L]: 0 distant; 1 at a point, where the square of a cosine fades light from cone to cone; 2 at a
            point, with angles of cones in radians in the place of cosines, between which light fades linearly.
        environment: radiance from a cube map at infinity [6, S, S, 3], or None.
        rotation: [3, 3], from directions of the environment to those of the world, or None.
        media: between the surfaces, or None.
    """

    positions: Float[Tensor, "vertices 3"]
    tri: Int[Tensor, "triangles 3"]
    materials: Float[Tensor, "materials parameters"]
    kinds: Int[Tensor, "materials choices"]
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
    corner_second_uvs: Float[Tensor, "triangles 3 2"] | None = None
    corner_tangents: Float[Tensor, "triangles 3 4"] | None = None
    media: Media | None = None

    def completed(self) -> LitScene:
        """The scene with all columns of materials and kinds."""
        return self._replace(
            materials=all_columns(self.materials, MORE_MATERIAL, MATERIAL_COLUMNS),
            kinds=all_columns(self.kinds, MORE_KINDS, KIND_COLUMNS),
        )


class TracedPaths(NamedTuple):
    """The results of paths through the pixels of an image: means over all of them.

    Attributes:
        radiance: [H, W, 3] of what surfaces and media send to the camera.
        alpha: [H, W], how many paths meet a surface or collide in a medium. What follows is of where they first do, and
            0 of the other paths: divided by alpha it is the mean of what is seen.
        depth: [H, W], in units of the rays' directions.
        normals: [H, W, 3], shading normals, facing the viewer.
        albedo: [H, W, 3], the material's colour; of conductors what they reflect at normal incidence.
        through: [H, W, 3], how much is seen of what lies behind all surfaces: 1 - alpha, but for media that let more
            pass of one colour than of another. Of these, 1 - alpha is the mean.
    """

    radiance: Float[Tensor, "height width 3"]
    alpha: Float[Tensor, "height width"]
    depth: Float[Tensor, "height width"]
    normals: Float[Tensor, "height width 3"]
    albedo: Float[Tensor, "height width 3"]
    through: Float[Tensor, "height width 3"]


class DirectLight(NamedTuple):
    """Light that comes straight from lights, at points of surfaces; zero where there is none.

    Attributes:
        radiance: [..., 3], what the point sends to where it is seen from: its own emission included.
        normals: [..., 3], shading normals, facing the viewer.
        albedo: [..., 3], the material's colour; of conductors what they reflect at normal incidence.
    """

    radiance: Float[Tensor, "*points 3"]
    normals: Float[Tensor, "*points 3"]
    albedo: Float[Tensor, "*points 3"]
