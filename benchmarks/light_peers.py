"""The same scenes in lumigrad and in Mitsuba 3, in Mitsuba's format: processor seconds, measured in turns.

Both libraries load the same dictionaries, render the same number of paths, and compute the gradient of the image's mean
with respect to the reflectance of the walls (or the ball). Mitsuba's variant "llvm_ad_rgb" compiles a kernel at the
first call, whose time is printed separately; it needs LLVM (`DRJIT_LIBLLVM_PATH` says where). lumigrad builds its
triangle tree in every call.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Budget, Timing, measure
from lumigrad.compat import mitsuba as ours
from lumigrad.io import load_mesh, save_mesh
from lumigrad.scene import icosphere

PEERS = ("mitsuba",)
DEPTH = 6


def compare(size: int, samples: int, budget: Budget, mesh: Path | None) -> None:
    """Prints a table for each scene."""
    if importlib.util.find_spec("mitsuba") is None:
        print("mitsuba is not installed: pip install mitsuba")
        return
    theirs = importlib.import_module("mitsuba")
    theirs.set_variant("llvm_ad_rgb")
    scenes = {"Cornell box": cornell_box, "mesh, ground, panel, uniform light": lambda api: on_ground(api, mesh)}
    for title, made in scenes.items():
        tasks = {f"lumigrad, {name}": task for name, task in _ours(made(ours), size, samples).items()}
        tasks |= {f"Mitsuba {theirs.__version__}, {name}": task for name, task in _theirs(theirs, made(theirs), size,
                                                                                         samples).items()}  # fmt: skip
        print(f"{title}, {size}^2 x {samples}, depth {DEPTH}")
        first = {name: _seconds(task) for name, task in tasks.items()}
        for name, timing in measure(tasks, budget, time.process_time).items():
            _say(name, timing, first[name], size * size * samples)
    compare_shadows(size // 8, samples)


def _seconds(task: Callable[[], object]) -> float:
    begin = time.process_time()
    task()
    return time.process_time() - begin


def _say(name: str, timing: Timing, first: float, paths: int) -> None:
    rate = paths / timing.fastest / 1e6
    print(f"  {name:32} {1e3 * timing.fastest:9.1f} ms  {rate:6.2f} M paths/s  (first call {first:.1f} s)")


# ---- What is measured ----------------------------------------------------------------------------------------------


def _ours(parts: dict[str, Any], size: int, samples: int) -> dict[str, Callable[[], object]]:
    scene = ours.load_dict(parts | {"sensor": _sensor(parts, size)})
    learned = ours.load_dict(parts | {"sensor": _sensor(parts, size)})
    assert isinstance(scene, ours.Scene)
    assert isinstance(learned, ours.Scene)
    params = ours.traverse(learned)
    leaf = params["white.reflectance.value"].clone().requires_grad_()
    params.update({"white.reflectance.value": leaf})
    path = ours.load_dict({"type": "path", "max_depth": DEPTH})

    def gradient() -> None:
        ours.render(learned, integrator=path, spp=samples).mean().backward()
        leaf.grad = None

    return {"image": lambda: ours.render(scene, integrator=path, spp=samples), "image and gradient": gradient}


def _theirs(api: Any, parts: dict[str, Any], size: int, samples: int) -> dict[str, Callable[[], object]]:
    drjit = importlib.import_module("drjit")
    scene = api.load_dict(parts | {"sensor": _sensor(parts, size)})
    params = api.traverse(scene)
    path, replay = (api.load_dict({"type": kind, "max_depth": DEPTH}) for kind in ("path", "prb"))

    def image() -> None:
        drjit.eval(api.render(scene, integrator=path, spp=samples))
        drjit.sync_thread()

    def gradient() -> None:
        key = "white.reflectance.value"
        params[key] = drjit.detach(params[key])
        drjit.enable_grad(params[key])
        params.update()
        drjit.backward(drjit.mean(api.render(scene, params, integrator=replay, spp=samples), axis=None))
        drjit.eval(drjit.grad(params[key]))
        drjit.sync_thread()

    return {"image": image, "image and gradient": gradient}


# ---- Scenes --------------------------------------------------------------------------------------------------------


def _sensor(parts: dict[str, Any], size: int) -> dict[str, Any]:
    film = {"type": "hdrfilm", "width": size, "height": size, "rfilter": {"type": "box"}, "component_format": "float32"}
    return {**parts["sensor"], "film": film}


def _rgb(*values: float) -> dict[str, Any]:
    return {"type": "rgb", "value": list(values)}


def _diffuse(*values: float) -> dict[str, Any]:
    return {"type": "diffuse", "reflectance": _rgb(*values)}


def cornell_box(api: Any) -> dict[str, Any]:
    """A room from -1 to 1 with two blocks and a light in the ceiling."""
    place, white = api.ScalarTransform4f, {"type": "ref", "id": "white"}

    def wall(placed: Any, bsdf: dict[str, Any] = white) -> dict[str, Any]:
        return {"type": "rectangle", "to_world": placed, "bsdf": bsdf}

    lamp = place().translate([0, 0.99, 0]).rotate([1, 0, 0], 90).scale([0.25, 0.25, 1])
    return {
        "type": "scene",
        "sensor": {
            "type": "perspective", "fov": 39.3, "to_world": place().look_at([0, 0, 3.9], [0, 0, 0], [0, 1, 0]),
        },
        "white": _diffuse(0.73, 0.71, 0.68),
        "floor": wall(place().translate([0, -1, 0]).rotate([1, 0, 0], -90)),
        "ceiling": wall(place().translate([0, 1, 0]).rotate([1, 0, 0], 90)),
        "back": wall(place().translate([0, 0, -1])),
        "left": wall(place().translate([-1, 0, 0]).rotate([0, 1, 0], 90), _diffuse(0.63, 0.06, 0.05)),
        "right": wall(place().translate([1, 0, 0]).rotate([0, 1, 0], -90), _diffuse(0.14, 0.45, 0.09)),
        "tall": {
            "type": "cube", "bsdf": white,
            "to_world": place().translate([-0.35, -0.4, -0.3]).rotate([0, 1, 0], 17).scale([0.3, 0.6, 0.3]),
        },
        "short": {
            "type": "cube", "bsdf": white,
            "to_world": place().translate([0.33, -0.7, 0.35]).rotate([0, 1, 0], -17).scale([0.3, 0.3, 0.3]),
        },
        "lamp": {**wall(lamp), "emitter": {"type": "area", "radiance": _rgb(17, 12, 4)}},
    }  # fmt: skip


def on_ground(api: Any, mesh: Path | None) -> dict[str, Any]:
    """A mesh (a ball if none is given) on a ground, under a panel and uniform light."""
    place, white = api.ScalarTransform4f, {"type": "ref", "id": "white"}
    shape: dict[str, Any] = {"type": "sphere", "bsdf": white}
    if mesh is not None:
        low, high = load_mesh(mesh).bounds()
        middle = [-0.5 * value for value in (low + high).tolist()]
        fitted = place().scale(2 / float((high - low).max())).translate(middle)
        shape = {"type": "obj", "filename": str(mesh), "face_normals": True, "bsdf": white, "to_world": fitted}
    panel = place().translate([1, 2.5, 1]).rotate([1, 0, 0], 90).scale(0.7)
    return {
        "type": "scene",
        "sensor": {
            "type": "perspective", "fov": 45, "to_world": place().look_at([1.3, 1, 3.6], [0, 0, 0], [0, 1, 0]),
        },
        "white": _diffuse(0.5, 0.5, 0.5),
        "shape": shape,
        "ground": {
            "type": "rectangle", "bsdf": white,
            "to_world": place().translate([0, -1, 0]).rotate([1, 0, 0], -90).scale(4),
        },
        "panel": {"type": "rectangle", "to_world": panel, "emitter": {"type": "area", "radiance": 6.0}},
        "light": {"type": "constant", "radiance": 0.4},
    }  # fmt: skip


# ---- Gradients of shadows -------------------------------------------------------------------------------------------


def compare_shadows(size: int, samples: int, runs: int = 8) -> None:
    """How noisy is the derivative of a picture's mean brightness when an object outside the picture moves its shadow?

    Prints the derivative's mean over runs, its standard deviation in one run, the processor seconds of a run, and hence
    the variance left after one second: deviation^2 * seconds.
    """
    theirs = importlib.import_module("mitsuba")
    print(f"derivative of a shadow, {size}^2 x {samples}, direct light")
    with tempfile.TemporaryDirectory() as folder:
        # No two vertices at the same place: Mitsuba would take them for edges.
        occluder = Path(folder) / "occluder.ply"
        save_mesh(icosphere(2), occluder)
        tasks = {"lumigrad": _our_shadow(occluder, size, samples)}
        for guiding in ("octree", "none"):
            task = _their_shadow(theirs, occluder, size, samples, guiding)
            tasks[f"Mitsuba, prb_projective, guiding {guiding}"] = task
    for name, task in tasks.items():
        task(0)  # compiles
        begin = time.process_time()
        found = torch.tensor([task(1 + k) for k in range(runs)], dtype=torch.float64)
        seconds, deviation = (time.process_time() - begin) / runs, found.std().item()
        print(
            f"  {name:40} {found.mean().item():9.5f}, deviation {deviation:.1e}, {seconds:6.2f} s, "
            f"variance in a second {deviation**2 * seconds:.1e}"
        )


def _our_shadow(occluder: Path, size: int, samples: int) -> Callable[[int], float]:
    parts = shadow(ours, occluder)
    scene = ours.load_dict(parts | {"sensor": _sensor(parts, size)})
    assert isinstance(scene, ours.Scene)
    params, path = ours.traverse(scene), ours.load_dict({"type": "path", "max_depth": 2})
    corners = params["occluder.vertex_positions"].reshape(-1, 3)

    def derivative(seed: int) -> float:
        shift = torch.zeros((), requires_grad=True)
        params.update({"occluder.vertex_positions": corners + shift * torch.tensor([1.0, 0.0, 0.0])})
        ours.render(scene, integrator=path, spp=samples, seed=seed).mean().backward()
        assert shift.grad is not None
        return shift.grad.item()

    return derivative


def _their_shadow(api: Any, occluder: Path, size: int, samples: int, guiding: str) -> Callable[[int], float]:
    drjit = importlib.import_module("drjit")
    parts = shadow(api, occluder)
    scene = api.load_dict(parts | {"sensor": _sensor(parts, size)})
    params = api.traverse(scene)
    replay = api.load_dict({"type": "prb_projective", "max_depth": 2, "guiding": guiding})
    key = "occluder.vertex_positions"
    corners = drjit.unravel(api.Point3f, drjit.copy(params[key]))

    def derivative(seed: int) -> float:
        shift = api.Float(0.0)
        drjit.enable_grad(shift)
        params[key] = drjit.ravel(corners + api.Point3f(shift, 0, 0))
        params.update()
        drjit.backward(drjit.mean(api.render(scene, params, integrator=replay, spp=samples, seed=seed), axis=None))
        return float(drjit.grad(shift)[0])

    return derivative


def shadow(api: Any, occluder: Path) -> dict[str, Any]:
    """An object between a panel and the ground; the camera sees only the edge of its shadow."""
    place = api.ScalarTransform4f
    black = _diffuse(0.0, 0.0, 0.0)
    return {
        "type": "scene",
        "sensor": {
            "type": "perspective", "fov": 30, "to_world": place().look_at([0, 0.9, 0.2], [0, 0, 0], [0, 1, 0]),
        },
        "ground": {
            "type": "rectangle", "bsdf": _diffuse(0.6, 0.6, 0.6), "to_world": place().rotate([1, 0, 0], -90).scale(3),
        },
        "occluder": {
            "type": "ply", "filename": str(occluder), "bsdf": black,
            "to_world": place().translate([0.3, 1.4, 0]).scale([0.25, 0.15, 0.25]),
        },
        "panel": {
            "type": "rectangle", "bsdf": black, "emitter": {"type": "area", "radiance": _rgb(10, 9, 8)},
            "to_world": place().translate([0, 3, 0]).rotate([1, 0, 0], 90).scale(0.4),
        },
    }  # fmt: skip
