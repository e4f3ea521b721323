"""A surface as the zero level of a grid of signed distances."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.implicit import marching_cubes, redistance
from lumigrad.reference.implicit import trilinear
from lumigrad.scene.materials import Material, PBRMaterial
from lumigrad.scene.shapes._mesh_distance import finite_triangles, signed_distance_grid
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import validation as check
from lumigrad.types.functions import evaluated
from lumigrad.types.grids import (
    Box,
    check_box,
    check_corners,
    check_resolution,
    check_values,
    to_voxels,
    voxel_centers,
    voxel_size,
)
from lumigrad.types.shapes import Float, Shaped


@dataclass(frozen=True, eq=False)
class SignedDistanceGrid:
    """Signed distances on a grid, with what the surface looks like.

    Attributes:
        values: [D, H, W], each at the centre of its voxel, trilinear in between; negative inside. Renderers draw the
            surface on which they are zero, and take them for distances where they need some.
        box: the two corners [2, 3] of the grid in the world; by default voxels are of size 1, from the origin on.
        colors: of voxels, display-encoded [D, H, W, 3], or None; they multiply the material's.
        material: of the whole surface; its textures are not used.

    Raises:
        TypeError, ValueError: for wrong types or shapes.

    >>> import torch
    >>> from lumigrad.scene import SignedDistanceGrid
    >>> ball = SignedDistanceGrid.from_function(lambda x: x.norm(dim=-1) - 0.8, 32, [[-1, -1, -1], [1, 1, 1]])
    >>> ball.values.shape, round(ball.mesh().positions.norm(dim=-1).mean().item(), 2)
    (torch.Size([32, 32, 32]), 0.8)
    """

    values: Float[Tensor, "depth height width"]
    box: Box | None = None
    colors: Shaped[Tensor, "depth height width 3"] | None = None
    material: Material = field(default_factory=PBRMaterial)

    def __post_init__(self) -> None:
        check_values("values", self.values)
        object.__setattr__(self, "box", check_box(self.box, self.values))
        if self.colors is not None and self.colors.shape != (*self.values.shape, 3):
            raise ValueError(f"colors: expected shape {[*self.values.shape, 3]}, got {list(self.colors.shape)}")
        if not isinstance(self.material, Material):
            raise TypeError(f"material: expected a Material, got {type(self.material).__name__}")

    @classmethod
    def from_function(cls, function: Any, resolution: int | tuple[int, int, int], box: Box) -> SignedDistanceGrid:
        """Values of a function from points [D, H, W, 3] to distances, at the centres of D x H x W voxels."""
        counts = check_resolution(resolution)
        corners = check_box(box, torch.empty(0) if not isinstance(box, Tensor) else box)
        return cls(evaluated("function", function, voxel_centers(corners, counts)), corners)

    @classmethod
    def from_mesh(
        cls, mesh: Mesh, resolution: int | tuple[int, int, int] = 64, box: Box | None = None, margin: float = 0.1
    ) -> SignedDistanceGrid:
        """The distances to a mesh, without gradients.

        What the mesh winds around more than half is inside, by the generalised winding number, so that holes are closed
        and pieces that overlap are joined; which way round its triangles are does not matter if it is the same for all.
        The winding number is computed where six rays along the axes, which are counted first, do not agree. Distances
        are those to the nearest point of any triangle, also of those that are within others. They are exact up to 1.5
        voxels away, and too large by up to about a tenth of a voxel beyond.

        Args:
            mesh: a single mesh. Triangles that are not finite are left out. Colours and materials are left out.
            resolution: voxels along each side, or (D, H, W).
            box: the two corners [2, 3] of the grid; by default a cube around the mesh.
            margin: what the cube has on both sides, as a part of the longest extent of the mesh.

        Raises:
            TypeError, ValueError: for wrong types, shapes or numbers, and a mesh without a finite triangle.

        Sources: Jacobson et al. 2013, "Robust Inside-Outside Segmentation Using Generalized Winding Numbers"; Barill et
        al. 2018, "Fast Winding Numbers for Soups and Clouds".

        >>> import torch
        >>> from lumigrad.scene import SignedDistanceGrid, icosphere
        >>> ball = icosphere(3)
        >>> bowl = ball.submesh(ball.face_normals()[:, 1] < 0)  # half of a ball, open at the top
        >>> grid = SignedDistanceGrid.from_mesh(ball, 32)
        >>> inside, outside = grid.distance(torch.tensor([[0.5, 0.0, 0.0], [1.1, 0.0, 0.0]]))
        >>> round(inside.item(), 1), round(outside.item(), 1)
        (-0.5, 0.1)
        >>> closed = SignedDistanceGrid.from_mesh(bowl, 32, grid.box)
        >>> round(closed.distance(torch.tensor([[0.0, -0.5, 0.0]])).item(), 1)
        -0.5
        """
        size = check_resolution(resolution)
        corners = finite_triangles(mesh)
        if box is None:
            low, high = corners.amin((0, 1)), corners.amax((0, 1))
            half = (0.5 + check.number("margin", margin, positive=True)) * (high - low).amax()
            box = torch.stack((0.5 * (low + high) - half, 0.5 * (low + high) + half))
        box = check_corners(box, corners, "mesh")
        return cls(signed_distance_grid(corners, box, size), box)

    @property
    def voxel_size(self) -> Float[Tensor, " 3"]:
        """Along x, y and z."""
        return voxel_size(self.corners, self.values)

    @property
    def corners(self) -> Float[Tensor, "2 3"]:
        """The box as a tensor."""
        assert isinstance(self.box, Tensor)
        return self.box

    def to(self, *args: Any) -> SignedDistanceGrid:
        """Copy with all tensors passed through `Tensor.to`."""
        colors = None if self.colors is None else self.colors.to(*args)
        return replace(
            self,
            values=self.values.to(*args),
            box=self.corners.to(*args),
            colors=colors,
            material=self.material.to(*args),
        )

    def distance(self, points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """The values at points in the world; outside of the box, those at its border."""
        flat = to_voxels(points.reshape(-1, 3), self.corners, self.values)
        return trilinear(self.values, flat)[0].reshape(points.shape[:-1])

    def color(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"] | None:
        """The colours at points in the world, None where there are none."""
        if self.colors is None:
            return None
        at = to_voxels(points, self.corners, self.values)
        return torch.stack([trilinear(channel, at)[0] for channel in self.colors.unbind(-1)], -1)

    def redistanced(self) -> SignedDistanceGrid:
        """The same surface with values that are distances again, without gradients; see `lumigrad.redistance`."""
        return replace(self, values=redistance(self.values, self.corners))

    def mesh(self, level: float = 0.0) -> Mesh:
        """The surface as triangles, by `lumigrad.marching_cubes`; gradients reach the values."""
        verts, faces = marching_cubes(self.values, level, self.corners)
        return Mesh(verts, faces, colors=self.color(verts))
