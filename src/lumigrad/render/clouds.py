"""Shared by the renderers of points, spheres, Gaussians and surfels: from clouds and cameras to images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lumigrad.render.background import choose_background
from lumigrad.render.color import ToneMapping, resolve_tone_mapping
from lumigrad.render.rendering import Rendering, finished
from lumigrad.render.stage import Stage, stage_of
from lumigrad.scene._vectors import unit
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats, Surfels
from lumigrad.types.view import View

# Below this coverage of a pixel, nothing counts as visible: a mean would divide by almost nothing.
FAINT = 1e-6


class Drawn(NamedTuple):
    """Images of a cloud without their background: colours [N, H, W, C] times coverage [N, H, W, 1], and buffers."""

    color: Tensor
    mask: Tensor
    buffers: dict[str, Tensor]


def one_radius(radius: Tensor | float, cloud: PointCloud) -> Tensor:
    """One radius for all points [P]."""
    try:
        one = check.constant(radius, cloud.positions)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"radius: expected a number, got {radius!r}") from None
    if one.ndim:
        raise ValueError(f"radius: expected one number, got shape {list(one.shape)}")
    return one.expand(len(cloud))


def render_clouds(
    draw: Callable[[Any, View], Drawn],
    clouds: Any,
    kind: type[Cloud],
    camera: Camera,
    background: Any,
    tone_mapping: ToneMapping,
) -> Rendering:
    """Images of one cloud or a scene from all cameras, or of each cloud of a batch from its own camera or the only one.

    Args:
        draw: makes the images of one cloud.
        clouds: one of class `kind`, a scene of them, or a batch.
    """
    tone = resolve_tone_mapping(tone_mapping)
    stage = stage_of(clouds, camera, name="cloud", kinds=(kind,))
    clouds = [_sound(cloud) for cloud in stage.shapes]
    if stage.together:
        whole = clouds[0] if len(clouds) == 1 else kind.join(clouds)
        parts = [draw(whole, _view_of(stage.camera, whole))]
    else:
        parts = [draw(cloud, _view_of(one, cloud)) for cloud, one in zip(clouds, stage.cameras)]
    color, mask, found = _stacked(parts)
    if "primitive_ids" in found:
        found |= _numbered(found["primitive_ids"], stage)
    around = [] if stage.scene.environment is None else [stage.scene.environment]
    behind = choose_background(background, stage.scene, around)
    return finished(color, mask, behind, stage.cameras, tone, found)


def _stacked(parts: list[Drawn]) -> Drawn:
    """The images of all parts."""
    if len(parts) == 1:
        return parts[0]
    return Drawn(
        torch.cat([part.color for part in parts]),
        torch.cat([part.mask for part in parts]),
        {name: torch.cat([part.buffers[name] for part in parts]) for name in parts[0].buffers},
    )


def _numbered(ids: Tensor, stage: Stage) -> dict[str, Tensor]:
    """The numbers of clouds, and of primitives within them, from `ids` [N, H, W] over everything that was drawn."""
    seen = ids >= 0
    if not stage.together:
        shape = torch.arange(len(ids), dtype=torch.int32, device=ids.device)[:, None, None]
        return {"primitive_ids": ids, "shape_ids": torch.where(seen, shape, -1)}
    if len(stage.shapes) == 1:
        return {"primitive_ids": ids, "shape_ids": torch.where(seen, torch.zeros_like(ids), -1)}
    ends = torch.tensor([len(cloud) for cloud in stage.shapes]).cumsum(0).to(ids)  # type: ignore[arg-type]
    shape = torch.where(seen, torch.searchsorted(ends, ids, right=True, out_int32=True), 0)
    starts = torch.cat((ends.new_zeros(1), ends[:-1]))
    return {
        "primitive_ids": torch.where(seen, ids - starts[shape.long()], -1),
        "shape_ids": torch.where(seen, shape, -1),
    }


def _sound(cloud: Any) -> Any:
    """The cloud, with all tensors in the dtype of its centres."""
    for name, value in cloud.tensors().items():
        check.floating(f"cloud.{name}", value)
    return cloud.to(cloud.centers.dtype)


def _view_of(camera: Camera, cloud: Any) -> View:
    """The view for the ops, in the dtype of the cloud."""
    view = camera.view()
    if view.near < 0:
        raise ValueError(f"camera.near: expected 0 or more, got {view.near}; only meshes are drawn behind the camera")
    cast = {name: getattr(view, name).to(cloud.centers.dtype) for name in ("matrix", "fx", "fy", "cx", "cy")}
    return view._replace(**cast)


# ---- Inputs and outputs of the ops ---------------------------------------------------------------------------------


class Features(NamedTuple):
    """The features to blend: colours [P, C], followed by normals [P, 3] if these are known."""

    values: Tensor
    colors: int
    normals: bool

    @classmethod
    def of(cls, cloud: PointCloud, buffers: bool) -> Features:
        """The colours of points, or white if they have none."""
        colors = torch.ones_like(cloud.positions) if cloud.colors is None else cloud.colors
        if cloud.normals is None or not buffers:
            return cls(colors, colors.shape[1], False)
        return cls(torch.cat((colors, cloud.normals), -1), colors.shape[1], True)

    def split(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Colours and normals of blended features [N, H, W, ...]."""
        return image[..., : self.colors], image[..., self.colors :] if self.normals else None


def drawn(
    out: Splats | Surfels,
    color: Tensor,
    buffers: bool,
    ids: Tensor | None = None,
    normals: Tensor | None = None,
    stretch: Tensor | None = None,
) -> Drawn:
    """Colours, coverage and buffers of what an op returned.

    Args:
        out: the op's images, for alpha and depth.
        color: its colours, in front of black.
        buffers: whether to make any.
        ids: which primitive is seen, int32 [N, H, W].
        normals: sums weighted like colours [N, H, W, 3].
        stretch: the factor that converts the op's depths to distances along the viewing direction.
    """
    mask = out.alpha[..., None]
    if not buffers:
        return Drawn(color, mask, {})
    assert out.depth is not None
    assert ids is not None
    seen = mask > FAINT
    depth = torch.where(seen, out.depth[..., None] / mask.where(seen, mask.new_ones(())), 0)
    found = {"depth": depth if stretch is None else depth * stretch, "primitive_ids": ids}
    if normals is not None:
        found["normals"] = torch.where(seen, unit(normals), 0)
    return Drawn(color, mask, found)


def first(out: Splats) -> Tensor | None:
    """The first contributor of each pixel [N, H, W], if contributors were requested."""
    return None if out.ids is None else out.ids[..., 0]
