"""The entry points of gsplat 1.5 that programs train with, on lumigrad's kernels.

A program that calls ``gsplat.rasterization`` runs on the CPU once its import reads
``from lumigrad.compat.gsplat import rasterization``. What is gsplat's own, and differs from lumigrad's ops:

* Cameras are OpenCV's: `viewmats` map the world to x right, y down, z forward; `Ks` are 3 x 3 matrices. Of these the
  focal lengths and the principal point count.
* Depth is part of the image (`render_mode`), and everything else is in a dictionary, packed to what is visible.

Beyond the original: it needs no GPU, float64 is accepted, features may have any number of channels, and `viewmats` and
`Ks` get gradients. Options that are not offered raise NotImplementedError; they are listed at `rasterization`.

Source: Ye et al. 2024, "gsplat", and the library's documentation. An independent implementation; it contains none of
the original's code.
"""

from __future__ import annotations

from lumigrad.compat._install import install as _install
from lumigrad.compat.gsplat._rasterization import rasterization
from lumigrad.compat.gsplat._spherical_harmonics import spherical_harmonics
from lumigrad.compat.gsplat._surfels import rasterization_2dgs

__all__ = ["install", "rasterization", "rasterization_2dgs", "spherical_harmonics"]


def install() -> None:
    """Let `import gsplat` find this package, so that programs run without a change.

    Raises:
        RuntimeError: gsplat has been imported already.
    """
    _install("gsplat", __name__)
