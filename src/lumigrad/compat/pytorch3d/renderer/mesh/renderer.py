"""Images of meshes: a rasterizer, then a shader."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lumigrad.compat.pytorch3d.renderer.mesh.rasterizer import Fragments
from lumigrad.compat.pytorch3d.structures.meshes import Meshes


class MeshRenderer(nn.Module):
    """Images [N, H, W, 4] of meshes: a rasterizer, then a shader. Keywords of the call go to both."""

    def __init__(self, rasterizer: nn.Module, shader: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.shader = shader

    def to(self, device: Any) -> MeshRenderer:  # type: ignore[override]
        self.rasterizer.to(device)
        self.shader.to(device)
        return self

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Tensor:
        return self.shader(self.rasterizer(meshes_world, **kwargs), meshes_world, **kwargs)


class MeshRendererWithFragments(MeshRenderer):
    """Images, and the fragments behind them."""

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> tuple[Tensor, Fragments]:  # type: ignore[override]
        fragments = self.rasterizer(meshes_world, **kwargs)
        return self.shader(fragments, meshes_world, **kwargs), fragments
