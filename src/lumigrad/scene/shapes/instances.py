"""One mesh, placed many times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene._transform import check_matrix, mirrored, normal_matrix
from lumigrad.scene.shapes.mesh import INDEXED, Mesh
from lumigrad.types.shapes import Float
from lumigrad.types.validation import fractional

LARGEST = 2**31 - 1  # triangles of a mesh


@dataclass(frozen=True)
class Instances:
    """One mesh, placed many times: a forest of one tree, the screws of a machine.

    A `Scene` takes instances as it takes meshes. Materials, textures and texture coordinates are there once, however
    many instances there are; renderers make positions, normals and vertex colours of each. Gradients reach the mesh,
    as the sum over all instances, and the matrices.

    Attributes:
        mesh: a single one, in a space of its own.
        matrices: affine maps [N, 4, 4] (or [N, 3, 4]) from that space into the world, which act on column vectors.

    Raises:
        TypeError: something else than a mesh and a tensor of floating-point numbers.
        ValueError: a batch of meshes; matrices of another shape; more than 2^31 - 1 triangles in all.

    >>> import torch
    >>> from lumigrad.scene import Instances, Scene, icosphere
    >>> places = torch.eye(4).repeat(3, 1, 1)
    >>> places[:, 0, 3] = torch.tensor([-3.0, 0.0, 3.0])  # three in a row along x
    >>> row = Instances(icosphere(1), places)
    >>> len(row), len(Scene(row).meshes[0].faces)
    (3, 240)
    >>> [corner.tolist() for corner in row.flattened().bounds()]
    [[-4.0, -1.0, -1.0], [4.0, 1.0, 1.0]]
    """

    mesh: Mesh
    matrices: Float[Tensor, "instances _ 4"]

    def __post_init__(self) -> None:
        if not isinstance(self.mesh, Mesh):
            raise TypeError(f"mesh: expected a Mesh, got {type(self.mesh).__name__}")
        if self.mesh.shape:
            raise ValueError(f"mesh: expected a single one, got a batch {list(self.mesh.positions.shape)}")
        fractional("matrices", self.matrices)
        if self.matrices.ndim != 3 or tuple(self.matrices.shape[-2:]) not in ((4, 4), (3, 4)):
            raise ValueError(f"matrices: expected [N, 4, 4] or [N, 3, 4], got {list(self.matrices.shape)}")
        if len(self) * len(self.mesh.faces) > LARGEST:
            raise ValueError(
                f"matrices: expected at most {LARGEST} triangles in all, got {len(self)} times {len(self.mesh.faces)}"
            )

    def __len__(self) -> int:
        """How many instances there are."""
        return len(self.matrices)

    def to(self, *args: Any) -> Instances:
        """Copy with floating tensors passed through `Tensor.to`; index buffers only follow a device."""
        return Instances(self.mesh.to(*args), self.matrices.to(*args))

    def flattened(self) -> Mesh:
        """All instances as one mesh, one after the other; normals and mirrored faces as `Mesh.transformed` has them.

        Vertex v of instance n has the number n V + v, and face f the number n F + f.
        """
        mesh, count = self.mesh, len(self)
        upper = check_matrix(self.matrices).to(mesh.positions)
        changed: dict[str, Any] = {
            "positions": (mesh.positions @ upper[..., :3].mT + upper[..., None, :, 3]).reshape(-1, 3)
        }
        if mesh.normals is not None:
            turned = mesh.normals @ normal_matrix(upper).to(mesh.normals).mT
            changed["normals"] = torch.nn.functional.normalize(turned, dim=-1, eps=1e-20).reshape(-1, 3)
        if mesh.colors is not None:
            changed["colors"] = mesh.colors.repeat(count, 1)
        if mesh.face_materials is not None:
            changed["face_materials"] = mesh.face_materials.repeat(count)
        for name, index_name in INDEXED.items():
            if getattr(mesh, name) is not None:
                own = len(getattr(mesh, name)) if name in changed else 0
                changed[index_name] = self._indices(getattr(mesh, index_name), own)
        return replace(mesh, **changed)

    def _indices(self, faces: Tensor, step: int) -> Tensor:
        """The faces of all instances [N F, 3], whose indices are offset by `step` from one instance to the next."""
        first = step * torch.arange(len(self), device=faces.device)
        turned = mirrored(self.matrices).to(faces.device)[:, None, None]
        every = faces.long()[None]
        return (torch.where(turned, every[..., [0, 2, 1]], every) + first[:, None, None]).reshape(-1, 3)
