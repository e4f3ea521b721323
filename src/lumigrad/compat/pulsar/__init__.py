"""Pulsar's renderer, as it is in PyTorch3D, on lumigrad's kernels.

A program that uses ``pytorch3d.renderer.points.pulsar.Renderer`` runs on the CPU once its import reads
``from lumigrad.compat.pulsar import Renderer``. What is Pulsar's own, and differs from `lumigrad.spheres`:

* A camera is one vector: position, rotation (axis-angle or 6D), focal length, sensor width, and optionally by how many
  pixels the principal point is left of and above the centre.
* Axes are x right, y up, z into the scene, a left-handed system; in the right-handed one z points out of it.
* Orthographic rays go through the top left corners of pixels, perspective ones through their centres.
* ``min_depth=0`` stands for the largest focal length.

Different from the original: every sphere gets its true gradient, not only the few nearest to the camera, and no
gradient is divided by a number of pixels, unless ``pulsar_gradients=True`` asks for Pulsar's scaling; offsets of the
principal point have gradients too; the exponential is exact (the original's is off by some percent, which shows in its
images by up to 0.013); spheres are summed to the last, so `percent_allowed_difference` has no effect; there is no
largest number of spheres; float64 is accepted.

Source: Lassner and Zollhoefer 2021, "Pulsar: Efficient Sphere-based Neural Rendering", and PyTorch3D's documentation.
An independent implementation; it contains none of the original's code.
"""

from __future__ import annotations

from lumigrad.compat.pulsar._renderer import Renderer

__all__ = ["Renderer"]
