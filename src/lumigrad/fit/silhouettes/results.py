"""The results of a fit to silhouettes: the grid, the mesh, metrics, pictures, a turntable and a page."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad.fit._laplacian import unique_edges
from lumigrad.fit.metrics import psnr, ssim, write_metrics
from lumigrad.fit.photos import Photo, report
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.placement import Placement
from lumigrad.fit.reconstruct.projection import project_colors
from lumigrad.fit.reconstruct.results import around, comparison, turntable
from lumigrad.fit.reconstruct.truth import surface_errors
from lumigrad.fit.report_page import Curve, Picture, write_page
from lumigrad.fit.sdf.pieces import largest_piece
from lumigrad.fit.sdf.state import SDFState
from lumigrad.io.mesh import save_mesh
from lumigrad.render.implicit import render_implicit
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.scene.shapes.signed_distance_grid import SignedDistanceGrid

_SHOWN = 4  # photographs in the comparison


@torch.no_grad()
def measured(grid: SignedDistanceGrid, photos: list[Photo]) -> dict[str, float]:
    """Means over photographs that the surface was not fitted to; those without a pixel that counts are left out.

    Returns:
        psnr_db, ssim: of the coverage of the pixels that count.
        overlap: intersection over union of the silhouette and the mask.

    Raises:
        ValueError: no photograph has a pixel that counts.
    """
    rows = []
    for photo in photos:
        assert photo.alpha is not None
        counts = photo.covered[..., 0] > 0
        if not bool(counts.any()):
            continue
        ours = render_implicit(grid, photo.camera, "unlit").mask * photo.covered
        theirs = photo.alpha * photo.covered
        both, either = torch.minimum(ours, theirs).sum(), torch.maximum(ours, theirs).sum()
        rows.append(
            {
                "psnr_db": float(psnr(ours, theirs, counts)),
                "ssim": float(ssim(ours, theirs)),
                "overlap": float(both / either) if either > 0 else 1.0,
            }
        )
    if not rows:
        raise ValueError("photos: no photograph that is held out has a pixel that counts")
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def write(
    state: SDFState,
    grid: SignedDistanceGrid,
    photos: PhotoSet,
    held_out: list[Photo],
    place: Placement,
    settings: dict[str, Any],
    truth: Mesh | None,
    folder: Path,
    frames: int,
) -> dict[str, Any]:
    """Write all files; returns the metrics."""
    grid = largest_piece(grid)
    mesh = painted(grid, photos)
    numbers = {
        **measured(grid, held_out),
        **({} if truth is None else surface_errors(place.mesh(mesh.to("cpu")), truth)),
        "vertices": len(mesh.positions),
        "faces": len(mesh.faces),
        "voxels": list(grid.values.shape),
        **report.times(state, held_out, grid.values.device),
    }
    write_metrics(numbers, folder / "metrics.json")
    save_mesh(place.mesh(mesh.to("cpu")), folder / "mesh.glb")
    save_grid(outward(grid, place), folder / "grid.npz")
    step = max(1, len(held_out) // _SHOWN)
    draw = Drawer(mesh)
    comparison(draw, held_out[::step][:_SHOWN], folder / "comparison.png")
    turntable(draw, around(photos, frames), folder / "turntable.gif")
    curve = [(row["iteration"], row["overlap"]) for row in state.curve]
    write_page(
        folder / "report.html",
        "A closed surface from silhouettes",
        numbers,
        settings,
        [
            Picture("comparison.png", "Photographs that were held out, renders, differences, and the shape."),
            Picture("turntable.gif", "Once around."),
        ],
        [
            Curve("overlap with the masks held out", [x for x, _ in curve], [y for _, y in curve]),
            Curve("mean absolute error of a step", range(1, len(state.losses) + 1), state.losses),
        ],
        ("mesh.glb", "grid.npz", "metrics.json"),
    )
    return numbers


@torch.no_grad()
def painted(grid: SignedDistanceGrid, photos: PhotoSet) -> Mesh:
    """The triangles of a grid, in the mean colours of the photographs that see them."""
    mesh = grid.mesh()
    mesh = Mesh(mesh.positions.detach(), mesh.faces)
    gains = mesh.positions.new_ones(len(photos), 3)
    found = project_colors(mesh, photos, mesh.positions, mesh.vertex_normals(), gains)
    return replace(mesh, colors=_spread(found.colors, found.weights > 0, unique_edges(mesh.faces)))


def _spread(colors: Tensor, known: Tensor, edges: Tensor) -> Tensor:
    """Colours of vertices, those that are not known taken from neighbours, again and again; grey without any."""
    both = torch.cat([edges, edges.flip(1)])
    colors = torch.where(known[:, None], colors, 0)
    while True:
        to, source = both[known[both[:, 1]] & ~known[both[:, 0]]].unbind(1)
        if not len(to):
            return torch.where(known[:, None], colors, 0.5)
        count = torch.zeros_like(colors[:, 0]).index_add_(0, to, torch.ones_like(colors[source, 0]))
        reached = count > 0
        mean = torch.zeros_like(colors).index_add_(0, to, colors[source]) / count.clamp_min(1)[:, None]
        colors, known = torch.where(reached[:, None], mean, colors), known | reached


def outward(grid: SignedDistanceGrid, place: Placement) -> SignedDistanceGrid:
    """Convert a grid in the space of the fit to the world; its values become distances there."""
    return SignedDistanceGrid(grid.values.cpu() * place.scale, place.outward(grid.corners.cpu()))


def save_grid(grid: SignedDistanceGrid, path: str | Path) -> None:
    """Write the values and the box of a grid, as NumPy's `savez`.

    >>> import torch
    >>> from lumigrad.fit.silhouettes import load_grid, save_grid
    >>> from lumigrad.scene import SignedDistanceGrid
    >>> save_grid(SignedDistanceGrid(torch.ones(2, 3, 4)), "grid.npz")
    >>> load_grid("grid.npz").values.shape
    torch.Size([2, 3, 4])
    """
    np.savez(path, values=grid.values.detach().cpu().numpy(), box=grid.corners.detach().cpu().numpy())


def load_grid(path: str | Path) -> SignedDistanceGrid:
    """Load a grid that `save_grid` wrote.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is none of a grid.
    """
    try:
        with np.load(path) as saved:
            return SignedDistanceGrid(torch.from_numpy(saved["values"]), torch.from_numpy(saved["box"]))
    except (KeyError, TypeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected values and a box of a grid: {error}") from error
