"""Points, Gaussians, surfels and spheres as fragments along each pixel's ray, front to back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from lumigrad.ops.splat import points, spheres, splat, surfels
from lumigrad.ops.splat._points import project_points
from lumigrad.ops.splat._project_gaussians import project_gaussians
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.ops.splat._view import check_view
from lumigrad.reference.splat._finite import finite_or_zero
from lumigrad.reference.splat._project_gaussians import rotations
from lumigrad.reference.splat._splat import falloff
from lumigrad.render.merging import Fragments, PixelRays
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.scene.shapes.gaussian_cloud import GaussianCloud
from lumigrad.scene.shapes.point_cloud import PointCloud
from lumigrad.scene.shapes.sphere_cloud import SphereCloud
from lumigrad.scene.shapes.surfel_cloud import SurfelCloud
from lumigrad.types.view import View

MAX_ALPHA = 0.99  # for Gaussians and surfels
# When less than this is visible behind the listed primitives, the rest is left out.
DIM = 1e-3
# Below this coverage of a pixel, nothing counts as visible.
FAINT = 1e-6


C = TypeVar("C", bound=Cloud)


class Listed(NamedTuple):
    """Primitives at pixels: distances [M], colours [M, C], alphas [M]."""

    t: Tensor
    color: Tensor
    alpha: Tensor


class Drawn(NamedTuple):
    """An image of a whole cloud: values [R, C + 2] as in `Fragments`, and the first K primitives [R, K]."""

    values: Tensor
    ids: Tensor | None


class Splatted(Protocol):
    """A cloud as seen by one camera.

    Attributes:
        nearest, farthest: the range of depths of its visible parts.
        before: depths [V] in front of which each primitive is not visible.
    """

    nearest: float
    farthest: float
    before: Tensor

    def drawn(self, rays: PixelRays, listed: int) -> Drawn:
        """The image of all, and the first primitives of each pixel."""

    def at(self, rays: PixelRays, pixel: Tensor, ids: Tensor) -> Listed:
        """Primitives `ids` [M] at pixels [M]."""


def joined(clouds: Sequence[C]) -> list[C]:
    """Clouds with the same fields joined to one, in an order that does not depend on the clouds' order."""
    alike: dict[Any, list[C]] = {}
    for cloud in clouds:
        key = type(cloud).__name__, *((field.name, _width(cloud, field.name)) for field in fields(cloud))  # type: ignore[arg-type]
        alike.setdefault(key, []).append(cloud)
    return [
        many[0] if len(many) == 1 else type(many[0]).join(many)
        for _, many in sorted(alike.items(), key=lambda item: str(item[0]))
    ]


def _width(cloud: Cloud, name: str) -> tuple[int, ...] | None:
    """The size of a field's rows; harmonics of any degree can be joined."""
    value = getattr(cloud, name)
    if value is None or name == "harmonics":
        return None
    return tuple(value.shape[1:])


def splatted(cloud: Cloud, view: View, finer: int = 1) -> Splatted:
    """A cloud as a camera sees it; `finer`: samples along a side of a pixel, the radius of points without radii."""
    if isinstance(cloud, PointCloud):
        return _Points(cloud, view, finer)
    kinds: dict[type, Any] = {GaussianCloud: _Gaussians, SurfelCloud: _Surfels}
    found: Splatted = kinds[type(cloud)](cloud, view)
    return found


def fragments_of(
    cloud: Splatted, drawn: Drawn, rays: PixelRays, apart: Tensor, stop: Tensor | None = None
) -> Fragments:
    """The cloud as fragments: one for each pixel, or one for each primitive at the pixels that `apart` [R] marks.

    Primitives behind the distances `stop` [R], where nothing is seen, are left out of lists. Everything behind a full
    list becomes one more fragment there, so that all of them together give the colour and alpha of the whole cloud.
    """
    whole = drawn.values
    alpha = whole[:, -1].detach()
    seen = alpha > FAINT
    alone = (seen & ~apart).nonzero()[:, 0]
    mean = (whole[:, -2].detach() / torch.where(seen, alpha, 1))[alone]
    cosine = rays.ahead.detach()[alone]
    between = torch.minimum(torch.maximum(mean, cloud.nearest / cosine), cloud.farthest / cosine)
    parts = [Fragments(alone, between, whole.index_select(0, alone))]
    several = (seen & apart).nonzero()[:, 0]
    if drawn.ids is None or not len(several):
        return parts[0]
    ids = drawn.ids[several]
    if stop is not None:
        ids = _unhidden(ids, cloud.before, (stop.detach() * rays.ahead.detach())[several])
    row, place = (ids >= 0).nonzero(as_tuple=True)
    listed = cloud.at(rays, several[row], ids[row, place].long())
    parts.append(Fragments.of(several[row], *listed))
    full = (ids[:, -1] >= 0).nonzero()[:, 0]
    if len(full):
        number = torch.zeros(ids.shape, dtype=torch.int64, device=ids.device)
        number[row, place] = torch.arange(len(row), device=ids.device)
        places = number[full]
        lists = (v.index_select(0, places.flatten()).unflatten(0, places.shape) for v in listed)
        parts.append(_rest(several[full], whole, Listed(*lists)))
    return Fragments.join(parts)


def _unhidden(ids: Tensor, before: Tensor, stop: Tensor) -> Tensor:
    """Lists of primitives [P, K], with -1 in place of those entirely behind depths [P]."""
    # Whatever is at a wall, within the rounding of distances, is left to the order of events.
    far = stop[:, None] * (1 + 1e-5)
    depths = before.index_select(0, ids.flatten().clamp(min=0)).view(ids.shape)
    # Only those at the end: each has its own reach, and a list has no holes.
    hidden = (depths > far).flip(1).cumprod(1).flip(1).bool()
    return torch.where(hidden, -1, ids)


def _rest(pixel: Tensor, whole: Tensor, listed: Listed) -> Fragments:
    """The remainder behind the K primitives listed at each of P pixels, given as [P, K, ...], at its mean distance."""
    t, color, alpha = listed
    passed = (1 - alpha).cumprod(1)
    weights = alpha * torch.cat((torch.ones_like(alpha[:, :1]), passed[:, :-1]), 1)
    front = (weights[..., None] * torch.cat((color, t[..., None], torch.ones_like(t[..., None])), -1)).sum(1)
    rest = whole.index_select(0, pixel) - front
    counts = (passed[:, -1] > DIM) & (rest[:, -1] > FAINT)
    kept = counts.nonzero()[:, 0]
    values = rest[kept] / passed[kept, -1:]
    mean = (values[:, -2] / values[:, -1]).detach()
    return Fragments(pixel[kept], torch.maximum(mean, t.detach()[kept].amax(1)), values)


# ---- Each kind of cloud --------------------------------------------------------------------------------------------


def _placed(view: View, like: Tensor) -> tuple[View, Tensor]:
    """The view with one matrix [1, 4, 4], and its intrinsics [1, 4]."""
    return check_view(view, like, "camera")


def _centres(pixel: Tensor, rays: PixelRays) -> tuple[Tensor, Tensor]:
    """Columns and rows of the centres of pixels [M]."""
    width = rays.size[1]
    like = rays.cosine
    return (pixel % width).to(like) + 0.5, torch.div(pixel, width, rounding_mode="floor").to(like) + 0.5


def _values(image: Tensor, depth: Tensor, alpha: Tensor, rays: PixelRays) -> Tensor:
    """The values [R, C + 2] of an op's image of one view; depths are along the viewing direction."""
    distance = depth.reshape(-1) / rays.ahead
    return torch.cat((image[0].flatten(0, 1), distance[:, None], alpha.reshape(-1, 1)), -1)


def _range(depths: Tensor, reach: Tensor | float = 0.0) -> tuple[float, float]:
    """The smallest and largest depths of everything drawn; infinity and minus infinity if nothing is."""
    kept = depths.detach().isfinite()
    if not bool(kept.any()):
        return torch.inf, -torch.inf
    near, far = (depths.detach() - reach)[kept].min(), (depths.detach() + reach)[kept].max()
    return float(near), float(far)


class _Points:
    """Points as `render_points` draws them by default; their distance is that of the plane through their centre."""

    def __init__(self, cloud: PointCloud, view: View, finer: int) -> None:
        self.cloud, self.view = cloud, view
        self.colors = torch.ones_like(cloud.positions) if cloud.colors is None else cloud.colors
        radii, self.units = cloud.radii, "pixels" if cloud.radii is None else "world"
        self.radii = torch.full_like(cloud.positions[:, 0], float(finer)) if radii is None else radii
        checked, intrinsics = _placed(view, cloud.positions)
        xy, depths, scale = project_points(cloud.positions, checked, intrinsics)
        drawn = self.radii[None] if radii is None else finite_or_zero(radii) * scale * intrinsics[:, :1]
        opacities = torch.ones_like(self.radii) if cloud.opacities is None else cloud.opacities
        columns = (xy[0], depths[0, :, None], drawn[0, :, None], opacities[:, None], self.colors)
        self.table = torch.cat(columns, -1)
        self.before = depths[0].detach()
        self.nearest, self.farthest = _range(depths)

    def drawn(self, rays: PixelRays, listed: int) -> Drawn:
        cloud = self.cloud
        out = points(
            cloud.positions, self.radii, self.colors, self.view, cloud.opacities, units=self.units, contributors=listed
        )
        assert out.depth is not None
        return Drawn(_values(out.image, out.depth, out.alpha, rays), _ids(out.ids))

    def at(self, rays: PixelRays, pixel: Tensor, ids: Tensor) -> Listed:
        row = self.table.index_select(0, ids)
        x, y = _centres(pixel, rays)
        alpha = row[:, 4] * falloff("disc", x - row[:, 0], y - row[:, 1], row[:, 3])
        return Listed(rays.distance(row[:, 2], pixel), row[:, 5:], alpha.clamp(max=1.0))


class _Gaussians:
    """Gaussians; their distance is that of the plane through their centre that faces the camera."""

    def __init__(self, cloud: GaussianCloud, view: View) -> None:
        self.opacities, self.projected = (
            cloud.opacities,
            project_gaussians(cloud.means, cloud.quats, cloud.scales, view),
        )
        self.colors = colors_seen(cloud.harmonics, cloud.means, view.matrix.reshape(-1, 4, 4))
        xy, conics, depths, _ = self.projected
        columns = xy[0], depths[0, :, None], conics[0], cloud.opacities[:, None], self.colors[0]
        self.table = torch.cat(columns, -1)
        self.before = depths[0].detach()
        self.nearest, self.farthest = _range(depths)

    def drawn(self, rays: PixelRays, listed: int) -> Drawn:
        """As `lumigrad.gaussians` does, which would project them once more."""
        xy, conics, depths, _ = self.projected
        out = splat(
            xy, conics, depths, self.colors, rays.size, self.opacities, max_alpha=MAX_ALPHA, min_alpha=1 / 255,
            stop=1e-4, contributors=listed,
        )  # fmt: skip
        assert out.depth is not None
        return Drawn(_values(out.image, out.depth, out.alpha, rays), _ids(out.ids))

    def at(self, rays: PixelRays, pixel: Tensor, ids: Tensor) -> Listed:
        row = self.table.index_select(0, ids)
        x, y = _centres(pixel, rays)
        alpha = row[:, 6] * falloff("gaussian", x - row[:, 0], y - row[:, 1], row[:, 3:6])
        return Listed(rays.distance(row[:, 2], pixel), row[:, 7:], alpha.clamp(max=MAX_ALPHA))


class _Surfels:
    """Surfels; their distance is that to where the ray cuts them, as for `lumigrad.surfels`."""

    def __init__(self, cloud: SurfelCloud, view: View) -> None:
        self.cloud, self.view = cloud, view
        checked, intrinsics = _placed(view, cloud.means)
        xy, depths, _ = project_points(cloud.means, checked, intrinsics)
        self.colors = colors_seen(cloud.harmonics, cloud.means, checked.matrix)
        axes = rotations(cloud.quats)
        solid = (cloud.scales != 0).all(-1, keepdim=True)
        extent = torch.where(solid, cloud.scales, 1)
        columns = (
            xy[0], depths[0, :, None], cloud.means, axes[..., 0] / extent[:, :1], axes[..., 1] / extent[:, 1:],
            axes[..., 2], cloud.opacities[:, None], solid.to(extent), self.colors[0],
        )  # fmt: skip
        self.table = torch.cat(columns, -1)
        # Strengths below 1/255 are not drawn, so nothing visible is farther away than this many standard deviations.
        reach = 3.4 * cloud.scales.detach().abs().amax(-1)
        self.before = depths[0].detach() - reach
        self.nearest, self.farthest = _range(depths, reach)

    def drawn(self, rays: PixelRays, listed: int) -> Drawn:
        cloud = self.cloud
        out = surfels(
            cloud.means, cloud.quats, cloud.scales, cloud.opacities, self.colors, self.view, contributors=listed
        )
        return Drawn(_values(out.image, out.depth, out.alpha, rays), _ids(out.ids))

    def at(self, rays: PixelRays, pixel: Tensor, ids: Tensor) -> Listed:
        row = self.table.index_select(0, ids)
        xy, depth, mean, first, second, normal, opacity, solid, color = row.split(
            (2, 1, 3, 3, 3, 3, 1, 1, row.shape[1] - 17), -1
        )
        origins, directions = (v.index_select(0, pixel) for v in (rays.origins, rays.directions))
        against = (directions * normal).sum(-1)
        cut = (against != 0) & (solid[:, 0] > 0)
        t = ((mean - origins) * normal).sum(-1) / torch.where(cut, against, 1)
        to_hit = origins + t[:, None] * directions - mean
        apart = (to_hit * first).sum(-1).square() + (to_hit * second).sum(-1).square()
        x, y = _centres(pixel, rays)
        pixels = (x - xy[:, 0]).square() + (y - xy[:, 1]).square()
        met = cut & (t > 0) & (apart <= 2 * pixels)
        alpha = opacity[:, 0] * torch.exp(-0.5 * torch.where(met, apart, 2 * pixels))
        return Listed(torch.where(met, t, rays.distance(depth[:, 0], pixel)), color, alpha.clamp(max=MAX_ALPHA))


def _ids(ids: Tensor | None) -> Tensor | None:
    """[1, H, W, K] to [R, K]."""
    return None if ids is None else ids[0].flatten(0, 1)


# ---- Spheres -------------------------------------------------------------------------------------------------------


def sphere_fragments(cloud: SphereCloud, camera: Camera, view: View, rays: PixelRays, listed: int) -> Fragments:
    """The points where rays enter solid spheres; the part of a pixel that a rim covers counts as alpha."""
    colors = torch.ones_like(cloud.positions) if cloud.colors is None else cloud.colors
    pixel, ids = _near_spheres(cloud, view, rays, listed)
    opacities = torch.ones_like(cloud.radii) if cloud.opacities is None else cloud.opacities
    table = torch.cat((cloud.positions, cloud.radii[:, None], opacities[:, None], colors), -1)
    row = table.index_select(0, ids)
    centre, radius, opacity, color = row[:, :3], row[:, 3], row[:, 4], row[:, 5:]
    origins, directions = (v.index_select(0, pixel) for v in (rays.origins, rays.directions))
    away = centre - origins
    along = (away * directions).sum(-1)
    across = away - along[:, None] * directions
    square = across.square().sum(-1)
    beside = _root(square, 1e-20)
    depth = _root(radius.square() - square, 1e-6 * radius.detach().square())
    width = _pixel_width(camera, across.detach(), along.detach(), pixel)
    covered = ((radius - beside) / width + 0.5).clamp(0, 1) - ((-radius - beside) / width + 0.5).clamp(0, 1)
    return Fragments.of(pixel, along - depth, color, opacity * covered).chosen(covered.detach() > 0)


@torch.no_grad()
def _near_spheres(cloud: SphereCloud, view: View, rays: PixelRays, listed: int) -> tuple[Tensor, Tensor]:
    """Pairs of pixels and spheres that may meet within half a pixel: the first ones of each pixel."""
    checked, intrinsics = _placed(view, cloud.positions)
    _, depths, scale = project_points(cloud.positions, checked, intrinsics)
    wider = cloud.radii + torch.where(depths[0].isfinite(), 1.5 / (scale[0] * intrinsics[:, :2].amin()), 0)
    out = spheres(
        cloud.positions, torch.where(cloud.radii > 0, wider, 0), cloud.positions[:, :1], view, cloud.opacities,
        min_depth=max(view.near, 0.0), max_depth=view.far, contributors=listed,
    )  # fmt: skip
    ids = _ids(out.ids)
    assert ids is not None
    pixel, place = (ids >= 0).nonzero(as_tuple=True)
    return pixel, ids[pixel, place].long()


def _root(square: Tensor, least: Tensor | float) -> Tensor:
    """Square roots, with value and gradient 0 below `least`."""
    clear = square > least
    return torch.where(clear, torch.where(clear, square, 1).sqrt(), 0)


@torch.no_grad()
def _pixel_width(camera: Camera, across: Tensor, along: Tensor, pixel: Tensor) -> Tensor:
    """The change of the distance `across` [M, 3] between a ray and a point from one pixel to the next."""
    width = camera.size[1]
    x, y = pixel % width + 0.5, torch.div(pixel, width, rounding_mode="floor") + 0.5
    ends = []
    for shift_x, shift_y in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)):
        origins, directions = camera.rays(torch.stack((x + shift_x, y + shift_y), -1).to(along))
        ends.append(origins + along[:, None] * directions)
    unit = torch.nn.functional.normalize(across, dim=-1)
    steps = [2 * (end - ends[0]) for end in ends[1:]]
    change = torch.hypot(*((step * unit).sum(-1) for step in steps))
    return torch.where(change > 0, change, steps[0].norm(dim=-1))
