"""gsplat 1.6 on lumigrad's kernels: what programs train with, and what it is made of.

A program that calls ``gsplat.rasterization`` runs on the CPU once its import reads
``from lumigrad.compat.gsplat import rasterization``. What is gsplat's own, and differs from lumigrad's ops:

* Cameras are OpenCV's: `viewmats` map the world to x right, y down, z forward; `Ks` are 3 x 3 matrices. Of these the
  focal lengths and the principal point count.
* Depth is part of the image (`render_mode`), and everything else is in a dictionary, packed to what is visible.

Beyond the original: it needs no GPU, float64 is accepted, features may have any number of channels, and `viewmats` and
`Ks` get gradients. Options that are not offered raise NotImplementedError, which says what to do instead; they are
listed at `rasterization`. So do functions that are not offered, when they are called.

Source: Ye et al. 2024, "gsplat", and the library's documentation. An independent implementation; it contains none of
the original's code.
"""

from __future__ import annotations

from lumigrad.compat._install import install as _install
from lumigrad.compat.gsplat._choices import (
    CameraModel,
    RasterizeMode,
    RendererConfig,
    RendererConfig_MixedBatch,
    RendererConfig_ParallelBatch,
    RenderMode,
    RollingShutterType,
    has_2dgs,
    has_3dgs,
    has_3dgut,
    has_adam,
    has_camera_wrappers,
    has_losses,
    has_reloc,
)
from lumigrad.compat.gsplat._compositing import rasterize_to_pixels, rasterize_to_pixels_sparse
from lumigrad.compat.gsplat._contributions import (
    accumulate,
    rasterize_contributing_gaussian_ids,
    rasterize_contributing_gaussian_ids_sparse,
    rasterize_num_contributing_gaussians,
    rasterize_num_contributing_gaussians_sparse,
    rasterize_to_indices_in_range,
    rasterize_top_contributing_gaussian_ids,
    rasterize_top_contributing_gaussian_ids_sparse,
)
from lumigrad.compat.gsplat._covariances import proj, quat_scale_to_covar_preci, world_to_cam
from lumigrad.compat.gsplat._missing import missing
from lumigrad.compat.gsplat._projection import fully_fused_projection
from lumigrad.compat.gsplat._rasterization import rasterization
from lumigrad.compat.gsplat._spherical_harmonics import (
    spherical_harmonics,
    spherical_harmonics_l0,
    spherical_harmonics_l1_plus,
)
from lumigrad.compat.gsplat._surfels import rasterization_2dgs
from lumigrad.compat.gsplat._tiles import build_sparse_tile_layout, isect_offset_encode, isect_tiles, isect_tiles_sparse
from lumigrad.compat.gsplat.color_correct import color_correct_affine, color_correct_quadratic
from lumigrad.compat.gsplat.compression import PngCompression
from lumigrad.compat.gsplat.exporter import export_splats
from lumigrad.compat.gsplat.losses import (
    create_ssim_window,
    depth_l1_loss,
    gaussian_density_reg,
    gaussian_scale_reg,
    gaussian_z_scale_reg,
    l1_loss,
    lidar_background_loss,
    lidar_distance_loss,
    lidar_intensity_loss,
    lidar_raydrop_loss,
    mse_loss,
    opacity_reg_loss,
    out_of_bound_loss,
    scale_reg_loss,
    ssim_loss,
    torch_ssim_loss,
    total_variation_loss,
)
from lumigrad.compat.gsplat.losses_fused import FusedGaussianLosses
from lumigrad.compat.gsplat.optimizers import SelectiveAdam
from lumigrad.compat.gsplat.project_gaussians import ProjectGaussians, project_gaussians
from lumigrad.compat.gsplat.rasterize import NDRasterizeGaussians, RasterizeGaussians, rasterize_gaussians
from lumigrad.compat.gsplat.rendering import rasterization_2dgs_inria_wrapper, rasterization_inria_wrapper
from lumigrad.compat.gsplat.sh import SphericalHarmonics
from lumigrad.compat.gsplat.strategy import DefaultStrategy, MCMCStrategy, Strategy
from lumigrad.compat.gsplat.utils import compute_cov2d_bounds, compute_cumulative_intersects
from lumigrad.compat.gsplat.version import __version__

fully_fused_projection_with_ut = missing("fully_fused_projection_with_ut")
rasterize_to_pixels_eval3d = missing("rasterize_to_pixels_eval3d")
fully_fused_projection_2dgs = missing("fully_fused_projection_2dgs")
rasterize_to_pixels_2dgs = missing("rasterize_to_pixels_2dgs")
rasterize_to_indices_in_range_2dgs = missing("rasterize_to_indices_in_range_2dgs")
accumulate_2dgs = missing("accumulate_2dgs")
ExternalDistortionModelMeta = missing("ExternalDistortionModelMeta")
ExternalDistortionModelParameters = missing("ExternalDistortionModelParameters")
isect_tiles_lidar = missing("isect_tiles_lidar")
RowOffsetStructuredSpinningLidarModelParameters = missing("RowOffsetStructuredSpinningLidarModelParameters")
RowOffsetStructuredSpinningLidarModelParametersExt = missing("RowOffsetStructuredSpinningLidarModelParametersExt")
compute_lidar_angles_to_columns_map = missing("compute_lidar_angles_to_columns_map")
compute_lidar_tiling = missing("compute_lidar_tiling")
LidarTiling = missing("LidarTiling")
SpinningDirection = missing("SpinningDirection")

map_gaussian_to_intersects = missing("map_gaussian_to_intersects")
bin_and_sort_gaussians = missing("bin_and_sort_gaussians")
get_tile_bin_edges = missing("get_tile_bin_edges")

__all__ = [
    "CameraModel",
    "DefaultStrategy",
    "ExternalDistortionModelMeta",
    "ExternalDistortionModelParameters",
    "FusedGaussianLosses",
    "LidarTiling",
    "MCMCStrategy",
    "NDRasterizeGaussians",
    "PngCompression",
    "ProjectGaussians",
    "RasterizeGaussians",
    "RasterizeMode",
    "RenderMode",
    "RendererConfig",
    "RendererConfig_MixedBatch",
    "RendererConfig_ParallelBatch",
    "RollingShutterType",
    "RowOffsetStructuredSpinningLidarModelParameters",
    "RowOffsetStructuredSpinningLidarModelParametersExt",
    "SelectiveAdam",
    "SphericalHarmonics",
    "SpinningDirection",
    "Strategy",
    "__version__",
    "accumulate",
    "accumulate_2dgs",
    "bin_and_sort_gaussians",
    "build_sparse_tile_layout",
    "color_correct_affine",
    "color_correct_quadratic",
    "compute_cov2d_bounds",
    "compute_cumulative_intersects",
    "compute_lidar_angles_to_columns_map",
    "compute_lidar_tiling",
    "create_ssim_window",
    "depth_l1_loss",
    "export_splats",
    "fully_fused_projection",
    "fully_fused_projection_2dgs",
    "fully_fused_projection_with_ut",
    "gaussian_density_reg",
    "gaussian_scale_reg",
    "gaussian_z_scale_reg",
    "get_tile_bin_edges",
    "has_2dgs",
    "has_3dgs",
    "has_3dgut",
    "has_adam",
    "has_camera_wrappers",
    "has_losses",
    "has_reloc",
    "install",
    "isect_offset_encode",
    "isect_tiles",
    "isect_tiles_lidar",
    "isect_tiles_sparse",
    "l1_loss",
    "lidar_background_loss",
    "lidar_distance_loss",
    "lidar_intensity_loss",
    "lidar_raydrop_loss",
    "map_gaussian_to_intersects",
    "mse_loss",
    "opacity_reg_loss",
    "out_of_bound_loss",
    "proj",
    "project_gaussians",
    "quat_scale_to_covar_preci",
    "rasterization",
    "rasterization_2dgs",
    "rasterization_2dgs_inria_wrapper",
    "rasterization_inria_wrapper",
    "rasterize_contributing_gaussian_ids",
    "rasterize_contributing_gaussian_ids_sparse",
    "rasterize_gaussians",
    "rasterize_num_contributing_gaussians",
    "rasterize_num_contributing_gaussians_sparse",
    "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs",
    "rasterize_to_pixels",
    "rasterize_to_pixels_2dgs",
    "rasterize_to_pixels_eval3d",
    "rasterize_to_pixels_sparse",
    "rasterize_top_contributing_gaussian_ids",
    "rasterize_top_contributing_gaussian_ids_sparse",
    "scale_reg_loss",
    "spherical_harmonics",
    "spherical_harmonics_l0",
    "spherical_harmonics_l1_plus",
    "ssim_loss",
    "torch_ssim_loss",
    "total_variation_loss",
    "world_to_cam",
]


# Modules whose names begin with an underscore, and which programs import all the same.
PRIVATE = ("_torch_impl", "cuda._torch_impl", "cuda._wrapper", "cuda_legacy._torch_impl", "cuda_legacy._wrapper")


def install() -> None:
    """Let `import gsplat` find this package, so that programs run without a change.

    Raises:
        RuntimeError: gsplat has been imported already.
    """
    _install("gsplat", __name__, PRIVATE)
