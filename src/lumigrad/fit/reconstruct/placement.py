"""The space that fits work in: the subject fills the ball of radius one at the origin."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from lumigrad.fit.photos import Photo
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh

# Clip planes: as far apart as single-precision depth allows if surfaces a thousandth apart are to be distinguished.
_NEAR, _FAR = 0.02, 200.0


@dataclass(frozen=True)
class Placement:
    """Takes positions p of the world to (p - centre) / scale.

    Attributes:
        centre: [3], float64.
        scale: above 0.
    """

    centre: Tensor
    scale: float

    @classmethod
    def around(cls, low: Tensor, high: Tensor) -> Placement:
        """The placement with which a box of two corners [3] just fits into the ball.

        >>> import torch
        >>> from lumigrad.fit.reconstruct import Placement
        >>> place = Placement.around(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([3.0, 1.0, 0.0]))
        >>> place.centre.tolist(), place.scale
        ([2.0, 1.0, 0.0], 1.0)
        """
        low, high = low.double().cpu(), high.double().cpu()
        return cls(0.5 * (low + high), 0.5 * float((high - low).norm()))

    def inward(self, positions: Tensor) -> Tensor:
        """Convert positions [..., 3] in the world to the ball."""
        return ((positions.double() - self.centre.to(positions.device)) / self.scale).to(positions)

    def outward(self, positions: Tensor) -> Tensor:
        """Convert positions [..., 3] in the ball to the world."""
        return (positions.double() * self.scale + self.centre.to(positions.device)).to(positions)

    def mesh(self, mesh: Mesh) -> Mesh:
        """Convert a mesh in the ball to the world."""
        return replace(mesh, positions=self.outward(mesh.positions))

    def camera(self, camera: PerspectiveCamera) -> PerspectiveCamera:
        """Cameras of the world, as they see the ball: rotations stay rotations, and depths are divided by the scale."""
        pose = camera.world_to_camera.double()
        moved = pose.clone()
        moved[..., :3, 3] = (pose[..., :3, :3] @ self.centre.to(pose) + pose[..., :3, 3]) / self.scale
        return replace(camera, world_to_camera=moved.to(camera.world_to_camera), near=_NEAR, far=_FAR)

    def photo(self, photo: Photo) -> Photo:
        """A photograph whose camera sees the ball."""
        return replace(photo, camera=self.camera(photo.camera))
