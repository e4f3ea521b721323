"""nerfacc 0.3: one grid, which may hold all of space, and packed samples of shape [S, 1].

``lumigrad.compat.nerfacc.install(version="0.3")`` puts it where programs import `nerfacc`.
"""

from lumigrad.compat.nerfacc.v0_3 import cuda
from lumigrad.compat.nerfacc.v0_3.contraction import ContractionType, contract, contract_inv
from lumigrad.compat.nerfacc.v0_3.grid import Grid, OccupancyGrid, query_grid
from lumigrad.compat.nerfacc.v0_3.intersection import ray_aabb_intersect
from lumigrad.compat.nerfacc.v0_3.losses import distortion as loss_distortion
from lumigrad.compat.nerfacc.v0_3.pack import pack_data, pack_info, unpack_data, unpack_info, unpack_to_ray_indices
from lumigrad.compat.nerfacc.v0_3.ray_marching import ray_marching
from lumigrad.compat.nerfacc.v0_3.vol_rendering import (
    accumulate_along_rays,
    render_transmittance_from_alpha,
    render_transmittance_from_density,
    render_visibility,
    render_weight_from_alpha,
    render_weight_from_density,
    rendering,
)

__version__ = "0.3.5"  # of the interface


def ray_resampling(*args: object, **kwargs: object) -> None:
    """Not offered: `PropNetEstimator` of nerfacc 0.5 and `lumigrad.resample_rays` resample."""
    raise NotImplementedError("ray_resampling: not offered by lumigrad.compat.nerfacc; use lumigrad.resample_rays")


__all__ = [
    "ContractionType",
    "Grid",
    "OccupancyGrid",
    "__version__",
    "accumulate_along_rays",
    "contract",
    "contract_inv",
    "cuda",
    "loss_distortion",
    "pack_data",
    "pack_info",
    "query_grid",
    "ray_aabb_intersect",
    "ray_marching",
    "ray_resampling",
    "render_transmittance_from_alpha",
    "render_transmittance_from_density",
    "render_visibility",
    "render_weight_from_alpha",
    "render_weight_from_density",
    "rendering",
    "unpack_data",
    "unpack_info",
    "unpack_to_ray_indices",
]
