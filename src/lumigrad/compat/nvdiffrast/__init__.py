"""The public surface of ``nvdiffrast.torch`` 0.4, on lumigrad's kernels.

A program written for that library runs on the CPU once its import reads
``import lumigrad.compat.nvdiffrast as dr`` and its device is the CPU. What is nvdiffrast's own, and differs
from lumigrad's primitives:

* Images, textures and derivatives have row 0 at the **bottom** (y = -1); dY points upwards.
* ``rast`` packs (u, v, z/w, triangle index + 1) into four channels, background zeros; ``rast_db`` and
  ``uv_da`` interleave derivatives: du/dX, du/dY, dv/dX, dv/dY.
* Vertices snap to 1/16 pixel (lumigrad: 1/256).
* Gradients of u and v pass their clamps unchanged; z/w carries no gradient at all.
* `DepthPeeler` loses surfaces that coincide with the layer before.
* `antialias` knows only the edges of the triangle that a pixel sees, and its result may leave the range of
  the colours it blends.
* Mip levels exist for sides that can be halved only. Their gradients go to the texture that `texture` is given.
* Triangles with an index that is no vertex's are not drawn; lumigrad's own ops raise an error.

Beyond the original: float64 and int64 indices are accepted everywhere, triangles across the near plane are
antialiased correctly, and there are no limits on resolution short of 32768 pixels per side. The original damps
gradients of tiny triangles by a guard on their area; here they are exact. Errors are ValueError and TypeError
that name the argument. Contexts exist, and do nothing. On devices without a kernel of lumigrad's the
reference implementations serve.

Source: Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering", and the
library's documentation. An independent implementation; it contains none of the original's code.
"""

from __future__ import annotations

from lumigrad.compat._install import install as _install
from lumigrad.compat.nvdiffrast import ops
from lumigrad.compat.nvdiffrast.ops import *  # noqa: F403

__all__ = [*ops.__all__, "install"]


def install() -> None:
    """Let `import nvdiffrast.torch` find this package, so that programs run without a change.

    Raises:
        RuntimeError: nvdiffrast has been imported already.
    """
    _install("nvdiffrast.torch", __name__)
