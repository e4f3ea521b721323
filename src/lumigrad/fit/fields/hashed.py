"""The model: hash grids of all of space, and small networks that map their features to densities and colours."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.distributed import ALONE, Group
from lumigrad.fit.fields.descent import adam
from lumigrad.fit.fields.model import Seen, Surroundings, as_picture, surroundings
from lumigrad.fit.fields.proposals import RayNoise, as_samples, cut, shortfall, warp
from lumigrad.fit.fields.schedule import Schedule
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.photos import Photo
from lumigrad.ops.field import composite, contract, distortion_loss, hash_encode, resample_rays
from lumigrad.reference.splat._spherical_harmonics import basis
from lumigrad.scene.cameras.camera import Camera
from lumigrad.types import Rays, RaySamples

# Levels of the tables, features per row, and cells per side of the coarsest level.
_LEVELS, _FEATURES, _COARSEST = 8, 4, 16
# Cells per side of the levels that propose samples, and features per row.
_PROPOSING, _PROPOSING_FEATURES = (16, 32, 64, 128), 2
# Number of tables, which precede the layers among the parameters.
_TABLES = _LEVELS + len(_PROPOSING)
# Units of the hidden layers; the density and the inputs of the colour; spherical harmonics of the direction.
_HIDDEN, _PROPOSING_HIDDEN, _GEOMETRY, _HARMONICS = 64, 16, 16, 16
# Proposed segments per ray, and samples in them.
_SEGMENTS, _SAMPLES = 64, 32
# Start and end of rays, and the initial extinction, in units of the scene's extent.
_NEAR, _FAR, _FOG = 0.2, 20.0, 0.3
# Fraction of the samples spread evenly over all segments.
_EVERYWHERE = 0.01
# The learning rate of all parameters, steps of its warm-up, progress at which it starts to fall, and its final
# fraction.
_RATE, _WARM_UP, _FULL_UNTIL, _DECAY = 0.01, 50, 0.3, 0.03
# Weight of the distortion of the samples' weights.
_DISTORTION = 0.002
# Steps over which sampling changes from even to proportional to the weights.
_SPREAD_UNTIL = 100
# Gradients of rows that few rays meet are tiny.
_EPSILON = 1e-15
# Rays traced at a time when images are drawn.
_CHUNK = 1 << 13


class _Parts(NamedTuple):
    """The parameters: tables, proposal tables, and matrices of layers without biases."""

    tables: list[Tensor]
    proposing: list[Tensor]
    layers: list[Tensor]


class _Traced(NamedTuple):
    """The results of rays: samples with their weights, and the proposed segments with theirs."""

    seen: Seen
    samples: RaySamples
    weights: Tensor
    proposed: RaySamples
    bounds: Tensor


class HashField:
    """A field over all of space. The scene within its extent (the distance of the cameras from what they look at) is
    as it is, and everything beyond is contracted into a shell of the same thickness.

    Features of a point come from `lumigrad.hash_encode`. A layer makes the density of them, and two more layers the
    colour, together with spherical harmonics of the direction. Samples are where a smaller field of densities, which is
    fitted along, has its weights.

    Args:
        photos: those that are fitted, or the surroundings of those that were.
        rows: of each level's table at most.
        finest: cells a side of the finest level, which spans four extents.
        background: grey behind everything.

    Raises:
        ValueError: all cameras are in the place that they look at.

    Source: Müller, Evans, Schied and Keller 2022, "Instant neural graphics primitives"; Barron et al. 2022, "Mip-NeRF
    360".

    >>> import torch
    >>> from lumigrad.fit.fields import HashField, Schedule
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> model = HashField([Photo(image, covered, around[n : n + 1]) for n in range(3)], rows=2**10)
    >>> state = model.begin(Schedule(iterations=100))
    >>> model.picture(state, around[:1]).color.shape
    torch.Size([1, 16, 16, 3])
    """

    def __init__(
        self,
        photos: list[Photo] | Surroundings,
        rows: int = 1 << 16,
        finest: int = 1024,
        background: float = 0.0,
    ) -> None:
        self.centre, self.extent = photos if isinstance(photos, Surroundings) else surroundings(photos)
        if rows < 1 or finest < _COARSEST:
            raise ValueError(f"rows, finest: expected at least 1 and {_COARSEST}, got {rows} and {finest}")
        self.background, self._rows, self.options = background, rows, (rows, finest)
        growth = (finest / _COARSEST) ** (1 / (_LEVELS - 1))
        self.resolutions = [round(_COARSEST * growth**level) for level in range(_LEVELS)]

    def begin(self, schedule: Schedule) -> FieldState:
        """Thin fog without features, before networks of random weights."""
        device = self.centre.device
        generator = torch.Generator(device).manual_seed(schedule.seed)
        parameters: list[Tensor] = []
        for shape in self._shapes():
            if len(parameters) < _TABLES:
                random = torch.rand(shape, generator=generator, device=device)
                parameters.append(1e-4 * (2 * random - 1))
            else:
                random = torch.randn(shape, generator=generator, device=device)
                parameters.append(math.sqrt(2 / shape[1]) * random)
        # Densities and colours that depend little on random features.
        layers = _parts(parameters).layers
        layers[1] *= 0.5
        layers[5] *= 0.3
        return FieldState.start(parameters, schedule.seed)

    def check(self, state: FieldState) -> None:
        """Raise ValueError if a state is of another model."""
        if [tuple(values.shape) for values in state.parameters] != self._shapes() or state.occupied:
            raise ValueError("state.parameters: expected tables and layers of this model")

    def prepare(self, state: FieldState, schedule: Schedule, progress: float) -> None:
        """Does nothing: no work is needed between steps."""

    def step(
        self,
        state: FieldState,
        rays: Rays,
        colors: Tensor,
        schedule: Schedule,
        progress: float,
        generator: torch.Generator,
        group: Group = ALONE,
    ) -> float:
        """A step of Adam on the squared error, the distortion, and the proposals' shortfall."""
        leaves = [values.detach().requires_grad_() for values in state.parameters]
        part = group.share(len(colors), "rays")
        noise, weight = RayNoise(generator, len(colors), part), (part.stop - part.start) / len(colors)
        behind = noise.uniform(3) if schedule.opaque else None
        trust = min(1.0, (state.iteration + 1) / _SPREAD_UNTIL)
        traced = self._trace(_parts(leaves), Rays(*(values[part] for values in rays)), behind, noise, trust)
        loss = (traced.seen.color - colors[part]).square().mean()
        lack = shortfall(traced.proposed, traced.bounds, traced.samples, traced.weights.detach())
        samples = traced.samples
        warped = samples._replace(t_start=warp(samples.t_start), t_end=warp(samples.t_end))
        total = loss + lack + _DISTORTION * distortion_loss(warped, traced.weights).mean()
        (weight * total).backward()
        (error,) = group.sum_gradients(leaves, [weight * loss.detach()])
        state.age += 1
        rate = _RATE * min(1.0, state.age / _WARM_UP)
        rate *= _DECAY ** max(0.0, (progress - _FULL_UNTIL) / (1 - _FULL_UNTIL))
        for values, leaf, first, second in zip(state.parameters, leaves, state.first, state.second, strict=True):
            if leaf.grad is not None:
                rates = values.new_full((1,), rate)
                adam(values, leaf.grad, first, second, rates, state.age, epsilon=_EPSILON)
        return float(error)

    @torch.no_grad()
    def picture(self, state: FieldState, camera: Camera) -> Seen:
        """Images of a camera [1]; see `FieldModel.picture`."""
        parts, rays = _parts(state.parameters), camera.rays()
        return as_picture([self._trace(parts, part).seen for part in rays.chunks(_CHUNK)], rays, camera)

    @torch.no_grad()
    def depth(self, state: FieldState, camera: Camera) -> Tensor:
        """Median depth [1, H, W] along the viewing direction of a camera [1]: where a ray has lost half of its light.

        It is infinite where a ray loses less. Unlike the expected depth, it does not lie between two surfaces.
        """
        parts, rays = _parts(state.parameters), camera.rays()
        found = torch.cat([self._median(parts, part) for part in rays.chunks(_CHUNK)]).view(1, *camera.size)
        cosine = -(rays.directions * camera.world_to_camera[:, None, None, 2, :3]).sum(-1)
        return found * cosine

    def _median(self, parts: _Parts, rays: Rays) -> Tensor:
        """The distances [R] along rays in the world at which half of the light is left."""
        origins = (rays.origins - self.centre) / self.extent
        samples, _, _ = self._sampled(parts, origins, rays.directions)
        points = _middles(origins, rays.directions, samples)
        count = len(origins)
        density = _density(self._geometry(parts, points)[:, :1]).view(count, -1)
        start, end = samples.t_start.view(count, -1), samples.t_end.view(count, -1)
        thickness = (density * (end - start)).cumsum(1)
        index = torch.searchsorted(thickness, thickness.new_full((count, 1), math.log(2)))
        last = index.clamp(max=thickness.shape[1] - 1)
        # Within a segment the density is constant.
        over = (thickness.gather(1, last) - math.log(2)) / density.gather(1, last).clamp_min(1e-12)
        found = torch.where(index == last, end.gather(1, last) - over, math.inf)
        return found[:, 0] * self.extent

    def _trace(
        self,
        parts: _Parts,
        rays: Rays,
        background: Tensor | None = None,
        noise: RayNoise | None = None,
        trust: float = 1.0,
    ) -> _Traced:
        """What rays [R] in the world see over a background [R, 3] or the model's; random samples with noise.

        `trust` in what is proposed is an exponent of its weights.
        """
        origins, directions = (rays.origins - self.centre) / self.extent, rays.directions
        samples, proposed, bounds = self._sampled(parts, origins, directions, noise, trust)
        density, color = self._values(parts, _middles(origins, directions, samples), directions)
        behind = origins.new_full((3,), self.background) if background is None else background
        out = composite(samples, density, color, background=behind)
        seen = Seen(out.features, out.alpha, out.depth * self.extent)
        return _Traced(seen, samples, out.weights, proposed, bounds)

    def _sampled(
        self,
        parts: _Parts,
        origins: Tensor,
        directions: Tensor,
        noise: RayNoise | None = None,
        trust: float = 1.0,
    ) -> tuple[RaySamples, RaySamples, Tensor]:
        """Samples of rays in units of the extent, and the proposed segments with their weights."""
        ends = cut(len(origins), _SEGMENTS, _NEAR, _FAR, origins, noise)
        proposed = as_samples(ends)
        density = self._proposed(parts, _middles(origins, directions, proposed))
        bounds = composite(proposed, density, density.new_zeros(len(density), 1)).weights
        shares = bounds.detach() ** trust + _EVERYWHERE / _SEGMENTS
        found = (
            resample_rays(proposed, shares, _SAMPLES) if noise is None else noise.resample(proposed, shares, _SAMPLES)
        )
        return found, proposed, bounds

    def _proposed(self, parts: _Parts, points: Tensor) -> Tensor:
        """Densities of the smaller field."""
        features = hash_encode(points, parts.proposing, _PROPOSING)
        return _density((features @ parts.layers[6].T).relu() @ parts.layers[7].T)

    def _values(self, parts: _Parts, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Densities and colours [M, 3] of points [M, 3], as many of each ray, seen along directions [R, 3]."""
        _, _, shape, look, middle, last, *_ = parts.layers
        found = self._geometry(parts, points)
        sight = (basis(directions, _HARMONICS) @ look.T).repeat_interleave(len(points) // len(directions), 0)
        hidden = (found[:, 1:] @ shape.T + sight).relu()
        return _density(found[:, :1]), ((hidden @ middle.T).relu() @ last.T).sigmoid()

    def _geometry(self, parts: _Parts, points: Tensor) -> Tensor:
        """Raw densities and the inputs of colours [M, 16], for points [M, 3] of the unit cube."""
        inner, outer, *_ = parts.layers
        return (hash_encode(points, parts.tables, self.resolutions) @ inner.T).relu() @ outer.T

    def _shapes(self) -> list[tuple[int, ...]]:
        tables = [(min(self._rows, (side + 1) ** 3), _FEATURES) for side in self.resolutions]
        proposing = [(min(self._rows, (side + 1) ** 3), _PROPOSING_FEATURES) for side in _PROPOSING]
        layers = [
            (_HIDDEN, _LEVELS * _FEATURES),
            (_GEOMETRY, _HIDDEN),
            (_HIDDEN, _GEOMETRY - 1),
            (_HIDDEN, _HARMONICS),
            (_HIDDEN, _HIDDEN),
            (3, _HIDDEN),
            (_PROPOSING_HIDDEN, len(_PROPOSING) * _PROPOSING_FEATURES),
            (1, _PROPOSING_HIDDEN),
        ]
        return [*tables, *proposing, *layers]


def _parts(parameters: list[Tensor]) -> _Parts:
    return _Parts(parameters[:_LEVELS], parameters[_LEVELS:_TABLES], parameters[_TABLES:])


@torch.no_grad()
def _middles(origins: Tensor, directions: Tensor, samples: RaySamples) -> Tensor:
    """The middles of samples, as many of each ray, contracted into the unit cube."""
    middle = (0.5 * (samples.t_start + samples.t_end)).view(len(origins), -1, 1)
    points = origins[:, None] + middle * directions[:, None]
    return 0.25 * contract(points.reshape(-1, 3)) + 0.5


def _density(values: Tensor) -> Tensor:
    """Extinction [M] of raw values [M, 1]: exponential, and never so large that gradients overflow."""
    return _FOG * values[:, 0].clamp(max=15).exp()
