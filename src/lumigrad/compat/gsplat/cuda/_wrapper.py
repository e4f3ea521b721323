"""gsplat's kernels under the path that programs import them from."""

from lumigrad.compat.gsplat import (
    CameraModel,
    ExternalDistortionModelParameters,
    RollingShutterType,
    RowOffsetStructuredSpinningLidarModelParametersExt,
    SpinningDirection,
    fully_fused_projection,
    fully_fused_projection_2dgs,
    fully_fused_projection_with_ut,
    isect_offset_encode,
    isect_tiles,
    isect_tiles_lidar,
    proj,
    quat_scale_to_covar_preci,
    rasterize_to_indices_in_range,
    rasterize_to_indices_in_range_2dgs,
    rasterize_to_pixels,
    rasterize_to_pixels_2dgs,
    rasterize_to_pixels_eval3d,
    spherical_harmonics,
    world_to_cam,
)
from lumigrad.compat.gsplat._covariances import persp_proj
from lumigrad.compat.gsplat._missing import missing

FThetaCameraDistortionParameters = missing("FThetaCameraDistortionParameters")
FThetaPolynomialType = missing("FThetaPolynomialType")
UnscentedTransformParameters = missing("UnscentedTransformParameters")

__all__ = [
    "CameraModel",
    "ExternalDistortionModelParameters",
    "FThetaCameraDistortionParameters",
    "FThetaPolynomialType",
    "RollingShutterType",
    "RowOffsetStructuredSpinningLidarModelParametersExt",
    "SpinningDirection",
    "UnscentedTransformParameters",
    "fully_fused_projection",
    "fully_fused_projection_2dgs",
    "fully_fused_projection_with_ut",
    "isect_offset_encode",
    "isect_tiles",
    "isect_tiles_lidar",
    "persp_proj",
    "proj",
    "quat_scale_to_covar_preci",
    "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs",
    "rasterize_to_pixels",
    "rasterize_to_pixels_2dgs",
    "rasterize_to_pixels_eval3d",
    "spherical_harmonics",
    "world_to_cam",
]
