"""Names that programs may import; using them raises an error that says what to do instead."""

from __future__ import annotations

from typing import Any

from lumigrad.compat.gsplat._arguments import LINEARISED, UNDISTORT

_PLANE = "Gaussians are drawn in the image plane; use rasterization"
_SURFELS = "the steps of rasterization_2dgs are not offered one by one; use rasterization_2dgs or lumigrad.surfels"
_LIDAR = "lidars are not offered; use cameras"
_TILES = "lists of tiles are those of gsplat 1; use isect_tiles"
_INRIA = "use {}, which needs no other package"
ADVICE = {
    "fully_fused_projection_with_ut": LINEARISED.partition(";")[0] + "; use fully_fused_projection",
    "rasterize_to_pixels_eval3d": _PLANE,
    "fully_fused_projection_2dgs": _SURFELS,
    "rasterize_to_pixels_2dgs": _SURFELS,
    "rasterize_to_indices_in_range_2dgs": _SURFELS,
    "accumulate_2dgs": _SURFELS,
    "rasterization_inria_wrapper": _INRIA.format("rasterization"),
    "rasterization_2dgs_inria_wrapper": _INRIA.format("rasterization_2dgs"),
    "ExternalDistortionModelMeta": UNDISTORT,
    "ExternalDistortionModelParameters": UNDISTORT,
    "isect_tiles_lidar": _LIDAR,
    "RowOffsetStructuredSpinningLidarModelParameters": _LIDAR,
    "RowOffsetStructuredSpinningLidarModelParametersExt": _LIDAR,
    "compute_lidar_angles_to_columns_map": _LIDAR,
    "compute_lidar_tiling": _LIDAR,
    "LidarTiling": _LIDAR,
    "SpinningDirection": _LIDAR,
    "FThetaCameraDistortionParameters": UNDISTORT,
    "FThetaPolynomialType": UNDISTORT,
    "UnscentedTransformParameters": LINEARISED.partition(";")[0] + "; use rasterization without it",
    "map_gaussian_to_intersects": _TILES,
    "bin_and_sort_gaussians": _TILES,
    "get_tile_bin_edges": _TILES,
    "PngCompression": "write .spz by lumigrad.io.save_gaussians",
}


class _Missing(type):
    """Calls and attributes raise an error; instances do not exist."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{cls.__name__}: not offered by lumigrad.compat.gsplat; {ADVICE[cls.__name__]}")


def missing(name: str) -> Any:
    """What stands for a name of `ADVICE`. It is a class, so that isinstance and annotations work."""
    return _Missing(name, (), {"__module__": __name__, "__doc__": f"Not offered; {ADVICE[name]}."})
