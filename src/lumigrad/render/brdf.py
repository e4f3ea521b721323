"""Metallic-roughness reflection: GGX microfacets over a Lambertian base.

All functions take the last dimension as the item (1 for scalars, 3 for colours and vectors) and broadcast otherwise.
Directions are of unit length, cosines are clamped by the caller.

Sources: Walter et al. 2007 (GGX); Heitz 2014 (height-correlated Smith); Schlick 1994 (Fresnel); Burley 2012
(alpha = roughness^2); Khronos, glTF 2.0, appendix B (how they are put together).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from lumigrad.ops.texture import texture
from lumigrad.scene._vectors import dot, unit

# Smoother surfaces count as this smooth: a perfect mirror would show a point light as a single, infinite value.
MIN_ROUGHNESS = 0.04
DIELECTRIC = 0.04  # reflectance for an index of refraction of 1.5
TABLE_SIZE = 48


def ggx(nh: Tensor, alpha: Tensor) -> Tensor:
    """Density of microfacet normals per solid angle, D(h). nh: cosine of h to the normal."""
    squared = alpha * alpha
    spread = nh * nh * (squared - 1) + 1
    return squared / (math.pi * spread * spread)


def smith(nl: Tensor, nv: Tensor, alpha: Tensor) -> Tensor:
    """Height-correlated visibility G / (4 (n.l) (n.v))."""
    squared = alpha * alpha
    towards_light = nv * (nl * nl * (1 - squared) + squared).sqrt()
    towards_viewer = nl * (nv * nv * (1 - squared) + squared).sqrt()
    return 0.5 / (towards_light + towards_viewer).clamp_min(1e-7)


def schlick(cosine: Tensor, f0: Tensor) -> Tensor:
    """Fresnel reflectance; f0: at normal incidence."""
    return f0 + (1 - f0) * (1 - cosine).clamp(0, 1) ** 5


def reflectance_at_normal(base_color: Tensor, metallic: Tensor) -> Tensor:
    """f0: 4 % for dielectrics, the base colour for metals."""
    return DIELECTRIC + (base_color - DIELECTRIC) * metallic


def metallic_roughness(
    normal: Tensor, view: Tensor, light: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor
) -> Tensor:
    """The BRDF times the cosine to the light: what a surface reflects of the irradiance of a punctual light.

    glTF weights the diffuse part with 1 - F(v.h), by which white surfaces reflect up to a third more than they receive
    at grazing angles. Here F is that of the more grazing of the two directions: symmetric, and never more than all.

    Args:
        normal, view, light: unit vectors [..., 3]; view and light point away from the surface.
        base_color: linear [..., 3].
        metallic, roughness: [..., 1].

    Returns:
        [..., 3]; zero where the light is behind the surface.
    """
    half = unit(view + light)
    nl, nh, vh = dot(normal, light).clamp(0, 1), dot(normal, half).clamp(0, 1), dot(view, half).clamp(0, 1)
    nv = dot(normal, view).clamp(1e-4, 1)
    alpha = roughness.clamp(MIN_ROUGHNESS, 1).square()
    f0 = reflectance_at_normal(base_color, metallic)
    diffuse = (1 - schlick(torch.minimum(nl, nv), f0)) * (1 - metallic) * base_color / math.pi
    return nl * (diffuse + schlick(vh, f0) * ggx(nh, alpha) * smith(nl, nv, alpha))


def diffuse_fresnel(ior: Tensor) -> Tensor:
    """The part of diffuse light that the smooth surface of a dielectric reflects, on its outside. ior: more than 1.

    Source: Duntley 1942, "The optical properties of diffusing materials".
    """
    n, n2, n4 = ior, ior**2, ior**4
    return (
        0.5 + (n - 1) * (3 * n + 1) / (6 * (n + 1) ** 2)
        + n2 * (n2 - 1) ** 2 / (n2 + 1) ** 3 * ((n - 1) / (n + 1)).log()
        - 2 * n**3 * (n2 + 2 * n - 1) / ((n2 + 1) * (n4 - 1))
        + 8 * n4 * (n4 + 1) / ((n2 + 1) * (n4 - 1) ** 2) * n.log()
    )  # fmt: skip


def white_reflection(nv: Tensor, roughness: Tensor) -> tuple[Tensor, Tensor]:
    """The part of uniform white light that microfacets reflect is f0 * scale + offset.

    Args:
        nv: cosine of the view direction to the normal [..., 1].
        roughness: [..., 1].

    Returns:
        scale and offset [..., 1], looked up in a table that is computed once per process.

    Source: Karis 2013, "Real Shading in Unreal Engine 4", the second factor of the split sum.
    """
    shape = torch.broadcast_shapes(nv.shape, roughness.shape)
    table = _table().to(nv)
    coordinates = torch.cat([nv.expand(shape), roughness.expand(shape)], -1).clamp(0, 1)
    # Entries are at multiples of 1 / (size - 1): the centres of the first and last texels are 0 and 1.
    uv = (coordinates * (TABLE_SIZE - 1) + 0.5) / TABLE_SIZE
    found = texture(table[None], uv.reshape(1, 1, -1, 2), filter="linear", wrap="clamp").reshape(*shape[:-1], 2)
    return found[..., :1], found[..., 1:]


@functools.lru_cache(maxsize=1)
def _table() -> Tensor:
    """[roughness, n.v, 2]: the integrals of `white_reflection`, by quadrature over half vectors drawn from GGX."""
    steps = torch.linspace(0, 1, TABLE_SIZE, dtype=torch.float64)
    nv = steps.clamp_min(1e-3)[None, :, None]
    alpha = steps.clamp_min(MIN_ROUGHNESS).square()[:, None, None]
    count = 1024
    index = torch.arange(count, dtype=torch.float64)
    fraction, turn = (index + 0.5) / count, index * (math.pi * (3 - math.sqrt(5)))
    cosine = ((1 - fraction) / (1 + (alpha * alpha - 1) * fraction)).sqrt()
    sine = (1 - cosine * cosine).clamp_min(0).sqrt()
    vh = sine * turn.cos() * (1 - nv * nv).sqrt() + cosine * nv
    nl = (2 * vh * cosine - nv).clamp_min(0)
    vh = vh.clamp_min(0)
    # Samples have the density D(h) (n.h) / (4 v.h) per solid angle of l.
    weight = 4 * smith(nl, nv, alpha) * nl * vh / cosine.clamp_min(1e-6)
    grazing = (1 - vh).clamp(0, 1) ** 5
    table = torch.stack([(weight * (1 - grazing)).mean(-1), (weight * grazing).mean(-1)], -1)
    return table / table.sum(-1, keepdim=True).clamp_min(1)  # rounding of the sum must not add energy
