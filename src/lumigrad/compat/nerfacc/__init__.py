"""nerfacc 0.5 in plain PyTorch: compositing of samples along rays, occupancy grids, proposal networks.

Programs written for nerfacc run on the CPU after their imports are changed, or after `install()`. An independent
implementation of documented behaviour; it contains none of the original's code.

Beyond the original: gradients are right at opacities of exactly 1, distances have gradients, float64 is accepted, and
errors name the argument.
"""

from lumigrad.compat._install import install as _install
from lumigrad.compat.nerfacc.data_specs import RayIntervals, RaySamples
from lumigrad.compat.nerfacc.estimators.occ_grid import OccGridEstimator
from lumigrad.compat.nerfacc.estimators.prop_net import PropNetEstimator
from lumigrad.compat.nerfacc.grid import ray_aabb_intersect, traverse_grids
from lumigrad.compat.nerfacc.losses import distortion
from lumigrad.compat.nerfacc.pack import pack_info
from lumigrad.compat.nerfacc.pdf import importance_sampling, searchsorted
from lumigrad.compat.nerfacc.scan import exclusive_prod, exclusive_sum, inclusive_prod, inclusive_sum
from lumigrad.compat.nerfacc.volrend import (
    accumulate_along_rays,
    render_transmittance_from_alpha,
    render_transmittance_from_density,
    render_visibility_from_alpha,
    render_visibility_from_density,
    render_weight_from_alpha,
    render_weight_from_density,
    rendering,
)

__version__ = "0.5.3"  # of the interface

__all__ = [
    "OccGridEstimator",
    "PropNetEstimator",
    "RayIntervals",
    "RaySamples",
    "__version__",
    "accumulate_along_rays",
    "distortion",
    "exclusive_prod",
    "exclusive_sum",
    "importance_sampling",
    "inclusive_prod",
    "inclusive_sum",
    "install",
    "pack_info",
    "ray_aabb_intersect",
    "render_transmittance_from_alpha",
    "render_transmittance_from_density",
    "render_visibility_from_alpha",
    "render_visibility_from_density",
    "render_weight_from_alpha",
    "render_weight_from_density",
    "rendering",
    "searchsorted",
    "traverse_grids",
]


def install() -> None:
    """Let `import nerfacc` and its modules find these. Call it before the first such import.

    Raises:
        RuntimeError: nerfacc itself has been imported already.
    """
    _install("nerfacc", __name__)
