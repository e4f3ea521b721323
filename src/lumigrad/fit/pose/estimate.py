"""The result of a fit, and its reliability."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.fit.pose.refine import Comparison
from lumigrad.fit.pose.subject import Poses
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.pose import affine_inverse
from lumigrad.scene.rotations import rotation_angle

# Factor and loss up to which a runner-up fits as well, which makes a pose ambiguous.
_AS_GOOD, _DIFFERENCE = 1.15, 0.0005
_HIDDEN, _UNCOVERED = 0.05, 0.05
# Difference of colour, averaged over 3 x 3 pixels, from which something else must be in front.
_OTHER_COLOR = 0.3


class PoseWarning(UserWarning):
    """A pose that should be inspected before it is relied on."""


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """The pose of an object in one photograph.

    Camera space is OpenGL's: x right, y up, looking along -z. Matrices act on column vectors.

    Attributes:
        object_to_camera: from the mesh's coordinates to camera space [4, 4].
        camera: the photograph's camera, in the mesh's coordinates: `render_mesh(mesh, camera)` shows the pose.
        loss: robust difference of colours and outlines, per pixel of the mask.
        overlap: intersection over union of the mesh's silhouette and the mask.
        hidden: share of the silhouette that the photograph does not show: outside of the mask or the photograph, or
            with something of another colour in front.
        uncovered: share of the mask where the mesh is not.
        runner_up: the best pose [4, 4] that is at least 12 degrees away, or None.
        runner_up_loss: its loss; infinite without one.
        doubts: reasons not to rely on the pose, in words; empty where there are none.
    """

    object_to_camera: Tensor
    camera: PerspectiveCamera
    loss: float
    overlap: float
    hidden: float
    uncovered: float
    runner_up: Tensor | None
    runner_up_loss: float

    @property
    def camera_to_object(self) -> Tensor:
        """From camera space to the mesh's coordinates [4, 4]."""
        return affine_inverse(self.object_to_camera)

    @property
    def ambiguous(self) -> bool:
        """Whether the runner-up explains the photograph about as well."""
        return self.runner_up_loss < _AS_GOOD * self.loss + _DIFFERENCE

    @property
    def occluded(self) -> bool:
        """Whether part of the object cannot be seen."""
        return self.hidden > _HIDDEN

    @property
    def doubts(self) -> tuple[str, ...]:
        found = []
        if self.uncovered > _UNCOVERED:
            found.append(f"the mesh leaves {self.uncovered:.0%} of the mask uncovered: it may not fit the photograph")
        if self.occluded:
            found.append(f"occluded: {self.hidden:.0%} of the object cannot be seen")
        if self.ambiguous and self.runner_up is not None:
            away = math.degrees(float(rotation_angle(self.object_to_camera[:3, :3], self.runner_up[:3, :3])))
            found.append(
                f"ambiguous: a pose {away:.0f} degrees away explains the photograph about as well "
                f"(loss {self.runner_up_loss:.4f} against {self.loss:.4f})"
            )
        return tuple(found)


def judged(
    comparison: Comparison, pose: Poses, loss: float, runner_up: Poses | None, runner_up_loss: float,
    camera: PerspectiveCamera,
) -> PoseEstimate:  # fmt: skip
    """The result of the best of poses [1], and the next best."""
    subject, crop = comparison.subject, comparison.crop
    images = subject.images(pose, crop.camera)
    drawn, mask = images[0, ..., 3] > 0.5, crop.image[..., 3] > 0.5
    valid = crop.valid[..., 0] > 0
    seen = drawn & mask & valid
    if subject.colors:
        colors = comparison.differences(images)[0, ..., :3].permute(2, 0, 1)[:, None]
        smooth = torch.nn.functional.avg_pool2d(colors, 3, stride=1, padding=1)[:, 0].norm(dim=0)
        seen &= smooth < _OTHER_COLOR
    union = float(((drawn | mask) & valid).sum())
    matrix = subject.to_matrix(pose)[0]
    return PoseEstimate(
        matrix,
        replace(camera, world_to_camera=matrix.to(camera.world_to_camera)),
        loss,
        float((drawn & mask & valid).sum()) / max(union, 1.0),
        1 - float(seen.sum()) / max(float(drawn.sum()), 1.0),
        float((mask & ~drawn).sum()) / max(float(mask.sum()), 1.0),
        None if runner_up is None else subject.to_matrix(runner_up)[0],
        runner_up_loss,
    )
