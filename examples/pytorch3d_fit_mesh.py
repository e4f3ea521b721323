"""Fits the shape and colours of a sphere to pictures of a mesh, through PyTorch3D's interface.

Each step compares the silhouettes and colours of soft renderings of a few views with the pictures. Losses on edge
lengths, smoothness and normal consistency regularise the surface. The fit never uses a point of the true mesh.

Usage:
    python examples/pytorch3d_fit_mesh.py                              # the built-in creature
    python examples/pytorch3d_fit_mesh.py --mesh spot.obj --texture spot_texture.png --out spot.png
"""

from __future__ import annotations

import math

import torch
from pytorch3d_common import arguments, load, rows
from torch import Tensor

from lumigrad.compat.pytorch3d import (
    BlendParams,
    FoVPerspectiveCameras,
    Meshes,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    TexturesVertex,
    ico_sphere,
    look_at_view_transform,
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
)
from lumigrad.io import save_image

VIEWS, AT_ONCE, HELD_OUT = 16, 2, (0, 5, 10)
WEIGHTS = {"silhouette": 1.0, "color": 1.0, "edge": 0.3, "smooth": 0.1, "normal": 0.01}


def make_renderer(size: int) -> MeshRenderer:
    blend = BlendParams(sigma=1e-4, gamma=1e-4, background_color=(1.0, 1.0, 1.0))
    settings = RasterizationSettings(size, math.log(1 / 1e-4 - 1) * blend.sigma, faces_per_pixel=10)
    lights = PointLights(location=((0.0, 2.0, 3.0),), ambient_color=((0.7,) * 3,), specular_color=((0.0,) * 3,))
    return MeshRenderer(MeshRasterizer(None, settings), SoftPhongShader(lights=lights, blend_params=blend))


def errors(images: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean absolute difference of colours, and intersection over union of silhouettes."""
    a, b = images[..., 3], targets[..., 3]
    return float((images - targets)[..., :3].abs().mean()), float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum())


def main(given: list[str] | None = None) -> None:
    options = arguments("Fits a sphere to pictures of a mesh.", "fit_mesh.png", 96, 160).parse_args(given)
    torch.manual_seed(0)
    truth, renderer = load(options), make_renderer(options.size)
    # Cameras around the mesh, up and down: a golden angle between successive views.
    turns = torch.arange(VIEWS) * 137.508
    heights = torch.rad2deg(torch.asin(torch.linspace(-0.8, 0.9, VIEWS)))
    R, T = look_at_view_transform(3.0, heights, turns)
    cameras = FoVPerspectiveCameras(R=R, T=T, fov=45.0)
    held_out = list(HELD_OUT)
    training = [n for n in range(VIEWS) if n not in held_out]
    with torch.no_grad():
        targets = renderer(truth.extend(VIEWS), cameras=cameras)

    sphere = ico_sphere(3).scale_verts(0.6)
    offsets = torch.zeros_like(sphere.verts_packed(), requires_grad=True)
    colors = torch.zeros_like(offsets, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": [offsets], "lr": 0.01}, {"params": [colors], "lr": 0.05}])

    def fitted(count: int) -> Meshes:
        mesh = sphere.offset_verts(offsets)
        mesh.textures = TexturesVertex([colors.sigmoid()])
        return mesh.extend(count)

    with torch.no_grad():
        first = renderer(fitted(len(held_out)), cameras=cameras[held_out])
    for _ in range(options.steps):
        chosen = [training[n] for n in torch.randperm(len(training))[:AT_ONCE].tolist()]
        meshes = fitted(AT_ONCE)
        images = renderer(meshes, cameras=cameras[chosen])
        difference = (images - targets[chosen]).square().mean((0, 1, 2))
        alone = meshes[0]
        loss = (
            WEIGHTS["silhouette"] * difference[3]
            + WEIGHTS["color"] * difference[:3].mean()
            + WEIGHTS["edge"] * mesh_edge_loss(alone)
            + WEIGHTS["smooth"] * mesh_laplacian_smoothing(alone)
            + WEIGHTS["normal"] * mesh_normal_consistency(alone)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        last = renderer(fitted(len(held_out)), cameras=cameras[held_out])
    for name, images in (("at first", first), ("in the end", last)):
        color, overlap = errors(images, targets[held_out])
        print(f"held-out views {name}: colour error {color:.4f}, silhouettes' overlap {overlap:.4f}")
    save_image(rows(targets[held_out][..., :3], last[..., :3], first[..., :3]), options.out)
    print(f"written: {options.out} (pictures not seen, the fit, the sphere)")


if __name__ == "__main__":
    main()
