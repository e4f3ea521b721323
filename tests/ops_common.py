"""Shared by the tests of the ops: scenes, comparisons, and runs of all ops."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from meshes import icosphere, perspective, random_triangles, to_clip, view_mesh
from splat_common import splat_outputs
from torch import Tensor

import lumigrad as lg
from lumigrad._engine import threads as engine_threads
from lumigrad.ops import surface

TESTS = Path(__file__).resolve().parent
SOURCE = Path(lg.__file__).resolve().parent.parent
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def scaled_error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest magnitude of the expected tensor."""
    assert actual.shape == expected.shape
    if not expected.numel():
        return 0.0
    scale = expected.detach().abs().max().clamp(min=1e-30).double()
    return ((actual.detach().double() - expected.detach().double()).abs().max() / scale).item()


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform in [-1, 1), the same for the same arguments."""
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype) - 1


def sphere_views(level: int = 2, views: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A sphere seen from `views` sides: positions [views, V, 4], faces."""
    points, tri = icosphere(level)
    return torch.stack([view_mesh(points.to(dtype), 33.0 * i + 11, 21.0 - 9 * i) for i in range(views)]), tri


def inside_sphere(level: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The camera stands inside the sphere, off its centre: triangles all around it, many across w = 0."""
    points, tri = icosphere(level)
    points = points.double() + torch.tensor([0.2, -0.1, 0.3])
    return to_clip(points, perspective(80.0)).to(dtype), tri


def near_straddler(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A ground triangle that begins behind the camera, and a small one before it."""
    ground = [[-3.0, -0.6, 2.0], [4.0, -0.5, 1.5], [0.3, -0.4, -6.0]]
    small = [[-0.4, -0.3, -2.0], [0.5, -0.35, -2.2], [0.0, 0.5, -1.9]]
    points = torch.tensor(ground + small, dtype=torch.float64)
    return to_clip(points, perspective(70.0)).to(dtype), torch.tensor([[0, 1, 2], [3, 4, 5]])


def hits(pos: Tensor, tri: Tensor, size: tuple[int, int], max_layers: int = 8) -> Tensor:
    """How many triangles cover each pixel, found by peeling; fails where there are more than `max_layers`."""
    count = torch.zeros(1, *size, dtype=torch.int32)
    for frags in lg.peel(pos, tri, size, max_layers + 1, derivatives=False):
        seen = frags.tri >= 0
        if not seen.any():
            return count
        count += seen
    raise AssertionError(f"more than {max_layers} layers")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch.set_num_threads for the length of a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gradcheck(function: Callable, inputs: tuple[Tensor, ...], eps: float, atol: float, rtol: float) -> bool:
    """torch's, on one thread: it makes thousands of calls too small to share out."""
    with threads(1):
        # A device's atomics add in any order; that the CPU's sums are the same bit for bit other tests say.
        return torch.autograd.gradcheck(function, inputs, eps=eps, atol=atol, rtol=rtol, nondet_tol=1e-9)


@contextmanager
def own_pool() -> Iterator[None]:
    """Run the core on its own threads instead of those of torch's OpenMP runtime."""
    engine_threads.use_own_pool()
    try:
        yield
    finally:
        engine_threads.use_team()


# ---- Everything at once ----------------------------------------------------------------------------------


def _grads(outputs: Iterable[Tensor], inputs: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Gradients of a random weighted sum of the outputs."""
    loss = sum((out * random(*out.shape, seed=seed + i, dtype=out.dtype)).sum() for i, out in enumerate(outputs))
    grads = torch.autograd.grad(loss, list(inputs.values()))
    return {f"grad {name}": grad for name, grad in zip(inputs, grads)}


def mesh_outputs(
    pos: Tensor, tri: Tensor, size: tuple[int, int], channels: int = 3, ranges: Tensor | None = None
) -> dict[str, Tensor]:
    """All outputs and gradients of rasterize, interpolate and antialias on a scene."""
    pos = pos.detach().clone().requires_grad_()
    frags = lg.rasterize(pos, tri, size, ranges)
    attr = random(pos.shape[-2], channels, seed=1, dtype=pos.dtype).requires_grad_()
    bary, bary_d = frags.bary.detach().requires_grad_(), frags.bary_d.detach().requires_grad_()
    fixed = frags._replace(bary=bary, bary_d=bary_d, depth=frags.depth.detach())
    out, out_d = lg.interpolate(attr, fixed, tri, derivatives=True)
    color = random(*frags.tri.shape, channels, seed=2, dtype=pos.dtype).requires_grad_()
    smooth = lg.antialias(color, fixed, pos, tri)
    return {
        **{name: value for name, value in frags._asdict().items() if value is not None},
        **{f"rasterize {k}": v for k, v in _grads(frags[1:4], {"pos": pos}, 10).items()},
        "out": out,
        "out_d": out_d,
        **{
            f"interpolate {k}": v
            for k, v in _grads((out, out_d), {"attr": attr, "bary": bary, "bary_d": bary_d}, 20).items()
        },
        "smooth": smooth,
        **{f"antialias {k}": v for k, v in _grads((smooth,), {"color": color, "pos": pos}, 30).items()},
        **{
            f"{op.__name__} {k}": v
            for op in (surface.edge_gradient, surface.nmr_gradient)
            for k, v in _grads((op(color, fixed, pos, tri),), {"pos": pos}, 30).items()
        },
    }


def texture_outputs(dtype: torch.dtype, size: int = 40) -> dict[str, Tensor]:
    """Outputs and gradients of the texture ops in their main modes."""
    result = {}
    for cube in (False, True):
        shape = (1, 6, 24, 24, 3) if cube else (2, 17, 30, 3)
        image, parts = (2, size, size), 3 if cube else 2
        inputs = {
            "tex": random(*shape, seed=3, dtype=dtype),
            "uv": random(*image, parts, seed=4, dtype=dtype),
            "uv_d": 0.1 * random(*image, parts, 2, seed=5, dtype=dtype),
            "bias": random(*image, seed=6, dtype=dtype),
        }
        for value in inputs.values():
            value.requires_grad_()
        op = lg.texture_cube if cube else lg.texture
        for filter in ("linear", "linear-mipmap-linear"):
            out = op(*inputs.values(), filter=filter)
            name = f"{'cube' if cube else 'texture'} {filter}"
            used = inputs if "mipmap" in filter else {k: inputs[k] for k in ("tex", "uv")}
            result[name] = out
            result.update({f"{name} {k}": v for k, v in _grads((out,), used, 40).items()})
    return result


def soft_outputs(pos: Tensor, tri: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Outputs and gradients of soft rasterization, with fragments of two tile sizes and without fragments."""
    result = {}
    inputs = {"pos": pos.detach().clone().requires_grad_()}
    for faces in (1, 9):
        frags = lg.soft_rasterize(inputs["pos"], tri, size, faces, 1e-3)
        result.update({f"soft {faces} {k}": v for k, v in frags._asdict().items()})
        result.update({f"soft {faces} {k}": v for k, v in _grads(frags[1:], inputs, 50).items()})
    inputs["attr"] = random(pos.shape[-2], 3, seed=7, dtype=pos.dtype).requires_grad_()
    colors = lg.soft_colors(inputs["pos"], tri, inputs["attr"], size, 1e-4, 1e-2)
    mask = lg.soft_silhouette(inputs["pos"], tri, size, 1e-4, falloff="exponential")
    result.update({f"soft blend {k}": v for k, v in _grads((colors, mask), inputs, 60).items()})
    return {**result, "soft colors": colors, "soft mask": mask}


def all_outputs() -> dict[str, Tensor]:
    """Outputs and gradients of every op on scenes of several kinds, in float32 and float64."""
    triangles, faces = random_triangles(300, seed=3, behind=0.1)
    ranges = torch.tensor([[0, 120], [50, 250], [299, 1], [10, 0]])
    result = {}
    for dtype in (torch.float32, torch.float64):
        sphere, sphere_tri = sphere_views(3, 3, dtype)
        room, room_tri = inside_sphere(2, dtype)
        scenes = {
            "sphere": mesh_outputs(sphere, sphere_tri, (150, 201)),
            "inside": mesh_outputs(room, room_tri, (97, 130), 5),
            "random": mesh_outputs(triangles.to(dtype), faces, (131, 70), 1, ranges),
            "texture": texture_outputs(dtype),
            "soft sphere": soft_outputs(sphere, sphere_tri, (70, 91)),
            "soft inside": soft_outputs(room, room_tri, (97, 50)),
            "splats": splat_outputs(dtype),
        }
        for scene, outputs in scenes.items():
            result.update({f"{scene} {dtype} {name}": value for name, value in outputs.items()})
        for i, layer in enumerate(lg.peel(triangles.to(dtype), faces, (64, 77), 3)):
            result.update(
                {f"layer {i} {dtype} {name}": value for name, value in layer._asdict().items() if value is not None}
            )
    result["topology"] = lg.edge_topology(sphere_tri)
    return result


def digests(outputs: dict[str, Tensor]) -> dict[str, str]:
    """A fingerprint of every tensor's bits."""
    return {k: hashlib.sha1(v.detach().contiguous().numpy().tobytes()).hexdigest() for k, v in outputs.items()}


def run_python(code: str, timeout: float = 100, **environment: str) -> str:
    """Run code in a fresh interpreter that finds this lumigrad and these helpers; return what it prints."""
    path = os.pathsep.join([str(SOURCE), str(TESTS), os.environ.get("PYTHONPATH", "")])
    # As in a process of its own, idle threads wait as they do by default.
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**inherited, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
