"""The generators of all ops, by name."""

from __future__ import annotations

from collections.abc import Callable

from . import field, implicit, soft, splat, surface, texture
from .call import Call
from .draw import Draw

GENERATORS: dict[str, Callable[[Draw], Call]] = {
    **surface.GENERATORS,
    **texture.GENERATORS,
    **soft.GENERATORS,
    **splat.GENERATORS,
    **field.GENERATORS,
    **implicit.GENERATORS,
}
OPS = tuple(GENERATORS)
# Public ops without a generator, and what they register. Kernel and definition cut outlines into other pieces, so that
# only images can be compared, with clipped polygons: tests/ops/surface/test_outlines.py does, on random triangles.
# Rays: what a ray hits at an edge depends on roundings; tests/ops/ray goes through random meshes and rays, and
# tests/ops/light through paths.
ELSEWHERE = {
    "outlines",
    "blend_outlines",
    "exact",
    "build_bvh",
    "occluded",
    "offset_origins",
    "refit_bvh",
    "trace",
}
REGISTERED_ELSEWHERE = {
    "outlines",
    "outline_fragments",
    "outline_fragments_backward",
    "blend_outlines",
    "blend_outlines_backward",
    "bvh_topology",
    "bvh_refit",
    "trace",
    "trace_backward",
    "occluded",
    "bsdf",
    "bsdf_backward",
    "sample_bsdf",
    "trace_paths",
    "trace_paths_backward",
    "path_edges",
    "path_edges_backward",
}
# What makes the calls of gradient methods whose functions have other names.
METHODS = {"edge": "edge_gradient", "nmr": "nmr_gradient", "splat": "splat_gradient"}
