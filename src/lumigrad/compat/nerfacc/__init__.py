"""nerfacc 0.5: compositing of samples along rays, occupancy grids, proposal networks.

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
from lumigrad.compat.nerfacc.version import __version__
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


def install(version: str = "0.5") -> None:
    """Let `import nerfacc` and its modules find these. Call it before the first such import.

    Args:
        version: which interface programs are written for, "0.5" or "0.3".

    Raises:
        ValueError: another version.
        RuntimeError: nerfacc itself, or another version's interface, has been imported already.
    """
    packages = {"0.5": __name__, "0.3": f"{__name__}.v0_3"}
    if version not in packages:
        raise ValueError(f"version: expected one of {', '.join(map(repr, packages))}, got {version!r}")
    _install("nerfacc", packages[version])
