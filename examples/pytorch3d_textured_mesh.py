"""Renders a textured mesh through PyTorch3D's interface: views around it, then other lights and materials.

Usage:
    python examples/pytorch3d_textured_mesh.py                         # the built-in creature
    python examples/pytorch3d_textured_mesh.py --mesh spot.obj --texture spot_texture.png --out spot.png
"""

from __future__ import annotations

import torch
from pytorch3d_common import arguments, load, rows

from lumigrad.compat.pytorch3d import (
    AmbientLights,
    BlendParams,
    DirectionalLights,
    FoVPerspectiveCameras,
    HardPhongShader,
    Materials,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from lumigrad.io import save_image

VIEWS = 4


def main(given: list[str] | None = None) -> None:
    options = arguments("Renders a textured mesh.", "textured_mesh.png", 256).parse_args(given)
    mesh = load(options)
    meshes = mesh.extend(VIEWS)
    R, T = look_at_view_transform(2.7, torch.linspace(-10, 40, VIEWS), torch.linspace(-60, 180, VIEWS + 1)[:-1])
    cameras = FoVPerspectiveCameras(R=R, T=T, fov=45.0)
    lights = PointLights(location=((0.0, 2.5, 3.0),))
    background = BlendParams(background_color=(0.9, 0.93, 0.97))
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=options.size))
    renderer = MeshRenderer(rasterizer, SoftPhongShader("cpu", cameras, lights, blend_params=background))
    with torch.no_grad():
        around = renderer(meshes)

        # One view with other lights and materials, passed with the call.
        camera = cameras[1]
        hard = MeshRenderer(rasterizer, HardPhongShader(blend_params=background))
        shiny = Materials(specular_color=((1.5, 1.3, 1.0),), shininess=12.0)
        behind = PointLights(location=((0.0, 1.0, -3.0),))
        evening = DirectionalLights(((0.25, 0.25, 0.4),), ((0.8, 0.5, 0.3),), direction=((-1.0, 0.3, 0.2),))
        others = [
            hard(mesh, cameras=camera, lights=AmbientLights()),
            hard(mesh, cameras=camera, lights=lights, materials=shiny),
            hard(mesh, cameras=camera, lights=behind),
            hard(mesh, cameras=camera, lights=evening),
        ]
    save_image(rows(around[..., :3], torch.cat(others)[..., :3]), options.out)
    print(f"seen: {float((around[..., 3] > 0.5).double().mean()):.3f} of all pixels in {VIEWS} views")
    print(f"written: {options.out} (views around; no shading, shiny, light from behind, evening light)")


if __name__ == "__main__":
    main()
