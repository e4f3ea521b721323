"""Models: unconstrained parameters, and how they are rendered."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lumigrad.fit.splats.start import spacing
from lumigrad.ops.splat import gaussians, spheres
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.rotations import quaternion_to_matrix
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types.splats import Splats

Parameters = dict[str, Tensor]
# The constant spherical harmonic.
_CONSTANT = 0.28209479177387814
# What is seen of a scene, relative to its extent: a photograph shows whatever is before its camera.
_NEAR, _FAR = 2e-3, 1e10


class Model(Protocol):
    """A kind of primitive. Its parameters include "means", "scales" (logarithms) and "opacities" (logits)."""

    rates: dict[str, float]

    def start(self, cloud: PointCloud) -> Parameters:
        """Parameters that look like the points."""

    def draw(self, parameters: Parameters, camera: PerspectiveCamera, background: float, progress: float) -> Tensor:
        """Image [1, H, W, 3]."""

    def spread(self, parameters: Parameters) -> Tensor:
        """Matrices [V, 3, 3] whose product with their transpose is the covariance of each."""


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
        used = (min(self.degree, int(progress * 2 * (self.degree + 1))) + 1) ** 2 - 1
        harmonics = torch.cat([parameters["constant"][:, None], parameters["rest"][:, :used]], dim=1)
        view = camera.view()._replace(near=_NEAR * self.extent, far=_FAR * self.extent)
        return gaussians(
            parameters["means"], parameters["quats"], parameters["scales"].exp(), parameters["opacities"].sigmoid(),
            harmonics, view, harmonics.new_full((3,), background), harmonics=True, antialiased=True,
        ).image  # fmt: skip

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
        first, last = self.gamma
        view = camera.view()._replace(near=_NEAR * self.extent, far=_FAR * self.extent)
        return spheres(
            parameters["means"], parameters["scales"][:, 0].exp(), features, view,
            parameters["opacities"].sigmoid(), features.new_full(features.shape[1:], background),
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
