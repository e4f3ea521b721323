"""Visibility gradients of light paths at the edges of surfaces.

Defined by :func:`lumigrad.reference.light.path_edges`; the kernel is ``native/light/path_edges.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lumigrad._engine.declare import declare
from lumigrad.ops.light._scene_tensors import IMAGE_SIZES, SCENE_TENSORS, image_sizes
from lumigrad.ops.surface import edge_topology
from lumigrad.reference.light._edges import find_edges
from lumigrad.reference.light._path_edges import CANDIDATES, path_edges
from lumigrad.types import LitScene, TracedPaths
from lumigrad.types.light import ALPHA_MODE, OPAQUE


def add_path_edges(
    out: TracedPaths,
    scene: LitScene,
    tensors: Sequence[Tensor | None] | None,
    rays: tuple[Tensor, Tensor],
    samples: int,
    max_depth: int,
    seed: int,
    candidates: int = CANDIDATES,
) -> TracedPaths:
    """The same values, with gradients of radiance due to visibility at edges, with respect to positions and rays.

    Surfaces that are partly there have none: light seen through them is not followed here.

    tensors: of the scene and its tree, for the kernel; None: use the reference.
    """
    positions = scene.positions
    edges = find_edges(positions, scene.tri, edge_topology(scene.tri, positions))
    if len(edges.ends) == 0 or max_depth < 2 or bool((scene.kinds[:, ALPHA_MODE] != OPAQUE).any()):
        return out
    if tensors is None:
        return out._replace(
            radiance=out.radiance + path_edges(scene, *rays, samples, max_depth, seed, edges, candidates)
        )
    moving = positions.contiguous(), *tensors[1:]
    radiance = _op(out.radiance.contiguous(), *moving, *rays, *edges, samples, max_depth, seed, candidates)
    return out._replace(radiance=radiance)


def _sizes(
    positions: Tensor, tri: Tensor, materials: Tensor, texels: Tensor, textures: Tensor, lamps: Tensor | None,
    emitter_faces: Tensor, environment: Tensor | None, media: Tensor | None, medium_values: Tensor | None,
    boxes: Tensor, leaf_tri: Tensor, directions: Tensor, edge_ends: Tensor,
) -> tuple[int, ...]:  # fmt: skip
    scene = image_sizes(
        positions, tri, materials, texels, textures, lamps, emitter_faces, environment, media, medium_values,
        boxes, leaf_tri, directions,
    )  # fmt: skip
    return *scene, edge_ends.shape[0]


_op = declare(
    f"path_edges(Tensor radiance, {SCENE_TENSORS}, Tensor origins, Tensor directions, Tensor edge_ends, "
    "Tensor edge_shapes, Tensor edge_sums, SymInt samples, int max_depth, int seed, int candidates)",
    sizes=(f"{IMAGE_SIZES} edge_count", _sizes),
    unchanged="radiance",
)
