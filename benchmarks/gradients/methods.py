"""The methods under test: lumigrad's own, its versions of other libraries' rules, and these libraries themselves.

Each is a function of a scene and clip-space positions, and returns the image. Libraries that cannot be imported are
left out.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

import lumigrad as lg
from benchmarks.gradients.judging import Image, UnsupportedSceneError
from benchmarks.gradients.scenes import FAR, NEAR, Scene
from lumigrad import gradients

GAMMA = 1e-4


@dataclass(frozen=True)
class Entry:
    """An image function, its dtype, and the name of the module that it needs."""

    image: Image
    dtype: torch.dtype = torch.float64
    needs: str | None = None


def sigma(scene: Scene, at_256: float = 1e-4) -> float:
    """The blur of a soft method: as many pixels as its usual value spans in the usual image of 256 pixels."""
    return at_256 * (256 / min(scene.size)) ** 2


# ---- lumigrad


def exact(scene: Scene, pos: Tensor, shaded: bool = True) -> Tensor:
    """`lumigrad.antialias` with exact outlines: shaded on both sides, or in the colours of pixels nearby."""
    frags = lg.rasterize(pos, scene.tri, scene.size)
    shade = scene.shade if shaded else None
    edges = scene.creased
    return lg.antialias(scene.shade(frags), frags, pos, scene.tri, method="exact", shade=shade, every_edge=edges)


def antialias(scene: Scene, pos: Tensor, factor: int = 1) -> Tensor:
    """`lumigrad.antialias` with factor x factor samples per pixel, averaged."""
    size = scene.size[0] * factor, scene.size[1] * factor
    frags = lg.rasterize(pos, scene.tri, size)
    image = lg.antialias(scene.shade(frags), frags, pos, scene.tri)
    return torch.nn.functional.avg_pool2d(image.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


def registered(name: str, scene: Scene, pos: Tensor) -> Tensor:
    """A method of `lumigrad.gradients` that needs only colours and fragments."""
    frags = lg.rasterize(pos, scene.tri, scene.size)
    color = scene.shade(gradients.shading_fragments(frags, name))
    return gradients.apply(color, frags, pos, scene.tri, name)


def splat(scene: Scene, pos: Tensor) -> Tensor:
    """`lumigrad.gradients.splat` with a second layer, which tells it what is uncovered."""
    layers = list(lg.peel(pos, scene.tri, scene.size, 2))
    colors = [scene.shade(gradients.shading_fragments(frags, "splat")) for frags in layers]
    return gradients.splat(colors[0], layers[0], pos, scene.tri, [(colors[1], layers[1])], scene.background.to(pos))


def softras(scene: Scene, pos: Tensor) -> Tensor:
    """`lumigrad.gradients.softras` of all colours, blended with the background by its mask."""
    frags = lg.rasterize(pos, scene.tri, scene.size)
    corners, separate = pos[scene.tri].view(-1, 4), torch.arange(3 * len(scene.tri)).view(-1, 3)
    color = torch.nn.functional.pad(scene.shade(frags), (0, 1))
    attr = _corner_colors(scene, pos)
    background = scene.background.to(pos)
    image = gradients.softras(color, frags, corners, separate, sigma(scene), GAMMA, attr, background)
    return image[..., :-1] * image[..., -1:] + background * (1 - image[..., -1:])


def dibr(scene: Scene, pos: Tensor) -> Tensor:
    """`lumigrad.gradients.dibr`: its mask blends one colour with the background, so there must be only one."""
    if not scene.one_color():
        raise UnsupportedSceneError(f"{scene.name}: more than one colour")
    frags = lg.rasterize(pos, scene.tri, scene.size)
    covered = (frags.tri >= 0).to(pos.dtype)[..., None]
    mask = gradients.dibr(covered, frags, pos, scene.tri, sigma(scene, 1 / 7000))
    background = scene.background.to(pos)
    return background + mask * (scene.color[0].to(pos) - background)


# ---- Other libraries


def nvdiffrast(library: str, scene: Scene, pos: Tensor) -> Tensor:
    """rasterize and antialias; row 0 of its images is at the bottom."""
    dr = importlib.import_module(library)
    device = "cpu" if library.startswith("lumigrad") else "cuda"
    pos, tri = pos[None].to(device), scene.tri.int().to(device)
    rast, _ = dr.rasterize(dr.RasterizeCudaContext(), pos, tri, scene.size)
    triangle = rast[..., 3].int() - 1
    color = scene.shade(lg.Fragments(triangle.cpu(), rast[..., :2].cpu(), rast[..., 2].cpu(), None)).to(device)
    return dr.antialias(color.contiguous(), rast, pos, tri).flip(1)


def pytorch3d(library: str, scene: Scene, pos: Tensor) -> Tensor:
    """Its rasterizer and softmax blending, composited over the background by its mask; x points to the left."""
    _refuse_behind_eye(scene, pos)
    renderer = importlib.import_module(f"{library}.renderer")
    ops, structures = (importlib.import_module(f"{library}.{name}") for name in ("ops", "structures"))
    rasterizer = importlib.import_module(f"{library}.renderer.mesh.rasterize_meshes")
    height, width = scene.size
    x, y, _, w = pos.unbind(-1)
    aspect = width / min(scene.size), height / min(scene.size)
    points = torch.stack((-x / w * aspect[0], y / w * aspect[1], w), -1)
    mesh = structures.Meshes(verts=[points], faces=[scene.tri])
    width_of_blur = sigma(scene)
    blur = math.log(1 / 1e-4 - 1) * width_of_blur
    face, zbuf, bary, dists = rasterizer.rasterize_meshes(
        mesh, scene.size, blur, faces_per_pixel=min(50, len(scene.tri)), perspective_correct=True,
        clip_barycentric_coords=True,
    )  # fmt: skip
    colors = ops.interpolate_face_attributes(face, bary, _corner_colors(scene, pos).view(-1, 3, 3))
    fragments = renderer.mesh.rasterizer.Fragments(face, zbuf, bary, dists)
    params = renderer.BlendParams(width_of_blur, GAMMA, tuple(scene.background.tolist()))
    image = renderer.softmax_rgb_blend(colors, fragments, params, NEAR, FAR)
    return image[..., :3] * image[..., 3:] + scene.background.to(image) * (1 - image[..., 3:])


def drtk(scene: Scene, pos: Tensor) -> Tensor:
    """rasterize, render and edge_grad_estimator, combined as in its documentation."""
    _refuse_behind_eye(scene, pos)
    library: ModuleType = importlib.import_module("drtk")
    height, width = scene.size
    x, y, _, w = pos.unbind(-1)
    pixels = torch.stack(((x / w + 1) * width / 2 - 0.5, (1 - y / w) * height / 2 - 0.5, w), -1)[None]
    faces = scene.tri.int()
    index = library.rasterize(pixels, faces, height, width)
    _, bary = library.render(pixels, faces, index)
    frags = lg.Fragments(index, bary[:, :2].permute(0, 2, 3, 1), bary[:, 0], None)
    color = scene.shade(frags).permute(0, 3, 1, 2).contiguous()
    image = library.edge_grad_estimator(v_pix=pixels, vi=faces, bary_img=bary, img=color, index_img=index)
    return image.permute(0, 2, 3, 1)


def _corner_colors(scene: Scene, pos: Tensor) -> Tensor:
    """Colours [3 T, C] at the corners of all triangles."""
    color = scene.color if scene.smooth else scene.color[:, None].expand(-1, 3, -1)
    return color.to(pos).reshape(-1, color.shape[-1])


def _refuse_behind_eye(scene: Scene, pos: Tensor) -> None:
    if (pos[:, 3] <= 0).any():
        raise UnsupportedSceneError(f"{scene.name}: vertices behind the eye")


# ---- The list


def _lumigrad() -> dict[str, Entry]:
    special: dict[str, Callable[[Scene, Tensor], Tensor]] = {"splat": splat, "softras": softras, "dibr": dibr}
    entries = {
        "exact": Entry(exact),
        "exact pixels": Entry(partial(exact, shaded=False)),
        "antialias": Entry(antialias),
    }
    entries |= {f"antialias x{k}": Entry(partial(antialias, factor=k)) for k in (2, 4)}
    for name in gradients.METHODS:
        entries.setdefault(name, Entry(special.get(name, partial(registered, name))))
    return entries


def available() -> dict[str, Entry]:
    """All methods that can be tested here, by name."""
    single = torch.float32
    entries = _lumigrad() | {
        "nvdiffrast (compat)": Entry(partial(nvdiffrast, "lumigrad.compat.nvdiffrast")),
        "pytorch3d (compat)": Entry(partial(pytorch3d, "lumigrad.compat.pytorch3d")),
        "nvdiffrast": Entry(partial(nvdiffrast, "nvdiffrast.torch"), single, "nvdiffrast.torch"),
        "pytorch3d": Entry(partial(pytorch3d, "pytorch3d"), single, "pytorch3d.renderer"),
        "drtk": Entry(drtk, single, "drtk"),
    }
    return {name: entry for name, entry in entries.items() if entry.needs is None or _importable(entry.needs)}


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return name != "nvdiffrast.torch" or torch.cuda.is_available()
