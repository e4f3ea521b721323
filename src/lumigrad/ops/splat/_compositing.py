"""The compositing engine, registered with torch and shared by `splat` and `spheres`.

The kernel is ``native/splat``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from lumigrad._engine.declare import declare
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats

# Footprints with their numbers of shape components (0: a single number without a dimension), and blendings, as numbered
# by the kernel.
FOOTPRINTS = {"gaussian": (0, 3), "disc": (1, 0), "square": (2, 0)}
SPHERES = {"perspective": 3, "orthographic": 4}
BLENDS = {"alpha": 0, "normalised": 2, "nearest": 3}
SOFTMAX = 1
# A footprint whose image has two more channels: the distortion of depth and the depth at the median.
SURFEL = 5
EXTRA_CHANNELS = {SURFEL: 2}


class Room(NamedTuple):
    """The CUDA kernels' capacity for pairs of tiles and primitives, as in native/splat/binning_cuda.cu."""

    least: int = 1 << 16
    ample: int = 1 << 22
    ample_for_each: int = 32
    for_each: int = 8

    def pairs(self, items: int, tiles: int) -> int:
        """items: primitives in all views; tiles: of one view."""
        wanted = max(self.least, min(self.ample, self.ample_for_each * items), self.for_each * items)
        return min((1 << 31) - 1, wanted, items * tiles)


ROOM = Room()
_TILE = 16  # pixels per side


def keeps_lists(tensor: torch.Tensor) -> bool:
    """Whether kernels store each tile's primitives after the pixels of `last`, so that backward need not sort: CUDA's
    do."""
    return tensor.device.type == "cuda"


def named(name: str, value: Any, known: dict[str, Any]) -> Any:
    """The entry of `known` with the name `value`."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")
    return known[value]


def check_appearance(
    features: torch.Tensor,
    opacities: torch.Tensor | None,
    background: torch.Tensor | None,
    like: torch.Tensor,
    like_name: str,
    views: int,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """features, opacities and background, checked and with defaults filled in."""
    features = check.floating("features", features, like, like_name)
    if features.dim() not in (2, 3) or features.shape[-2] != count or (features.dim() == 3 and len(features) != views):
        raise ValueError(f"features: expected shape [{count}, C] or [{views}, {count}, C], got {tuple(features.shape)}")
    if opacities is None:
        opacities = like.new_ones(count)
    opacities = check.floating("opacities", opacities, like, like_name)
    if tuple(opacities.shape) not in ((count,), (views, count)):
        raise ValueError(f"opacities: expected shape [{count}] or [{views}, {count}], got {tuple(opacities.shape)}")
    channels = features.shape[-1]
    if background is None:
        background = like.new_zeros(channels)
    background = check.floating("background", background, like, like_name)
    if tuple(background.shape) not in ((channels,), (views, channels)):
        raise ValueError(
            f"background: expected shape [{channels}] or [{views}, {channels}], got {tuple(background.shape)}"
        )
    return features, opacities, background


def check_contributors(contributors: Any) -> None:
    check.integer("contributors", contributors, 0, 1024)


def composite(
    positions: torch.Tensor,
    shapes: torch.Tensor,
    depths: torch.Tensor | None,
    opacities: torch.Tensor,
    features: torch.Tensor,
    background: torch.Tensor,
    footprint: int,
    blend: int,
    size: tuple[int, int],
    camera: tuple[torch.Tensor, torch.Tensor] | None = None,
    gamma: torch.Tensor | None = None,
    *,
    max_alpha: float = 1.0,
    min_alpha: float = 0.0,
    stop: float = 0.0,
    min_depth: float = 0.0,
    max_depth: float = 1.0,
    merge: float = 0.0,
    max_contributors: int = 0,
    contributors: int = 0,
) -> Splats:
    """The registered op, on checked arguments. camera (matrices and intrinsics) and gamma [1]: for spheres."""
    tensors = (positions, shapes, depths, opacities, features, background, *(camera or (None, None)), gamma)
    image, alpha, depth, median, ids, weights, _, _ = _op(
        *(None if t is None else t.contiguous() for t in tensors), footprint, blend, *size, max_alpha, min_alpha, stop,
        min_depth, max_depth, merge, max_contributors, contributors,
    )  # fmt: skip
    listed = (ids, weights) if contributors else (None, None)
    return Splats(image, alpha, depth, median if blend == BLENDS["alpha"] else None, *listed)


def _views_of(tensor: torch.Tensor | None, dims: int) -> int:
    """The number of views for which a tensor has values; `dims` is its number of dimensions when all views share it."""
    return 1 if tensor is None or tensor.dim() == dims else tensor.shape[0]


def _sizes(
    positions: torch.Tensor,
    shapes: torch.Tensor,
    depths: torch.Tensor | None,
    opacities: torch.Tensor,
    features: torch.Tensor,
    background: torch.Tensor,
    matrix: torch.Tensor | None,
    footprint: int,
    blend: int,
    height: int,
    width: int,
) -> tuple[int, ...]:
    """_SIZES"""
    channels = features.shape[-1]
    scalar_shapes = matrix is not None or shapes.dim() == positions.dim() - 1
    views, count = positions.shape[0] if matrix is None else matrix.shape[0], positions.shape[-2]
    return (
        views, count, channels,
        _views_of(positions, 2), _views_of(shapes, 1 if scalar_shapes else 2), _views_of(depths, 1),
        _views_of(opacities, 1), _views_of(features, 2), _views_of(background, 1),
        positions.shape[-1], 1 if scalar_shapes else shapes.shape[-1],
        channels + EXTRA_CHANNELS.get(footprint, 0), blend == BLENDS["alpha"],
        views * height * width + (_list_words(views, count, height, width) if keeps_lists(positions) else 0),
    )  # fmt: skip


def _list_words(views: int, count: int, height: int, width: int) -> int:
    """The size of TileLists in native/splat/binning_cuda.cu."""
    tiles = -(-height // _TILE) * -(-width // _TILE)
    return views * (9 * count + 2 * tiles) + 3 + ROOM.pairs(views * count, tiles)


_SIZES = (
    "views primitives channels "
    "position_views shape_views depth_views opacity_views feature_views background_views "
    "position_components shape_components "
    "image_channels has_median last_words"
)
_op = declare(
    "splat(Tensor positions, Tensor shapes, Tensor? depths, Tensor opacities, Tensor features, Tensor background, "
    "Tensor? matrix, Tensor? intrinsics, Tensor? gamma, int footprint, int blend, int height, int width, "
    "float max_alpha, float min_alpha, float stop, float min_depth, float max_depth, float merge, "
    "int max_contributors, int contributors)",
    sizes=(_SIZES, _sizes),
    outputs={
        "image": "views height width image_channels",
        "alpha": "views height width",
        "depth": "views height width",
        "median": "views height width if has_median",
        "ids": "views height width contributors",
        "weights": "views height width contributors",
        "state": "views height width 2",
        "last": "last_words",
    },
)
