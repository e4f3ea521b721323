"""Shape from silhouettes: a sphere is deformed until its outlines match, by every gradient of visibility.

After Liu, Li, Chen, Li, "Soft Rasterizer: A Differentiable Renderer for Image-based 3D Reasoning", 2019, section 5.1,
without the network: one object at a time, by optimisation. A shape is fitted to 24 views of an object, or to a single
one. docs/experiments/silhouettes.md has results.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad as lg
from experiments.common import Run, parser, steps
from lumigrad import gradients
from lumigrad.fit import chamfer_distance
from lumigrad.io import load_mesh
from lumigrad.render import render_mesh
from lumigrad.scene import Mesh, PerspectiveCamera, creature, icosphere

# The two defaults first, then the others by name.
METHODS = ["antialias", "exact", *sorted(set(gradients.METHODS) - {"antialias", "exact"})]
PROBLEMS = ["one view", "all views"]
# The camera, the optimiser and the weights from the authors' example with a single object.
DISTANCE, ELEVATION, FIELD_OF_VIEW = 2.732, 30.0, 30.0
RATE, BETAS = 1e-2, (0.5, 0.99)
LAPLACIAN, FLATTENING = 0.03, 3e-4
SAMPLES = 4  # samples along each side of a pixel, for the targets
VOXELS, EXTENT = 48, 0.75  # of the grid, and half its side: voxels are 1/32 of the object's largest side
LAYERS = 64  # at most, of surfaces that a line of voxels crosses
HELD_OUT_SIZE = 128
MEASUREMENTS = 40  # of each fit, during the fit


@dataclass(frozen=True)
class Settings:
    """What to run; the defaults are those of the paper and its example."""

    size: int = 64
    views: int = 24
    singles: int = 8  # fits to one view each, from as many azimuths
    level: int = 3  # of the icosphere that is deformed
    steps: int = 2000


QUICK = Settings(size=32, views=8, singles=2, level=2, steps=60)


# ---- Objects ----------------------------------------------------------------------------------------------------


def torus(radius: float = 0.35, thickness: float = 0.14, segments: int = 48, sides: int = 24) -> Mesh:
    """A ring around the y axis."""
    u, v = torch.arange(segments) * (2 * torch.pi / segments), torch.arange(sides) * (2 * torch.pi / sides)
    u, v = torch.meshgrid(u, v, indexing="ij")
    from_axis = radius + thickness * v.cos()
    positions = torch.stack([from_axis * u.cos(), thickness * v.sin(), from_axis * u.sin()], -1).reshape(-1, 3)
    index = torch.arange(segments * sides).view(segments, sides)
    right, up, both = (index.roll(shift, dims) for shift, dims in (((-1,), (0,)), ((-1,), (1,)), ((-1, -1), (0, 1))))
    faces = torch.stack([index, both, right, index, up, both], -1).view(-1, 3)
    return Mesh(positions, faces)


def blocks(filled: Tensor) -> Mesh:
    """The boundary of the cells that are true [X, Y, Z], as a closed mesh."""
    cells = torch.nn.functional.pad(filled.bool(), (1, 1, 1, 1, 1, 1))
    corners: list[Tensor] = []
    faces: list[Tensor] = []
    for axis in range(3):
        across, up = torch.eye(3, dtype=torch.long)[(axis + 1) % 3], torch.eye(3, dtype=torch.long)[(axis + 2) % 3]
        for side in (0, 1):
            bare = cells & ~cells.roll(1 - 2 * side, axis)
            low = bare.nonzero() - 1
            low[:, axis] += side
            square = torch.stack([low, low + across, low + across + up, low + up], 1)
            start = sum(len(part) for part in corners) + 4 * torch.arange(len(low))[:, None]
            pattern = torch.tensor([0, 1, 2, 0, 2, 3] if side else [0, 2, 1, 0, 3, 2])
            corners.append(square.view(-1, 3))
            faces.append((start + pattern).view(-1, 3))
    unique, index = torch.unique(torch.cat(corners), dim=0, return_inverse=True)
    return Mesh(unique.float(), index[torch.cat(faces)])


def chair() -> Mesh:
    """Four legs, a seat and a back, of 6 x 9 x 6 cells."""
    filled = torch.zeros(6, 9, 6, dtype=torch.bool)
    filled[::5, :4, ::5] = True
    filled[:, 4] = True
    filled[:, 5:, 0] = True
    return blocks(filled)


def normalised(mesh: Mesh) -> Mesh:
    """The geometry alone, centred at the origin, with a largest side of length 1."""
    low, high = mesh.bounds()
    return Mesh((mesh.positions - (low + high) / 2) / (high - low).max(), mesh.faces)


OBJECTS = {"creature": lambda: creature(4, 8), "chair": chair, "torus": torus}


def load(name: str) -> Mesh:
    """One of `OBJECTS`, or a mesh file."""
    return normalised(OBJECTS[name]() if name in OBJECTS else load_mesh(Path(name)))


# ---- Images and regularisers ------------------------------------------------------------------------------------


def cameras(count: int, size: int, first: float = 0.0, elevation: float = ELEVATION) -> PerspectiveCamera:
    """Cameras spaced evenly around the object."""
    azimuths = first + torch.arange(count) * (360.0 / count)
    return PerspectiveCamera.orbit(azimuths, elevation, DISTANCE, FIELD_OF_VIEW, (size, size))


def mask(frags: lg.Fragments) -> Tensor:
    return (frags.tri >= 0).to(frags.bary.dtype)[..., None]


def silhouettes(pos: Tensor, tri: Tensor, size: int, method: str | None = None) -> Tensor:
    """1 where the shape is, 0 elsewhere [N, size, size, 1]; hard without a method."""
    frags = lg.rasterize(pos, tri, (size, size), derivatives=False)
    if method is None:
        return mask(frags)
    options = {"shade": mask} if method == "exact" else {}
    return gradients.apply(mask(frags), frags, pos, tri, method, **options)


def coverage(mesh: Mesh, camera: PerspectiveCamera) -> Tensor:
    """The target silhouettes of a fit: the mean of several samples per pixel."""
    size = camera.size[0]
    fine = silhouettes(camera.project(mesh.positions), mesh.faces, size * SAMPLES)
    return fine.view(-1, size, SAMPLES, size, SAMPLES, 1).mean((2, 4))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each image or grid, soft or hard: [N]."""
    a, b = a.flatten(1), b.flatten(1)
    both = (a * b).sum(1)
    return both / (a + b - a * b).sum(1).clamp_min(1e-6)


class Regularisers:
    """Regularisers of deformations of one template. All are sums over the mesh, as in the paper's code."""

    def __init__(self, faces: Tensor, count: int) -> None:
        sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
        self.edges, edge = torch.unique(sides, dim=0, return_inverse=True)
        # The two faces at each edge: every edge belongs to two triangles.
        self.pairs = (edge.argsort(stable=True) % len(faces)).view(-1, 2)
        self.faces = faces
        self.degree = torch.bincount(self.edges.flatten(), minlength=count)[:, None]

    def laplacian(self, positions: Tensor) -> Tensor:
        """Squared distances of vertices to the means of their neighbours: [N] of [N, V, 3]."""
        a, b = self.edges.unbind(1)
        sums = torch.zeros_like(positions).index_add(1, a, positions[:, b]).index_add(1, b, positions[:, a])
        return (positions - sums / self.degree).square().sum((1, 2))

    def flattening(self, positions: Tensor) -> Tensor:
        """(1 - cos)^2 of the angles between the normals of neighbouring triangles: [N] of [N, V, 3]."""
        a, b, c = (positions[:, self.faces[:, k]] for k in range(3))
        normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-9)
        one, other = (normals[:, self.pairs[:, k]] for k in range(2))
        return (1 - (one * other).sum(-1)).square().sum(1)


# ---- Measures ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def voxels(mesh: Mesh) -> Tensor:
    """Whether the centres of the grid's cells are inside [1, x, y, z]: where the winding number is not zero.

    Seen along z, every surface in front of a voxel turns its front or its back to the viewer, and the winding number is
    the difference of the two counts. Shapes that intersect themselves are the union of their parts.
    """
    pos = torch.cat([mesh.positions / EXTENT, torch.ones(len(mesh.positions), 1)], 1)
    pos[:, 2] = -pos[:, 2]  # the viewer looks along -z
    a, b, c = pos[mesh.faces.long(), :2].unbind(1)
    front = torch.sign((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    centres = (2 * torch.arange(VOXELS) + 1) / VOXELS - 1
    winding = torch.zeros(VOXELS, VOXELS, VOXELS)
    for frags in lg.peel(pos[None].contiguous(), mesh.faces, (VOXELS, VOXELS), LAYERS, derivatives=False):
        tri, depth = frags.tri[0], frags.depth[0]
        if not (tri >= 0).any():
            break
        turned = torch.where(tri >= 0, front[tri.clamp_min(0).long()], 0)
        winding += turned[..., None] * (-depth[..., None] > centres)
    return (winding != 0).permute(1, 0, 2).flip(1)[None].float()


class Truth:
    """An object, and the references that shapes are compared with."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh, self.voxels = mesh, voxels(mesh)
        # Azimuths between those of the 24 training views, and elevations below, at and above theirs.
        parts = [cameras(8, HELD_OUT_SIZE, 7.5, elevation) for elevation in (-30.0, 0.0, 60.0)]
        poses = torch.cat([part.world_to_camera for part in parts])
        self.held_out = PerspectiveCamera.from_fov(FIELD_OF_VIEW, parts[0].size, poses)
        self.silhouettes = self._silhouettes(mesh)

    def _silhouettes(self, mesh: Mesh) -> Tensor:
        return silhouettes(self.held_out.project(mesh.positions), mesh.faces, HELD_OUT_SIZE)

    @torch.no_grad()
    def held_out_iou(self, mesh: Mesh) -> float:
        return iou(self._silhouettes(mesh), self.silhouettes).mean().item()

    def measures(self, mesh: Mesh) -> dict[str, float]:
        return {
            "voxel IoU": iou(voxels(mesh), self.voxels).item(),
            "held-out IoU": self.held_out_iou(mesh),
            "chamfer": chamfer_distance(mesh, self.mesh, 4000),
        }


# ---- Fits -------------------------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """The result of one method."""

    shapes: list[Mesh]  # one for each single view, or one for all
    curve: list[tuple[int, float]]  # steps, mean IoU of the held-out silhouettes
    seconds: float  # of a step


def fit(run: Run, name: str, truth: Truth, problem: str, method: str, settings: Settings) -> Fit:
    """Adam on 1 - IoU and the regularisers.

    The shapes of single views form one batch. The loss is summed over them, so that each is fitted as if it were alone.
    """
    template = icosphere(settings.level, 0.5)
    shapes = settings.singles if problem == "one view" else 1
    views = 1 if problem == "one view" else settings.views
    camera = cameras(shapes * views, settings.size)
    wanted = coverage(truth.mesh, camera)
    offsets = torch.zeros(shapes, *template.positions.shape, requires_grad=True)
    regularisers = Regularisers(template.faces.long(), len(template.positions))
    optimiser = torch.optim.Adam([offsets], RATE, BETAS)
    interval = max(1, settings.steps // MEASUREMENTS)

    def meshes() -> list[Mesh]:
        return [Mesh(positions, template.faces) for positions in template.positions + offsets.detach()]

    def measured() -> float:
        return sum(map(truth.held_out_iou, meshes())) / shapes

    series: list[tuple[float, float | None]] = []  # seconds, held-out IoU at some steps
    for step in steps(run, f"{name}-{problem}-{method}".replace(" ", "-"), settings.steps, optimiser, series):
        quality = None if step % interval else measured()
        began = time.perf_counter()
        positions = template.positions + offsets
        pos = camera.project(positions.repeat_interleave(views, 0))
        seen = silhouettes(pos, template.faces, settings.size, method)
        loss = (1 - iou(seen, wanted)).sum() / views
        loss = loss + LAPLACIAN * regularisers.laplacian(positions).sum()
        loss = loss + FLATTENING * regularisers.flattening(positions).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        series.append((time.perf_counter() - began, quality))
    curve = [(step, quality) for step, (_, quality) in enumerate(series) if quality is not None]
    curve.append((settings.steps, measured()))
    return Fit(meshes(), curve, sorted(seconds for seconds, _ in series)[len(series) // 2])


# ---- Figures ----------------------------------------------------------------------------------------------------

Fits = dict[tuple[str, str, str], Fit]  # by object, problem, method


def pictures(truths: dict[str, Truth], fits: Fits, methods: list[str]) -> Figure:
    """The objects and the shapes, from directions without a training view."""
    camera = PerspectiveCamera.orbit(37.5, 15.0, DISTANCE, FIELD_OF_VIEW, (160, 160))
    rows = [(name, problem) for name in truths for problem in PROBLEMS]
    figure = Figure(figsize=(1.15 * (len(methods) + 1) + 0.3, 1.2 * len(rows) + 0.2), dpi=90, layout="constrained")
    axes = figure.subplots(len(rows), len(methods) + 1, squeeze=False)
    for row, (line, (name, problem)) in enumerate(zip(axes, rows)):
        shown = {"object": truths[name].mesh} | {m: fits[name, problem, m].shapes[0] for m in methods}
        for axis, (title, mesh) in zip(line, shown.items()):
            axis.imshow(render_mesh(mesh, camera).over(1.0)[0].clamp(0, 1).numpy())
            axis.set(xticks=[], yticks=[])
            axis.set_frame_on(False)
            if row == 0:
                axis.set_title(title, fontsize=9)
        line[0].set_ylabel(f"{Path(name).stem}\n{problem}", fontsize=8)
    return figure


def curves(truths: dict[str, Truth], fits: Fits, methods: list[str]) -> Figure:
    figure = Figure(figsize=(3.4 * len(truths) + 1.4, 5.4), dpi=90, layout="constrained")
    axes = figure.subplots(len(PROBLEMS), len(truths), squeeze=False, sharex=True)
    for line, problem in zip(axes, PROBLEMS):
        for axis, name in zip(line, truths):
            for method in methods:
                axis.plot(*zip(*fits[name, problem, method].curve), label=method, linewidth=1.3)
            later = [quality for m in methods for step, quality in fits[name, problem, m].curve if step > 0]
            axis.set_ylim(bottom=min(later) - 0.01)
            axis.set_title(f"{Path(name).stem}, {problem}", fontsize=9)
            axis.grid(alpha=0.3)
        line[0].set_ylabel("IoU of held-out silhouettes")
    for axis in axes[-1]:
        axis.set_xlabel("step")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


# ---- The experiment ---------------------------------------------------------------------------------------------


def experiment(
    run: Run, settings: Settings, objects: list[str] | None = None, methods: list[str] | None = None
) -> dict[str, Any]:
    """Fits with every method, and writes ``results.json``, ``shapes.png`` and ``curves.png``."""
    methods = METHODS if methods is None else methods
    objects = list(OBJECTS) if objects is None else objects
    if len({Path(name).stem for name in objects}) < len(objects):
        raise ValueError(f"--objects: expected different names, as they name the states of the fits, got {objects}")
    truths = {name: Truth(load(name)) for name in objects}
    fits: Fits = {}
    rows: list[dict[str, Any]] = []
    print(f"{'object':10} {'problem':10} {'method':10} {'voxel IoU':>9} {'held-out':>9} {'chamfer':>8} {'ms/step':>8}")
    for name, truth in truths.items():
        sphere = truth.measures(icosphere(settings.level, 0.5))
        rows.append({"object": name, "problem": "start", "method": "sphere"} | sphere)
        for problem in PROBLEMS:
            for method in methods:
                found = fits[name, problem, method] = fit(run, Path(name).stem, truth, problem, method, settings)
                each = [truth.measures(shape) for shape in found.shapes]
                means = {key: sum(values[key] for values in each) / len(each) for key in sphere}
                rows.append({"object": name, "problem": problem, "method": method} | means)
                rows[-1] |= {"ms": 1000 * found.seconds, "curve": found.curve}
                print(
                    f"{Path(name).stem:10} {problem:10} {method:10} {means['voxel IoU']:9.4f} "
                    f"{means['held-out IoU']:9.4f} {means['chamfer']:8.4f} {rows[-1]['ms']:8.1f}",
                    flush=True,
                )
    results = {"settings": asdict(settings), "rows": rows}
    run.save_json(results)
    run.save_figure(pictures(truths, fits, methods), "shapes.png")
    run.save_figure(curves(truths, fits, methods), "curves.png")
    return results


def arguments() -> argparse.ArgumentParser:
    parsed = parser("silhouettes", __doc__.split("\n", 1)[0])
    parsed.add_argument("--objects", nargs="+", help=f"of {', '.join(OBJECTS)}, or mesh files")
    parsed.add_argument("--methods", nargs="+", choices=METHODS, help="all by default")
    parsed.add_argument("--steps", type=int, help="of each fit")
    parsed.add_argument("--views", type=int, help="silhouettes that a shape is fitted to")
    parsed.add_argument("--singles", type=int, help="shapes that are fitted to one view each")
    return parsed


def main() -> None:
    args = arguments().parse_args()
    settings = QUICK if args.quick else Settings()
    chosen = {name: value for name in ("steps", "views", "singles") if (value := getattr(args, name)) is not None}
    objects = args.objects or (["creature"] if args.quick else None)
    experiment(Run("silhouettes", args), replace(settings, **chosen), objects, args.methods)


if __name__ == "__main__":
    main()
