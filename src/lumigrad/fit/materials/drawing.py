"""Drawing meshes in light: fast, with prefiltered light, or accurately, by tracing rays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.materials.maps import MaterialMaps
from lumigrad.render.color import srgb_encode
from lumigrad.render.direct import render_direct
from lumigrad.render.path import render_path
from lumigrad.render.scene import render
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh

# Environments are prefiltered at this many times the size at which they are fitted, which gives maps for more degrees
# of roughness.
FILTERED = 2


class Tracing(NamedTuple):
    """How light is traced.

    Attributes:
        samples: directions, or paths, of each pixel.
        bounces: how often light is reflected: 1 for direct light with shadows, more for light that goes from surface to
            surface.
    """

    samples: int = 4
    bounces: int = 1

    def at_least(self, samples: int) -> Tracing:
        """The same with no fewer samples."""
        return self._replace(samples=max(samples, self.samples))


class Lit(NamedTuple):
    """Linear light over black [N, H, W, 3], and coverage [N, H, W, 1]."""

    color: Tensor
    mask: Tensor

    def shown(self) -> Tensor:
        """Display-encoded, over black: the form to which photographs with an alpha channel are composited."""
        straight = self.color / self.mask.clamp_min(1e-4)
        return srgb_encode(straight.clamp(0, 1)) * self.mask


def draw(
    mesh: Mesh,
    maps: MaterialMaps,
    camera: PerspectiveCamera,
    tracing: Tracing | None = None,
    seed: int = 0,
    light: EnvironmentLight | None = None,
) -> Lit:
    """Render a surface of the maps' material in the maps' light.

    Gradients reach all maps.

    Args:
        mesh: with texture coordinates.
        camera: [N].
        tracing: how rays find the light; None to take it from a prefiltered map, dimmed by the maps' occlusion.
        seed: of the rays.
        light: in place of that of the maps, see `light_of`.
    """
    scene = Scene(maps.on(mesh), environment=light_of(maps.light, tracing) if light is None else light)
    if tracing is None:
        shot = render(scene, camera, tone_mapping=None, buffers=False)
    elif tracing.bounces == 1:
        shot = render_direct(scene, camera, tracing.samples, seed, tone_mapping=None)
    else:
        shot = render_path(scene, camera, tracing.samples, tracing.bounces + 1, seed, tone_mapping=None)
    return Lit(shot.color, shot.mask)


def light_of(cube: Tensor, tracing: Tracing | None = None) -> EnvironmentLight:
    """The light of a cube map [6, S, S, 3], prefiltered for rough reflections where it is not traced."""
    if tracing is not None:
        return EnvironmentLight(cube, irradiance=cube, levels=())
    size = FILTERED * cube.shape[1]
    fine = torch.nn.functional.interpolate(
        cube.permute(0, 3, 1, 2), size=(size, size), mode="bilinear", align_corners=False
    )
    return EnvironmentLight(fine.permute(0, 2, 3, 1))


class LitDrawer:
    """Draws one surface from one camera after another, without autograd.

    Args:
        light: a cube map in place of that of the maps.
    """

    @torch.no_grad()
    def __init__(
        self, mesh: Mesh, maps: MaterialMaps, tracing: Tracing | None = None, light: Tensor | None = None
    ) -> None:
        self.mesh, self.maps, self.tracing = mesh, maps, tracing
        self.light = light_of(maps.light if light is None else light, tracing)

    @torch.no_grad()
    def __call__(self, camera: PerspectiveCamera) -> Lit:
        """Linear light."""
        return draw(self.mesh, self.maps, camera, self.tracing, light=self.light)

    def shown(self, camera: PerspectiveCamera) -> tuple[Tensor, Tensor]:
        """Display-encoded colours over black [1, H, W, 3], and coverage [1, H, W, 1]."""
        lit = self(camera)
        return lit.shown(), lit.mask
