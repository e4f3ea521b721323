"""PyTorch3D's rasterizer of meshes in NDC, on :func:`lumigrad.soft_rasterize`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lumigrad import reference
from lumigrad.compat.pytorch3d.renderer._first import first_kept
from lumigrad.compat.pytorch3d.renderer.mesh.clip import ClipFrustum, outside
from lumigrad.compat.pytorch3d.renderer.utils import parse_image_size
from lumigrad.ops.soft._soft_rasterize import MAX_FACES_PER_PIXEL, soft_interpolate, soft_rasterize
from lumigrad.types.fragments import SoftFragments

# What is less than this in front of the camera counts as behind it. A power of two, so that no bit of z / w depends on
# it; the same for all calls, so that no picture depends on what else is in the batch.
NEAREST = 2.0**-26

Output = tuple[Tensor, Tensor, Tensor, Tensor]


def rasterize_meshes(
    meshes: Any,
    image_size: int | list[int] | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int = 8,
    bin_size: int | None = None,
    max_faces_per_bin: int | None = None,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = False,
) -> Output:
    """Find the faces that cover each pixel's centre or come close to it, nearest first.

    Args:
        meshes: `Meshes` with x and y in NDC (left and up; the image's shorter side spans [-1, 1]) and z in view space.
        image_size: side, or (height, width), in pixels.
        blur_radius: the squared NDC distance within which faces that miss the pixel's centre count.
        faces_per_pixel: K, 1 to 1024.
        bin_size, max_faces_per_bin: not looked at. There are no bins to choose and none that overflow.
        perspective_correct: weights of the surface; otherwise of the projected triangle.
        clip_barycentric_coords: weights outside of a face are clamped to [0, 1] and scaled to sum to 1.
        cull_backfaces: leave out faces that are clockwise on the screen.
        z_clip_value: leave out what is nearer; by default what is behind the camera. With `perspective_correct` faces
            are cut at that plane, otherwise fragments are left out one by one.
        cull_to_frustum: leave out faces that are wholly left of, right of, above or below the image, of which
            there could be blur inside.

    Returns:
        pix_to_face int64 [N, H, W, K], zbuf, bary_coords [N, H, W, K, 3] and dists: see `Fragments`. Gradients reach
        x, y and z of the vertices.

    Raises:
        TypeError, ValueError: for settings out of range.
    """
    return _rasterize(
        soft_rasterize, meshes, image_size, blur_radius, faces_per_pixel, perspective_correct, clip_barycentric_coords,
        cull_backfaces, z_clip_value, cull_to_frustum,
    )  # fmt: skip


def rasterize_meshes_python(
    meshes: Any,
    image_size: int | list[int] | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int = 8,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = True,
    clipped_faces_neighbor_idx: Tensor | None = None,
) -> Output:
    """`rasterize_meshes` on lumigrad's definition in plain PyTorch, in float64; slow.

    Args:
        meshes, image_size, blur_radius, faces_per_pixel, perspective_correct, clip_barycentric_coords, cull_backfaces,
            z_clip_value, cull_to_frustum: as there.
        clipped_faces_neighbor_idx: not looked at.
    """
    return _rasterize(
        _defined, meshes, image_size, blur_radius, faces_per_pixel, perspective_correct,
        clip_barycentric_coords, cull_backfaces, z_clip_value, cull_to_frustum,
    )  # fmt: skip


def _defined(pos: Tensor, *options: Any) -> SoftFragments:
    frags = reference.soft_rasterize(pos.double(), *options)
    return SoftFragments(frags.tri, *(value.to(pos.dtype) for value in (frags.z, frags.dist, frags.bary)))


def _rasterize(
    soft: Callable[..., SoftFragments], meshes: Any, image_size: Any, blur_radius: float, faces_per_pixel: int,
    perspective_correct: bool, clip_barycentric_coords: bool, cull_backfaces: bool, z_clip_value: float | None,
    cull_to_frustum: bool,
) -> Output:  # fmt: skip
    size = parse_image_size(image_size)
    verts, faces = meshes.verts_packed(), meshes.faces_packed()
    near = max(z_clip_value or 0.0, NEAREST)
    kept = ~_edge_on(verts.detach(), faces) & (verts.detach()[:, 2] >= near)[faces].any(1)
    if cull_to_frustum:
        kept &= ~_beside(verts[faces], size, perspective_correct)
    # A face of one vertex three times is never seen, and keeps the numbers of the others.
    tri = torch.where(kept[:, None], faces, faces[:, :1])
    pos = _clip_positions(verts, size, near if perspective_correct else None)

    def fragments(count: int) -> Output:
        frags = soft(
            pos, tri, size, count, blur_radius, meshes.face_ranges(), perspective_correct, clip_barycentric_coords,
            cull_backfaces,
        )  # fmt: skip
        return _with_pads(frags, soft_interpolate(verts[:, 2:], frags, tri)[..., 0])

    if perspective_correct:
        return fragments(faces_per_pixel)
    # Depth is linear on the screen, and faces are not cut.
    first = first_kept(fragments, lambda out: out[1] < near, faces_per_pixel, faces_per_pixel, MAX_FACES_PER_PIXEL)
    return first[0], first[1], first[2], first[3]


def _with_pads(frags: SoftFragments, zbuf: Tensor) -> Output:
    found = frags.tri >= 0
    return (
        frags.tri.long(),
        torch.where(found, zbuf, -1),
        torch.where(found[..., None], frags.bary, -1),
        torch.where(found, frags.dist, -1),
    )


def _beside(face_verts: Tensor, size: tuple[int, int], perspective: bool) -> Tensor:
    height, width = (side / min(size) for side in size)
    return outside(face_verts, ClipFrustum(-width, width, -height, height, perspective_correct=perspective))


def _edge_on(verts: Tensor, faces: Tensor) -> Tensor:
    """Which faces [F] in front of the camera have no area on the screen but for rounding."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (corner.unbind(1) for corner in verts[faces].unbind(1))
    one, other = (bx - ax) * (cy - ay), (by - ay) * (cx - ax)
    rounding = 4 * torch.finfo(verts.dtype).eps
    ahead = torch.minimum(torch.minimum(az, bz), cz) > 0
    return ahead & ((one - other).abs() <= rounding * (one.abs() + other.abs()))


def _clip_positions(verts: Tensor, size: tuple[int, int], near: float | None) -> Tensor:
    """Positions [V, 4] in lumigrad's clip space.

    z/w is -near / z, or without `near` z by its largest magnitude, for weights that are affine on the screen: neither
    loses digits with distance, and the order is that of z. The largest magnitude is rounded to a power of two, so that
    no bit of the order depends on what else is in the batch.
    """
    x, y, z = verts.unbind(1)
    short = min(size)
    x, y = -x * short / size[1], y * short / size[0]
    if near is not None:
        return torch.stack((x * z, y * z, torch.full_like(z, -near), z), 1)
    depth = z.detach().abs().nan_to_num(0, 0, 0)
    furthest = depth.amax() if len(depth) else depth.new_ones(())
    scale = torch.exp2(furthest.clamp(min=NEAREST).log2().floor())
    return torch.stack((x, y, z / (2 * scale), torch.ones_like(z)), 1)


def non_square_ndc_range(S1: int, S2: int) -> float:
    """The length in NDC of a side of S1 pixels, where the other one has S2."""
    return 2.0 * S1 / min(S1, S2)


def pix_to_non_square_ndc(i: Any, S1: int, S2: int) -> Any:
    """The NDC of the centre of pixel i, counted in the direction of NDC, along a side of S1 pixels."""
    span = non_square_ndc_range(S1, S2)
    return span * (i + 0.5) / S1 - span / 2


def edge_function(p: Tensor, v0: Tensor, v1: Tensor) -> Tensor:
    """Twice the signed area [...] of triangles p, v0, v1 [..., 2]."""
    return (p[..., 0] - v0[..., 0]) * (v1[..., 1] - v0[..., 1]) - (p[..., 1] - v0[..., 1]) * (v1[..., 0] - v0[..., 0])


def barycentric_coordinates(p: Tensor, v0: Tensor, v1: Tensor, v2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the corners v0, v1, v2 [..., 2] at p [..., 2]."""
    area = edge_function(v2, v0, v1)
    return edge_function(p, v1, v2) / area, edge_function(p, v2, v0) / area, edge_function(p, v0, v1) / area
