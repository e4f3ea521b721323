"""Scattering of light by materials.

Defined by :func:`lumigrad.reference.light.bsdf`; the kernels are ``native/light/bsdf.h``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.light._columns import completed_materials
from lumigrad.reference.light import _bsdf as definition
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float, Int


def bsdf(
    materials: Float[Tensor, "items parameters"],
    kinds: Int[Tensor, "items 2"],
    wi: Float[Tensor, "items 3"],
    wo: Float[Tensor, "items 3"],
) -> tuple[Float[Tensor, "items 3"], Float[Tensor, " items"]]:
    """Value of bidirectional scattering functions with the cosine, and the density of drawn directions.

    Directions are unit vectors in the frame of the surface, whose normal is +z, and point away from it.

    Args:
        materials: rows of colour (3), roughness, metallic, index of refraction, extinction (3), emission (3), and the
            further columns of :class:`lumigrad.LitScene`, of which transmission, coat and coat roughness count here.
            The colour is the reflectance of diffuse materials, the base colour of metallic-roughness ones, the real
            part of a conductor's index of refraction (with `extinction` as the imaginary part), the tint of a
            dielectric, and of plastics the factor of light that comes through the coat twice. The square of the
            roughness is the width of the GGX distribution; conductors and dielectrics of roughness 0 are smooth.
        kinds: of each item's material, 0 diffuse, 1 metallic-roughness, 2 conductor, 3 dielectric, 4 plastic (a matt
            base under a dielectric coat), 5 solid metallic-roughness (what it transmits is refracted; through kind 1 it
            goes straight on); and whether it has two sides (not 0). Opaque materials of one side are black from behind.
        wi: to where light is sent.
        wo: from where it comes.

    Returns:
        f |cos wo| [N, 3], and the density of wo per solid angle [N], both 0 for smooth materials. Radiance that a
        dielectric transmits is divided by the square of the relative index of refraction. Gradients of the value reach
        `materials` (those of a coat and of transmission where there are any), `wi` and `wo`, of which each component
        counts as a variable.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    Sources: Walter et al. 2007 (microfacets); Heitz 2014 and 2018 (Smith; visible normals); Khronos, glTF 2.0.

    >>> import torch
    >>> from lumigrad.ops.light import bsdf
    >>> grey = torch.tensor([[0.5, 0.5, 0.5, 1.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    >>> up = torch.tensor([[0.0, 0.0, 1.0]])
    >>> value, pdf = bsdf(grey, torch.tensor([[0, 1]]), up, up)
    >>> round(value[0, 0].item(), 4), round(pdf.item(), 4)  # 0.5 / pi, 1 / pi
    (0.1592, 0.3183)
    """
    materials, kinds = _check_materials(materials, kinds)
    wi, wo = _check_directions("wi", wi, materials), _check_directions("wo", wo, materials)
    if needs_reference("bsdf", materials):
        return definition.bsdf(materials, kinds, wi, wo)
    value, pdf = _bsdf(materials.contiguous(), kinds, wi.contiguous(), wo.contiguous())
    return value, pdf


def sample_bsdf(
    materials: Float[Tensor, "items parameters"],
    kinds: Int[Tensor, "items 2"],
    wi: Float[Tensor, "items 3"],
    numbers: Float[Tensor, "items 3"],
) -> tuple[Float[Tensor, "items 3"], Float[Tensor, "items 3"], Float[Tensor, " items"]]:
    """Draw the directions from which light comes that is sent to wi.

    Args:
        materials, kinds, wi: see :func:`bsdf`.
        numbers: random numbers in [0, 1).

    Returns:
        wo [N, 3], zero where nothing is sent; the value divided by the density [N, 3]; and the density [N], which is 0
        for directions that are the only ones (of smooth materials). No gradients.

    Raises:
        TypeError, ValueError: for wrong types, shapes or devices.

    >>> import torch
    >>> from lumigrad.ops.light import sample_bsdf
    >>> grey = torch.tensor([[0.5, 0.5, 0.5, 1.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    >>> wo, weight, pdf = sample_bsdf(
    ...     grey, torch.tensor([[0, 1]]), torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.1, 0.2, 0.3]])
    ... )
    >>> weight.tolist()
    [[0.5, 0.5, 0.5]]
    """
    materials, kinds = _check_materials(materials, kinds)
    wi, numbers = _check_directions("wi", wi, materials), _check_directions("numbers", numbers, materials)
    if needs_reference("sample_bsdf", materials):
        return definition.sample_bsdf(materials, kinds, wi, numbers)
    values = (value.detach().contiguous() for value in (wi, numbers))
    wo, weight, pdf = _sample(materials.detach().contiguous(), kinds, *values)
    return wo, weight, pdf


def _check_materials(materials: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    materials = completed_materials("materials", check.floating("materials", materials))
    kinds = check.tensor("kinds", kinds)
    if kinds.is_floating_point() or kinds.is_complex():
        raise TypeError(f"kinds: expected integers, got {str(kinds.dtype).removeprefix('torch.')}")
    check.shape("kinds", kinds, (materials.shape[0], 2))
    if kinds.device != materials.device:
        raise ValueError(f"kinds: expected device {materials.device} like materials, got {kinds.device}")
    return materials, kinds.to(torch.int32).contiguous()


def _check_directions(name: str, value: Tensor, materials: Tensor) -> Tensor:
    value = check.floating(name, value, materials, "materials")
    check.shape(name, value, (materials.shape[0], 3))
    return value


def _items(materials: Tensor) -> tuple[int]:
    return (materials.shape[0],)


_bsdf = declare(
    "bsdf(Tensor materials, Tensor kinds, Tensor wi, Tensor wo)",
    sizes=("items", _items),
    outputs={"value": "items 3", "pdf": "items"},
)
_sample = declare(
    "sample_bsdf(Tensor materials, Tensor kinds, Tensor wi, Tensor numbers)",
    sizes=("items", _items),
    outputs={"wo": "items 3", "weight": "items 3", "pdf": "items"},
)
