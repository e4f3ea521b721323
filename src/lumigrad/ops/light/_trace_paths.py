"""Path-traced images, with gradients to shapes, materials, lights and rays.

Defined by :func:`lumigrad.reference.trace_paths`; the kernels are ``native/light/path.h`` and ``path_gradient.h``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad._engine.declare import declare
from lumigrad._engine.devices import needs_reference
from lumigrad.ops.light._columns import completed_kinds, completed_materials
from lumigrad.ops.light._media import check_media, media_tensors
from lumigrad.ops.light._path_edges import add_path_edges
from lumigrad.ops.light._scene_tensors import IMAGE_SIZES, SCENE_TENSORS, image_sizes
from lumigrad.ops.ray import build_bvh
from lumigrad.ops.ray._bvh import check_tree, tree_arrays
from lumigrad.reference.light._sampling import emitters, environment_sums, identity, mean_emission
from lumigrad.types import Bvh, LitScene, TracedPaths
from lumigrad.types import validation as check
from lumigrad.types.light import ALPHA_MODE, KINDS, MAX_DEPTH, NORMAL_TEXTURE, OPAQUE, SECOND_UV
from lumigrad.types.shapes import Float


def trace_paths(
    scene: LitScene,
    origins: Float[Tensor, "rows columns 3"],
    directions: Float[Tensor, "rows columns 3"],
    samples: int = 16,
    max_depth: int | None = 6,
    seed: int = 0,
    gradient_seed: int | None = None,
    bvh: Bvh | None = None,
) -> TracedPaths:
    """Trace paths of light through the pixels of an image.

    A path goes from surface to surface. At each, a light is drawn, and the direction in which the path goes on; what
    both ways of drawing can find is weighted by the power heuristic. In media, distances are drawn in proportion to the
    transmittance of one channel, and weighted over all three; transmittances are exact, on grids, too. From the fifth
    surface or collision on, paths that carry little end by Russian roulette. The image is unbiased but for rounding.

    Args:
        scene: see :class:`lumigrad.LitScene`.
        origins, directions: rays at the corners of the pixels [H + 1, W + 1, 3]; those between are interpolated
            linearly, for which directions of a pinhole camera should end on a plane. Of any length but zero.
        samples: paths of each pixel, uniformly over it (a box filter).
        max_depth: the largest number of segments: 1 shows lights that are seen directly, 2 direct light, 3 light that
            has been reflected twice, and so on. None for no limit.
        seed: of the random numbers; those of a path depend on it, the pixel and the sample alone.
        gradient_seed: of the paths that gradients are computed from, by default another than `seed`: then the gradient
            of a loss that is not linear in the image has no bias from noise that both have in common.
        bvh: of the scene's triangles, from :func:`~lumigrad.build_bvh` or :func:`~lumigrad.refit_bvh`, to save building
            it when the same triangles are traced again.

    Returns:
        TracedPaths. Gradients of its radiance reach all that is not an integer: of the scene and of the rays. At smooth
        materials, directions have none, nor has the index of refraction of smooth dielectrics; what lamps without a
        size cover and uncover has none. Where there are media, neither have positions, normals, coordinates, places of
        lamps, the environment's rotation and rays. docs/light.md says more.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or numbers.

    Sources: Kajiya 1986 (paths); Veach 1997 (multiple importance sampling); Vicini et al. 2021 (gradients by replay);
    Li et al. 2018 (edges); Hanika 2021 (shadows on smooth meshes); Henyey and Greenstein 1941 (phase function).

    >>> import torch
    >>> import lumigrad as lg
    >>> # A wall of albedo 0.5 in a white environment
    >>> wall = torch.tensor([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [0.0, 9.0, 0.0]])
    >>> scene = lg.LitScene(
    ...     wall, torch.tensor([[0, 1, 2]]), torch.tensor([[0.5, 0.5, 0.5, 1.0, 0.0, 1.5, 0, 0, 0, 0, 0, 0]]),
    ...     torch.tensor([[0, 1, -1, -1, -1]]), torch.tensor([0]), environment=torch.ones(6, 2, 2, 3),
    ... )
    >>> y, x = torch.meshgrid(torch.tensor([0.1, -0.1]), torch.tensor([-0.1, 0.1]), indexing="ij")
    >>> directions = torch.stack((x, y, -torch.ones(2, 2)), -1)  # of one pixel
    >>> out = lg.trace_paths(scene, torch.tensor([0.0, 0.0, 2.0]).expand(2, 2, 3), directions, samples=4096)
    >>> round(out.radiance[0, 0, 0].item(), 1), round(out.depth[0, 0].item(), 3)
    (0.5, 2.0)
    """
    scene = check_scene(scene)
    positions = scene.positions
    origins, directions = check_corner_rays(origins, directions, positions)
    samples = check.integer("samples", samples, 1)
    depth = MAX_DEPTH if max_depth is None else check.integer("max_depth", max_depth, 1, MAX_DEPTH)
    seed, other = check_seeds(seed, gradient_seed)
    moves = torch.is_grad_enabled() and any(value.requires_grad for value in (positions, origins, directions))
    moves = moves and scene.media is None
    if needs_reference("trace_paths", positions):
        out = reference.trace_paths(scene, origins, directions, samples, depth, seed, other)
        return add_path_edges(out, scene, None, (origins, directions), samples, depth, other) if moves else out
    tree = build_bvh(positions.detach(), scene.tri) if bvh is None else check_tree(bvh, positions, scene.tri)
    tensors, rays = tensors_of(scene, tree), (origins.contiguous(), directions.contiguous())
    out = TracedPaths(*_op(*tensors, *rays, samples, depth, seed, other))
    if scene.media is not None:
        return out._replace(alpha=1 - out.through.mean(-1))
    out = out._replace(through=(1 - out.alpha)[..., None].expand(*out.alpha.shape, 3))
    return add_path_edges(out, scene, tensors, rays, samples, depth, other) if moves else out


def tensors_of(scene: LitScene, bvh: Bvh) -> list[Tensor | None]:
    """The op's tensors."""
    positions, like = scene.positions.contiguous(), scene.positions
    textures = list(scene.textures)
    texels = torch.cat([t.reshape(-1, 3) for t in textures]) if textures else like.new_zeros(0, 3)
    faces, face_sums, numbers = emitters(
        positions, scene.tri, mean_emission(scene.materials, scene.kinds, textures), scene.face_materials
    )
    cube = scene.environment
    rotation = None
    row_sums = texel_sums = None
    if cube is not None:
        row_sums, texel_sums = environment_sums(cube)
        rotation = identity(like) if scene.rotation is None else scene.rotation.contiguous()
        cube = cube.contiguous()
    modes = scene.kinds[:, ALPHA_MODE]
    corners = (
        _contiguous(v) for v in (scene.corner_normals, scene.corner_uvs, scene.corner_second_uvs, scene.corner_colors)
    )
    tangents = None if scene.corner_tangents is None else scene.corner_tangents.detach().contiguous()
    return [
        positions, scene.tri, *corners, tangents, scene.face_materials, scene.materials.contiguous(), scene.kinds,
        modes.contiguous() if bool((modes != OPAQUE).any()) else None, texels, _table(textures, like),
        _contiguous(scene.lamps), _contiguous(scene.lamp_intensities), scene.lamp_kinds, faces, face_sums, numbers,
        cube, rotation, row_sums, texel_sums,
        *media_tensors(scene.media, positions, scene.tri),
        *tree_arrays(bvh),
    ]  # fmt: skip


def _contiguous(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.contiguous()


def _table(textures: Sequence[Tensor], like: Tensor) -> Tensor:
    """The first texel, height and width of each texture."""
    rows, first = [], 0
    for texture in textures:
        rows.append((first, texture.shape[0], texture.shape[1]))
        first += texture.shape[0] * texture.shape[1]
    return torch.tensor(rows, dtype=torch.int64, device=like.device).reshape(-1, 3)


# ---- Checks --------------------------------------------------------------------------------------------------------


def check_corner_rays(origins: Tensor, directions: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Check rays through the corners of pixels. They must have the type of the scene's positions."""
    origins, directions = (
        check.floating(name, value, positions, "scene.positions")
        for name, value in (("origins", origins), ("directions", directions))
    )
    check.shape("directions", directions, ("H + 1", "W + 1", 3))
    check.shape("origins", origins, directions.shape)
    if directions.shape[0] < 2 or directions.shape[1] < 2:
        raise ValueError(f"directions: expected the corners of at least one pixel, got shape {tuple(directions.shape)}")
    return origins, directions


def check_seeds(seed: int, gradient_seed: int | None) -> tuple[int, int]:
    """Both seeds. The default seed for gradients differs from the other one."""
    seed = check.integer("seed", seed, 0, 2**62 - 1)
    return seed, seed + 2**62 if gradient_seed is None else check.integer("gradient_seed", gradient_seed, 0, 2**62)


def check_scene(scene: LitScene) -> LitScene:
    """The scene with int32 indices, after checking that all numbers are in range."""
    if not isinstance(scene, LitScene):
        raise TypeError(f"scene: expected a LitScene, got {type(scene).__name__}")
    positions = check.floating("scene.positions", scene.positions)
    check.shape("scene.positions", positions, ("V", 3))
    tri = check.triangles(scene.tri, positions.device, "scene.tri")
    check.in_range("scene.tri", tri, 0, len(positions))
    faces = len(tri)
    shapes: dict[str, tuple[int | str, ...]] = {
        "corner_normals": (faces, 3, 3), "corner_uvs": (faces, 3, 2), "corner_second_uvs": (faces, 3, 2),
        "corner_tangents": (faces, 3, 4), "corner_colors": (faces, 3, 3), "lamps": ("L", 12),
        "lamp_intensities": ("L", 3), "environment": (6, "S", "S", 3), "rotation": (3, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        value = getattr(scene, name)
        if value is not None:
            check.shape(f"scene.{name}", _floating(f"scene.{name}", value, positions), shape)
    if scene.environment is not None and not 1 <= scene.environment.shape[1] == scene.environment.shape[2] <= 8192:
        raise ValueError(
            f"scene.environment: expected 1 to 8192 texels per side, got shape {tuple(scene.environment.shape)}"
        )
    textures = tuple(scene.textures)
    for i, texture in enumerate(textures):
        check.shape(f"scene.textures[{i}]", _floating(f"scene.textures[{i}]", texture, positions), ("H", "W", 3))
        if not min(texture.shape[:2]) >= 1 or max(texture.shape[:2]) > 32768:
            raise ValueError(f"scene.textures[{i}]: expected 1 to 32768 texels per side, got {tuple(texture.shape)}")
    materials = completed_materials("scene.materials", _floating("scene.materials", scene.materials, positions))
    count = len(materials)
    kinds = _kinds(scene, count, textures)
    face_materials = check.indices("scene.face_materials", scene.face_materials, (faces,), positions, "scene.positions")
    check.in_range("scene.face_materials", face_materials, 0, count)
    return scene._replace(
        positions=positions, tri=tri, materials=materials, kinds=kinds, face_materials=face_materials,
        textures=textures, lamp_kinds=_lamp_kinds(scene, positions),
        media=None if scene.media is None else check_media(scene.media, positions, faces, kinds),
    )  # fmt: skip


def _kinds(scene: LitScene, count: int, textures: Sequence[Tensor]) -> Tensor:
    found = check.indices("scene.kinds", scene.kinds, (count, "columns"), scene.positions, "scene.positions")
    kinds = completed_kinds("scene.kinds", found)
    numbers, second = kinds[:, 2:ALPHA_MODE], kinds[:, SECOND_UV]
    check.in_range("scene.kinds", kinds[:, 0], 0, KINDS)
    check.in_range("scene.kinds", numbers, -1, len(textures))
    check.in_range("scene.kinds", kinds[:, ALPHA_MODE], 0, 3)
    check.in_range("scene.kinds", second, 0, 2**ALPHA_MODE)
    if not check.values_can_be_checked():
        return kinds
    elsewhere = (second[:, None] >> torch.arange(2, ALPHA_MODE, device=kinds.device) & 1) != 0
    for name, used in (("corner_uvs", ~elsewhere), ("corner_second_uvs", elsewhere)):
        if getattr(scene, name) is None and bool(((numbers >= 0) & used).any()):
            raise ValueError(f"scene.{name}: expected coordinates, as materials have textures, got None")
    if scene.corner_tangents is None and bool((kinds[:, NORMAL_TEXTURE] >= 0).any()):
        raise ValueError("scene.corner_tangents: expected tangents, as materials have normal maps, got None")
    return kinds


def _lamp_kinds(scene: LitScene, like: Tensor) -> Tensor | None:
    if scene.lamps is None:
        for name in ("lamp_intensities", "lamp_kinds"):
            if getattr(scene, name) is not None:
                raise ValueError(f"scene.{name}: expected None where there are no lamps")
        return None
    count = len(scene.lamps)
    if scene.lamp_intensities is None or len(scene.lamp_intensities) != count:
        got = None if scene.lamp_intensities is None else tuple(scene.lamp_intensities.shape)
        raise ValueError(f"scene.lamp_intensities: expected shape [{count}, 3], got {got}")
    kinds = check.indices("scene.lamp_kinds", scene.lamp_kinds, (count,), like, "scene.positions")
    check.in_range("scene.lamp_kinds", kinds, 0, 3)
    return kinds


def _floating(name: str, value: Tensor, like: Tensor) -> Tensor:
    return check.floating(name, value, like, "scene.positions")


_op = declare(
    f"trace_paths({SCENE_TENSORS}, Tensor origins, Tensor directions, "
    "SymInt samples, int max_depth, int seed, int gradient_seed)",
    sizes=(IMAGE_SIZES, image_sizes),
    outputs={
        "radiance": "height width 3",
        "alpha": "height width",
        "depth": "height width",
        "normal": "height width 3",
        "albedo": "height width 3",
        "through": "height width 3 if media",
    },
)
