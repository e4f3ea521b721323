"""Images of scenes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.lights import light_of, look_up
from lumigrad.compat.mitsuba.materials import coordinates, material_of
from lumigrad.compat.mitsuba.objects import Object, Scene, below
from lumigrad.compat.mitsuba.parameters import SceneParameters
from lumigrad.compat.mitsuba.sensors import camera_of, filtered, fineness, lens_of
from lumigrad.compat.mitsuba.shapes import mesh_of
from lumigrad.render import Rendering, render_path
from lumigrad.scene import AmbientLight, Camera, EnvironmentLight, Instances, Mesh
from lumigrad.scene import Scene as LumigradScene

LUMINANCE = (0.212671, 0.715160, 0.072169)
MAPS = ("depth", "position", "sh_normal", "albedo")


def render(
    scene: Scene,
    params: SceneParameters | None = None,
    sensor: int | Object = 0,
    integrator: Object | None = None,
    seed: int = 0,
    seed_grad: int = 0,
    spp: int = 0,
    spp_grad: int = 0,
) -> Tensor:
    """An image of linear light [H, W, C], by path tracing; C is 3 but for other pixel formats, "depth" and "aov".

    Args:
        scene: of `load_dict` or `load_file`.
        params: accepted and not needed: gradients reach all tensors of the scene.
        sensor: its number in the scene, or one made by `load_dict`.
        integrator: instead of the scene's.
        seed: of the random numbers.
        seed_grad: of the paths of gradients; another than `seed` where it is 0.
        spp: samples of a pixel; the sampler's where it is 0. With filters other than "box", rounded up to a multiple of
            4, 9 or 16.
        spp_grad: gradients have as many samples as images; other numbers are refused.

    >>> from lumigrad.compat import mitsuba as mi
    >>> film = {"type": "hdrfilm", "width": 24, "height": 16, "rfilter": {"type": "box"}}
    >>> origin = mi.ScalarTransform4f().look_at(origin=[0, 0, 4], target=[0, 0, 0], up=[0, 1, 0])
    >>> camera = {"type": "perspective", "fov": 40, "to_world": origin, "film": film}
    >>> sky, ball = {"type": "constant"}, {"type": "sphere"}
    >>> scene = mi.load_dict({"type": "scene", "sky": sky, "ball": ball, "camera": camera})
    >>> image = mi.render(scene, spp=16)
    >>> image.shape, image[0, 0].tolist()
    (torch.Size([16, 24, 3]), [1.0, 1.0, 1.0])
    """
    if not isinstance(scene, Scene):
        raise TypeError(f"scene: expected a scene, got {type(scene).__name__}")
    chosen = _sensor(scene, sensor)
    how = (
        integrator
        or scene.integrator()
        or Object("path", "integrator", "", {}, {"max_depth": -1, "hide_emitters": False})
    )
    if how.family != "integrator":
        raise TypeError(f"integrator: expected an integrator, got the {how.family} {how.kind!r}")
    count = spp or chosen.children["sampler"].options["sample_count"]
    if count < 1:
        raise ValueError(f"spp: expected at least 1, got {count}")
    if spp_grad not in (0, count):
        raise NotImplementedError(f"spp_grad: expected 0 or the samples of the image, {count}; got {spp_grad}")
    fine = fineness(chosen, count)
    samples = math.ceil(count / fine**2)
    shot = Shot(scene, chosen, fine, samples, seed, seed_grad or None)
    return filtered(_made(how, shot), chosen, fine)


def _sensor(scene: Scene, sensor: int | Object) -> Object:
    if isinstance(sensor, Object):
        if sensor.family != "sensor":
            raise TypeError(f"sensor: expected a sensor, got the {sensor.family} {sensor.kind!r}")
        return sensor
    found = scene.sensors()
    if not 0 <= sensor < len(found):
        raise ValueError(f"sensor: expected the number of one of {len(found)} sensors, got {sensor}")
    return found[sensor]


class Shot:
    """A scene, a camera, and how many paths; renders when it is asked to."""

    def __init__(self, scene: Scene, sensor: Object, fine: int, samples: int, seed: int, gradient_seed: int | None):
        self.scene, self.sensor = scene, sensor
        self.camera = camera_of(sensor, fine)
        self.options: dict[str, Any] = {
            "samples": samples, "seed": seed, "gradient_seed": gradient_seed, "lens": lens_of(sensor)
        }  # fmt: skip

    def render(self, max_depth: int | None) -> Rendering:
        return render_path(to_scene(self.scene), self.camera, max_depth=max_depth, tone_mapping=_linear, **self.options)

    def surroundings(self) -> Tensor:
        """What is seen past the shapes [..., 3]."""
        emitter = self.scene.environment()
        if emitter is None:
            return torch.zeros(3)
        if emitter.kind == "constant":
            light = light_of(emitter)
            assert isinstance(light, AmbientLight)
            return light.color
        return _sky(emitter, self.camera)


def _sky(emitter: Object, camera: Camera) -> Tensor:
    """Means over pixels, of 16 directions each."""
    height, width = camera.size
    directions = camera.resized((4 * height, 4 * width)).rays().directions
    found = look_up(emitter.values["data"], directions @ emitter.values["to_world"][:3, :3])
    return emitter.values["scale"] * found.reshape(height, 4, width, 4, 3).mean((1, 3))


def _linear(color: Tensor) -> Tensor:
    return color


# ---- Integrators ---------------------------------------------------------------------------------------------------


def _made(integrator: Object, shot: Shot) -> Tensor:
    if integrator.kind == "depth":
        return _maps(shot)["depth"](shot.render(1))
    if integrator.kind == "aov":
        return _with_maps(integrator, shot)
    return _picture(integrator, shot)


def _picture(integrator: Object, shot: Shot) -> Tensor:
    depth, hidden = integrator.options["max_depth"], integrator.options["hide_emitters"]
    if hidden and any("emitter" in shape.children for shape in shot.scene.shapes()):
        raise NotImplementedError(f"{below(integrator.path, 'hide_emitters')}: expected false where shapes emit")
    found = shot.render(None if depth < 0 else max(depth, 1))
    color, mask = found.color[0], found.mask[0]
    if depth == 0:
        color = torch.zeros_like(color)
    elif not hidden:
        color = color + (1 - mask) * shot.surroundings()
    film = shot.sensor.children["film"].options
    if film["pixel_format"] == "luminance":
        return (color * color.new_tensor(LUMINANCE)).sum(-1, keepdim=True)
    return torch.cat([color, mask], -1) if film["pixel_format"] == "rgba" else color


def _with_maps(integrator: Object, shot: Shot) -> Tensor:
    """Images of the integrators below, and then what "aovs" names."""
    parts = [_made(child, shot) for child in integrator.children.values()]
    found, maps = shot.render(1), _maps(shot)
    for entry in str(integrator.options["aovs"]).split(","):
        kind = entry.strip().rpartition(":")[2]
        if kind not in maps:
            raise NotImplementedError(
                f"{below(integrator.path, 'aovs')}: expected {', '.join(maps)}, got {entry.strip()!r}"
            )
        parts.append(maps[kind](found))
    return torch.cat(parts, -1)


def _maps(shot: Shot) -> dict[str, Callable[[Rendering], Tensor]]:
    """Means over pixels of what is seen first, 0 where nothing is."""
    if shot.sensor.kind != "perspective":
        kind = shot.sensor.kind
        raise NotImplementedError(f"sensor: expected 'perspective' for maps of what is seen, got {kind!r}")

    def position(found: Rendering) -> Tensor:
        assert found.depth is not None
        directions = shot.camera.rays().directions
        ahead = -shot.camera.camera_to_world[:3, 2]
        along = found.depth[0] / (directions @ ahead)[..., None]
        return found.mask[0] * (shot.camera.position + along * directions)

    def depth(found: Rendering) -> Tensor:
        """From the near plane on, along the ray."""
        assert found.depth is not None
        ahead = -shot.camera.camera_to_world[:3, 2]
        cosine = (shot.camera.rays().directions @ ahead)[..., None]
        return found.mask[0] * (found.depth[0] - shot.sensor.values["near_clip"]) / cosine

    def buffer(name: str) -> Callable[[Rendering], Tensor]:
        return lambda found: found.mask[0] * getattr(found, name)[0]

    made = {"depth": depth, "position": position, "sh_normal": buffer("normals"), "albedo": buffer("albedo")}
    return {name: made[name] for name in MAPS}


# ---- Scenes --------------------------------------------------------------------------------------------------------


def to_scene(scene: Scene) -> LumigradScene:
    """The meshes and lights of a scene as lumigrad has them, with the values of its parameters."""
    shapes: list[Mesh | Instances] = [_mesh(shape) for shape in scene.shapes() if _is_something(shape)]
    shapes += _placed([shape for shape in scene.shapes() if shape.kind == "instance"])
    lights = [light_of(emitter) for emitter in scene.of_family("emitter")]
    environment = next((light for light in lights if isinstance(light, EnvironmentLight)), None)
    lights = [light for light in lights if light is not environment]
    if not scene.emitters():
        lights.append(AmbientLight(intensity=0.0))  # no light at all, in place of a built-in one
    return LumigradScene(shapes, lights, environment)


def _is_something(shape: Object) -> bool:
    """Whether a shape is seen by itself: light passes what is null as it is, wherever a mask lets it be seen, too."""
    if shape.kind in ("instance", "shapegroup"):
        return False
    bsdf = shape.children.get("bsdf")
    while bsdf is not None and bsdf.kind == "mask":
        bsdf = bsdf.children["nested_bsdf"]
    return bsdf is None or bsdf.kind != "null" or "emitter" in shape.children


def _placed(instances: Sequence[Object]) -> list[Instances]:
    """Each shape of each group, at all places of its group."""
    groups: dict[int, tuple[Object, list[Tensor]]] = {}
    for one in instances:
        group = one.children[next(iter(one.children))]
        groups.setdefault(id(group), (group, []))[1].append(one.values["to_world"])
    return [
        Instances(_mesh(shape), torch.stack(matrices))
        for group, matrices in groups.values()
        for shape in group.children.values()
        if _is_something(shape)
    ]


def _mesh(shape: Object) -> Mesh:
    mesh = mesh_of(shape)
    material = material_of(shape.children.get("bsdf"), shape.children.get("emitter"))
    uvs, uv_faces = coordinates(shape, mesh.uvs), mesh.uv_faces
    if uvs is None:  # opacities are textures of one texel, wherever that is looked up
        uvs, uv_faces = mesh.positions.new_zeros(1, 2), torch.zeros_like(mesh.faces)
    return replace(mesh, uvs=uvs, uv_faces=uv_faces, materials=(material,))


def to_camera(sensor: Object) -> Camera:
    """The camera of a sensor as lumigrad has it."""
    return camera_of(sensor)
