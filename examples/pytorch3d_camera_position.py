"""Finds a camera's position from a silhouette, through PyTorch3D's interface.

The camera looks at the middle of a known mesh. Only its position is optimised: soft silhouettes, which change smoothly
with it, are fitted to the given one step by step.

Usage:
    python examples/pytorch3d_camera_position.py                       # the built-in creature
    python examples/pytorch3d_camera_position.py --mesh spot.obj --out spot.png
"""

from __future__ import annotations

import math

import torch
from pytorch3d_common import arguments, load, rows
from torch import Tensor, nn

from lumigrad.compat.pytorch3d import (
    BlendParams,
    FoVPerspectiveCameras,
    Meshes,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    SoftSilhouetteShader,
    camera_position_from_spherical_angles,
    look_at_rotation,
    look_at_view_transform,
)
from lumigrad.io import save_image

TRUE = {"distance": 2.7, "elevation": 35.0, "azimuth": 40.0}
START = {"distance": 3.4, "elevation": 20.0, "azimuth": 65.0}  # from further away it may end on another side


class Model(nn.Module):
    """The camera's position, a parameter, and the silhouette seen from there."""

    def __init__(self, meshes: Meshes, renderer: MeshRenderer) -> None:
        super().__init__()
        self.meshes, self.renderer = meshes, renderer
        self.position = nn.Parameter(camera_position_from_spherical_angles(**START))

    def forward(self) -> Tensor:
        R = look_at_rotation(self.position)
        T = -(self.position[:, None] @ R)[:, 0]
        return self.renderer(self.meshes, R=R, T=T)[..., 3]


def main(given: list[str] | None = None) -> None:
    options = arguments("Finds a camera's place from a silhouette.", "camera_position.png", 128, 100).parse_args(given)
    meshes = load(options)
    blend = BlendParams(sigma=1e-4, gamma=1e-4)
    settings = RasterizationSettings(
        image_size=options.size, blur_radius=math.log(1 / 1e-4 - 1) * blend.sigma, faces_per_pixel=50
    )
    renderer = MeshRenderer(MeshRasterizer(FoVPerspectiveCameras(), settings), SoftSilhouetteShader(blend))
    R, T = look_at_view_transform(TRUE["distance"], TRUE["elevation"], TRUE["azimuth"])
    with torch.no_grad():
        target = renderer(meshes, R=R, T=T)[..., 3]
    true = camera_position_from_spherical_angles(**TRUE)

    model = Model(meshes, renderer)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.2 ** (1 / options.steps))
    distances, shown = [], []
    for _ in range(options.steps + 1):
        silhouette = model()
        distances.append(float((model.position.detach() - true).norm()))
        shown.append(silhouette.detach())
        optimizer.zero_grad()
        (silhouette - target).square().mean().backward()
        optimizer.step()
        schedule.step()
    # The target is red and the current silhouette green: their overlap is yellow.
    frames = [shown[options.steps * k // 10] for k in (0, 3, 5, 7)] + [shown[-1]]
    save_image(rows(torch.cat([torch.stack((target, s, 0 * s), -1) for s in frames])), options.out)
    print(f"distance to the true place: {distances[0]:.3f} at first, {distances[-1]:.4f} in the end")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
