"""Textured, diffusely lit meshes through rasterize, interpolate, texture and antialias."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias, interpolate, rasterize
from lumigrad.ops.texture import build_mips, texture
from lumigrad.render.rendering import Rendering
from lumigrad.render.scene import render
from lumigrad.render.stage import check_camera
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.materials import PhongMaterial
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types.fragments import Fragments
from lumigrad.types.shapes import Int32


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    lighting: Lighting | None = None,
    topology: Int32[Tensor, "faces 3"] | None = None,
    mips: bool = True,
) -> Rendering:
    """Render one mesh from one camera or a batch of cameras, or a batch of one template (positions [N, V, 3]).

    Antialiased silhouettes and shading carry gradients to positions, and through `camera` to its parameters;
    appearance gets them through texture and vertex colours. Light is multiplied with the colours as they are
    encoded, so what an unlit texture holds is what the image shows.

    Args:
        mesh: colours are texture times vertex colours, white where it has neither. A fourth channel of either is
            alpha: what is transparent is drawn in layers, by `render`, which takes longer.
        camera: batch shape [N] or []; mesh n of a batch is seen by camera n, or by the only one.
        lighting: `Lighting()` by default.
        topology: `edge_topology(mesh.faces)`, to save its computation when the same faces are rendered again.
        mips: look the texture up in a mip pyramid, which prevents aliasing where it is minified.

    Returns:
        Rendering with N images (N = 1 for a single camera).

    Raises:
        TypeError: no camera or no mesh; `render` draws `Meshes`, the batches of different meshes.
        ValueError: a camera batch of more than one dimension or of another size than the mesh's, or a texture or
            colours without three or four channels.

    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import PerspectiveCamera, icosphere
    >>> camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(24, 32))
    >>> shot = render_mesh(icosphere(2), camera)
    >>> shot.image.shape, shot.mask[0, 12, 16].item(), shot.mask[0, 0, 0].item()
    (torch.Size([1, 24, 32, 3]), 1.0, 0.0)
    >>> shot.over(1.0)[0, 0, 0].tolist()  # in front of white
    [1.0, 1.0, 1.0]
    """
    check_camera(camera)
    if not isinstance(mesh, Mesh):
        advice = "; lumigrad.render.render draws batches of different meshes" if isinstance(mesh, Meshes) else ""
        raise TypeError(f"mesh: expected a Mesh, got {type(mesh).__name__}{advice}")
    if mesh.shape and camera.shape and mesh.shape != camera.shape and 1 not in (*mesh.shape, *camera.shape):
        raise ValueError(f"camera: expected one, or {mesh.shape[0]} like the meshes, got {camera.shape[0]}")
    for name, value in (("texture", mesh.texture), ("colors", mesh.colors)):
        if value is not None and value.shape[-1] not in (3, 4):
            raise ValueError(f"mesh.{name}: expected 3 or 4 channels, got {value.shape[-1]}")
    if any(value is not None and value.shape[-1] == 4 for value in (mesh.texture, mesh.colors)):
        return _in_layers(mesh, camera, lighting)
    clip = camera.project(mesh.positions).reshape(-1, mesh.positions.shape[-2], 4)
    textured = mesh.texture is not None and mesh.uvs is not None
    lighting = Lighting() if lighting is None else lighting
    eyes = camera.position.to(mesh.positions.dtype).reshape(-1, 3).expand(len(clip), 3)
    attributes = [lighting.shade(mesh.positions, mesh.vertex_normals(), eyes)]
    if mesh.colors is not None:
        attributes.append(mesh.colors.expand(len(eyes), -1, -1))
    at_vertices = torch.cat(attributes, dim=-1)
    frags = rasterize(clip, mesh.faces, camera.size, derivatives=textured and mips, attributes=at_vertices)
    surface = frags.attributes
    assert surface is not None
    color = surface[..., :1].expand(*surface.shape[:-1], 3)
    if mesh.colors is not None:
        color = color * surface[..., 1:]
    if textured:
        color = color * _sample(mesh, frags, mips)
    inside = (frags.tri >= 0)[..., None].to(color.dtype)
    blended = antialias(torch.cat([color * inside, inside], dim=-1), frags, clip, mesh.faces, topology)
    return Rendering(blended[..., :3], blended[..., 3:])


def _in_layers(mesh: Mesh, camera: Camera, lighting: Lighting | None) -> Rendering:
    """A mesh with alpha, in the same light."""
    texture = None if mesh.uvs is None else mesh.texture
    material = PhongMaterial(alpha_mode="blend", specular=torch.zeros(3), diffuse_texture=texture)
    plain = replace(
        mesh, materials=(material.to(mesh.positions),), face_materials=None, normals=None, normal_faces=None
    )
    lights = Lighting() if lighting is None else lighting
    shot = render(plain, camera, shading="gouraud", lights=lights, buffers=False)
    return Rendering(shot.color, shot.mask)


def _sample(mesh: Mesh, frags: Fragments, mips: bool) -> Tensor:
    assert mesh.texture is not None
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    image = mesh.texture[None]
    if not mips:
        return texture(image, interpolate(mesh.uvs, frags, mesh.uv_faces), filter="linear")
    uv, uv_d = interpolate(mesh.uvs, frags, mesh.uv_faces, derivatives=True)
    return texture(image, uv, uv_d, mips=build_mips(image))
