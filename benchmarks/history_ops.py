"""The ops that the history of lumigrad's speed measures: every family, on small scenes that need no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

import lumigrad as lg
from benchmarks import fields, meshes
from benchmarks.implicit import bumpy_ball
from lumigrad.scene import PerspectiveCamera

TRIANGLES = 20_088


class Op(NamedTuple):
    """The call to time, and the least number of bytes that it must read and write."""

    run: Callable[[], object]
    bytes: int


def make_ops(scale: int = 1) -> dict[str, Op]:
    """All ops by name. scale: divides the sides of images and grids."""
    return _surface_ops(512 // scale) | _other_ops(scale)


def _surface_ops(size: int) -> dict[str, Op]:
    """A sphere of 20 000 triangles in an image of size^2 pixels, with three channels."""
    mesh = meshes._finish("sphere", *meshes.sphere(TRIANGLES))
    pos = meshes.workload(mesh, size).clip
    tri, colors = mesh.faces, mesh.colors
    topology = lg.edge_topology(tri)
    frags = lg.rasterize(pos, tri, (size, size), derivatives=False)
    color = lg.interpolate(colors, frags, tri)
    across = (torch.arange(size) + 0.5) / size
    uv = torch.stack(torch.meshgrid(across, across, indexing="xy"), -1)[None].contiguous()
    image = (size, size)
    return {
        "rasterize": _forward(lambda: lg.rasterize(pos, tri, image, derivatives=False), pos, tri),
        "rasterize with colours, backward": _both(
            lambda p, c: lg.rasterize(p, tri, image, derivatives=False, attributes=c).attributes, [pos, colors], tri
        ),
        "interpolate, backward": _both(
            lambda c, bary: lg.interpolate(c, frags._replace(bary=bary), tri), [colors, frags.bary], frags.tri, tri
        ),
        "antialias, backward": _both(
            lambda c, p: lg.antialias(c, frags, p, tri, topology=topology), [color, pos], frags.tri, frags.depth, tri
        ),
        "texture, backward": _both(
            lambda tex, uv: lg.texture(tex, uv, filter="linear"), [torch.rand(1, size, size, 3), uv]
        ),
    }


def _other_ops(scale: int) -> dict[str, Op]:
    generator = torch.Generator().manual_seed(0)
    uniform = lambda *shape: torch.rand(shape, generator=generator)  # noqa: E731
    side = 256 // scale
    view = PerspectiveCamera.orbit(30.0, 20.0, 3.0, 50.0, (side, side)).view()
    cloud = [2 * uniform(5000, 3) - 1, uniform(5000, 4) - 0.5, 0.01 + 0.03 * uniform(5000, 3), uniform(5000)]
    grid, origins, directions, step = fields.scene(128 // scale, 64 // scale)
    resolutions = [16 * 2**level for level in range(8)]
    mesh = meshes._finish("sphere", *meshes.sphere(TRIANGLES))
    bvh = lg.build_bvh(mesh.vertices, mesh.faces)
    values = bumpy_ball(64 // scale)
    return {
        "soft silhouette, backward": _soft(128 // scale),
        "gaussians, backward": _both(lambda *leaves: lg.gaussians(*leaves, view).image, [*cloud, uniform(5000, 3)]),
        "march, backward": _both(
            lambda g: lg.march(g, origins, directions, fields.BOX, step).features, [grid], origins, directions
        ),
        "hash encoding, backward": _both(
            lambda x, t: lg.hash_encode(x, t, resolutions), [uniform(50_000 // scale, 3), uniform(8, 2**15, 2)]
        ),
        "trace": _forward(
            lambda: lg.trace(origins, directions, mesh.vertices, mesh.faces, bvh),
            *(origins, directions, mesh.vertices, mesh.faces),
        ),
        "marching cubes": _forward(lambda: lg.marching_cubes(values), values),
    }


def _soft(size: int) -> Op:
    """The silhouette of a sphere of 1 250 triangles."""
    mesh = meshes._finish("sphere", *meshes.sphere(1250))
    pos = meshes.workload(mesh, size).clip
    return _both(lambda p: lg.soft_silhouette(p, mesh.faces, (size, size), sigma=1e-4), [pos], mesh.faces)


def _forward(call: Callable[[], object], *inputs: Tensor) -> Op:
    with torch.no_grad():
        return Op(torch.no_grad()(call), _bytes(inputs) + _bytes(_tensors(call())))


def _both(call: Callable[..., Tensor], leaves: list[Tensor], *others: Tensor) -> Op:
    """Forward and backward to all leaves, with incoming gradients of one. others: other tensors that the call reads."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    output = call(*leaves).detach()
    gradient = torch.ones_like(output)

    def run() -> object:
        return torch.autograd.grad(call(*leaves), leaves, gradient)

    inputs = _bytes([*leaves, *others])
    return Op(run, inputs + _bytes([output]) + inputs + _bytes([gradient]) + _bytes(leaves))


def _tensors(result: object) -> list[Tensor]:
    parts: Iterable[object] = [result] if isinstance(result, Tensor) else result  # type: ignore[assignment]
    return [part for part in parts if isinstance(part, Tensor)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
