"""Models: unconstrained parameters, and how they are rendered."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from lumigrad.fit.splats.start import spacing
from lumigrad.ops.splat import gaussians, project_gaussians, spheres, splat
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.rotations import quaternion_to_matrix
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types.splats import Splats
from lumigrad.types.view import View

Parameters = dict[str, Tensor]
# The constant spherical harmonic.
_CONSTANT = 0.28209479177387814
# Visible depths, relative to the scene's extent: a photograph shows whatever is in front of its camera.
_NEAR, _FAR = 2e-3, 1e10
# Strengths below which Gaussians are not drawn, as in `lumigrad.gaussians`.
_FAINT = 1 / 255


class Footprints(NamedTuple):
    """The primitives that a camera sees, reduced to what drawing needs.

    Attributes:
        values: [M, C], differentiable.
        rows: [M], which of the primitives they are; ascending.
        top, bottom: [M], pixel rows between which all that is seen of each lies.
    """

    values: Tensor
    rows: Tensor
    top: Tensor
    bottom: Tensor


class Model(Protocol):
    """A kind of primitive. Its parameters include "means", "scales" (logarithms) and "opacities" (logits)."""

    rates: dict[str, float]

    def start(self, cloud: PointCloud) -> Parameters:
        """Parameters that look like the points."""

    def draw(self, parameters: Parameters, camera: PerspectiveCamera, background: float, progress: float) -> Tensor:
        """Image [1, H, W, 3]."""

    def spread(self, parameters: Parameters) -> Tensor:
        """Matrices [V, 3, 3] whose product with their transpose is the covariance of each."""


@runtime_checkable
class DivisibleModel(Model, Protocol):
    """A model whose primitives several processes can divide."""

    def footprints(self, parameters: Parameters, camera: PerspectiveCamera, progress: float) -> Footprints:
        """The footprints of the primitives that a camera sees, for `composite`."""

    def composite(
        self, values: Tensor, camera: PerspectiveCamera, lines: slice, background: float, progress: float
    ) -> Tensor:
        """Some lines [1, last - first, W, 3] of the image that `draw` gives, from the values of footprints.

        Args:
            values: those that touch these lines, at least, in the order of the primitives.
            lines: from the first line, counted from the top of the image, up to the last.
        """


class Gaussians:
    """3D Gaussians with antialiasing and colours in spherical harmonics, whose degree rises as the fit proceeds.

    Args:
        degree: of the spherical harmonics at the end, 0 to 4.
        extent: size of the scene; the learning rate of positions and the near plane are relative to it.
    """

    def __init__(self, degree: int = 2, extent: float = 1.0) -> None:
        if degree not in range(5):
            raise ValueError(f"degree: expected 0 to 4, got {degree}")
        self.degree, self.extent = degree, extent
        self.rates = {
            "means": 4e-4 * extent, "scales": 1e-2, "quats": 2e-3, "opacities": 5e-2, "constant": 5e-3, "rest": 5e-4,
        }  # fmt: skip

    def start(self, cloud: PointCloud) -> Parameters:
        assert cloud.colors is not None
        count, like = len(cloud), cloud.positions
        return {
            "means": like.clone(),
            "scales": spacing(like, 0.01 * self.extent).log()[:, None].repeat(1, 3),
            "quats": like.new_tensor([1.0, 0, 0, 0]).repeat(count, 1),
            "opacities": like.new_full((count,), 0.2).logit(),
            "constant": (cloud.colors[:, :3] - 0.5) / _CONSTANT,
            "rest": like.new_zeros(count, (self.degree + 1) ** 2 - 1, 3),
        }

    def draw(self, parameters: Parameters, camera: PerspectiveCamera, background: float, progress: float) -> Tensor:
        harmonics = self._harmonics(parameters, progress)
        return gaussians(
            parameters["means"], parameters["quats"], parameters["scales"].exp(), parameters["opacities"].sigmoid(),
            harmonics, self._view(camera), harmonics.new_full((3,), background), harmonics=True, antialiased=True,
        ).image  # fmt: skip

    def footprints(self, parameters: Parameters, camera: PerspectiveCamera, progress: float) -> Footprints:
        with torch.no_grad():
            placed = self._placed(parameters, camera)
            seen, half = _visible(placed, camera.size)
        # Again with gradients, only for the visible ones: in large scenes, they are few.
        chosen = {name: value.index_select(0, seen) for name, value in parameters.items()}
        placed = self._placed(chosen, camera)
        colors = colors_seen(self._harmonics(chosen, progress), chosen["means"], camera.view().matrix[:1])[0]
        y = placed[:, 1].detach()
        return Footprints(torch.cat([placed, colors], -1), seen, y - half, y + half)

    def composite(
        self, values: Tensor, camera: PerspectiveCamera, lines: slice, background: float, progress: float
    ) -> Tensor:
        x, y, conics, depths, opacities, colors = values.split((1, 1, 3, 1, 1, 3), -1)
        size = lines.stop - lines.start, camera.size[1]
        return splat(
            torch.cat([x, y - lines.start], -1)[None], conics[None], depths[None, :, 0], colors, size, opacities[:, 0],
            colors.new_full((3,), background), max_alpha=0.99, min_alpha=_FAINT, stop=1e-4,
        ).image  # fmt: skip

    def _placed(self, parameters: Parameters, camera: PerspectiveCamera) -> Tensor:
        """Centres, conics, depths and opacities [V, 7] on the image."""
        xy, conics, depths, compensations = project_gaussians(
            parameters["means"], parameters["quats"], parameters["scales"].exp(), self._view(camera)
        )
        opacities = parameters["opacities"].sigmoid() * compensations[0]
        return torch.cat([xy[0], conics[0], depths[0, :, None], opacities[:, None]], -1)

    def _view(self, camera: PerspectiveCamera) -> View:
        return camera.view()._replace(near=_NEAR * self.extent, far=_FAR * self.extent)

    def _harmonics(self, parameters: Parameters, progress: float) -> Tensor:
        used = (min(self.degree, int(progress * 2 * (self.degree + 1))) + 1) ** 2 - 1
        return torch.cat([parameters["constant"][:, None], parameters["rest"][:, :used]], dim=1)

    def spread(self, parameters: Parameters) -> Tensor:
        return quaternion_to_matrix(parameters["quats"]) * parameters["scales"].exp()[:, None, :]

    @staticmethod
    def cloud(parameters: Parameters) -> GaussianCloud:
        """As data, to be saved."""
        return GaussianCloud(
            parameters["means"],
            parameters["quats"],
            parameters["scales"].exp(),
            parameters["opacities"].sigmoid(),
            torch.cat([parameters["constant"][:, None], parameters["rest"]], dim=1),
        )


def _visible(placed: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which Gaussians [M] touch an image, and half their heights in pixels [M]; the rest is drawn nowhere.

    Args:
        placed: [V, 7], see `Gaussians._placed`.
    """
    xy, (a, b, c), depths, opacities = placed[:, :2], placed[:, 2:5].unbind(-1), placed[:, 5], placed[:, 6]
    # The height exp(-s) times the opacity is drawn where it is at least `_FAINT`. The margins of a hundredth and of a
    # pixel are for rounding. Gaussians that rounding has made degenerate are assumed to be everywhere.
    reach = (2.02 * (opacities / _FAINT).log() + 0.02).clamp(min=0)
    det = a * c - b * b
    half = [torch.where(det > 1e-6 * a * c, (reach * side / det).sqrt() + 1, math.inf) for side in (c, a)]
    height, width = size
    inside = [(at + far > 0) & (at - far < end) for at, far, end in zip(xy.unbind(-1), half, (width, height))]
    drawn = depths.isfinite() & xy.isfinite().all(-1) & (opacities >= 0.99 * _FAINT)
    seen = torch.nonzero(drawn & inside[0] & inside[1])[:, 0]
    return seen, half[1][seen]


class Spheres:
    """Soft spheres that become harder as the fit proceeds.

    Args:
        extent: size of the scene; the blending's depth goes from a fiftieth of it to ten times it.
        gamma: softness of the depth test, at the beginning and at the end.
    """

    def __init__(self, extent: float = 1.0, gamma: tuple[float, float] = (3e-2, 1e-2)) -> None:
        self.extent, self.gamma = extent, gamma
        self.rates = {"means": 4e-4 * extent, "scales": 1e-2, "opacities": 5e-2, "constant": 5e-3}

    def start(self, cloud: PointCloud) -> Parameters:
        assert cloud.colors is not None
        return {
            "means": cloud.positions.clone(),
            "scales": spacing(cloud.positions, 0.01 * self.extent).log()[:, None],
            "opacities": cloud.positions.new_full((len(cloud),), 0.5).logit(),
            "constant": cloud.colors[:, :3].clone(),
        }

    def draw(self, parameters: Parameters, camera: PerspectiveCamera, background: float, progress: float) -> Tensor:
        return self.splat(parameters, parameters["constant"], camera, background, progress).image

    def splat(
        self, parameters: Parameters, features: Tensor, camera: PerspectiveCamera, background: float, progress: float
    ) -> Splats:
        """Render any features [V, C] of the spheres, over a background of one value."""
        radii, opacities = parameters["scales"][:, 0].exp(), parameters["opacities"].sigmoid()
        return self._splat(parameters["means"], radii, opacities, features, camera.view(), background, progress)

    def footprints(self, parameters: Parameters, camera: PerspectiveCamera, progress: float) -> Footprints:
        with torch.no_grad():
            radii = parameters["scales"][:, 0].exp()
            seen, top, bottom = _touching(parameters["means"], radii, camera)
        chosen = {name: value.index_select(0, seen) for name, value in parameters.items()}
        columns = chosen["means"], chosen["scales"].exp(), chosen["opacities"].sigmoid()[:, None], chosen["constant"]
        return Footprints(torch.cat(columns, -1), seen, top, bottom)

    def composite(
        self, values: Tensor, camera: PerspectiveCamera, lines: slice, background: float, progress: float
    ) -> Tensor:
        means, radii, opacities, colors = values.split((3, 1, 1, 3), -1)
        view = camera.view()
        view = view._replace(cy=view.cy - lines.start, size=(lines.stop - lines.start, camera.size[1]))
        return self._splat(means, radii[:, 0], opacities[:, 0], colors, view, background, progress).image

    def _splat(
        self, means: Tensor, radii: Tensor, opacities: Tensor, features: Tensor, view: View, background: float,
        progress: float,
    ) -> Splats:  # fmt: skip
        first, last = self.gamma
        view = view._replace(near=_NEAR * self.extent, far=_FAR * self.extent)
        return spheres(
            means, radii, features, view, opacities, features.new_full(features.shape[1:], background),
            gamma=first * (last / first) ** progress, min_depth=0.02 * self.extent, max_depth=10 * self.extent,
        )  # fmt: skip

    def spread(self, parameters: Parameters) -> Tensor:
        radii = parameters["scales"].exp()
        return 0.5 * torch.diag_embed(radii.expand(-1, 3))

    @staticmethod
    def cloud(parameters: Parameters) -> PointCloud:
        """Positions, colours, radii and opacities, to be saved."""
        radii, opacities = parameters["scales"][:, 0].exp(), parameters["opacities"].sigmoid()
        return PointCloud(parameters["means"], parameters["constant"].clamp(0, 1), radii=radii, opacities=opacities)


def _touching(means: Tensor, radii: Tensor, camera: PerspectiveCamera) -> tuple[Tensor, Tensor, Tensor]:
    """Which spheres [M] a camera may see, and the pixel rows between which they are.

    Along each axis of the image, a sphere is seen between the two planes through the eye and the other axis that touch
    it.
    """
    height, width = camera.size
    matrix = camera.world_to_camera[0]
    x, y, z = (means @ matrix[:3, :3].T + matrix[:3, 3]).unbind(-1)
    ends = []
    for across, focal, centre in ((x, camera.fx, camera.cx), (-y, camera.fy, camera.cy)):
        beside = torch.hypot(across, z)
        middle, half = torch.atan2(across, -z), torch.asin((radii / beside).clamp(max=1))
        low, high = middle - half, middle + half
        # The margins of a ten-thousandth and of a pixel are for rounding, and for spheres smaller than a pixel.
        limit = 0.5 * math.pi - 1e-2
        for angle, side in ((low, -1), (high, 1)):
            place = focal * torch.tan(angle) * (1 + 1e-4 * side * angle.sign()) + centre + side
            ends.append(torch.where((angle.abs() < limit) & (beside > radii), place, side * math.inf))
    left, right, top, bottom = ends
    drawn = (right > 0) & (left < width) & (bottom > 0) & (top < height) & (z < radii)
    seen = torch.nonzero(drawn)[:, 0]
    return seen, top[seen], bottom[seen]
