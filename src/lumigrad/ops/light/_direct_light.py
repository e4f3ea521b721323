"""Direct light at surface points, with gradients to materials and lights.

Defined by :func:`lumigrad.reference.direct_light`; the kernels are ``native/light/direct.h``.
"""

from __future__ import annotations

import math

from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.light._scene_tensors import SCENE_SIZES, SCENE_TENSORS, scene_sizes
from lumigrad.ops.light._trace_paths import check_scene, check_seeds, tensors_of
from lumigrad.ops.ray import build_bvh
from lumigrad.ops.ray._bvh import check_tree
from lumigrad.types import Bvh, DirectLight, Hits, LitScene
from lumigrad.types import validation as check
from lumigrad.types.light import ALPHA_MODE, OPAQUE
from lumigrad.types.shapes import Float


def direct_light(
    scene: LitScene,
    hits: Hits,
    directions: Float[Tensor, "*#points 3"],
    samples: int = 16,
    reach: float = math.inf,
    seed: int = 0,
    gradient_seed: int | None = None,
    bvh: Bvh | None = None,
) -> DirectLight:
    """Compute the light that points of surfaces reflect of lights, with shadows, and what they emit.

    Points, spots and distant lights are looked at one by one, with a ray each: their light has no noise. For triangles
    that emit, for the environment and for the material, each sample draws a direction; what two of these can meet is
    weighted by the power heuristic. Apart from noise, the result is that of :func:`~lumigrad.trace_paths` with a
    `max_depth` of 2.

    Args:
        scene: see :class:`lumigrad.LitScene`.
        hits: points of its triangles, from :func:`~lumigrad.trace`; `t` is not looked at. Of fragments of
            :func:`~lumigrad.rasterize`, `tri` and `bary` are what is needed.
        directions: [..., 3] of the rays that hit them, from the viewer on; of any length but zero.
        samples: how many directions are drawn of each kind. They fill the sphere evenly, so that noise is less than
            that of independent ones.
        reach: how far from the points triangles block the light of the environment. With a finite one, light from
            around is dimmed as by ambient occlusion with a maximal distance.
        seed: of the random numbers; those of a point depend on it and the point's number alone.
        gradient_seed: of the directions that gradients are computed from, by default another than `seed`.
        bvh: of the scene's triangles, from :func:`~lumigrad.build_bvh`, to save building it.

    Returns:
        DirectLight. Gradients of its radiance reach `materials` (but for the index of refraction of smooth
        dielectrics), `textures`, `corner_colors`, `lamp_intensities` and `environment`, not places and directions.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers.
        NotImplementedError: for materials that are partly there, and media.

    Source: Veach 1997 (multiple importance sampling).

    >>> import torch
    >>> import lumigrad as lg
    >>> # A white plate, a lamp of 4 at the height 2 above it, and a roof over its left half
    >>> corners = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    >>> roof = corners * torch.tensor([0.5, 0.0, 1.0]) + torch.tensor([-0.5, 1.0, 0.0])
    >>> quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
    >>> scene = lg.LitScene(
    ...     torch.cat((corners, roof)), torch.cat((quad, quad + 4)),
    ...     torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 1.5, 0, 0, 0, 0, 0, 0]]), torch.tensor([[0, 1, -1, -1, -1]]),
    ...     torch.zeros(4, dtype=torch.int64), lamps=torch.tensor([[0.0, 2, 0, 0, 0, 0, -1, -2, torch.inf, 0, 0, 1]]),
    ...     lamp_intensities=torch.full((1, 3), 4.0), lamp_kinds=torch.tensor([1]),
    ... )
    >>> below, down = torch.tensor([[-0.5, 0.5, 0.0], [0.3, 0.5, 0.0]]), torch.tensor([0.0, -1.0, 0.0])
    >>> hits = lg.trace(below, down, scene.positions, scene.tri)
    >>> lg.direct_light(scene, hits, down).radiance[:, 0].mul(torch.pi).tolist()  # the irradiance
    [0.0, 0.967...]
    """
    scene = check_scene(scene)
    positions = scene.positions
    if not isinstance(hits, Hits):
        raise TypeError(f"hits: expected what lumigrad.trace returns, got {type(hits).__name__}")
    if scene.media is not None:
        raise NotImplementedError("scene.media: expected None; direct light does not see media, trace_paths does")
    if check.values_can_be_checked() and bool((scene.kinds[:, ALPHA_MODE] != OPAQUE).any()):
        raise NotImplementedError("scene.kinds: expected opaque materials, got some with an alpha mode")
    shape = check.tensor("hits.tri", hits.tri).shape
    tri = check.indices("hits.tri", hits.tri, shape, positions, "scene.positions")
    check.in_range("hits.tri", tri, -1, len(scene.tri))
    bary = check.floating("hits.bary", hits.bary, positions, "scene.positions")
    check.shape("hits.bary", bary, (*shape, 2))
    directions = check.floating("directions", directions, positions, "scene.positions")
    check.like_image("directions", directions, (*shape, 3))
    samples = check.integer("samples", samples, 1)
    reach = check.real("reach", reach)
    if not reach > 0:
        raise ValueError(f"reach: expected a positive number, got {reach}")
    seed, other = check_seeds(seed, gradient_seed)
    if needs_reference("direct_light", positions):
        return reference.direct_light(scene, hits, directions, samples, reach, seed, other)
    tree = build_bvh(positions.detach(), scene.tri) if bvh is None else check_tree(bvh, positions, scene.tri)
    points = (
        tri.reshape(-1),
        bary.detach().reshape(-1, 2).contiguous(),
        directions.detach().expand(*shape, 3).reshape(-1, 3).contiguous(),
    )
    found = _op(*tensors_of(scene, tree), *points, samples, reach, seed, other)
    return DirectLight(*(value.view(*shape, 3) for value in found))


def _sizes(
    positions: Tensor, tri: Tensor, materials: Tensor, texels: Tensor, textures: Tensor, lamps: Tensor | None,
    emitter_faces: Tensor, environment: Tensor | None, media: Tensor | None, medium_values: Tensor | None,
    boxes: Tensor, leaf_tri: Tensor, directions: Tensor,
) -> tuple[int, ...]:  # fmt: skip
    scene = scene_sizes(
        positions, tri, materials, texels, textures, lamps, emitter_faces, environment, media, medium_values,
        boxes, leaf_tri,
    )  # fmt: skip
    return (*scene, directions.shape[0])


_op = declare(
    f"direct_light({SCENE_TENSORS}, Tensor hit_tri, Tensor bary, Tensor directions, SymInt samples, float reach, "
    "int seed, int gradient_seed)",
    sizes=(f"{SCENE_SIZES} points", _sizes),
    outputs={"radiance": "points 3", "normal": "points 3", "albedo": "points 3"},
)
