"""What materials do with light, defined in plain PyTorch.

Vectors and colours are the last dimension; everything else has a last dimension of 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DIFFUSE, METALLIC_ROUGHNESS, CONDUCTOR, DIELECTRIC = range(4)
MIN_ROUGHNESS = 0.04  # surfaces smoother than this that are no mirrors count as this smooth
AT_NORMAL = 0.04  # what dielectrics of index 1.5 reflect at normal incidence


def bsdf(materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    """Arguments and result: `lumigrad.ops.light.bsdf`."""
    value, pdf = torch.zeros_like(wi), wi.new_zeros(len(wi), 1)
    for kind, function in ((DIFFUSE, _diffuse), (METALLIC_ROUGHNESS, _metallic_roughness), (CONDUCTOR, _conductor)):
        front, i, o = _front(kinds, wi, wo)
        chosen = ((kinds[:, 0] == kind) & front & ~_smooth(materials, kinds)).nonzero()[:, 0]
        found = function(materials[chosen], i[chosen], o[chosen])
        value, pdf = value.index_put((chosen,), found[0]), pdf.index_put((chosen,), found[1].detach())
    glass = (kinds[:, 0] == DIELECTRIC) & ~_smooth(materials, kinds) & (wi[:, 2] != 0) & (wo[:, 2] != 0)
    chosen = glass.nonzero()[:, 0]
    found = _dielectric(materials[chosen], wi[chosen], wo[chosen])
    value, pdf = value.index_put((chosen,), found[0]), pdf.index_put((chosen,), found[1].detach())
    return value, pdf[:, 0]


def sample_bsdf(materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and result: `lumigrad.ops.light.sample_bsdf`."""
    with torch.no_grad():
        wo = sample_direction(materials, kinds, wi, numbers)
        value, pdf = bsdf(materials, kinds, wi, wo)
        weight = torch.where(pdf[:, None] > 0, value / torch.where(pdf > 0, pdf, 1)[:, None], 0)
        only = _smooth(materials, kinds) & (wo[:, 2] != 0)
        return wo, torch.where(only[:, None], only_value(materials, kinds, wi, wo), weight), pdf


def sample_direction(materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> Tensor:
    """Drawn directions [N, 3], zero where nothing is sent."""
    choice, u, v = numbers.unbind(-1)
    kind = kinds[:, 0]
    side = torch.where(wi[:, 2:] < 0, -1.0, 1.0).to(wi)
    front = wi * torch.cat((torch.ones_like(side), torch.ones_like(side), side), -1)
    matt = _cosine_hemisphere(u, v)
    half = torch.where(_smooth(materials, kinds)[:, None], _up(wi), _visible_normal(front, _alpha(materials), u, v))
    mirrored = 2 * _dot(front, half) * half - front
    facets = (kind == CONDUCTOR) | ((kind == METALLIC_ROUGHNESS) & (choice < _share(materials, front)[:, 0]))
    wo = torch.where(facets[:, None], mirrored, matt)
    shown = (wi[:, 2] != 0) & (wo[:, 2] > 0) & ((side[:, 0] > 0) | (kinds[:, 1] != 0))
    opaque = torch.where(shown[:, None], torch.cat((wo[:, :2], wo[:, 2:] * side), -1), 0)
    # Dielectrics are turned around with their normal.
    above, half = (
        side * wi,
        torch.where(_smooth(materials, kinds)[:, None], _up(wi), half_of(wi, materials, side, u, v)),
    )
    across, cosine = _across(materials, wi), _dot(above, half)
    reflects = choice[:, None] < _fresnel_dielectric(cosine, across)
    refracted = (cosine / across - (1 - (1 - cosine**2) / across**2).clamp(0, 1).sqrt()) * half - above / across
    through = torch.where(reflects, 2 * cosine * half - above, refracted)
    valid = (through[:, 2:] > 0) == reflects
    glass = torch.where(valid & (wi[:, 2:] != 0), side * through, 0)
    return torch.where((kind == DIELECTRIC)[:, None], glass, opaque)


def half_of(wi: Tensor, materials: Tensor, side: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A visible normal of the side that wi points to."""
    return _visible_normal(side * wi, _alpha(materials), u, v)


def only_value(materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> Tensor:
    """What smooth materials send of light from the only direction, over the chance that it is drawn."""
    color, extinction = materials[:, :3], materials[:, 6:9]
    eta = torch.where(wi[:, 2:] * wo[:, 2:] < 0, _across(materials, wi), 1)
    mirror = _fresnel_conductor(wi[:, 2:].abs(), color, extinction)
    return torch.where(kinds[:, :1] == DIELECTRIC, color / eta**2, mirror)


def _smooth(materials: Tensor, kinds: Tensor) -> Tensor:
    return (kinds[:, 0] >= CONDUCTOR) & ~(materials[:, 3] > 0)


def _front(kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether an opaque material shows anything, and the directions as it sees them."""
    turned = (kinds[:, 1:] != 0) & (wi[:, 2:] < 0)
    flip = wi.new_tensor([1.0, 1.0, -1.0])
    wi, wo = torch.where(turned, wi * flip, wi), torch.where(turned, wo * flip, wo)
    return (wi[:, 2] > 0) & (wo[:, 2] > 0), wi, wo


# ---- Kinds: value and density ----------------------------------------------------------------------------------


def _diffuse(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    return m[:, :3] * wo[:, 2:] / math.pi, wo[:, 2:] / math.pi


def _metallic_roughness(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    half = _unit(wi + wo)
    color, metallic, alpha = m[:, :3], m[:, 4:5], _alpha(m)
    nl, nv, nh, vh = wo[:, 2:], wi[:, 2:].clamp_min(1e-4), half[:, 2:], _dot(wi, half).clamp(0, 1)
    at_normal = AT_NORMAL + (color - AT_NORMAL) * metallic
    squared = alpha**2
    smith = nv * (nl**2 * (1 - squared) + squared).sqrt() + nl * (nv**2 * (1 - squared) + squared).sqrt()
    facets = _ggx(nh, alpha) * 0.5 / smith.clamp_min(1e-7)
    matt = (1 - _schlick(torch.minimum(nl, nv), at_normal)) * (1 - metallic) * color / math.pi
    share = _share(m, wi)
    pdf = share * _reflected_pdf(wi, nh, alpha) + (1 - share) * nl / math.pi
    return nl * (matt + _schlick(vh, at_normal) * facets), pdf


def _share(m: Tensor, wi: Tensor) -> Tensor:
    """The part of directions drawn from the microfacets of a metallic-roughness material."""
    metallic, base = m[:, 4:5].clamp(0, 1), m[:, :3].mean(-1, keepdim=True).clamp(0, 1)
    facets = _schlick(wi[:, 2:], AT_NORMAL * (1 - metallic) + base * metallic)
    matt = (1 - metallic) * base * (1 - facets)
    return torch.where(matt > 0, (facets / (facets + matt)).clamp(0.1, 0.9), 1)


def _conductor(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    half, alpha = _unit(wi + wo), _alpha(m)
    facets = _ggx(half[:, 2:], alpha) * _smith(wi, alpha) * _smith(wo, alpha) / (4 * wi[:, 2:])
    value = _fresnel_conductor(_dot(wi, half), m[:, :3], m[:, 6:9]) * facets
    return value, _reflected_pdf(wi, half[:, 2:], alpha)


def _dielectric(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    reflects = wi[:, 2:] * wo[:, 2:] > 0
    across, alpha = _across(m, wi), _alpha(m)
    eta = torch.where(reflects, 1, across)
    half = _unit(wi + eta * wo)
    half = half * torch.where(half[:, 2:] < 0, -1.0, 1.0).to(half)
    cos_i, cos_o = _dot(wi, half), _dot(wo, half)
    valid = (cos_i * wi[:, 2:] > 0) & (cos_o * wo[:, 2:] > 0)
    reflected = _fresnel_dielectric(cos_i.abs(), across)
    density = _ggx(half[:, 2:], alpha) * _smith(wi, alpha) / wi[:, 2:].abs()
    total = torch.where(valid, cos_i + eta * cos_o, 1)
    narrowing = (cos_i * cos_o).abs() / total**2
    value = torch.where(reflects, reflected / 4, (1 - reflected) * narrowing) * density * _smith(wo, alpha)
    pdf = torch.where(reflects, reflected / 4, (1 - reflected) * narrowing * eta**2) * density
    return m[:, :3] * torch.where(valid, value, 0), torch.where(valid, pdf, 0)


# ---- Parts -----------------------------------------------------------------------------------------------------


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _unit(a: Tensor) -> Tensor:
    return a / a.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def _up(like: Tensor) -> Tensor:
    return like.new_tensor([0.0, 0.0, 1.0]).expand_as(like)


def _alpha(m: Tensor) -> Tensor:
    return m[:, 3:4].clamp(MIN_ROUGHNESS, 1) ** 2


def _across(m: Tensor, wi: Tensor) -> Tensor:
    return torch.where(wi[:, 2:] > 0, m[:, 5:6], 1 / m[:, 5:6])


def _schlick(cosine: Tensor, at_normal: Tensor) -> Tensor:
    return at_normal + (1 - at_normal) * (1 - cosine).clamp(0, 1) ** 5


def _fresnel_conductor(cosine: Tensor, eta: Tensor, k: Tensor) -> Tensor:
    """Reflectance of unpolarised light, from the complex amplitudes (Born and Wolf, section 14.2)."""
    index = torch.complex(eta, k)
    other = (index**2 - (1 - cosine**2)).sqrt()
    s, p = (cosine - other) / (cosine + other), (index**2 * cosine - other) / (index**2 * cosine + other)
    return 0.5 * (s.abs() ** 2 + p.abs() ** 2)


def _fresnel_dielectric(cosine: Tensor, eta: Tensor) -> Tensor:
    sin2 = (1 - cosine**2) / eta**2
    total = sin2 >= 1
    other = (1 - torch.where(total, 0, sin2)).sqrt()
    parallel = (eta * cosine - other) / (eta * cosine + other)
    perpendicular = (cosine - eta * other) / (cosine + eta * other)
    return torch.where(total, 1, 0.5 * (parallel**2 + perpendicular**2))


def _ggx(cosine: Tensor, alpha: Tensor) -> Tensor:
    return alpha**2 / (math.pi * (cosine**2 * (alpha**2 - 1) + 1) ** 2)


def _smith(w: Tensor, alpha: Tensor) -> Tensor:
    tan2 = (1 - w[:, 2:] ** 2).clamp_min(0) / w[:, 2:] ** 2
    return 2 / (1 + (1 + alpha**2 * tan2).sqrt())


def _reflected_pdf(wi: Tensor, nh: Tensor, alpha: Tensor) -> Tensor:
    return _ggx(nh, alpha) * _smith(wi, alpha) / (4 * wi[:, 2:])


def _visible_normal(wi: Tensor, alpha: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Normals of facets visible from wi (Dupuy and Benyoub 2023)."""
    stretch = torch.cat((alpha, alpha, torch.ones_like(alpha)), -1)
    seen = _unit(wi * stretch)
    angle, z = 2 * math.pi * u, (1 - v) * (1 + seen[:, 2]) - seen[:, 2]
    sine = (1 - z**2).clamp(0, 1).sqrt()
    half = (torch.stack((sine * angle.cos(), sine * angle.sin(), z), -1) + seen) * stretch
    return _unit(torch.cat((half[:, :2], half[:, 2:].clamp_min(0)), -1))


def _cosine_hemisphere(u: Tensor, v: Tensor) -> Tensor:
    """Directions with the density cos / pi, by the concentric map of Shirley and Chiu 1997."""
    a, b = 2 * u - 1, 2 * v - 1
    wide = a.abs() > b.abs()
    radius, other = torch.where(wide, a, b), torch.where(wide, b, a)
    angle = math.pi / 4 * torch.where(radius != 0, other / torch.where(radius != 0, radius, 1), 0)
    along, across = radius * angle.cos(), radius * angle.sin()
    x, y = torch.where(wide, along, across), torch.where(wide, across, along)
    return torch.stack((x, y, (1 - x**2 - y**2).clamp_min(0).sqrt()), -1)
