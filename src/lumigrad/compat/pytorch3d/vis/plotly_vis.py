"""Interactive figures of meshes, points, cameras and rays, by Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.compat.pytorch3d.renderer._camera_base import CamerasBase
from lumigrad.compat.pytorch3d.renderer.implicit.utils import ray_bundle_to_ray_points
from lumigrad.compat.pytorch3d.renderer.mesh.textures import TexturesVertex
from lumigrad.compat.pytorch3d.structures.meshes import Meshes
from lumigrad.compat.pytorch3d.structures.pointclouds import Pointclouds


class AxisArgs(NamedTuple):
    """What is drawn of the axes; Plotly's names."""

    showgrid: bool = False
    zeroline: bool = False
    showline: bool = False
    ticks: str = ""
    showticklabels: bool = False
    backgroundcolor: str = "#fff"
    showaxeslabels: bool = False


class Lighting(NamedTuple):
    """The light on meshes; Plotly's names."""

    ambient: float = 0.8
    diffuse: float = 1.0
    fresnel: float = 0.0
    specular: float = 0.0
    roughness: float = 0.5
    facenormalsepsilon: float = 1e-6
    vertexnormalsepsilon: float = 1e-12


class _Limits(NamedTuple):
    """How much of each thing is drawn, and how large."""

    camera_scale: float
    points: int
    point_size: float
    rays: int
    points_per_ray: int
    ray_point_size: float
    ray_width: float


def get_camera_wireframe(scale: float = 0.3) -> Tensor:
    """A camera as one line through points [P, 3] of its own space: a frame in front of it, with a mark at its top."""
    left, right, top, bottom, front = -1.0, 1.0, 0.75, -0.75, 2.0
    corners = [[left, top, front], [right, top, front], [right, bottom, front], [left, bottom, front]]
    eye, mark = [0.0, 0, 0], [0.0, top + 0.25, front]
    middle = [0.0, top, front]
    path = [eye, corners[0], middle, mark, middle, corners[1], eye, corners[2], corners[1], corners[2], corners[3]]
    return torch.tensor([*path, eye, corners[3], corners[0]]) * scale


@torch.no_grad()
def plot_scene(
    plots: dict[str, dict[str, Any]],
    *,
    viewpoint_cameras: Any = None,
    ncols: int = 1,
    camera_scale: float = 0.3,
    pointcloud_max_points: int = 20000,
    pointcloud_marker_size: int = 1,
    raybundle_max_rays: int = 20000,
    raybundle_max_points_per_ray: int = 1000,
    raybundle_ray_point_marker_size: int = 1,
    raybundle_ray_line_width: int = 1,
    **kwargs: Any,
) -> Any:
    """A figure of scenes, one beside or below the other.

    Args:
        plots: for each scene, by its title, what is in it, by name: `Meshes`, `Pointclouds`, cameras, `RayBundle`. All
            elements of a batch are drawn.
        viewpoint_cameras: from where a scene is looked at: one camera, or one for each.
        ncols: scenes in a row.
        camera_scale: the size of cameras.
        pointcloud_max_points, raybundle_max_rays, raybundle_max_points_per_ray: of more, as many are drawn at random.
        pointcloud_marker_size, raybundle_ray_point_marker_size, raybundle_ray_line_width: in pixels.
        kwargs: `lighting`, a `Lighting`; `axis_args`, an `AxisArgs` for all axes; `xaxis`, `yaxis`, `zaxis`, of
            Plotly's scenes.

    Raises:
        MissingPackageError: Plotly is not installed.
        ValueError: something that cannot be drawn.
        TypeError: another keyword.
    """
    axes = {name: dict(kwargs.pop(name, None) or {}) for name in ("xaxis", "yaxis", "zaxis")}
    lighting, axis_args = kwargs.pop("lighting", Lighting()), kwargs.pop("axis_args", AxisArgs())
    if kwargs:
        raise TypeError(f"plot_scene: unexpected keywords {', '.join(kwargs)}")
    subplots = require("plotly.subplots", "plot_scene")
    rows = -(-len(plots) // ncols)
    figure = subplots.make_subplots(
        rows=rows, cols=ncols, specs=[[{"type": "scene"}] * ncols for _ in range(rows)], subplot_titles=list(plots),
        column_widths=[1.0] * ncols,
    )  # fmt: skip
    limits = _Limits(
        camera_scale, pointcloud_max_points, pointcloud_marker_size, raybundle_max_rays, raybundle_max_points_per_ray,
        raybundle_ray_point_marker_size, raybundle_ray_line_width,
    )  # fmt: skip
    for number, things in enumerate(plots.values()):
        corners = []
        for name, thing in things.items():
            for trace, points in _traces(name, thing, lighting, limits):
                figure.add_trace(trace, row=number // ncols + 1, col=number % ncols + 1)
                corners.append(points)
        scene = _axes(corners, axis_args, axes)
        eye = _eye(viewpoint_cameras, number, len(plots), corners)
        figure.update_layout({f"scene{number + 1 if number else ''}": {**scene, **({"camera": eye} if eye else {})}})
    return figure


def plot_batch_individually(
    batched_structs: Any,
    *,
    viewpoint_cameras: Any = None,
    ncols: int = 1,
    extend_struct: bool = True,
    subplot_titles: Sequence[str] | None = None,
    **kwargs: Any,
) -> Any:
    """A figure with a scene for each element of a batch.

    Args:
        batched_structs: what `plot_scene` draws, or a list of such; the elements of the same number are drawn together.
        viewpoint_cameras, ncols, kwargs: of `plot_scene`.
        extend_struct: whether batches of one are repeated; otherwise they are in the first scene alone.
        subplot_titles: as many as there are scenes.

    Raises:
        ValueError: batches of different sizes, or another number of titles.
    """
    structs = list(batched_structs) if _is_list(batched_structs) else [batched_structs]
    count = max((len(_elements(struct)) for struct in structs), default=0)
    if not count:
        raise ValueError("No structs to plot")
    titles = [f"Scene {n + 1}" for n in range(count)] if subplot_titles is None else list(subplot_titles)
    if len(titles) != count:
        raise ValueError(f"invalid number of subplot titles: expected {count}, got {len(titles)}")
    scenes: dict[str, dict[str, Any]] = {title: {} for title in titles}
    for number, struct in enumerate(structs):
        elements = _elements(struct)
        if len(elements) not in (1, count):
            raise ValueError(f"structs: expected batches of 1 or {count}, got {len(elements)}")
        repeated = elements * count if len(elements) == 1 and extend_struct else elements
        for n, (title, element) in enumerate(zip(titles, repeated)):
            scenes[title][f"trace{number + 1}-{n + 1}"] = element
    return plot_scene(scenes, viewpoint_cameras=viewpoint_cameras, ncols=ncols, **kwargs)


def _is_rays(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in ("origins", "directions", "lengths"))


def _is_list(thing: Any) -> bool:
    return isinstance(thing, list | tuple) and not _is_rays(thing)


def _elements(struct: Any) -> list[Any]:
    """The elements of a batch, as batches of one."""
    if _is_list(struct):
        return [element for part in struct for element in _elements(part)]
    if _is_rays(struct):
        return [type(struct)(*(part[n : n + 1] for part in struct)) for n in range(len(struct.origins))]
    if isinstance(struct, CamerasBase):
        return [struct[[n]] for n in range(len(struct.R))]
    return [struct[n] for n in range(len(struct))]


def _traces(name: str, thing: Any, lighting: Lighting, limits: _Limits) -> list[tuple[Any, np.ndarray]]:
    """What Plotly draws, and the points that have to be in view."""
    go = require("plotly.graph_objects", "plot_scene")
    if isinstance(thing, Meshes):
        return [_mesh(go, name, thing, lighting)]
    if isinstance(thing, Pointclouds):
        return [_points(go, name, thing, limits)]
    if isinstance(thing, CamerasBase):
        lines = get_camera_wireframe(limits.camera_scale).to(thing.R)
        return [_lines(go, name, thing.get_world_to_view_transform().inverse().transform_points(lines), 2)]
    if _is_rays(thing):
        points = ray_bundle_to_ray_points(thing).detach().flatten(0, -3)
        points = points[_some(len(points), limits.rays)][:, _some(points.shape[1], limits.points_per_ray)]
        ends = points[:, [0, -1]]
        return [
            _lines(go, f"{name} rays", ends, limits.ray_width),
            _markers(go, name, points.flatten(0, 1), None, limits.ray_point_size),
        ]
    raise ValueError(f"{name}: expected Meshes, Pointclouds, cameras or a RayBundle, got {type(thing).__name__}")


def _some(total: int, most: int) -> Tensor:
    """All numbers, or `most` of them at random, in order."""
    return torch.arange(total) if total <= most else torch.randperm(total)[:most].sort().values


def _mesh(go: Any, name: str, meshes: Meshes, lighting: Lighting) -> tuple[Any, np.ndarray]:
    verts, faces = meshes.verts_packed().detach().cpu().numpy(), meshes.faces_packed().cpu().numpy()
    colors: dict[str, Any] = {}
    if isinstance(meshes.textures, TexturesVertex):
        colors["vertexcolor"] = _colors(meshes.textures.verts_features_packed())
    elif meshes.textures is not None and len(faces):
        colors["facecolor"] = _colors(meshes.textures.faces_verts_textures_packed().mean(1))
    trace = go.Mesh3d(
        x=verts[:, 0], y=verts[:, 1], z=verts[:, 2], i=faces[:, 0], j=faces[:, 1], k=faces[:, 2],
        lighting=lighting._asdict(), name=name, **colors,
    )  # fmt: skip
    # Corners alone: vertices that no face uses are not seen.
    return trace, verts[np.unique(faces)] if len(faces) else verts


def _colors(values: Tensor) -> list[str]:
    """Colours [M, 3] as Plotly's."""
    table = (values[:, :3].detach().cpu().clamp(0, 1) * 255).round().int().tolist()
    return [f"rgb({r}, {g}, {b})" for r, g, b in table]


def _points(go: Any, name: str, clouds: Pointclouds, limits: _Limits) -> tuple[Any, np.ndarray]:
    points, features = clouds.points_packed().detach(), clouds.features_packed()
    chosen = _some(len(points), limits.points).to(points.device)
    colors = None
    if features is not None:
        features = features.detach()[chosen]
        colors = _colors(features) if features.shape[1] >= 3 else features[:, 0].cpu().numpy()
    return _markers(go, name, points[chosen], colors, limits.point_size)


def _markers(go: Any, name: str, points: Tensor, colors: Any, size: float) -> tuple[Any, np.ndarray]:
    places = points.detach().cpu().numpy()
    marker = {"size": size, **({} if colors is None else {"color": colors})}
    x, y, z = places.T
    return go.Scatter3d(x=x, y=y, z=z, mode="markers", marker=marker, name=name), places


def _lines(go: Any, name: str, lines: Tensor, width: float) -> tuple[Any, np.ndarray]:
    """Lines [L, P, 3], with gaps between them."""
    places = lines.detach().cpu().reshape(-1, *lines.shape[-2:])
    gaps = torch.full_like(places[:, :1], torch.nan)
    x, y, z = torch.cat((places, gaps), 1).flatten(0, 1).T.numpy()
    trace = go.Scatter3d(x=x, y=y, z=z, mode="lines", line={"width": width}, name=name)
    return trace, places.flatten(0, 1).numpy()


def _box(corners: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """The middle, and half the longest side, of a cube around everything."""
    points = np.concatenate([part for part in corners if len(part)] or [np.zeros((1, 3))])
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, float((high - low).max()) / 2 or 1.0


def _axes(corners: list[np.ndarray], axis_args: AxisArgs, axes: dict[str, Any]) -> dict[str, Any]:
    settings = axis_args._asdict()
    labels = settings.pop("showaxeslabels")
    middle, half = _box(corners)
    scene: dict[str, Any] = {"aspectmode": "cube"}
    for k, (name, own) in enumerate(axes.items()):
        title = {} if labels else {"title": ""}
        span = [float(middle[k] - half), float(middle[k] + half)]
        scene[name] = {"range": span, **settings, **title, **own}
    return scene


def _eye(cameras: Any, number: int, count: int, corners: list[np.ndarray]) -> dict[str, Any] | None:
    """Where Plotly looks from, in units of the cube that it draws (which is 1 wide); None for its own choice."""
    if cameras is None or len(cameras.R) not in (1, count):
        return {"up": {"x": 0, "y": 1, "z": 0}}
    view = cameras[[number if len(cameras.R) == count else 0]]
    turn = view.R[0].detach().cpu()
    middle, half = _box(corners)
    at = (view.get_camera_center()[0].detach().cpu().numpy() - middle) / (2 * half)
    ahead = turn[:, 2].numpy()
    centre = at + ahead * max(float(-at @ ahead), 1e-3)
    named = {"eye": at, "center": centre, "up": turn[:, 1].numpy()}
    return {name: {axis: float(value) for axis, value in zip("xyz", vector)} for name, vector in named.items()}
