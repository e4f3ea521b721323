"""Colours and opacities of rays from values along them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn


class EmissionAbsorptionRaymarcher(nn.Module):
    """Each sample lets 1 - density of the light behind it pass and adds density * features.

    Gradients are right at densities of exactly 1, too.

    Args:
        surface_thickness: a sample dims those that lie at least so many samples behind it.
    """

    def __init__(self, surface_thickness: int = 1) -> None:
        super().__init__()
        self.surface_thickness = surface_thickness

    def forward(self, rays_densities: Tensor, rays_features: Tensor, eps: float = 1e-10, **kwargs: Any) -> Tensor:
        """Features and opacities of rays [..., F + 1].

        Args:
            rays_densities: between 0 and 1, [..., P, 1].
            rays_features: [..., P, F].
            eps: added to what a sample lets pass when features are summed.
            kwargs: not looked at.

        Raises:
            ValueError: shapes that do not fit.
        """
        _check_densities(rays_densities)
        if not isinstance(rays_features, Tensor) or rays_features.shape[:-1] != rays_densities.shape[:-1]:
            got = list(rays_features.shape) if isinstance(rays_features, Tensor) else type(rays_features).__name__
            raise ValueError(f"rays_features: expected shape {[*rays_densities.shape[:-1], 'F']}, got {got}")
        densities = rays_densities[..., 0]
        passed = torch.cumprod((1 + eps) - densities, -1)
        thick = self.surface_thickness
        transmittance = torch.cat((torch.ones_like(passed[..., :thick]), passed[..., :-thick]), -1)
        features = ((densities * transmittance)[..., None] * rays_features).sum(-2)
        return torch.cat((features, _opacities(densities)), -1)


class AbsorptionOnlyRaymarcher(nn.Module):
    """Opacities alone."""

    def forward(self, rays_densities: Tensor, **kwargs: Any) -> Tensor:
        """Opacities of rays [..., 1] from densities between 0 and 1 [..., P, 1].

        Raises:
            ValueError: another shape.
        """
        _check_densities(rays_densities)
        return _opacities(rays_densities[..., 0])


def _opacities(densities: Tensor) -> Tensor:
    return 1 - torch.prod(1 - densities, -1, keepdim=True)


def _check_densities(densities: Tensor) -> None:
    if not isinstance(densities, Tensor) or densities.ndim < 2 or densities.shape[-1] != 1:
        got = list(densities.shape) if isinstance(densities, Tensor) else type(densities).__name__
        raise ValueError(f"rays_densities: expected shape [..., P, 1], got {got}")
    if densities.numel() and bool(((densities < 0) | (densities > 1)).any()):
        warnings.warn("rays_densities: expected values between 0 and 1, got others", stacklevel=3)
