"""One Gouraud-shaded frame, forward and backward, in each library, in that library's own conventions.

Every adapter draws the same `Workload`: vertex colours, gradients to the colours and to the positions in the library's
convention. A library is imported when its adapter is made, so none is required.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch

from benchmarks.meshes import Workload


class Renderer(Protocol):
    """The interface that the benchmarks need from an adapter."""

    def rasterize(self) -> object:
        """Visibility alone: the library's forward rasterisation without gradients."""

    def frame(self) -> tuple[torch.Tensor, ...]:
        """Forward and backward; returns the gradients of positions and colours."""

    def picture(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Coverage [H, W] bool and the image [H, W, 3], row 0 at the top."""


class Lumigrad:
    """lumigrad: rasterize with attributes, antialias."""

    def __init__(self, work: Workload) -> None:
        import lumigrad

        self.lg = lumigrad
        self.size = (work.size, work.size)
        self.positions = work.clip.clone().requires_grad_()
        self.colors = work.mesh.colors.clone().requires_grad_()
        self.faces = work.mesh.faces
        self.gradient = work.gradient
        # The topology of a mesh is computed once for all its frames.
        self.topology = lumigrad.edge_topology(self.faces)

    def rasterize(self) -> object:
        with torch.no_grad():
            return self.lg.rasterize(self.positions, self.faces, self.size, derivatives=False)

    def frame(self) -> tuple[torch.Tensor, ...]:
        _, image = self._forward()
        return torch.autograd.grad(image, (self.positions, self.colors), self.gradient)

    def picture(self) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            triangles, image = self._forward()
        return triangles[0] >= 0, image[0]

    def _forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = self.lg.rasterize(self.positions, self.faces, self.size, derivatives=False, attributes=self.colors)
        image = self.lg.antialias(fragments.attributes, fragments, self.positions, self.faces, topology=self.topology)
        return fragments.tri, image


class Drtk:
    """DRTK: rasterize, render, interpolate, edge_grad_estimator, as its documentation composes them.

    NCHW images; its interpolated background is undefined and has to be masked before the edge gradients.
    """

    def __init__(self, work: Workload) -> None:
        import drtk

        self.drtk = drtk
        self.size = work.size
        self.positions = work.pixel_positions().requires_grad_()
        self.colors = work.mesh.colors[None].clone().requires_grad_()
        self.faces = work.mesh.faces
        self.gradient = work.gradient.permute(0, 3, 1, 2).contiguous()

    def rasterize(self) -> object:
        with torch.no_grad():
            return self.drtk.rasterize(self.positions, self.faces, self.size, self.size)

    def frame(self) -> tuple[torch.Tensor, ...]:
        _, image = self._forward()
        return torch.autograd.grad(image, (self.positions, self.colors), self.gradient)

    def picture(self) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            coverage, image = self._forward()
        return coverage[0], image[0].permute(1, 2, 0)

    def _forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        index = self.drtk.rasterize(self.positions, self.faces, self.size, self.size)
        _, bary = self.drtk.render(self.positions, self.faces, index)
        shaded = self.drtk.interpolate(self.colors, self.faces, index, bary)
        coverage = index != -1
        image = self.drtk.edge_grad_estimator(
            v_pix=self.positions,
            vi=self.faces,
            bary_img=bary,
            img=shaded * coverage[:, None],
            index_img=index,
        )
        return coverage, image


class PyTorch3D:
    """PyTorch3D: rasterize_meshes with one face per pixel, one pixel of blur, a sigmoid over the distance."""

    # Its soft silhouettes are this wide: at the end of the blur, a face's weight has fallen to one in ten thousand.
    BLUR_OVER_SIGMA = math.log(1e4 - 1)

    def __init__(self, work: Workload) -> None:
        from pytorch3d.ops import interpolate_face_attributes
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes

        self.interpolate = interpolate_face_attributes
        self.rasterize_meshes = rasterize_meshes
        self.meshes = Meshes
        self.size = work.size
        self.positions = work.leftward_ndc_positions().requires_grad_()
        self.colors = work.mesh.colors.clone().requires_grad_()
        self.faces = work.mesh.faces.long()
        self.gradient = work.gradient
        # A squared distance in NDC, where a pixel is 2 / size wide.
        self.blur = (2 / work.size) ** 2

    def rasterize(self) -> object:
        with torch.no_grad():
            return self._fragments()

    def frame(self) -> tuple[torch.Tensor, ...]:
        _, image = self._forward()
        return torch.autograd.grad(image, (self.positions, self.colors), self.gradient)

    def picture(self) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            coverage, image = self._forward()
        return coverage[0], image[0]

    def _fragments(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.rasterize_meshes(
            self.meshes(verts=[self.positions], faces=[self.faces]),
            image_size=self.size,
            blur_radius=self.blur,
            faces_per_pixel=1,
            perspective_correct=True,
        )

    def _forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        face, _, bary, distance = self._fragments()
        shaded = self.interpolate(face, bary, self.colors[self.faces])[..., 0, :]
        hit = face >= 0
        weight = torch.sigmoid(distance * (-self.BLUR_OVER_SIGMA / self.blur)) * hit
        # Distances are negative inside a face.
        return (hit & (distance <= 0))[..., 0], shaded * weight


RENDERERS: dict[str, Callable[[Workload], Renderer]] = {
    "lumigrad": Lumigrad,
    "DRTK": Drtk,
    "PyTorch3D": PyTorch3D,
}

_PACKAGES = {"lumigrad": "lumigrad", "DRTK": "drtk", "PyTorch3D": "pytorch3d"}


def importable(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Those of `names` that can be imported here, and the reasons for the others."""
    found: list[str] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            __import__(_PACKAGES[name])
        except ImportError as error:
            missing[name] = str(error)
        else:
            found.append(name)
    return found, missing
