"""Lights.

Two kinds. *Punctual* lights reach a point from one direction: `radiance(points)` returns it and the incoming light.
*Surrounding* lights come from everywhere: `diffuse(normals)` and `specular(directions, roughness)` say what a surface
gathers. Shaders sum over any number of either. To make a light of your own, derive from `PunctualLight` or
`SurroundingLight`.

Parameters may be numbers or tensors, and tensors may have a leading batch dimension: one set for each image. All are
differentiable. `Lighting` is the fixed illumination of `render_mesh`, evaluated per vertex.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from lumigrad.scene._vectors import align, dot, unit
from lumigrad.types.maths import arc_cosine
from lumigrad.types.shapes import Float
from lumigrad.types.validation import values_can_be_checked

Number = float | Tensor
Vector = Tensor | tuple[float, float, float]
L = TypeVar("L", bound="Light")
FADES = ("cosine", "angle")  # of spots


def _parameter(name: str, value: object, rank: int) -> Tensor:
    if isinstance(value, Tensor):
        tensor = value if value.is_floating_point() else value.to(torch.get_default_dtype())
    else:
        try:
            tensor = torch.tensor(value, dtype=torch.get_default_dtype())
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name}: expected numbers or a tensor, got {type(value).__name__}") from error
    if tensor.ndim not in (rank, rank + 1) or (rank and tensor.shape[-1] != 3):
        raise ValueError(f"{name}: expected {'[3] or [N, 3]' if rank else '[] or [N]'}, got {list(tensor.shape)}")
    return tensor


@dataclass(frozen=True)
class Light:
    """Common base of all lights: parameters are tensors, one for all images or one for each."""

    ranks: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        optional = {f.name for f in fields(self) if f.default is None}
        for name, rank in self.ranks.items():
            value = getattr(self, name)
            if value is not None or name not in optional:
                object.__setattr__(self, name, _parameter(name, value, rank))

    def _map(self: L, change: Any) -> L:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(k, v) for k, v in found.items() if isinstance(v, Tensor)})

    def to(self: L, *args: object) -> L:
        """Copy with all tensors passed through `Tensor.to`."""
        return self._map(lambda name, value: value.to(*args))

    def at(self: L, index: int) -> L:
        """The light of one image: parameters that are batched lose their batch dimension."""

        def pick(name: str, value: Tensor) -> Tensor:
            return value[index] if value.ndim > self.ranks.get(name, value.ndim) else value

        return self._map(pick)


class PunctualLight(Light):
    """A light that reaches a point from one direction.

    A subclass has the fields `color`, `intensity` and `specular`, and defines `falloff`.
    """

    color: Any
    intensity: Any
    specular: Any

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Unit directions from the points towards the light [..., 3], and the fraction of it that arrives [..., 1]."""
        raise NotImplementedError

    def distance(self, points: Tensor) -> Tensor:
        """From the points to the light [..., 1]; infinite unless a subclass says otherwise."""
        return points.new_full((*points.shape[:-1], 1), math.inf)

    def tint(self, points: Tensor, highlight: bool = False) -> Tensor:
        """Colour times intensity, to be multiplied by `falloff`; optionally for highlights."""
        color = self.specular if highlight and self.specular is not None else self.color
        return align(color, 1, points).to(points) * align(self.intensity, 0, points).to(points)

    def radiance(
        self, points: Float[Tensor, "*shape 3"]
    ) -> tuple[Float[Tensor, "*shape 3"], Float[Tensor, "*shape 3"]]:
        """What arrives at points.

        Args:
            points: world positions [..., 3]; leading dimensions match the batch of the parameters where they have one.

        Returns:
            Unit directions towards the light [..., 3], and the irradiance per channel of a surface there that
            faces the light [..., 3].
        """
        direction, part = self.falloff(points)
        return direction, part * self.tint(points)


@dataclass(frozen=True)
class DirectionalLight(PunctualLight):
    """Parallel light, as from the sun.

    Attributes:
        direction: from the scene **towards** the light [3] or [N, 3], of any length.
        color: [3] or [N, 3].
        intensity: irradiance of a surface that faces the light, [] or [N].
        specular: colour of Phong highlights; `color` where it is None.

    >>> import torch
    >>> from lumigrad.scene import DirectionalLight
    >>> sun = DirectionalLight(direction=(0.0, 2.0, 0.0), intensity=3.0)  # from above
    >>> towards, radiance = sun.radiance(torch.zeros(1, 3))
    >>> towards.tolist(), radiance.tolist()
    ([[0.0, 1.0, 0.0]], [[3.0, 3.0, 3.0]])
    """

    direction: Any = (0.0, 1.0, 0.0)
    color: Any = (1.0, 1.0, 1.0)
    intensity: Any = 1.0
    specular: Any = None

    ranks = {"direction": 1, "color": 1, "intensity": 0, "specular": 1}  # noqa: RUF012

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        direction = align(unit(self.direction), 1, points).to(points)
        return direction.expand(points.shape), points.new_ones(()).expand(*points.shape[:-1], 1)


@dataclass(frozen=True)
class PointLight(PunctualLight):
    """Light from a point in all directions.

    Attributes:
        position: [3] or [N, 3], world.
        color: [3] or [N, 3].
        intensity: at distance 1 without attenuation factors (radiant intensity), [] or [N].
        range: distance at which the inverse-square falloff is faded out to zero, by max(0, 1 - (d / range)^4); None
            for no end.
        attenuation: (constant, linear, quadratic) [3] or [N, 3]: the falloff is 1 / (c + l d + q d^2) instead of the
            inverse square. (1, 0, 0) does not fall off.
        specular: colour of Phong highlights; `color` where it is None.

    Source: the fade is that of Khronos' glTF extension KHR_lights_punctual.

    >>> import torch
    >>> from lumigrad.scene import PointLight
    >>> lamp = PointLight(position=(0.0, 2.0, 0.0), intensity=8.0)
    >>> towards, radiance = lamp.radiance(torch.zeros(1, 3))
    >>> towards.tolist(), radiance.tolist()  # falls with the square of the distance
    ([[0.0, 1.0, 0.0]], [[2.0, 2.0, 2.0]])
    """

    position: Any = (0.0, 0.0, 0.0)
    color: Any = (1.0, 1.0, 1.0)
    intensity: Any = 1.0
    range: Any = None
    attenuation: Any = None
    specular: Any = None

    ranks = {"position": 1, "color": 1, "intensity": 0, "range": 0, "attenuation": 1, "specular": 1}  # noqa: RUF012

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        to_light = align(self.position, 1, points).to(points) - points
        squared = dot(to_light, to_light)
        apart = squared > 0
        squared = squared.where(apart, squared.new_ones(()))  # at the light itself, nothing is defined: no light
        if self.attenuation is None:
            part = 1 / squared
            if self.range is not None:
                reach = align(self.range, 0, points).to(points)
                part = part * (1 - (squared / reach.square()).square()).clamp_min(0)
        else:
            constant, linear, quadratic = align(self.attenuation, 1, points).to(points).split(1, dim=-1)
            part = 1 / (constant + linear * squared.sqrt() + quadratic * squared)
        return to_light * squared.rsqrt(), part * apart

    def distance(self, points: Tensor) -> Tensor:
        distance: Tensor = (align(self.position, 1, points).to(points) - points).norm(dim=-1, keepdim=True)
        return distance


@dataclass(frozen=True)
class SpotLight(PointLight):
    """A point light confined to a cone.

    Inside the inner cone it is a point light, outside the outer one it is dark, between them it fades.

    Attributes:
        direction: of the cone's axis, **from** the light into the scene, [3] or [N, 3], of any length.
        inner, outer: half angles of the cones in degrees, inner < outer <= 90, [] or [N].
        fade: between the cones, at the angle a from the axis: "cosine", the square of (cos a - cos outer) /
            (cos inner - cos outer), as in glTF; or "angle", (outer - a) / (outer - inner), as in Mitsuba.
        position, color, intensity, range, attenuation, specular: those of `PointLight`.

    Source: Khronos' glTF extension KHR_lights_punctual; Mitsuba 3's plugin `spot`.

    >>> import torch
    >>> from lumigrad.scene import SpotLight
    >>> lamp = SpotLight(position=(0.0, 2.0, 0.0), direction=(0.0, -1.0, 0.0), inner=10.0, outer=30.0, intensity=4.0)
    >>> _, radiance = lamp.radiance(torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]))  # in the cone, and out of it
    >>> radiance[:, 0].tolist()
    [1.0, 0.0]
    """

    direction: Any = (0.0, 0.0, -1.0)
    inner: Any = 0.0
    outer: Any = 45.0
    fade: str = "cosine"

    ranks = PointLight.ranks | {"direction": 1, "inner": 0, "outer": 0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fade not in FADES:
            raise ValueError(f"fade: expected {' or '.join(map(repr, FADES))}, got {self.fade!r}")
        if values_can_be_checked() and not bool((self.inner < self.outer).all()):
            raise ValueError(f"inner: expected less than outer, got {self.inner.tolist()} and {self.outer.tolist()}")

    def falloff(self, points: Tensor) -> tuple[Tensor, Tensor]:
        direction, part = super().falloff(points)
        axis = align(unit(self.direction), 1, points).to(points)
        inner, outer = (align(angle, 0, points).to(points) * (math.pi / 180) for angle in (self.inner, self.outer))
        cosine = -dot(direction, axis)
        if self.fade == "angle":
            return direction, part * ((arc_cosine(cosine) - outer) / (inner - outer)).clamp(0, 1)
        inner, outer = inner.cos(), outer.cos()
        return direction, part * ((cosine - outer) / (inner - outer)).clamp(0, 1).square()


class SurroundingLight(Light):
    """Light from all around."""

    def diffuse(self, normals: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Irradiance over pi, per channel, of surfaces with unit normals [..., 3]; [..., 3]."""
        raise NotImplementedError

    def specular(
        self, directions: Float[Tensor, "*shape 3"], roughness: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "*shape 3"]:
        """Mean radiance [..., 3] around mirror directions [..., 3], as wide as the GGX lobe of a roughness [..., 1]."""
        raise NotImplementedError


@dataclass(frozen=True)
class AmbientLight(SurroundingLight):
    """The same light from everywhere.

    Attributes:
        color: [3] or [N, 3].
        intensity: [] or [N].

    >>> import torch
    >>> from lumigrad.scene import AmbientLight
    >>> light = AmbientLight(color=(1.0, 0.5, 0.25), intensity=0.5)
    >>> light.diffuse(torch.tensor([[0.0, 0.0, 1.0]])).tolist()  # the same for all normals
    [[0.5, 0.25, 0.125]]
    """

    color: Any = (1.0, 1.0, 1.0)
    intensity: Any = 1.0

    ranks = {"color": 1, "intensity": 0}  # noqa: RUF012

    def diffuse(self, normals: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        value = align(self.color, 1, normals).to(normals) * align(self.intensity, 0, normals).to(normals)
        return value.expand(normals.shape)

    def specular(
        self, directions: Float[Tensor, "*shape 3"], roughness: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "*shape 3"]:
        return self.diffuse(directions)


@dataclass(frozen=True)
class Lighting:
    """White diffuse light, evaluated per vertex.

    Irradiance is `ambient + headlight * max(0, n.v) + sum_k intensity_k * max(0, n.l_k)` with v the direction
    to the camera. The headlight makes shading change with the view, so that shape cannot be mistaken for
    paint: light fixed to the world could be explained by a texture alone.

    Attributes:
        ambient: constant term.
        headlight: strength of a light at the camera.
        directions: world directions towards distant lights, each (x, y, z), not necessarily of unit length.
        intensities: one strength per direction.

    >>> import torch
    >>> from lumigrad.scene import Lighting
    >>> ahead = torch.tensor([[0.0, 0.0, 1.0]])
    >>> lighting = Lighting(ambient=0.5, headlight=0.5, directions=(), intensities=())
    >>> lighting.shade(positions=0 * ahead, normals=ahead, eyes=3 * ahead).tolist()
    [[[1.0]]]
    """

    ambient: float = 0.45
    headlight: float = 0.4
    directions: tuple[tuple[float, float, float], ...] = ((0.5, 0.8, 0.4),)
    intensities: tuple[float, ...] = (0.15,)

    def __post_init__(self) -> None:
        if len(self.directions) != len(self.intensities):
            raise ValueError(
                f"intensities: expected one for each of {len(self.directions)}, got {len(self.intensities)}"
            )

    @classmethod
    def unlit(cls) -> Lighting:
        """Colours appear unchanged."""
        return cls(ambient=1.0, headlight=0.0, directions=(), intensities=())

    def shade(self, positions: Tensor, normals: Tensor, eyes: Tensor) -> Tensor:
        """Irradiance at vertices.

        Args:
            positions: [V, 3] or [N, V, 3] world.
            normals: unit, outwards, of the same shape.
            eyes: camera centres [N, 3].

        Returns:
            [N, V, 1], differentiable in all arguments.
        """
        result = positions.new_full((eyes.shape[0], positions.shape[-2], 1), self.ambient)
        if self.headlight:
            to_eye = torch.nn.functional.normalize(eyes[:, None] - positions, dim=-1)
            result = result + self.headlight * (normals * to_eye).sum(-1, keepdim=True).clamp_min(0)
        for direction, intensity in zip(self.directions, self.intensities, strict=True):
            light = torch.nn.functional.normalize(positions.new_tensor(direction), dim=0)
            result = result + intensity * (normals @ light).clamp_min(0)[..., None]
        return result

    def lights(self, eye: Tensor) -> tuple[Light, ...]:
        """The same illumination as lights, for `lumigrad.render.render`.

        Args:
            eye: camera centre [3] or [N, 3], where the headlight is.
        """
        result: list[Light] = [AmbientLight(intensity=self.ambient)] if self.ambient else []
        if self.headlight:
            result.append(PointLight(eye, intensity=self.headlight, attenuation=(1.0, 0.0, 0.0)))
        pairs = zip(self.directions, self.intensities, strict=True)
        return (*result, *(DirectionalLight(direction, intensity=value) for direction, value in pairs))
