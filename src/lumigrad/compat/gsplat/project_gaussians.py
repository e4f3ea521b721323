"""Projection as gsplat 0.1 has it, for one camera."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.compat.gsplat._covariances import UPPER, quat_scale_to_covar_preci
from lumigrad.compat.gsplat._projection import fully_fused_projection


class _Camera(NamedTuple):
    """What is left of the arguments of all versions of 0.1."""

    projmat: Tensor | None
    fx: float
    fy: float
    cx: float
    cy: float
    img_height: int
    img_width: int
    block_width: int
    clip_thresh: float
    whole: bool  # whether compensations are returned, too


def project_gaussians(
    means3d: Tensor, scales: Tensor, glob_scale: float, quats: Tensor, viewmat: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, ...]:
    """Project Gaussians to one image, as gsplat 0.1.9 to 1.0 do, or as 0.1.0 to 0.1.8 do.

    The newer call goes on with ``fx, fy, cx, cy, img_height, img_width, block_width, clip_thresh=0.01``, the older one
    with ``projmat, fx, fy, cx, cy, img_height, img_width, tile_bounds or block_width, clip_thresh=0.01``.

    Args:
        means3d: [N, 3]. scales: [N, 3], times `glob_scale`. quats: (w, x, y, z) [N, 4].
        viewmat: world to camera, x right, y down, z forward: [4, 4] or its first three rows.
        projmat: world to clip space [4, 4], which decides where the centres are.
        fx, fy, cx, cy: the camera, in pixels.
        img_height, img_width: of the image.
        block_width: the side of tiles, by which `num_tiles_hit` counts. tile_bounds: how many there are, of 16 pixels.
        clip_thresh: the least depth of what is seen.

    Returns:
        Centres in pixels [N, 2] ((0, 0) is the outer corner of the first pixel, in all versions), depths [N], radii
        (int32, 0 for what is not seen) [N], conics [N, 3], compensations [N] (not with `tile_bounds`, as in 0.1.2),
        numbers of tiles [N] and covariances [N, 6]. Gradients reach means, scales, quaternions and matrices.

    Raises:
        TypeError, ValueError: arguments of neither call, wrong types or shapes.
    """
    camera = _camera(args, kwargs)
    quats, scales = torch.nn.functional.normalize(quats, dim=-1), scales * glob_scale
    covars, _ = quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    assert covars is not None
    matrix = viewmat if viewmat.shape[0] == 4 else torch.cat((viewmat, viewmat.new_tensor([[0.0, 0, 0, 1]])))
    intrinsics = means3d.new_tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    radii, xys, depths, conics, compensations = fully_fused_projection(
        means3d, covars, None, None, matrix[None], intrinsics[None], camera.img_width, camera.img_height,
        near_plane=camera.clip_thresh, calc_compensations=True,
    )  # fmt: skip
    assert radii is not None
    assert xys is not None
    assert depths is not None
    assert conics is not None
    assert compensations is not None
    seen = (radii[0] > 0).all(-1)
    centres = xys[0] if camera.projmat is None else _by_matrix(means3d, camera)
    centres = torch.where(seen[:, None], centres, 0)
    radius = radii[0].amax(-1)
    tiles = _tiles_hit(centres.detach(), radius, camera)
    start = centres, depths[0], radius, torch.where(seen[:, None], conics[0], 0)
    end = tiles, covars[..., UPPER[0], UPPER[1]]
    return (*start, torch.where(seen, compensations[0], 0), *end) if camera.whole else (*start, *end)


def _camera(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Camera:
    values = dict(kwargs)
    names = ["fx", "fy", "cx", "cy", "img_height", "img_width", "block_width", "clip_thresh"]
    if "projmat" in values or (args and isinstance(args[0], Tensor) and args[0].ndim == 2):
        names = ["projmat", *names]
    if len(args) > len(names):
        raise TypeError(f"project_gaussians: expected at most {len(names) + 5} arguments, got {len(args) + 5}")
    values |= zip(names, args)
    tiles = values.pop("tile_bounds", values.get("block_width"))
    whole = not isinstance(tiles, tuple | list)
    values["block_width"] = tiles if whole else 16
    missing = [name for name in names if name not in values and name != "clip_thresh"]
    extra = [name for name in values if name not in _Camera._fields]
    if missing or extra or values["block_width"] is None:
        raise TypeError(f"project_gaussians: missing {missing or ['block_width']}, unexpected {extra}")
    values = {"projmat": None, "clip_thresh": 0.01, "whole": whole, **values}
    numbers = {name: float(values[name]) for name in ("fx", "fy", "cx", "cy", "clip_thresh")}
    whole_numbers = {name: int(values[name]) for name in ("img_height", "img_width", "block_width")}
    if not 1 < whole_numbers["block_width"] <= 16:
        raise ValueError(f"block_width: expected 2 to 16, got {whole_numbers['block_width']}")
    return _Camera(**{**values, **numbers, **whole_numbers})


def _by_matrix(means: Tensor, camera: _Camera) -> Tensor:
    """Centres by the matrix to clip space, whose middle is the principal point."""
    assert camera.projmat is not None
    clip = means @ camera.projmat[:, :3].T + camera.projmat[:, 3]
    w = torch.where(clip[:, 3].abs() > 1e-6, clip[:, 3], 1e-6)
    size, centre = means.new_tensor([camera.img_width, camera.img_height]), means.new_tensor([camera.cx, camera.cy])
    return clip[:, :2] / w[:, None] * size / 2 + centre


def _tiles_hit(centres: Tensor, radii: Tensor, camera: _Camera) -> Tensor:
    """How many tiles the squares around the centres touch, int32 [N]."""
    side = camera.block_width
    most = torch.tensor([-(-camera.img_width // side), -(-camera.img_height // side)], device=centres.device)
    first = ((centres - radii[:, None]) / side).floor().long()
    last = ((centres + radii[:, None]) / side).floor().long() + 1
    span = torch.minimum(last.clamp(min=0), most) - torch.minimum(first.clamp(min=0), most)
    return torch.where(radii > 0, span.prod(1), 0).int()


class ProjectGaussians:
    """`project_gaussians` as older programs call it."""

    apply = staticmethod(project_gaussians)


_ProjectGaussians = ProjectGaussians
