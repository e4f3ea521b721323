"""One image of shapes of all kinds: meshes in layers, and between them points on rays and intervals of media."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias as blend_edges
from lumigrad.ops.surface import edge_topology
from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping, srgb_encode
from lumigrad.render.geometry import Geometry, assemble
from lumigrad.render.implicit import traced
from lumigrad.render.media import medium_of
from lumigrad.render.merging import Fragments, Limits, PixelRays, merge, over
from lumigrad.render.painting import Painter
from lumigrad.render.peeling import cut, layers_wanted, occluders_of, opaque, peeled
from lumigrad.render.rendering import Rendering, averaged, finished
from lumigrad.render.shading import LINEAR, Shader
from lumigrad.render.splats import Splatted, fragments_of, joined, sphere_fragments, splatted
from lumigrad.render.stage import Stage, check_colors, floating_type, lights_of
from lumigrad.render.surface import MeshShape, Surface, TextureStore
from lumigrad.render.volume import clip_rays, mean_depth
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.signed_distance_function import SignedDistanceFunction
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.volume_field import VolumeField
from lumigrad.scene.shapes.voxel_grid import VoxelGrid
from lumigrad.types import Rays
from lumigrad.types.fragments import Fragments as Triangles

DEFAULT_FRAGMENTS = 16
IMPLICIT = (SignedDistanceGrid, SignedDistanceFunction)
MEDIA = (VoxelGrid, VolumeField)
SHADED = (Mesh, *IMPLICIT)


@dataclass(frozen=True)
class Options:
    """The options of `render`, with the same names."""

    shader: Shader
    lights: Sequence[Light] | Lighting | None
    background: Any
    supersampling: int
    layers: int | None
    antialias: bool
    tone_mapping: ToneMapping
    buffers: bool
    shadows: bool
    fragments: int


def render_layers(stage: Stage, options: Options) -> Rendering:
    """All shapes of a stage in each of its images; see `lumigrad.render.render`."""
    for shape in stage.shapes:
        check_colors(shape)
    shader, tone = _colors(stage.shapes, options)
    types = [found for shape in stage.shapes if (found := floating_type(shape)) is not None]
    dtype = types[0] if types else stage.camera.world_to_camera.dtype
    shapes = [shape.to(dtype) for shape in stage.shapes]
    given = [camera.to(dtype) for camera in stage.cameras]
    lights = lights_of(stage.scene, options.lights, options.shader, stage.camera)
    lit = [tuple(light.at(n) for light in lights) for n in range(len(given))]
    finer = options.supersampling
    height, width = given[0].size
    cameras = [camera.resized((height * finer, width * finer)) for camera in given]
    rays = [_rays(camera, dtype) for camera in cameras]
    meshes = _Meshes.of([s for s in shapes if isinstance(s, Mesh)], cameras, rays, shader, lit, options)
    pictures = []
    for n, camera in enumerate(cameras):
        beside = _Image(camera, rays[n], shader, lit[n], options.fragments, finer)
        pictures.append(beside.segments(shapes, meshes.walls(n), meshes.stop(n)))
    image = averaged(meshes.assembled(torch.stack(pictures)), finer)
    color, depth, mask = image.split((image.shape[-1] - 2, 1, 1), -1)
    behind = choose_background(options.background, stage.scene, lit[0])
    buffers = {"depth": mean_depth(depth, mask)} if options.buffers else {}
    return finished(color, mask, behind, given, tone, buffers)


def _colors(shapes: Sequence[Any], options: Options) -> tuple[Shader, Any]:
    """The shader of surfaces, and the tone mapping of images.

    By default, surfaces that are mixed with shapes in displayed colours are encoded before blending.
    """
    shader, linear = options.shader, options.shader in LINEAR
    if all(isinstance(shape, SHADED) for shape in shapes):
        return shader, resolve_tone_mapping(options.tone_mapping, linear)
    if options.tone_mapping != "auto" or not linear:
        return shader, resolve_tone_mapping(options.tone_mapping, False)

    def displayed(surface: Surface, lights: Sequence[Light], camera: Camera) -> Tensor:
        return srgb_encode(shader(surface, lights, camera))

    return displayed, None


def _rays(camera: Camera, dtype: torch.dtype) -> PixelRays:
    origins, directions = camera.rays()
    origins, directions = (v.to(dtype).expand_as(directions).reshape(-1, 3) for v in (origins, directions))
    begin, end, cosine = clip_rays(camera, directions)
    return PixelRays(origins, directions, cosine, begin, end, camera.size)


# ---- Everything but meshes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Image:
    """One image of everything but meshes."""

    camera: Camera
    rays: PixelRays
    shader: Shader
    lights: tuple[Light, ...]
    listed: int
    finer: int

    def segments(self, shapes: Sequence[Any], walls: Sequence[Tensor], stop: Tensor | None) -> Tensor:
        """The contributions before, between and behind the walls [R, D + 1, C + 2]."""
        parts = []
        for shape in shapes:
            if isinstance(shape, IMPLICIT):
                surface, hides = self._surface(shape)
                parts.append(surface)
                stop = hides if stop is None else torch.minimum(stop, hides)
        balls = [shape for shape in shapes if isinstance(shape, SphereCloud)]
        clouds = [shape for shape in shapes if isinstance(shape, Cloud) and not isinstance(shape, SphereCloud)]
        if balls or clouds:
            view = self.camera.view()
            parts += [sphere_fragments(one, self.camera, view, self.rays, self.listed) for one in joined(balls)]
        limits = Limits.of([medium_of(shape) for shape in shapes if isinstance(shape, MEDIA)], self.rays)
        if clouds:
            parts += self._clouds(
                [splatted(one, view, self.finer) for one in joined(clouds)], parts, limits, walls, stop
            )
        parts += [_nothing(medium, self.rays) for medium in limits.media]
        _same_channels([part.values.shape[1] - 2 for part in parts])
        return merge(self.rays, Fragments.join(parts), limits, walls, stop)

    def _surface(self, shape: Any) -> tuple[Fragments, Tensor]:
        """An implicit surface, and the distance from which it hides everything [R]: infinite if visibility has a
        gradient."""
        options: dict[str, Any] = {"t_min": max(self.camera.near, 0.0), "t_max": self.camera.far}
        material = silhouette = None
        sdf = shape
        if isinstance(shape, SignedDistanceFunction):
            sdf, silhouette, material = shape.function, shape.silhouette, shape.material
            options |= {"box": shape.box, "lipschitz": shape.lipschitz}
        rays = Rays(self.rays.origins, self.rays.directions)
        hits, front, behind = traced(sdf, rays, self.camera, self.shader, self.lights, silhouette, material, options)
        parts = []
        for layer, color in ((hits, front), (hits.back, behind)):
            if layer is not None and color is not None:
                pixel = layer.t.isfinite().nonzero()[:, 0]
                columns = (v.index_select(0, pixel) for v in (layer.t, color, layer.alpha))
                parts.append(Fragments.of(pixel, *columns))
        return Fragments.join(parts), _hides(hits)

    def _clouds(
        self,
        clouds: Sequence[Splatted],
        others: Sequence[Fragments],
        limits: Limits,
        walls: Sequence[Tensor],
        stop: Tensor | None,
    ) -> list[Fragments]:
        """Clouds, primitive by primitive at pixels where something else lies among them."""
        apart = [self._among(cloud, others, limits, walls) for cloud in clouds]
        meets = [
            [
                i != j and one.nearest <= other.farthest and other.nearest <= one.farthest
                for j, other in enumerate(clouds)
            ]
            for i, one in enumerate(clouds)
        ]
        images = [
            cloud.drawn(self.rays, self.listed if any(meets[i]) or bool(apart[i].any()) else 0)
            for i, cloud in enumerate(clouds)
        ]
        parts = []
        for i, cloud in enumerate(clouds):
            for j, image in enumerate(images):
                if meets[i][j]:
                    apart[i] |= image.values[:, -1].detach() > 0
            parts.append(fragments_of(cloud, images[i], self.rays, apart[i], stop))
        return parts

    @torch.no_grad()
    def _among(self, cloud: Splatted, others: Sequence[Fragments], limits: Limits, walls: Sequence[Tensor]) -> Tensor:
        """The pixels [R] at which something lies between the nearest and the farthest part of a cloud."""
        low, high = cloud.nearest / self.rays.ahead, cloud.farthest / self.rays.ahead
        found = torch.zeros_like(low, dtype=torch.bool)
        for wall in walls:
            found |= (wall >= low) & (wall <= high)
        for part in others:
            found[part.pixel[(part.t >= low[part.pixel]) & (part.t <= high[part.pixel])]] = True
        for enter, leave in zip(limits.enter, limits.leave, strict=True):
            found |= (enter < leave) & (enter <= high) & (leave >= low)
        return found


def _nothing(medium: Any, rays: PixelRays) -> Fragments:
    """An empty list of fragments, with the channels of a medium."""
    origins = rays.origins[:0]
    empty = origins[:, 0]
    return Fragments(empty.long(), empty, medium.seen(origins, rays.directions[:0], empty, empty))


@torch.no_grad()
def _hides(hits: Any) -> Tensor:
    """The distance from which opaque hits hide everything [R]; infinite without hits, or where alpha has a gradient."""
    if hits.alpha.requires_grad:
        return torch.full_like(hits.t, torch.inf)
    return torch.where(hits.mask & (hits.alpha >= 1), hits.t, torch.inf)


def _same_channels(counts: Sequence[int]) -> None:
    if len(set(counts)) > 1:
        raise ValueError(f"scene: expected shapes of as many channels of colour each, got {sorted(set(counts))}")


# ---- Meshes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Meshes:
    """The layers of all meshes in N images.

    Attributes:
        geometry: None where there are no meshes.
        layers: the layers of `peel`, with their values [N, H, W, C + 2]: colours, depths and alpha, multiplied with
            alpha.
        distances: of the layers along the rays [N, H, W], infinite where there are none.
        splits: the distance, in front of a layer, from which a silhouette is blended [N, H, W]; infinite where it is
            that of the layer.
        cuts: where silhouettes are blended, bool [N, H, W, 1] for each layer.
        hiding: whether the first layer hides all.
    """

    size: tuple[int, int]
    geometry: Geometry | None = None
    topology: Tensor | None = None
    layers: Sequence[tuple[Triangles, Tensor]] = ()
    distances: Sequence[Tensor] = ()
    splits: Sequence[Tensor] = ()
    cuts: Sequence[Tensor] = ()
    hiding: bool = False

    @classmethod
    def of(
        cls,
        meshes: Sequence[Mesh],
        cameras: list[Camera],
        rays: Sequence[PixelRays],
        shader: Shader,
        lit: list[tuple[Light, ...]],
        options: Options,
    ) -> _Meshes:
        """Peel and shade all meshes."""
        size = cameras[0].size
        if not meshes:
            return cls(size)
        geometry = assemble(meshes, cameras, True)
        occluders = occluders_of(meshes, len(cameras), True) if options.shadows else None
        shapes = [MeshShape(mesh) for mesh in meshes]
        painter = Painter(geometry, shapes, shader, cameras, lit, TextureStore(), None, True, True, occluders)
        topology = edge_topology(geometry.tri) if options.antialias else None
        hiding = opaque(geometry)
        count = 1 if hiding else layers_wanted(geometry, options.layers)
        cosine = torch.stack([each.ahead for each in rays]).unflatten(1, size)
        layers, distances, splits, cuts = [], [], [], []
        before = None
        for frags in peeled(geometry, size, count):
            layer = painter.paint(frags)
            depth = layer.found["depth"][..., 0]
            t = torch.where(frags.tri >= 0, depth / cosine, torch.inf)
            values = torch.cat((layer.color, layer.alpha * depth[..., None], layer.alpha), -1)
            layers.append((frags, values))
            distances.append(t)
            if options.antialias:
                cuts.append(cut(frags, geometry, topology))
                splits.append(_split(t.detach(), cuts[-1][..., 0], before))
            before = t.detach()
        return cls(size, geometry, topology, layers, distances, splits, cuts, hiding)

    def walls(self, image: int) -> list[Tensor]:
        """The distances [R] that cut rays into segments: two per layer."""
        if self.splits:
            pairs = zip(self.splits, self.distances, strict=True)
            return [wall[image].flatten() for pair in pairs for wall in pair]
        return [t[image].flatten() for t in self.distances]

    def stop(self, image: int) -> Tensor | None:
        """The distances [R] beyond which nothing is visible."""
        return self.distances[0][image].flatten() if self.hiding else None

    def assembled(self, segments: Tensor) -> Tensor:
        """The images [N, H, W, C + 2] of the layers and of what is seen in the segments [N, R, D + 1, C + 2].

        The rearmost layer comes first. As for meshes alone, the silhouettes of a layer are blended once everything
        behind it is in place. Here this is everything from a little before the layer on, so that both sides of a
        silhouette have what their rays meet from there on: fog ends at the surface on one side and goes on on the
        other. What lies in front is neither blended nor counted twice.
        """
        parts = segments.unflatten(1, self.size).unbind(3)
        plain: Tensor = parts[-1]
        smooth = plain
        if self.layers:
            _same_channels([self.layers[0][1].shape[-1] - 2, smooth.shape[-1] - 2])
        for k in reversed(range(len(self.layers))):
            frags, values = self.layers[k]
            plain, smooth = over(values, plain), over(values, smooth)
            if self.cuts:
                assert self.geometry is not None
                plain, smooth = over(parts[2 * k + 1], plain), over(parts[2 * k + 1], smooth)
                smooth = torch.where(self.cuts[k], plain, smooth)
                smooth = blend_edges(smooth, frags, self.geometry.pos, self.geometry.tri, self.topology)
            front = parts[2 * k if self.cuts else k]
            plain, smooth = over(front, plain), over(front, smooth)
        return smooth


@torch.no_grad()
def _split(t: Tensor, blended: Tensor, before: Tensor | None) -> Tensor:
    """The distance from which pixels blend with their neighbours: that of the nearest surface that either shows.

    Args:
        t: distances of a layer [N, H, W].
        blended: which pixels take a part of a neighbour's colour.
        before: distances of the layer before it, or None.

    Returns:
        [N, H, W], infinite where this is the pixel's own surface.
    """
    nearest, beside = t.clone(), blended.clone()
    for there, here in _NEIGHBOURS:
        nearest[here] = torch.minimum(nearest[here], t[there])
        beside[here] |= blended[there]
    if before is not None:
        nearest = torch.where(before.isfinite(), torch.maximum(nearest, before), nearest)
    return torch.where(beside & (nearest < t), nearest, torch.inf)


_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
_NEIGHBOURS = [
    ((_ALL, _FIRST), (_ALL, _LAST)),
    ((_ALL, _LAST), (_ALL, _FIRST)),
    ((_ALL, _ALL, _FIRST), (_ALL, _ALL, _LAST)),
    ((_ALL, _ALL, _LAST), (_ALL, _ALL, _FIRST)),
]
