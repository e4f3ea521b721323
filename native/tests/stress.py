"""Every op of the core, forward and backward, on odd, degenerate and wrong input. Run by .ci/sanitize.sh.

Checks nothing about the values (tests/ops does): it is there to lead an instrumented core, and the memory it
reads and writes, through all of its code.

Usage:
    python native/tests/stress.py        # all rounds: one and two threads, float32 and float64
    python native/tests/stress.py 0/2    # half of them, each number of threads and each type once; 1/2: the others
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import lumigrad as lg
from lumigrad import Fragments
from lumigrad._engine import loading
from lumigrad.ops import installation
from lumigrad.ops.surface import _packed
from lumigrad.ops.surface._antialias import antialias_with
from lumigrad.ops.surface._peel import peel_layers
from lumigrad.types import Media

SIZES = [(1, 1), (1, 7), (65, 1), (3, 2), (16, 17), (63, 66), (64, 64), (129, 70)]
random = torch.Generator().manual_seed(0)


def uniform(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 2 * torch.rand(shape, generator=random, dtype=torch.float64).to(dtype) - 1


def soups(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions [V, 4] and faces: loose, connected, huge, behind the camera, coincident, not finite."""
    for vertices, faces, spread in ((3, 1, 3.0), (40, 60, 1.0), (300, 1100, 1.5), (9, 30, 1e4), (12, 20, 0.01)):
        pos = spread * uniform(vertices, 4, dtype=dtype)
        pos[:, 3] = pos[:, 3].abs() / spread + 0.1
        tri = torch.randint(0, vertices, (faces, 3), generator=random)
        yield pos, tri
        behind = pos.clone()
        behind[::3, 3] *= -1
        yield behind, tri.int()
    lattice = uniform(12, 4, dtype=dtype).mul(2).round().div(2)
    yield lattice, torch.randint(0, 12, (60, 3), generator=random)
    wild = uniform(12, 4, dtype=dtype)
    wild[0, 0], wild[1, 3], wild[2, 2], wild[3], wild[4] = torch.nan, torch.inf, -torch.inf, 3e38, 0
    wild[5], wild[6, 3], wild[7] = 1e-45, 1e-40, -3e38
    yield wild, torch.randint(0, 12, (60, 3), generator=random)
    yield torch.zeros(0, 4, dtype=dtype), torch.zeros(0, 3, dtype=torch.int64)
    yield uniform(5, 4, dtype=dtype), torch.zeros(0, 3, dtype=torch.int32)


def differentiate(outputs: list[Tensor]) -> None:
    outputs = [out for out in outputs if out.requires_grad]
    if outputs:
        torch.autograd.backward(outputs, [uniform(*out.shape, dtype=out.dtype) for out in outputs])


def mesh_ops(pos: Tensor, tri: Tensor, size: tuple[int, int], ranges: Tensor | None, channels: int) -> None:
    pos = pos.clone().requires_grad_()
    frags = lg.rasterize(pos, tri, size, ranges)
    attr = uniform(pos.shape[-2], channels, dtype=pos.dtype).requires_grad_()
    listed = [channels - 1, 0] if channels else []
    out, out_d = lg.interpolate(attr, frags, tri, listed)
    topology = lg.edge_topology(tri)
    smooth = [antialias_with(out, frags, pos, tri, topology, own_edges) for own_edges in (False, True)]
    pieces = {"method": "exact", "topology": topology, "ranges": ranges}
    if len(tri) <= 100:  # the time goes with the cube of how many triangles cross at one place
        smooth += [lg.antialias(out, frags, pos, tri, every_edge=every_edge, **pieces) for every_edge in (False, True)]
    differentiate([*frags[1:4], out, out_d, *smooth])
    fused = lg.rasterize(pos, tri, size, ranges, channels % 2 == 0, attr)
    differentiate([out for out in fused[1:] if out is not None])
    lean = lg.rasterize(pos, tri, size, ranges, derivatives=False)
    differentiate([lean.depth, lg.interpolate(attr.detach(), lean, tri - (tri == 0).to(tri.dtype))])
    for bits, coincident in ((8, False), (4, True)):
        for layer in peel_layers(pos, tri.int(), ranges, size, 2, bits == 8, coincident):
            differentiate([layer.depth])
    rast, rast_db = _packed.rasterize_packed(pos, tri.int(), ranges, size, 4)
    packed, packed_d = _packed.interpolate_packed(attr, rast, tri.int(), rast_db, listed)
    differentiate([packed, packed_d, _packed.antialias_packed(packed, rast, pos, tri.int(), topology)])


def soft_ops(pos: Tensor, tri: Tensor, size: tuple[int, int], ranges: Tensor | None) -> None:
    pos = pos.clone().requires_grad_()
    attr = uniform(pos.shape[-2], 3, dtype=pos.dtype).requires_grad_()
    for faces, blur, cull in ((1, 0.0, False), (7, 0.05, True)):
        frags = lg.soft_rasterize(pos, tri, size, faces, blur, ranges, cull_backfaces=cull)
        differentiate([*frags[1:], lg.soft_interpolate(attr, frags, tri)])
    for mode, falloff in (("softras", "sigmoid"), ("pytorch3d", "exponential")):
        differentiate([lg.soft_silhouette(pos, tri, size, 0.01, falloff=falloff, ranges=ranges)])
        differentiate([lg.soft_colors(pos, tri, attr, size, 0.01, 0.1, mode=mode, ranges=ranges)])


def gradient_methods(pos: Tensor, tri: Tensor, size: tuple[int, int]) -> None:
    pos = pos.clone().requires_grad_()
    frags = lg.rasterize(pos, tri, size)
    color = uniform(*frags.tri.shape, 2, dtype=pos.dtype).requires_grad_()
    differentiate([lg.gradients.apply(color, frags, pos, tri, method) for method in ("edge", "nmr")])


def splat_ops(dtype: torch.dtype, size: tuple[int, int]) -> None:
    views, count = 2, 200
    matrix = torch.eye(4, dtype=dtype).repeat(views, 1, 1)
    matrix[:, 2, 3] = -3
    camera = [matrix, *(torch.full((views,), value, dtype=dtype) for value in (30.0, 30.0, 8.0, 8.0))]
    camera = [value.requires_grad_() for value in camera]
    where = 3 * uniform(count, 3, dtype=dtype)
    where[0, 0], where[1, 2], where[2] = torch.nan, torch.inf, 3e38
    radii, opacities = uniform(count, dtype=dtype), uniform(count, dtype=dtype).abs()
    radii[:20] *= 100
    radii[20:40], opacities[30:50] = 0, 0
    where, radii, opacities = (value.requires_grad_() for value in (where, radii, opacities))
    quats, scales = uniform(count, 4, dtype=dtype).requires_grad_(), uniform(count, 3, dtype=dtype).abs()
    for channels, projection in ((1, "perspective"), (5, "orthographic")):
        view = lg.View(*camera, size, projection)
        features = uniform(count, channels, dtype=dtype).requires_grad_()
        disc = (where, radii, features, view, opacities)
        results = [lg.spheres(*disc, contributors=3)]
        for blend in ("alpha", "normalised", "nearest"):
            results += [lg.points(*disc, footprint="square" if blend == "nearest" else "disc", blend=blend)]
        results += [lg.gaussians(where, quats, scales, opacities, features, view)]
        differentiate([result.image for result in results])
        flat = lg.surfels(where, quats, scales[:, :2], opacities, features, view)
        differentiate([flat.image, flat.depth, flat.normals, flat.distortion, flat.median_depth])
        if projection == "perspective":
            discs = lg.surface_splats(where, quats[:, 1:], radii, features, view, visibility_gradient=True)
            differentiate([discs.image, discs.alpha])


def field_ops(dtype: torch.dtype, size: tuple[int, int, int]) -> None:
    origins, directions = uniform(70, 3, dtype=dtype), uniform(70, 3, dtype=dtype)
    origins[0, 0], origins[1, 2], directions[2, 1], directions[3] = torch.nan, torch.inf, torch.inf, 0
    directions[4:20, :2], origins[10:30] = 0, 1  # along the sides of the box
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]], dtype=dtype)
    moving = [value.requires_grad_() for value in (origins, directions, box)]
    for channels, step, activation in ((4, 0.05, "relu"), (4, 0.3, "exp"), (1, None, "none"), (6, 0.1, "softplus")):
        grid = 3 * uniform(*size, channels, dtype=dtype)
        grid[0, 0, 0] = torch.nan
        for rays in (moving, [value.detach() for value in moving]):
            for occupied in (None, lg.occupancy(grid[..., 0])):
                out = lg.march(grid.requires_grad_(), *rays, step, occupied, activation=activation, t_max=5.0)
                differentiate([out.features, out.alpha, out.depth])
    counts = torch.randint(0, 40, (70,), generator=random)
    counts[5] = 700
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    start, features = uniform(int(offsets[-1]), dtype=dtype), uniform(int(offsets[-1]), 3, dtype=dtype).requires_grad_()
    density = (start.abs() + 0.5).requires_grad_()
    samples = lg.RaySamples(start.requires_grad_(), start.detach() + 0.1, offsets)
    for step, seed in ((0.05, None), (0.7, 3)):
        for occupied in (None, lg.occupancy(uniform(*size) > 0)):
            lg.sample_rays(origins.detach(), directions.detach(), box.detach(), step, occupied, t_max=5.0, jitter=seed)
    for channels, axes in ((1, 2), (2, 3), (5, 3)):
        x = (2 * uniform(300, axes, dtype=dtype)).requires_grad_()
        x.data[0, 0], x.data[1, 1], x.data[2] = torch.nan, torch.inf, 3e38
        tables = uniform(3, 97, channels, dtype=dtype).requires_grad_()
        differentiate([lg.hash_encode(x, tables, (1, 5, 2**20))])
    for mode, opacity in (("density", density), ("alpha", density.clamp(max=1))):
        out = lg.composite(samples, opacity, features, mode=mode)
        differentiate([out.features, out.alpha, out.depth, out.weights])


def implicit_ops(dtype: torch.dtype, size: tuple[int, int, int]) -> None:
    values = uniform(*size, dtype=dtype)
    values.view(-1)[::7], values.view(-1)[::11] = torch.nan, 0
    lg.redistance(values, sweeps=3)
    verts, _ = lg.marching_cubes(values.requires_grad_())
    differentiate([verts])
    origins = 20 * uniform(70, 3, dtype=dtype)
    origins[0, 0], origins[1, 2] = torch.nan, torch.inf
    directions = uniform(70, 3, dtype=dtype)
    directions[::5, 1], directions[7] = 0, 0
    hits = lg.sphere_trace(values, origins.requires_grad_(), directions.requires_grad_(), silhouette=0.3)
    differentiate([torch.where(hits.mask, hits.t, torch.zeros_like(hits.t)), hits.alpha])


def hand_made(size: tuple[int, int]) -> None:
    """Fragments and topologies that nobody would make: anything but reading or writing out of bounds."""
    pos, tri = uniform(9, 4), torch.randint(0, 9, (12, 3), generator=random).int()
    pos[:, 3] = 1
    ids = torch.randint(-4, 12, (1, *size), generator=random).int()
    frags = Fragments(ids, 1e3 * uniform(*ids.shape, 2), uniform(*ids.shape), uniform(*ids.shape, 2, 2))
    frags.depth[ids % 5 == 0] = torch.nan
    moving, color = pos.requires_grad_(), uniform(*ids.shape, 2).requires_grad_()
    for high, own_edges in itertools.product((2, 72), (False, True)):
        topology = torch.randint(0, high, (12, 3), generator=random).int()
        differentiate([antialias_with(color, frags, moving, tri, topology, own_edges)])
        differentiate([lg.antialias(color, frags, moving, tri, topology, "exact", every_edge=own_edges)])
    attr = uniform(9, 3).requires_grad_()
    differentiate(list(lg.interpolate(attr, frags, tri, True)))


def texture_ops(dtype: torch.dtype) -> None:
    for height, width, channels in ((1, 1, 1), (1, 9, 3), (17, 5, 4), (32, 32, 2)):
        tex = uniform(1, height, width, channels, dtype=dtype).requires_grad_()
        uv = (5 * uniform(2, 6, 7, 2, dtype=dtype)).requires_grad_()
        uv.data[0, 0, :4, 0] = torch.tensor([torch.nan, torch.inf, 1e30, -1e30])
        uv_d, bias = uniform(2, 6, 7, 2, 2, dtype=dtype).requires_grad_(), (4 * uniform(2, 6, 7, dtype=dtype))
        uv_d.data[0, 1, :2] = torch.tensor(torch.inf)
        bias[0, 2, :2] = torch.nan
        for filter, wrap in itertools.product(("nearest", "linear", "auto"), ("repeat", "clamp", "mirror", "zero")):
            differentiate([lg.texture(tex, uv, uv_d, bias, None, filter, wrap)])
        mips = lg.build_mips(tex)
        differentiate([lg.texture(tex, uv, uv_d, None, mips, "linear-mipmap-nearest"), *mips])
        differentiate([lg.texture(tex, uv, uv_d, bias, anisotropy=16)])
    for size in (1, 2, 13):
        tex = uniform(2, 6, size, size, 3, dtype=dtype).requires_grad_()
        way = uniform(2, 6, 7, 3, dtype=dtype)
        way[0, 0, :4] = torch.tensor([[0, 0, 0], [1, 1, 1], [0, -1, 0], [torch.nan, 0, torch.inf]])
        way_d = uniform(2, 6, 7, 3, 2, dtype=dtype).requires_grad_()
        for filter in ("nearest", "linear", "linear-mipmap-nearest", "linear-mipmap-linear"):
            differentiate([lg.texture_cube(tex, way.requires_grad_(), way_d, filter=filter)])
        differentiate([lg.texture_cube(tex, way, way_d * 1000, anisotropy=16)])


def ray_ops(vertices: Tensor, tri: Tensor) -> None:
    vertices = vertices.requires_grad_()
    tree = lg.refit_bvh(lg.build_bvh(vertices.detach().flip(0), tri), vertices.detach())
    origins, directions = (uniform(70, 3, dtype=vertices.dtype) for _ in range(2))
    directions[::7], directions[1], origins[3] = directions[0].clone(), 0, torch.nan
    for bvh in (None, tree):
        hits = lg.trace(origins.requires_grad_(), directions.requires_grad_(), vertices, tri, bvh, t_max=50.0)
        lg.occluded(lg.offset_origins(hits, directions, vertices, tri), -directions, vertices, tri, bvh, 0.01)
        differentiate([hits.bary, hits.t])


def path_ops(vertices: Tensor, tri: Tensor) -> None:
    dtype, count = vertices.dtype, len(tri)
    kinds = torch.tensor([
        [0, 1, -1, 0, -1, 1, 0, -1, -1, -1, 2, 1 << 5], [1, 0, 0, 1, -1, -1, 1, 0, 1, 0, 0, 1 << 6],
        [2, 1, -1, -1, 1, 0, -1, -1, -1, -1, 1, 0], [3, 0, 1, -1, -1, -1, 0, -1, -1, -1, 0, 0],
        [4, 1, 1, 0, -1, -1, -1, -1, -1, -1, 0, 1 << 2], [5, 1, -1, 0, 0, 1, -1, 1, 0, 1, 2, 0],
    ])  # fmt: skip
    scene = lg.LitScene(
        vertices, tri, uniform(6, 21, dtype=dtype).abs().requires_grad_(), kinds,
        torch.randint(0, 6, (count,), generator=random),
        textures=[uniform(*size, 3, dtype=dtype).abs().requires_grad_() for size in ((3, 5), (1, 1))],
        corner_normals=uniform(count, 3, 3, dtype=dtype).requires_grad_(),
        corner_uvs=(9 * uniform(count, 3, 2, dtype=dtype)).requires_grad_(),
        corner_colors=uniform(count, 3, 3, dtype=dtype).abs().requires_grad_(),
        lamps=uniform(2, 12, dtype=dtype).requires_grad_(),
        lamp_intensities=uniform(2, 3, dtype=dtype).abs().requires_grad_(),
        lamp_kinds=torch.arange(2),
        environment=uniform(6, 4, 4, 3, dtype=dtype).abs().requires_grad_(),
        rotation=torch.eye(3, dtype=dtype).requires_grad_(),
        corner_second_uvs=uniform(count, 3, 2, dtype=dtype).requires_grad_(),
        corner_tangents=uniform(count, 3, 4, dtype=dtype),
    )  # fmt: skip
    rays = [uniform(4, 6, 3, dtype=dtype).requires_grad_() for _ in range(2)]
    paths = lg.trace_paths(scene, *rays, 2, 5, 1)
    differentiate([paths.radiance])
    opaque = kinds.clone()
    opaque[:, 10] = 0
    scene = scene._replace(kinds=opaque)
    hits = lg.Hits(
        torch.randint(-1, count, (5, 9), generator=random).to(torch.int32), uniform(5, 9, 2, dtype=dtype),
        uniform(5, 9, dtype=dtype),
    )  # fmt: skip
    for reach in (torch.inf, 0.5):
        differentiate([lg.direct_light(scene, hits, uniform(9, 3, dtype=dtype), 3, reach, 1).radiance])
    if count == 0:  # media are refused
        return
    grids = [uniform(2, 3, 4, channels, dtype=dtype).requires_grad_() for channels in (1, 4)]
    media = Media(
        (0.9 * uniform(4, 7, dtype=dtype)).requires_grad_(), torch.randint(-1, 2, (count, 2), generator=random).abs(),
        torch.tensor([0, -1, 1, -1]), grids, torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=dtype).repeat(2, 1, 1), 3,
    )  # fmt: skip
    fog = lg.trace_paths(scene._replace(media=media), *rays, 2, 5, 1)
    differentiate([fog.radiance, fog.through])


def wrong_calls() -> None:
    pos, tri = uniform(6, 4), torch.randint(0, 6, (3000, 3), generator=random)
    pos[:, 3] = 1
    frags, color = lg.rasterize(pos, tri, (33, 47)), uniform(1, 33, 47, 3)
    calls: list[Callable[[], object]] = []
    for bad in (-1, 6, 2**31 - 1, 2**40):
        broken = tri.clone()
        broken[2222, 1] = bad
        calls += [lambda broken=broken: lg.rasterize(pos, broken, (33, 47))]
        calls += [lambda broken=broken: lg.antialias(color, frags, pos, broken, lg.edge_topology(tri))]
        calls += [lambda broken=broken: lg.edge_topology(broken, pos)]
    calls += [lambda: lg.interpolate(uniform(2, 3), frags, tri), lambda: lg.interpolate(uniform(6, 3), frags, tri[:2])]
    calls += [
        lambda r=r: lg.rasterize(pos, tri, (33, 47), torch.tensor([r])) for r in ((2999, 2), (-1, 1), (2**62, 2**62))
    ]
    calls += [lambda: antialias_with(color, frags._replace(tri=frags.tri + 9999), pos, tri, None, True)]
    calls += [lambda: lg.antialias(color, frags, pos, tri, lg.edge_topology(tri) + 99999)]
    far = lg.edge_topology(tri)
    far[:900], far[2900] = 6 * 2900, 2**31 - 2  # one wrong link, behind many right ones
    calls += [lambda: lg.antialias(color, frags, pos, tri, far)]
    samples = (uniform(9), uniform(9))
    for offsets in ([0, 10], [0, 5, 3, 9], [-4, 9], [0, 2**62, 9]):
        packed = lg.RaySamples(*samples, torch.tensor(offsets))
        calls += [lambda packed=packed: lg.composite(packed, uniform(9).abs(), uniform(9, 2))]
    for call in calls:
        try:
            call()
        except ValueError:
            continue
        raise AssertionError("a wrong call passed")


def rounds(part: str) -> list[tuple[int, torch.dtype]]:
    """Numbers of threads and types."""
    ordered = [(1, torch.float32), (1, torch.float64), (2, torch.float64), (2, torch.float32)]
    first, step = map(int, part.split("/"))
    return ordered[first::step]


def main(part: str = "0/1") -> None:
    assert loading.DIRECTORY != loading._INSTALLED, "not the instrumented core"
    for count, dtype in rounds(part):
        torch.set_num_threads(count)
        for k, (pos, tri) in enumerate(soups(dtype)):
            views, half = torch.stack((pos, pos.flip(0))), len(tri) // 2
            mesh_ops(views, tri, SIZES[k % 8], None, channels=(0, 1, 3, 5)[k % 4])
            ranges = torch.tensor([[0, half], [half, len(tri) - half], [0, 0]])
            mesh_ops(pos, tri, SIZES[(k + 5) % 8], ranges, 2)
            if len(tri) <= 100:
                soft_ops(views, tri, SIZES[(k + 2) % 8], None)
            soft_ops(pos, tri, SIZES[(k + 3) % 8] if len(tri) <= 100 else (16, 17), ranges)
            gradient_methods(views, tri, SIZES[(k + 4) % 8])
            ray_ops(pos[:, :3].clone(), tri)
            if (k + count) % 2:  # they take longest
                path_ops(pos[:, :3].clone(), tri)
        for size in SIZES:
            hand_made(size)
            splat_ops(dtype, size)
        for size in ((1, 1, 1), (1, 5, 2), (3, 1, 70), (9, 17, 8)):
            field_ops(dtype, size)
            implicit_ops(dtype, size)
        texture_ops(dtype)
        wrong_calls()
    big = uniform(60, 4)
    big[:, 3] = 1
    mesh_ops(big, torch.randint(0, 60, (80, 3), generator=random), (300, 1100), None, 3)
    print(f"{installation.isa()}: nothing to report, on {installation.thread_source()}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
