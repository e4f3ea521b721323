"""From a scene and cameras to images, with any shader, transparency and buffers of what was seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.ops.surface import antialias as blend_edges
from lumigrad.ops.surface import edge_topology, peel, rasterize
from lumigrad.render.background import resolve_background
from lumigrad.render.color import TONE_MAPPINGS
from lumigrad.render.geometry import Geometry, assemble, cameras_of
from lumigrad.render.rendering import Rendering
from lumigrad.render.shading import LINEAR, SHADERS, Shader
from lumigrad.render.surface import MeshShape, Surface, TextureStore, surface_alpha
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.environment import EnvironmentLight
from lumigrad.scene.light.lights import Light, Lighting
from lumigrad.scene.light.skies import studio
from lumigrad.scene.scene import Scene
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.meshes import Meshes
from lumigrad.types.fragments import Fragments

ToneMapping = str | Callable[[Tensor], Tensor] | None
DEFAULT_LAYERS = 4  # peeled where materials are transparent


def render(
    scene: Scene | Mesh | Meshes | Sequence[Mesh],
    camera: Camera,
    size: tuple[int, int] | None = None,
    shading: str | Shader = "pbr",
    lights: Sequence[Light] | Lighting | None = None,
    background: Any = None,
    supersampling: int = 1,
    layers: int | None = None,
    antialias: bool = True,
    tone_mapping: ToneMapping = "auto",
    previous: tuple[Scene | Mesh | Meshes | Sequence[Mesh], Camera] | None = None,
    buffers: bool = True,
) -> Rendering:
    """Render a scene, a mesh, or a batch of meshes, from one camera or a batch of cameras.

    Gradients reach everything: positions, cameras, lights, materials, textures, environments, backgrounds; those of
    visibility come from `antialias`.

    Args:
        scene: a `Scene` or a `Mesh`, seen from every camera; or `Meshes`, or a sequence of meshes: a batch, of which
            image n shows mesh n, whatever their sizes and materials.
        camera: batch shape [N] or []; one camera serves a whole batch of meshes.
        size: (height, width) in pixels; the camera's by default.
        shading: "pbr", "phong", "gouraud", "flat", "unlit", "normals", "depth", or a function
            `shader(surface, lights, camera) -> [P, C]` (see `lumigrad.render.shading`).
        lights: the lights, in place of all that the scene has. Where there are none at all, `pbr` gets the built-in
            studio environment, the others `Lighting()`.
        background: in place of the scene's: None, a display-encoded colour ([C], [N, C]) or image ([H, W, C],
            [N, H, W, C]), an `EnvironmentLight`, or "environment" for the one that lights the scene.
        supersampling: samples a pixel along each axis, averaged.
        layers: surfaces one behind the other that are blended, by depth peeling. By default 1 where all materials are
            opaque, otherwise 4. Surfaces further behind are left out.
        antialias: blend silhouettes.
        tone_mapping: from linear light to display: "srgb", "reinhard", "filmic", a function, or None for none. "auto"
            is "srgb" for `pbr` and None for other shaders. Given one, the shader's colours are taken for linear
            light, and backgrounds are decoded; blending and averaging are of linear light.
        previous: what `scene` and `camera` were before, for `Rendering.motion`; with the same faces.
        buffers: whether to return depth, normals, uv and ids.

    Returns:
        Rendering of N images.

    Raises:
        TypeError, ValueError: for arguments that are none of the above, or do not fit each other.
    """
    shader, tone = _shader(shading), _tone_mapping(tone_mapping, shading)
    for name, value in (("supersampling", supersampling), ("layers", 1 if layers is None else layers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
    stage, cameras = _stage(scene, camera, size)
    lit = [tuple(light.at(n) for light in lights_of(stage.scene, lights, shader, camera)) for n in range(len(cameras))]
    height, width = cameras[0].size
    fine = [c.resized((height * supersampling, width * supersampling)) for c in cameras]
    geometry = assemble(stage.meshes, fine, stage.together)
    before = None if previous is None else _previous_clip(previous, stage, fine)
    shapes = [MeshShape(mesh) for mesh in stage.meshes]
    painter = _Painter(geometry, shapes, shader, fine, lit, TextureStore(), before, stage.together, buffers)
    if layers is None:
        layers = 1 if all(g.material.alpha_mode == "opaque" for g in geometry.groups) else DEFAULT_LAYERS
    painted = [painter.paint(frags) for frags in _layers(geometry, fine[0].size, layers)]
    color, mask = _composite(painted, geometry, antialias)
    middle = slice(supersampling // 2, None, supersampling)
    found = {name: value[:, middle, middle] for name, value in _front(painted).items()}
    if previous is not None:
        found["motion"] = found["motion"] / supersampling  # from samples to pixels
    color, mask = _average(color, supersampling), _average(mask, supersampling)
    chosen = _background(background, stage.scene, lit[0] if lit else ())
    behind = resolve_background(chosen, cameras, color, tone is not None)
    image = color + (1 - mask) * behind
    return Rendering(color, mask, image if tone is None else tone(image), tone_mapping=tone, **found)


# ---- Arguments -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stage:
    """Meshes, whether all images show all of them, and the scene they are from (lights and background)."""

    meshes: tuple[Mesh, ...]
    together: bool
    scene: Scene


def _stage(scene: Any, camera: Camera, size: tuple[int, int] | None) -> tuple[_Stage, list[Camera]]:
    if not isinstance(camera, Camera):
        raise TypeError(f"camera: expected a Camera, got {type(camera).__name__}")
    if len(camera.shape) > 1:
        raise ValueError(f"camera: expected a batch shape [N] or [], got {list(camera.shape)}")
    camera = camera if size is None else camera.resized(size)
    if isinstance(scene, (Scene, Mesh)):
        whole = scene if isinstance(scene, Scene) else Scene(scene)
        stage = _Stage(tuple(whole.meshes), True, whole)  # type: ignore[arg-type]
        count = camera.shape[0] if camera.shape else 1
    else:
        try:
            meshes = tuple(scene)
        except TypeError as error:
            raise TypeError(f"scene: expected a Scene, Mesh or Meshes, got {type(scene).__name__}") from error
        stage = _Stage(meshes, False, Scene(meshes))
        count = len(meshes)
        if camera.shape and camera.shape[0] != count:
            raise ValueError(f"camera: expected one, or {count} like the meshes, got {camera.shape[0]}")
    if not stage.meshes or not count:
        raise ValueError("scene, camera: expected at least one mesh and one image, got none")
    return stage, cameras_of(camera, count)


def _shader(shading: str | Shader) -> Shader:
    if callable(shading):
        return shading
    if shading not in SHADERS:
        raise ValueError(f"shading: expected a function or one of {', '.join(SHADERS)}, got {shading!r}")
    return SHADERS[shading]


def _tone_mapping(tone_mapping: ToneMapping, shading: str | Shader) -> Callable[[Tensor], Tensor] | None:
    if tone_mapping == "auto":
        tone_mapping = "srgb" if _shader(shading) in LINEAR else None
    if tone_mapping is None or callable(tone_mapping):
        return tone_mapping
    if tone_mapping not in TONE_MAPPINGS:
        wanted = ", ".join(TONE_MAPPINGS)
        raise ValueError(f"tone_mapping: expected 'auto', a function, None or one of {wanted}, got {tone_mapping!r}")
    return TONE_MAPPINGS[tone_mapping]


def lights_of(
    scene: Scene, lights: Sequence[Light] | Lighting | None, shader: Shader, camera: Camera
) -> tuple[Light, ...]:
    """The lights to use: those given, else the scene's, else built-in ones that suit the shader."""
    if lights is None:
        lights = (*scene.lights, *([] if scene.environment is None else [scene.environment]))
        if not lights:
            lights = (default_environment(),) if shader in LINEAR else Lighting()
    if isinstance(lights, Lighting):
        return lights.lights(camera.position)
    for light in lights:
        if not isinstance(light, Light):
            raise TypeError(f"lights: expected Light, got {type(light).__name__}")
    return tuple(lights)


@functools.lru_cache(maxsize=1)
def default_environment() -> EnvironmentLight:
    """The built-in studio, prefiltered once per process."""
    with torch.no_grad():
        return EnvironmentLight(studio())


def _background(background: Any, scene: Scene, lights: Sequence[Light]) -> Any:
    chosen = scene.background if background is None else background
    if not isinstance(chosen, str):
        return chosen
    found = [light for light in lights if isinstance(light, EnvironmentLight)]
    if chosen != "environment" or not found:
        raise ValueError(f"background: expected a colour or image, or 'environment' where one lights, got {chosen!r}")
    return found[0]


def _previous_clip(previous: Any, stage: _Stage, cameras: Sequence[Camera]) -> list[list[Tensor]]:
    """Clip-space positions of every mesh before, for each image."""
    try:
        scene, camera = previous
    except (TypeError, ValueError):
        raise TypeError("previous: expected (scene, camera)") from None
    then, then_cameras = _stage(scene, camera, cameras[0].size)
    counts, before = ([len(mesh.positions) for mesh in s.meshes] for s in (stage, then))
    if counts != before or len(then_cameras) not in (1, len(cameras)):
        raise ValueError(f"previous: expected meshes of {counts} vertices and as many images, got {before}")
    then_cameras = then_cameras * (len(cameras) // len(then_cameras))
    return [[c.project(mesh.positions) for mesh in then.meshes] for c in then_cameras]


# ---- Layers --------------------------------------------------------------------------------------------------------


def _layers(geometry: Geometry, size: tuple[int, int], layers: int) -> Iterator[Fragments]:
    if layers == 1:
        yield rasterize(geometry.pos, geometry.tri, size, geometry.ranges)
        return
    for number, frags in enumerate(peel(geometry.pos, geometry.tri, size, layers, geometry.ranges)):
        if number and not bool((frags.tri >= 0).any()):
            return
        yield frags


class _Layer(NamedTuple):
    """One layer of all images: colours [N, H, W, C] and alpha [N, H, W, 1], zero where nothing is; buffers."""

    frags: Fragments
    color: Tensor
    alpha: Tensor
    found: dict[str, Tensor]


@dataclass
class _Painter:
    """Shades layers, image by image and material by material, each on the list of its pixels."""

    geometry: Geometry
    shapes: list[MeshShape]
    shader: Shader
    cameras: list[Camera]
    lights: list[tuple[Light, ...]]
    store: TextureStore
    before: list[list[Tensor]] | None
    together: bool
    buffers: bool

    def paint(self, frags: Fragments) -> _Layer:
        images = [value.unbind(0) for value in (frags.tri, frags.bary, frags.depth, frags.bary_d)]  # type: ignore[union-attr]
        made = [self._image(n, Fragments(*parts)) for n, parts in enumerate(zip(*images))]
        stacked = {name: torch.stack([image[name] for image in made]) for name in made[0]}
        return _Layer(frags, stacked.pop("color"), stacked.pop("alpha"), stacked)

    def _image(self, n: int, frags: Fragments) -> dict[str, Tensor]:
        """Colour, alpha and buffers of one image."""
        height, width = frags.tri.shape
        pieces = [self._piece(n, frags, number, pixels) for number, pixels in self._pixels(n, frags.tri)]
        where = torch.cat([pixels for pixels, _ in pieces])
        result = {}
        for name in pieces[0][1]:
            values = torch.cat([values[name] for _, values in pieces])
            empty = -1 if name.endswith("_ids") else 0
            image = values.new_full((height * width, *values.shape[1:]), empty)
            result[name] = image.index_copy(0, where, values).unflatten(0, (height, width))
        return result

    def _pixels(self, n: int, tri: Tensor) -> list[tuple[int, Tensor]]:
        """Groups and the indices of the pixels that show them; at least one group, if need be without pixels."""
        seen = (tri.reshape(-1) >= 0).nonzero()[:, 0]
        if len(self.geometry.groups) == 1:
            return [(0, seen)]
        group = self.geometry.group[self._faces(tri, seen)]
        present = group.unique().tolist() or [0 if self.together else self._first_group(n)]
        return [(g, seen[group == g]) for g in present]

    def _first_group(self, n: int) -> int:
        return next(k for k, g in enumerate(self.geometry.groups) if g.mesh == n)

    def _faces(self, tri: Tensor, pixels: Tensor) -> Tensor:
        """Faces counted through all meshes, seen at pixels."""
        drawn = tri.reshape(-1)[pixels].long()
        return drawn if self.geometry.face is None else self.geometry.face[drawn]

    def _piece(self, n: int, frags: Fragments, number: int, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mesh, material = self.geometry.groups[number]
        shape = self.shapes[mesh]
        local = self._faces(frags.tri, pixels) - self.geometry.first[mesh]
        assert frags.bary_d is not None
        part = Fragments(
            local.to(torch.int32)[None, None],
            frags.bary.flatten(0, 1).index_select(0, pixels)[None, None],
            frags.depth.reshape(-1).index_select(0, pixels)[None, None],
            frags.bary_d.flatten(0, 1).index_select(0, pixels)[None, None],
        )
        surface = shape.surface(part, material, self.cameras[n], self.store, mesh)
        color = self.shader(surface, self.lights[n], self.cameras[n])
        if color.ndim != 2 or len(color) != len(pixels):
            raise ValueError(f"shading: expected colours [{len(pixels)}, C] of the shader, got {list(color.shape)}")
        alpha = _alpha(surface)
        found = {"color": color * alpha, "alpha": alpha}
        if self.buffers:
            found |= self._buffers(surface, local)
        if self.before is not None:
            clip = self.cameras[n].project(shape.positions), self.before[n][mesh]
            now, then = (_screen(part_of, surface, self.cameras[n]) for part_of in clip)
            found["motion"] = now - then
        return pixels, found

    def _buffers(self, surface: Surface, local: Tensor) -> dict[str, Tensor]:
        assert surface.depth is not None
        uv = surface.position.new_zeros(len(local), 2) if surface.uv is None else surface.uv
        triangle = local.to(torch.int32)
        return {
            "depth": surface.depth,
            "normals": surface.normal,
            "uv": uv,
            "triangle_ids": triangle,
            "mesh_ids": torch.full_like(triangle, surface.mesh),
        }


def _alpha(surface: Surface) -> Tensor:
    """How much a surface covers [P, 1], by its alpha mode."""
    material = surface.material
    if material.alpha_mode == "opaque":
        return surface.position.new_ones(len(surface.position), 1)
    alpha = surface_alpha(surface)
    return alpha if material.alpha_mode == "blend" else (alpha >= material.alpha_cutoff).to(alpha.dtype)


def _screen(clip: Tensor, surface: Surface, camera: Camera) -> Tensor:
    """Pixel coordinates [P, 2] of the surface's points, given clip-space positions of its mesh's vertices."""
    assert surface.patch is not None
    x, y, _, w = surface.patch.interpolate(clip).unbind(-1)
    height, width = camera.size
    ahead = w > 0
    w = w.where(ahead, w.new_ones(()))
    return torch.stack([(x / w + 1) * (0.5 * width), (1 - y / w) * (0.5 * height)], -1) * ahead[:, None]


def _composite(painted: Sequence[_Layer], geometry: Geometry, antialias: bool) -> tuple[Tensor, Tensor]:
    """All layers, the hindmost first: premultiplied colour [N, H, W, C] and coverage [N, H, W, 1].

    Each layer's silhouettes are blended once everything behind it is in place: past the rim of a glass one sees what
    lies behind it, not the emptiness of its layer. Pixels that a silhouette cuts take what lies behind as it was before
    blending: the front and the back of a closed surface share their rim, which must not be blended twice.
    """
    topology = edge_topology(geometry.tri) if antialias else None
    plain = smooth = torch.cat([painted[-1].color, painted[-1].alpha], -1)
    if antialias:
        smooth = blend_edges(plain, painted[-1].frags, geometry.pos, geometry.tri, topology)
    for layer in reversed(painted[:-1]):
        front, through = torch.cat([layer.color, layer.alpha], -1), 1 - layer.alpha
        plain, smooth = front + through * plain, front + through * smooth
        if antialias:
            smooth = torch.where(_cut(layer.frags, geometry, topology), plain, smooth)
            smooth = blend_edges(smooth, layer.frags, geometry.pos, geometry.tri, topology)
    return smooth[..., :-1], smooth[..., -1:]


@torch.no_grad()
def _cut(frags: Fragments, geometry: Geometry, topology: Tensor | None) -> Tensor:
    """Whether a silhouette is blended into a pixel, bool [N, H, W, 1]: noise shows it."""
    height, width = frags.tri.shape[1:]
    noise = torch.rand(height, width, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = noise.to(geometry.pos).expand(*frags.tri.shape, 1)
    return blend_edges(noise, frags, geometry.pos, geometry.tri, topology) != noise


def _front(painted: Sequence[_Layer]) -> dict[str, Tensor]:
    """Buffers of the first surface with an alpha above zero."""
    found = dict(painted[0].found)
    through = (painted[0].alpha <= 0)[..., 0]
    if len(painted) == 1:
        hidden = through & (painted[0].frags.tri >= 0)
        return found if not bool(hidden.any()) else {k: _cleared(k, v, hidden) for k, v in found.items()}
    found = {name: _cleared(name, value, through) for name, value in found.items()}
    for layer in painted[1:]:
        visible = through & (layer.alpha > 0)[..., 0]
        for name, value in layer.found.items():
            mask = visible.reshape(*visible.shape, *[1] * (value.ndim - 3))
            found[name] = torch.where(mask, value, found[name])
        through = through & ~visible
    return found


def _cleared(name: str, value: Tensor, where: Tensor) -> Tensor:
    mask = where.reshape(*where.shape, *[1] * (value.ndim - 3))
    return value.masked_fill(mask, -1 if name.endswith("_ids") else 0)


def _average(image: Tensor, step: int) -> Tensor:
    """Means of blocks of step x step pixels."""
    if step == 1:
        return image
    images, height, width, channels = image.shape
    return image.reshape(images, height // step, step, width // step, step, channels).mean((2, 4))
