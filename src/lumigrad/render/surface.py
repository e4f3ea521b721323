"""The input of shaders: points on surfaces, with the material there looked up on demand."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lumigrad.ops.surface import interpolate
from lumigrad.ops.texture import build_mips, texture
from lumigrad.render.color import srgb_decode
from lumigrad.scene._vectors import dot, unit
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.materials import Material, PBRMaterial, PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Bool, Float, Int


class TextureStore:
    """Decoded textures and mip levels, each made once per rendering."""

    def __init__(self, mips: bool = True) -> None:
        self.mips = mips
        self._made: dict[tuple[int, bool], tuple[Tensor, Tensor, list[Tensor]]] = {}

    def look_up(self, image: Tensor, uv: Tensor, uv_d: Tensor | None, linear: bool) -> Tensor:
        """Filtered texels [P, C] at uv [P, 2]; `linear` decodes the first three channels before filtering."""
        key = (id(image), linear)
        if key not in self._made:
            plain = torch.cat([srgb_decode(image[..., :3]), image[..., 3:]], -1) if linear else image
            levels = build_mips(plain[None]) if self.mips else []
            self._made[key] = image, plain[None], levels  # the image itself is kept, so that its id stays unique
        _, base, levels = self._made[key]
        base = base.to(uv)
        if uv_d is None or not self.mips:
            return texture(base, uv[None, None], filter="linear")[0, 0]
        return texture(base, uv[None, None], uv_d[None, None], mips=[level.to(uv) for level in levels])[0, 0]


@dataclass(frozen=True, eq=False)
class Surface:
    """P points on surfaces of one material, as one camera sees them.

    Vectors are in world space and of unit length.

    Attributes:
        position: [P, 3].
        normal: shading normal [P, 3]: interpolated, perturbed by the normal map, facing the viewer on back sides.
        geometric_normal: of the triangle [P, 3], facing the viewer on back sides.
        view: directions to the viewer [P, 3].
        material: the material of all points.
        depth: distance along the viewing direction [P, 1].
        uv: texture coordinates [P, 2], or None.
        uv_d: their screen derivatives [P, 2, 2], or None.
        second_uv, second_uv_d: the same of the mesh's second texture coordinates, where the material uses them.
        color: vertex colours [P, 3 or 4], display-encoded, or None.
        center: of each point's triangle [P, 3].
        back: whether the back of the triangle is seen, bool [P, 1].
        triangle: number of the triangle within its mesh, int [P].
        mesh: the mesh's number in the scene.
        patch: the mesh and where on it the points lie, for shading at its vertices; None for points made by hand.
        store: of decoded textures.
    """

    position: Float[Tensor, "points 3"]
    normal: Float[Tensor, "points 3"]
    geometric_normal: Float[Tensor, "points 3"]
    view: Float[Tensor, "points 3"]
    material: Material = field(default_factory=PBRMaterial)
    depth: Float[Tensor, "points 1"] | None = None
    uv: Float[Tensor, "points 2"] | None = None
    uv_d: Float[Tensor, "points 2 2"] | None = None
    color: Float[Tensor, "points channels"] | None = None
    center: Float[Tensor, "points 3"] | None = None
    back: Bool[Tensor, "points 1"] | None = None
    triangle: Int[Tensor, " points"] | None = None
    mesh: int = 0
    patch: Patch | None = None
    store: TextureStore = field(default_factory=TextureStore)
    second_uv: Float[Tensor, "points 2"] | None = None
    second_uv_d: Float[Tensor, "points 2 2"] | None = None

    def texel(self, name: str, linear: bool = False) -> Float[Tensor, "points channels"] | None:
        """The material's texture of that name at the points [P, C]; None where there is none.

        linear: decode sRGB, before filtering.
        """
        image = getattr(self.material, name, None)
        second = name in self.material.second_uv_textures
        uv, uv_d = (self.second_uv, self.second_uv_d) if second else (self.uv, self.uv_d)
        if image is None or uv is None:
            return None
        return self.store.look_up(image, uv, uv_d, linear)


@dataclass(frozen=True, eq=False)
class Patch:
    """A mesh, and P fragments of it [1, 1, P]."""

    shape: MeshShape
    frags: Fragments

    def interpolate(self, values: Tensor) -> Tensor:
        """Values [V, C] at the mesh's vertices, interpolated to the points [P, C]."""
        image: Tensor = interpolate(values, self.frags, self.shape.faces)
        return image[0, 0]

    def vertices(self, camera: Camera, material: Material, back: bool = False) -> Surface:
        """The K pairs of vertices and normals that the mesh has, as a surface without texture coordinates or colours.

        back: turn the normals around.
        """
        vertex, number, _ = self.shape.pairs
        position, normal = self.shape.positions[vertex], self.shape.normals[number]
        normal = -normal if back else normal
        return Surface(position, normal, normal, camera.towards(position), material)

    def interpolate_pairs(self, values: Tensor) -> Tensor:
        """Values [K, C] at what `vertices` gives, interpolated to the points [P, C]."""
        image: Tensor = interpolate(values, self.frags, self.shape.pairs[2])
        return image[0, 0]


class MeshShape:
    """Values computed once per rendered mesh, whatever the views: int32 faces, normals, tangents."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.positions = mesh.positions
        self.faces = mesh.faces.to(torch.int32)
        self.uv_faces = None if mesh.uv_faces is None else mesh.uv_faces.to(torch.int32)
        self.second_uv_faces = None if mesh.second_uv_faces is None else mesh.second_uv_faces.to(torch.int32)
        normals, normal_faces = mesh.shading_normals()
        # Around a NaN vertex there are no normals; its triangles are not drawn, but their neighbours are.
        self.normals = torch.nan_to_num(normals.to(self.positions.dtype), nan=0.0)
        self._together = normal_faces is mesh.faces
        self.normal_faces = self.faces if self._together else normal_faces.to(torch.int32)
        corners = self.positions[mesh.faces.long()]
        self.centers = corners.mean(1)
        self.face_normals = unit(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        self.colors = None if mesh.colors is None else mesh.colors.to(self.positions.dtype)

    @functools.cached_property
    def tangents(self) -> tuple[Tensor, Tensor]:
        """Tangents with handedness [K, 4] and the faces that index them."""
        return self._tangents(self.mesh)

    @functools.cached_property
    def second_tangents(self) -> tuple[Tensor, Tensor]:
        """The same for the second texture coordinates."""
        return self._tangents(replace(self.mesh, uvs=self.mesh.second_uvs, uv_faces=self.mesh.second_uv_faces))

    def _tangents(self, mesh: Mesh) -> tuple[Tensor, Tensor]:
        values, faces = mesh.tangents()
        return values.to(self.positions.dtype), faces.to(torch.int32)

    @functools.cached_property
    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Vertices [K] and normals [K] that meet at corners, and the faces [F, 3] that index these pairs."""
        if self._together:
            index = torch.arange(len(self.positions), device=self.positions.device)
            return index, index, self.faces
        corners = torch.stack([self.faces.reshape(-1), self.normal_faces.reshape(-1)], -1)
        unique, inverse = torch.unique(corners, dim=0, return_inverse=True)
        return unique[:, 0].long(), unique[:, 1].long(), inverse.reshape(-1, 3).to(torch.int32)

    def surface(
        self, frags: Fragments, material: Material, camera: Camera, store: TextureStore, number: int
    ) -> Surface:
        """The points at P fragments [1, 1, P]."""
        position, normal, color = self._interpolated(frags)
        triangle = frags.tri.reshape(-1).long()
        geometric = self.face_normals.index_select(0, triangle)
        view = camera.towards(position)
        uv, uv_d = self._uv(frags, self.mesh.uvs, self.uv_faces)
        second: tuple[Tensor | None, Tensor | None] = (None, None)
        if material.second_uv_textures:
            second = self._uv(frags, self.mesh.second_uvs, self.second_uv_faces)
        back = dot(geometric, view) < 0
        sign = 1 - 2 * back.to(position.dtype)
        surface = Surface(
            position,
            normal,
            geometric * sign,
            view,
            material,
            camera.depth(position)[..., None],
            uv,
            uv_d,
            color,
            self.centers.index_select(0, triangle),
            back,
            triangle,
            number,
            Patch(self, frags),
            store,
            *second,
        )
        return replace(surface, normal=self._bent(surface, frags) * sign)

    def _interpolated(self, frags: Fragments) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions, unit normals and vertex colours; one lookup if they share an index buffer."""
        parts = [self.positions, *([self.normals] if self._together else [])]
        parts += [] if self.colors is None else [self.colors]
        values = interpolate(torch.cat(parts, -1), frags, self.faces)[0, 0]
        start = 6 if self._together else 3
        normal = values[:, 3:6] if self._together else interpolate(self.normals, frags, self.normal_faces)[0, 0]
        return values[:, :3], unit(normal), None if self.colors is None else values[:, start:]

    def _uv(self, frags: Fragments, uvs: Tensor | None, uv_faces: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if uvs is None or uv_faces is None:
            return None, None
        uvs = uvs.to(self.positions.dtype)
        if frags.bary_d is None:
            return interpolate(uvs, frags, uv_faces)[0, 0], None
        uv, uv_d = interpolate(uvs, frags, uv_faces, derivatives=True)
        return uv[0, 0], uv_d[0, 0]

    def _bent(self, surface: Surface, frags: Fragments) -> Tensor:
        """The interpolated normal, perturbed by the normal map."""
        texel = surface.texel("normal_texture")
        if texel is None:
            return surface.normal
        second = "normal_texture" in surface.material.second_uv_textures
        tangents, faces = self.second_tangents if second else self.tangents
        tangent, hand = interpolate(tangents, frags, faces)[0, 0].split((3, 1), dim=-1)
        tangent = unit(tangent - dot(tangent, surface.normal) * surface.normal)
        bitangent = torch.linalg.cross(surface.normal, tangent) * hand.sign()
        scale = getattr(surface.material, "normal_scale", 1.0)
        x, y, z = (2 * texel - 1).split(1, dim=-1)
        return unit(scale * x * tangent + scale * y * bitangent + z * surface.normal)


def default_material(mesh: Mesh) -> Material:
    """The material of a mesh that has none: its texture, half rough, not metallic."""
    if mesh.uvs is None or mesh.texture is None:
        return PBRMaterial()
    grey = mesh.texture.shape[-1] == 1
    return PBRMaterial(base_color_texture=mesh.texture.expand(-1, -1, 3) if grey else mesh.texture)


def surface_alpha(surface: Surface) -> Float[Tensor, "points 1"]:
    """The opacity of the material [P, 1], whatever its alpha mode."""
    material = surface.material
    alpha = surface.position.new_ones(()).expand(*surface.position.shape[:-1], 1)
    name = "diffuse_texture" if isinstance(material, PhongMaterial) else "base_color_texture"
    if (texel := surface.texel(name)) is not None and texel.shape[-1] == 4:
        alpha = alpha * texel[..., 3:]
    if surface.color is not None and surface.color.shape[-1] == 4:
        alpha = alpha * surface.color[..., 3:]
    if isinstance(material, PhongMaterial):
        alpha = alpha * material.alpha
    elif isinstance(material, PBRMaterial) and len(material.base_color) == 4:
        alpha = alpha * material.base_color[3].to(alpha)
    return alpha
