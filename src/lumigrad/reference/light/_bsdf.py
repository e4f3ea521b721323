"""Scattering of light by materials, defined in plain PyTorch.

Vectors and colours are the last dimension; everything else has a last dimension of 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.types.light import KINDS, MATERIAL_COLUMNS, MORE_MATERIAL, all_columns

TRANSMISSION, COAT, COAT_ROUGHNESS = slice(14, 15), slice(15, 16), slice(16, 17)
DIFFUSE, METALLIC_ROUGHNESS, CONDUCTOR, DIELECTRIC, PLASTIC, SOLID = range(KINDS)
MIN_ROUGHNESS = 0.04  # smoother surfaces that are not mirrors count as this smooth
COAT_AT_NORMAL = 0.04  # reflectance of a clear coat at normal incidence
FLIP = (1.0, 1.0, -1.0)


def bsdf(materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    """Arguments and result: `lumigrad.ops.light.bsdf`."""
    m = _completed(materials)
    value, pdf = torch.zeros_like(wi), wi.new_zeros(len(wi), 1)
    shown, i, o = _turned(m, kinds, wi, wo)
    shown = shown & ~smooth(m, kinds)
    layers, kind = layered(m, kinds), kinds[:, 0]
    plain = ((kind == METALLIC_ROUGHNESS) | (kind == SOLID)) & ~layers
    for chosen, function in (
        (kind == DIFFUSE, _diffuse), (plain, _metallic_roughness), (kind == CONDUCTOR, _conductor),
        (kind == DIELECTRIC, _dielectric), (kind == PLASTIC, _plastic), (layers & ~refracts(m, kinds), _sheet),
        (layers & refracts(m, kinds), _solid),
    ):  # fmt: skip
        rows = (chosen & shown).nonzero()[:, 0]
        found = function(m[rows], i[rows], o[rows])
        value, pdf = value.index_put((rows,), found[0]), pdf.index_put((rows,), found[1].detach())
    return value, pdf[:, 0]


def sample_bsdf(materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and result: `lumigrad.ops.light.sample_bsdf`."""
    with torch.no_grad():
        wo = sample_direction(materials, kinds, wi, numbers)
        value, pdf = bsdf(materials, kinds, wi, wo)
        weight = torch.where(pdf[:, None] > 0, value / torch.where(pdf > 0, pdf, 1)[:, None], 0)
        only = smooth(materials, kinds) & (wo[:, 2] != 0)
        return wo, torch.where(only[:, None], only_value(materials, kinds, wi, wo), weight), pdf


def sample_direction(materials: Tensor, kinds: Tensor, wi: Tensor, numbers: Tensor) -> Tensor:
    """Sampled directions [N, 3], zero where no light is scattered."""
    m, (choice, u, v) = _completed(materials), numbers.split(1, -1)
    kind, across = kinds[:, :1], refracts(m, kinds)[:, None]
    side = torch.where((wi[:, 2:] < 0) & ~across, -1.0, 1.0).to(wi)
    front = torch.cat((wi[:, :2], side * wi[:, 2:]), -1)
    number = torch.cat((u, v), -1)
    matt, mirrored = _cosine_hemisphere(u[:, 0], v[:, 0]), _reflection(front, _alpha(m), number)
    conductor = torch.where(smooth(m, kinds)[:, None], torch.cat((-front[:, :2], front[:, 2:]), -1), mirrored)
    glass = _border_direction(m, torch.where(smooth(m, kinds)[:, None], 0, _alpha(m)), wi, choice, number)
    wo = torch.where(kind == DIFFUSE, matt, conductor)
    wo = torch.where((kind == PLASTIC) & (choice >= _plastic_share(m, front)), matt, wo)
    wo = torch.where(kind == METALLIC_ROUGHNESS, _opaque_direction(m, front, choice, matt, mirrored), wo)
    wo = torch.where(kind == SOLID, _opaque_direction(m, front, choice, matt, mirrored), wo)
    wo = torch.where(layered(m, kinds)[:, None], _layered_direction(m, kinds, front, choice, number), wo)
    wo = torch.where(kind == DIELECTRIC, glass, wo)
    through = transmits(m, kinds)[:, None]
    shown = (wi[:, 2:] != 0) & ((wo[:, 2:] > 0) | through) & ((side > 0) | (kinds[:, 1:2] != 0) | through)
    return torch.where(shown, torch.cat((wo[:, :2], side * wo[:, 2:]), -1), 0)


def _opaque_direction(m: Tensor, wi: Tensor, choice: Tensor, matt: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(choice < _share(m, wi), mirrored, matt)


def _layered_direction(m: Tensor, kinds: Tensor, wi: Tensor, choice: Tensor, number: Tensor) -> Tensor:
    matt, mirrored = _cosine_hemisphere(number[:, 0], number[:, 1]), _reflection(wi, _alpha(m), number)
    on_coat, choice = _divided(_coat_share(m, wi), choice)
    coat = _reflection(wi, _alpha(m, COAT_ROUGHNESS), number)
    in_glass, within = _divided(_glass_share(m, wi), choice)
    glass = _border_direction(m, _alpha(m), wi, within, number)
    opaque = _opaque_direction(m, wi, within, matt, mirrored)
    on_facets, below = _divided(_share(m, wi), choice)
    through = below < m[:, TRANSMISSION].clamp(0, 1)
    onward = torch.where(mirrored[:, 2:] > 0, mirrored * mirrored.new_tensor(FLIP), 0)
    refracted, solid = refracts(m, kinds)[:, None], torch.where(in_glass, glass, _above(opaque))
    sheet = torch.where(on_facets, _above(mirrored), torch.where(through, onward, _above(matt)))
    return torch.where(on_coat, _above(coat), torch.where(refracted, solid, sheet))


def _divided(share: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
    """Whether numbers fall below a share, and the numbers, rescaled to [0, 1) in both cases."""
    below = choice < share
    return below, torch.where(below, choice / torch.where(below, share, 1), (choice - share) / (1 - share))


def _above(wo: Tensor) -> Tensor:
    return torch.where(wo[:, 2:] > 0, wo, 0)


def _border_direction(m: Tensor, alpha: Tensor, wi: Tensor, choice: Tensor, number: Tensor) -> Tensor:
    """Directions reflected and refracted by dielectrics, which turn with their normal."""
    side = torch.where(wi[:, 2:] > 0, 1.0, -1.0).to(wi)
    above = side * wi
    half = torch.where(alpha > 0, _visible_normal(above, alpha, number[:, 0], number[:, 1]), _up(wi))
    across, cosine = index_across(m, wi), _dot(above, half)
    reflects = choice < _fresnel_dielectric(cosine, across)
    refracted = (cosine / across - (1 - (1 - cosine**2) / across**2).clamp(0, 1).sqrt()) * half - above / across
    wo = torch.where(reflects, 2 * cosine * half - above, refracted)
    return torch.where((wo[:, 2:] > 0) == reflects, side * wo, 0)


def only_value(materials: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> Tensor:
    """The light that smooth materials scatter from their only direction, divided by the probability of choosing it."""
    color, extinction = materials[:, :3], materials[:, 6:9]
    eta = torch.where(wi[:, 2:] * wo[:, 2:] < 0, index_across(materials, wi), 1)
    mirror = fresnel_conductor(wi[:, 2:].abs(), color, extinction)
    return torch.where(kinds[:, :1] == DIELECTRIC, color / eta**2, mirror)


# ---- Properties of materials -----------------------------------------------------------------------------------


def _completed(materials: Tensor) -> Tensor:
    return all_columns(materials, MORE_MATERIAL, MATERIAL_COLUMNS)


def smooth(materials: Tensor, kinds: Tensor) -> Tensor:
    """Whether they scatter light only in single directions."""
    return ((kinds[:, 0] == CONDUCTOR) | (kinds[:, 0] == DIELECTRIC)) & ~(materials[:, 3] > 0)


def layered(m: Tensor, kinds: Tensor) -> Tensor:
    """Whether they consist of more than a reflecting base."""
    base = (kinds[:, 0] == METALLIC_ROUGHNESS) | (kinds[:, 0] == SOLID)
    return base & ((m[:, 14] > 0) | (m[:, 15] > 0))


def transmits(m: Tensor, kinds: Tensor) -> Tensor:
    """Whether they transmit light."""
    base = (kinds[:, 0] == METALLIC_ROUGHNESS) | (kinds[:, 0] == SOLID)
    return (kinds[:, 0] == DIELECTRIC) | (base & (m[:, 14] > 0))


def refracts(m: Tensor, kinds: Tensor) -> Tensor:
    """Whether they refract transmitted light."""
    return (kinds[:, 0] == DIELECTRIC) | ((kinds[:, 0] == SOLID) & (m[:, 14] > 0))


def _turned(m: Tensor, kinds: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether materials scatter light here, and the directions for materials without an inside."""
    through, inside = transmits(m, kinds), refracts(m, kinds)
    behind = (((kinds[:, 1] != 0) | through) & ~inside)[:, None] & (wi[:, 2:] < 0)
    flip = wi.new_tensor(FLIP)
    wi, wo = torch.where(behind, wi * flip, wi), torch.where(behind, wo * flip, wo)
    shown = (wi[:, 2] > 0) & torch.where(through, wo[:, 2] != 0, wo[:, 2] > 0)
    return torch.where(inside, (wi[:, 2] != 0) & (wo[:, 2] != 0), shown), wi, wo


# ---- Kinds: value and density ----------------------------------------------------------------------------------


def _diffuse(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    return m[:, :3] * wo[:, 2:] / math.pi, wo[:, 2:] / math.pi


def _metallic_roughness(m: Tensor, wi: Tensor, wo: Tensor, matt: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """matt: the Lambertian fraction of the base."""
    color, metallic, alpha = m[:, :3], m[:, 4:5], _alpha(m)
    nl, nv, vh = wo[:, 2:], wi[:, 2:].clamp_min(1e-4), _dot(wi, _unit(wi + wo)).clamp(0, 1)
    base = _at_normal(m)
    at_normal = base + (color - base) * metallic
    diffuse = (1 - _schlick(torch.minimum(nl, nv), at_normal)) * (1 - metallic) * matt * color / math.pi
    share = _share(m, wi)
    pdf = share * _reflected_pdf(wi, wo, alpha) + (1 - share) * nl / math.pi
    return nl * diffuse + _schlick(vh, at_normal) * _facets(wi, wo, alpha), pdf


def _facets(wi: Tensor, wo: Tensor, alpha: Tensor) -> Tensor:
    """GGX mirrors, with masking and shadowing correlated by height."""
    nl, nv, squared = wo[:, 2:], wi[:, 2:].clamp_min(1e-4), alpha**2
    smith = nv * (nl**2 * (1 - squared) + squared).sqrt() + nl * (nv**2 * (1 - squared) + squared).sqrt()
    return nl * _ggx(_unit(wi + wo)[:, 2:], alpha) * 0.5 / smith.clamp_min(1e-7)


def _share(m: Tensor, wi: Tensor) -> Tensor:
    """The fraction of directions sampled from the microfacets of a metallic-roughness material."""
    metallic, base = m[:, 4:5].clamp(0, 1), m[:, :3].mean(-1, keepdim=True).clamp(0, 1)
    facets = _schlick(wi[:, 2:], _at_normal(m) * (1 - metallic) + base * metallic)
    matt = (1 - metallic) * base * (1 - facets)
    return torch.where(matt > 0, (facets / (facets + matt)).clamp(0.1, 0.9), 1)


def _sheet(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    """A coat over a base that transmits light straight."""
    part, above, onward = m[:, TRANSMISSION], wo[:, 2:] > 0, wo * wo.new_tensor(FLIP)
    alpha, share, through = _alpha(m), _share(m, wi), part.clamp(0, 1)
    vh = _dot(wi, _unit(wi + onward)).clamp(0, 1)
    sent = part * (1 - m[:, 4:5]) * (1 - _schlick(vh, _at_normal(m))) * _facets(wi, onward, alpha) * m[:, :3]
    value = torch.where(above, _metallic_roughness(m, wi, wo, 1 - part)[0], torch.where(part > 0, sent, 0))
    reflected = share * _reflected_pdf(wi, wo, alpha) + (1 - share) * (1 - through) * wo[:, 2:] / math.pi
    pdf = torch.where(above, reflected, (1 - share) * through * _reflected_pdf(wi, onward, alpha))
    return _coated(m, wi, wo, value, pdf)


def _solid(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    """A coat over a mixture of glass and an opaque surface."""
    part, share = m[:, TRANSMISSION] * (1 - m[:, 4:5]), _glass_share(m, wi)
    above, reflects = (wi[:, 2:] > 0) & (wo[:, 2:] > 0), wi[:, 2:] * wo[:, 2:] > 0
    glass, glass_pdf = _border(m, wi, wo)
    flip = torch.where(above, 1, -1)  # directions that are not above are not evaluated
    opaque, opaque_pdf = _metallic_roughness(m, wi, torch.cat((wo[:, :2], flip * wo[:, 2:]), -1))
    value = part * glass * torch.where(reflects, 1, m[:, :3]) + torch.where(above, (1 - part) * opaque, 0)
    pdf = share * glass_pdf + torch.where(above, (1 - share) * opaque_pdf, 0)
    return _coated(m, wi, wo, value, pdf)


def _glass_share(m: Tensor, wi: Tensor) -> Tensor:
    return torch.where(wi[:, 2:] > 0, (m[:, TRANSMISSION] * (1 - m[:, 4:5])).clamp(0, 1), 1)


def _coat_share(m: Tensor, wi: Tensor) -> Tensor:
    share = (m[:, COAT] * _schlick(wi[:, 2:], wi.new_tensor(COAT_AT_NORMAL))).clamp(0.1, 0.9)
    return torch.where((m[:, COAT] > 0) & (wi[:, 2:] > 0), share, 0)


def _coated(m: Tensor, wi: Tensor, wo: Tensor, value: Tensor, pdf: Tensor) -> tuple[Tensor, Tensor]:
    coat, alpha, at_normal = m[:, COAT], _alpha(m, COAT_ROUGHNESS), wi.new_tensor(COAT_AT_NORMAL)
    above, outside = (wi[:, 2:] > 0) & (wo[:, 2:] > 0), (wi[:, 2:] > 0) | (wo[:, 2:] > 0)
    grazing = torch.minimum(wi[:, 2:].abs(), wo[:, 2:].abs())
    vh = _dot(wi, _unit(wi + wo)).clamp(0, 1)
    i, o = (torch.cat((w[:, :2], w[:, 2:].abs()), -1) for w in (wi, wo))
    mirrored = torch.where(above, coat * _schlick(vh, at_normal) * _facets(i, o, alpha), 0)
    covered = (1 - coat * _schlick(grazing, at_normal)) * value + mirrored
    share = _coat_share(m, wi)
    pdf = (1 - share) * pdf + torch.where(above, share * _reflected_pdf(i, o, alpha), 0)
    return torch.where((coat > 0) & outside, covered, value), pdf


def _conductor(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    half, alpha = _unit(wi + wo), _alpha(m)
    facets = _ggx(half[:, 2:], alpha) * _smith(wi, alpha) * _smith(wo, alpha) / (4 * wi[:, 2:])
    value = fresnel_conductor(_dot(wi, half), m[:, :3], m[:, 6:9]) * facets
    return value, _reflected_pdf(wi, wo, alpha)


def _plastic(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    half, alpha, ior, share = _unit(wi + wo), _alpha(m), m[:, 5:6], _plastic_share(m, wi)
    facets = _ggx(half[:, 2:], alpha) * _smith(wi, alpha) * _smith(wo, alpha) / (4 * wi[:, 2:])
    through = (1 - _fresnel_dielectric(wi[:, 2:], ior)) * (1 - _fresnel_dielectric(wo[:, 2:], ior))
    value = _fresnel_dielectric(_dot(wi, half), ior) * facets + through * m[:, :3] * wo[:, 2:] / math.pi
    return value, share * _reflected_pdf(wi, wo, alpha) + (1 - share) * wo[:, 2:] / math.pi


def _plastic_share(m: Tensor, wi: Tensor) -> Tensor:
    coat = _fresnel_dielectric(wi[:, 2:].abs(), m[:, 5:6])
    base = (1 - coat) * m[:, :3].mean(-1, keepdim=True).clamp(0, 1)
    return (coat / (coat + base)).clamp(0.1, 0.9)


def _dielectric(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    value, pdf = _border(m, wi, wo)
    return m[:, :3] * value, pdf


def _border(m: Tensor, wi: Tensor, wo: Tensor) -> tuple[Tensor, Tensor]:
    """A rough boundary between dielectrics, without colour."""
    reflects = wi[:, 2:] * wo[:, 2:] > 0
    across, alpha = index_across(m, wi), _alpha(m)
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
    return torch.where(valid, value, 0), torch.where(valid, pdf, 0)


# ---- Parts -----------------------------------------------------------------------------------------------------


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _unit(a: Tensor) -> Tensor:
    return a / a.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def _up(like: Tensor) -> Tensor:
    return like.new_tensor([0.0, 0.0, 1.0]).expand_as(like)


def _alpha(m: Tensor, column: slice = slice(3, 4)) -> Tensor:
    return m[:, column].clamp(MIN_ROUGHNESS, 1) ** 2


def _at_normal(m: Tensor) -> Tensor:
    """The reflectance of a dielectric at normal incidence."""
    return ((m[:, 5:6] - 1) / (m[:, 5:6] + 1)) ** 2


def index_across(m: Tensor, wi: Tensor) -> Tensor:
    """The index of refraction of the side opposite wi, divided by that of wi's side."""
    return torch.where(wi[:, 2:] > 0, m[:, 5:6], 1 / m[:, 5:6])


def _schlick(cosine: Tensor, at_normal: Tensor) -> Tensor:
    return at_normal + (1 - at_normal) * (1 - cosine).clamp(0, 1) ** 5


def fresnel_conductor(cosine: Tensor, eta: Tensor, k: Tensor) -> Tensor:
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


def _reflected_pdf(wi: Tensor, wo: Tensor, alpha: Tensor) -> Tensor:
    return _ggx(_unit(wi + wo)[:, 2:], alpha) * _smith(wi, alpha) / (4 * wi[:, 2:])


def _reflection(wi: Tensor, alpha: Tensor, number: Tensor) -> Tensor:
    half = _visible_normal(wi, alpha, number[:, 0], number[:, 1])
    return 2 * _dot(wi, half) * half - wi


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
