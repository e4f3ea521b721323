"""Light from an environment map, prefiltered for rough reflections (split-sum approximation).

What a rough surface reflects is approximated by two factors: the mean radiance in a lobe around the mirror direction,
prefiltered here for several roughnesses, and the part of white light reflected (`lumigrad.render.brdf`).

Source: Karis 2013, "Real Shading in Unreal Engine 4".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.texture import build_mips, texture_cube
from lumigrad.ops.texture._build_mips import check_texture
from lumigrad.scene._vectors import align, frames
from lumigrad.scene.light.cubemap import cube_directions, cube_solid_angles, equirect_to_cube
from lumigrad.scene.light.lights import SurroundingLight
from lumigrad.types.shapes import Float

IRRADIANCE_SIZE = 16
SMALLEST_LEVEL = 8
QUADRATURE_SIZE = 16  # up to this face size, all pairs of texels are affordable


@dataclass(frozen=True)
class EnvironmentLight(SurroundingLight):
    """Light from a cube map at infinity.

    Making one prefilters the map; the results keep gradients to its texels. To optimise texels, make the light anew
    in each step.

    Attributes:
        cube: linear radiance [6, S, S, 3], at least 2 texels per side.
        intensity: multiplies it, [] or [N].
        rotation: [3, 3], turns environment directions into world directions; None leaves them as they are.
        irradiance: over pi, [6, 16, 16, 3]; computed where it is not given.
        levels: prefiltered maps of sizes S / 2, S / 4, ..., for roughness k / len(levels); computed where not given.

    >>> import torch
    >>> from lumigrad.scene import EnvironmentLight
    >>> cube = torch.zeros(6, 8, 8, 3)
    >>> cube[2] = 1.0  # light from above
    >>> sky = EnvironmentLight(cube)
    >>> up, down = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, -1.0, 0.0]])
    >>> sky.sample(up)[0, 0].item(), sky.diffuse(up)[0, 0].item() > 0.3, sky.diffuse(down)[0, 0].item()
    (1.0, True, 0.0)
    """

    cube: Any
    intensity: Any = 1.0
    rotation: Float[Tensor, "3 3"] | None = None
    irradiance: Any = None
    levels: Any = None

    ranks = {"intensity": 0}  # noqa: RUF012

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.cube, Tensor) or self.cube.ndim != 4 or self.cube.shape[-1] != 3:
            got = list(self.cube.shape) if isinstance(self.cube, Tensor) else type(self.cube).__name__
            raise ValueError(f"cube: expected [6, S, S, 3], got {got}")
        check_texture(self.cube[None], cube=True)
        if self.cube.shape[1] < 2:
            raise ValueError("cube: expected at least 2 texels per side, got 1 (an AmbientLight does the same)")
        if self.rotation is not None and self.rotation.shape != (3, 3):
            raise ValueError(f"rotation: expected [3, 3], got {list(self.rotation.shape)}")
        if self.irradiance is None:
            object.__setattr__(self, "irradiance", prefilter_diffuse(self.cube))
        if self.levels is None:
            object.__setattr__(self, "levels", prefilter_specular(self.cube))

    @classmethod
    def from_equirect(
        cls,
        image: Float[Tensor, "height width 3"],
        size: int = 128,
        intensity: float | Float[Tensor, " ..."] = 1.0,
        rotation: Float[Tensor, "3 3"] | None = None,
    ) -> EnvironmentLight:
        """From an equirectangular image [H, W, 3] of linear radiance; its convention is that of `scene.cubemap`."""
        if isinstance(image, Tensor) and image.shape[-1:] != (3,):
            raise ValueError(f"image: expected [H, W, 3], got {list(image.shape)}")
        return cls(equirect_to_cube(image, size), intensity, rotation)

    def to(self, *args: object) -> EnvironmentLight:
        """Copy with all tensors passed through `Tensor.to`."""
        levels = tuple(level.to(*args) for level in self.levels)
        return replace(self._map(lambda name, value: value.to(*args)), levels=levels)

    def _inward(self, directions: Tensor) -> Tensor:
        """Directions of the map, flat [1, 1, P, 3], that are `directions` [..., 3] in the world."""
        if self.rotation is not None:
            directions = directions @ self.rotation.to(directions)
        return directions.reshape(1, 1, -1, 3)

    def _outward(self, found: Tensor, directions: Tensor) -> Tensor:
        return found.reshape(directions.shape) * align(self.intensity, 0, directions).to(directions)

    def sample(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Radiance [..., 3] from world directions [..., 3] of any length."""
        found = texture_cube(self.cube[None].to(directions), self._inward(directions), filter="linear")
        return self._outward(found, directions)

    def diffuse(self, normals: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        found = texture_cube(self.irradiance[None].to(normals), self._inward(normals), filter="linear")
        return self._outward(found, normals)

    def specular(
        self, directions: Float[Tensor, "*shape 3"], roughness: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "*shape 3"]:
        level = roughness.expand(*directions.shape[:-1], 1).clamp(0, 1) * len(self.levels)
        found = texture_cube(
            self.cube[None].to(directions),
            self._inward(directions),
            mip_bias=level.reshape(1, 1, -1).to(directions),
            mips=[mip[None].to(directions) for mip in self.levels],
        )
        return self._outward(found, directions)


def prefilter_diffuse(
    cube: Float[Tensor, "6 side side channels"], size: int = IRRADIANCE_SIZE
) -> Float[Tensor, "6 _ _ channels"]:
    """Irradiance over pi of surfaces facing every direction of a small cube [6, size, size, C]."""
    return _quadrature(cube, size, None)


def prefilter_specular(
    cube: Float[Tensor, "6 side side channels"], samples: int = 128
) -> tuple[Float[Tensor, "6 _ _ channels"], ...]:
    """Environment maps as reflected by rougher and rougher mirrors, seen and facing along the mirror direction.

    Level k of n is the mean of the environment weighted with D(h) (n.l), where D is the GGX distribution of roughness
    k / n. Coarse levels sum over all texels. Fine ones, whose lobes are narrow, sum over `samples` fixed directions
    drawn from the lobe, each looked up in the mip level that fits the solid angle it stands for.

    Args:
        cube: [6, S, S, C].
        samples: lookups a texel of the fine levels.

    Returns:
        n maps of sizes S / 2, S / 4, ... down to 8 (one at least), which `texture_cube` takes as mips.

    Source: Karis 2013; lookups in mip levels after Krivanek and Colbert, GPU Gems 3, chapter 20.
    """
    count = max(1, cube.shape[1].bit_length() - SMALLEST_LEVEL.bit_length())
    mips = build_mips(cube[None], cube=True)
    levels = []
    for k in range(1, count + 1):
        size, roughness = max(1, cube.shape[1] >> k), k / count
        if size <= QUADRATURE_SIZE:
            levels.append(_quadrature(cube, size, roughness))
            continue
        normals = torch.nn.functional.normalize(cube_directions(size, cube.dtype, cube.device), dim=-1)
        lobe, weight, level = _ggx_lobe(roughness, samples, cube)
        directions = lobe @ frames(normals.reshape(-1, 3)).transpose(-1, -2)  # [texels, samples, 3]
        found = texture_cube(cube[None], directions[None], mip_bias=level.expand(1, *directions.shape[:2]), mips=mips)
        levels.append((found[0] * weight[:, None]).sum(1).reshape(6, size, size, -1))
    return tuple(levels)


def _quadrature(cube: Tensor, size: int, roughness: float | None) -> Tensor:
    """Means of a cube map around each direction of a smaller one, weighted as a rough or, with None, a matt surface.

    Sums over the texels of a version of at most 32 x 32 a face.
    """
    steps = max(0, (cube.shape[1] // 32).bit_length() - 1)
    source = build_mips(cube[None], steps, cube=True)[-1][0] if steps else cube
    weights = _weights(source.shape[1], size, roughness, cube.dtype, cube.device)
    # A row for each channel: with a column each, the product of the gradient takes several times as long.
    rows = source.reshape(-1, cube.shape[-1]).T.contiguous()
    return (rows @ weights.T).T.reshape(6, size, size, -1)


# An optimisation of texels filters maps of the same size in every step, so weights are cached: up to 37 MB each.
@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
@torch.no_grad()
def _weights(source: int, size: int, roughness: float | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights [6 size^2, 6 source^2] of texels, from a kernel of the cosine in [0, 1] and the texels' solid angles.

    They are scaled to add up to 1, so a uniform environment is reproduced exactly.
    """
    # In double precision, so that their sum is 1 to the precision needed.
    like: dict[str, Any] = {"dtype": torch.float64, "device": device}
    towards = torch.nn.functional.normalize(cube_directions(source, **like), dim=-1).reshape(-1, 3)
    normals = torch.nn.functional.normalize(cube_directions(size, **like), dim=-1).reshape(-1, 3)
    cosine = (normals @ towards.T).clamp(0, 1)
    weights = cosine if roughness is None else _ggx_kernel(roughness)(cosine)
    weights = weights * cube_solid_angles(source, **like).reshape(-1).repeat(6)
    return (weights / weights.sum(1, keepdim=True)).to(dtype)


def _ggx_kernel(roughness: float) -> Callable[[Tensor], Tensor]:
    """D(h) (n.l) without constant factors; where n = v, (n.h)^2 = (1 + n.l) / 2."""
    squared = roughness**4  # in terms of the width alpha = roughness^2
    return lambda cosine: cosine / (1 + (squared - 1) * (0.5 + 0.5 * cosine)).square()


def _ggx_lobe(roughness: float, samples: int, cube: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Directions [K, 3] around +z reflected by GGX half vectors, weights [K] adding up to 1, and mip levels [K]."""
    index = torch.arange(samples, dtype=torch.float64, device=cube.device)
    # Half vectors with the density D(h) (n.h), at the points of a Fibonacci lattice.
    fraction, turn = (index + 0.5) / samples, index * (math.pi * (3 - math.sqrt(5)))
    squared = roughness**4
    cosine2 = (1 - fraction) / (1 + (squared - 1) * fraction)
    cosine, sine = cosine2.sqrt(), (1 - cosine2).sqrt()
    half = torch.stack([sine * turn.cos(), sine * turn.sin(), cosine], -1)
    lobe = 2 * cosine[:, None] * half - half.new_tensor([0.0, 0.0, 1.0])
    weight = lobe[:, 2].clamp_min(0)
    # The density of reflected directions is D(h) (n.h) / (4 v.h) = D(h) / 4 where n = v.
    density = squared / (math.pi * (1 + (squared - 1) * cosine2).square()) / 4
    texel = 4 * math.pi / (6 * cube.shape[1] ** 2)
    # Half a level finer than the solid angle suggests, because trilinear lookups blur by themselves.
    level = (0.5 * torch.log2(1 / (samples * density * texel)) - 0.5).clamp_min(0)
    return lobe.to(cube.dtype), (weight / weight.sum()).to(cube.dtype), level.to(cube.dtype)
