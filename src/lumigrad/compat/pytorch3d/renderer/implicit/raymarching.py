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
        transmittance = _shifted_cumprod((1 + eps) - densities, self.surface_thickness)
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


def _shifted_cumprod(x: Tensor, shift: int = 1) -> Tensor:
    """Products of all that lie at least `shift` places before, along the last dimension."""
    products = torch.cumprod(x, -1)
    return torch.cat((torch.ones_like(products[..., :shift]), products[..., :-shift]), -1)


def _check_density_bounds(rays_densities: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
    """Warn about densities outside of bounds."""
    low, high = bounds
    if rays_densities.numel() and bool(((rays_densities < low) | (rays_densities > high)).any()):
        warnings.warn(f"rays_densities: expected values between {low:g} and {high:g}, got others", stacklevel=3)


def _check_raymarcher_inputs(
    rays_densities: Tensor,
    rays_features: Tensor | None,
    rays_z: Tensor | None,
    features_can_be_none: bool = False,
    z_can_be_none: bool = False,
    density_1d: bool = True,
) -> None:
    """Raise ValueError unless all are tensors of the same rays; what may be missing is not looked at."""
    rays = (rays_features, "rays_features", features_can_be_none), (rays_z, "rays_z", z_can_be_none)
    for value, name, optional in ((rays_densities, "rays_densities", False), *rays):
        if not optional and not isinstance(value, Tensor):
            raise ValueError(f"{name} has to be an instance of torch.Tensor, got {type(value).__name__}.")
    if rays_densities.ndim < 1 or (density_1d and rays_densities.shape[-1] != 1):
        raise ValueError(f"rays_densities: expected shape [..., 1], got {list(rays_densities.shape)}")
    shape = rays_densities.shape[:-1]
    if not z_can_be_none and rays_z is not None and rays_z.shape != shape:
        raise ValueError(f"rays_z: expected shape {list(shape)}, got {list(rays_z.shape)}")
    if not features_can_be_none and rays_features is not None and rays_features.shape[:-1] != shape:
        raise ValueError(f"rays_features: expected shape {[*shape, 'F']}, got {list(rays_features.shape)}")


def _opacities(densities: Tensor) -> Tensor:
    return 1 - torch.prod(1 - densities, -1, keepdim=True)


def _check_densities(densities: Tensor) -> None:
    if not isinstance(densities, Tensor) or densities.ndim < 2 or densities.shape[-1] != 1:
        got = list(densities.shape) if isinstance(densities, Tensor) else type(densities).__name__
        raise ValueError(f"rays_densities: expected shape [..., P, 1], got {got}")
    _check_density_bounds(densities)
