"""The results of rendering point-like primitives: an image and its by-products."""

from typing import NamedTuple

from torch import Tensor

from lumigrad.types.shapes import Float, Int32


class Splats(NamedTuple):
    """N images of spheres, points or Gaussians (row 0 is the top).

    Attributes:
        image: [N, H, W, C], the features blended with the background.
        alpha: [N, H, W], how much of it is not background, in [0, 1].
        depth: [N, H, W] or None: the contributors' depths weighted like their features, with 0 for the
            background. Divided by alpha it is the expected depth.
        median: int32 [N, H, W] or None: the contributor at which transmittance falls below one half, -1 where
            none does. Only for blend="alpha".
        ids: int32 [N, H, W, K] or None: the first K contributors, front to back; -1 where there are fewer.
        weights: [N, H, W, K] or None: how much of the features of each is in the image. No gradients.
    """

    image: Float[Tensor, "views height width channels"]
    alpha: Float[Tensor, "views height width"]
    depth: Float[Tensor, "views height width"] | None = None
    median: Int32[Tensor, "views height width"] | None = None
    ids: Int32[Tensor, "views height width listed"] | None = None
    weights: Float[Tensor, "views height width listed"] | None = None


class ProjectedGaussians(NamedTuple):
    """Gaussians as N cameras see them.

    Attributes:
        xy: [N, V, 2], centres in pixels.
        conics: [N, V, 3], (a, b, c): the inverse of the covariance [[A, B], [B, C]] on the image, blur included.
        depths: [N, V], along the viewing direction; NaN for those that are not to be drawn.
        compensations: [N, V], by how much blurring has widened them: sqrt(det before / det after), at least .005.
    """

    xy: Float[Tensor, "views primitives 2"]
    conics: Float[Tensor, "views primitives 3"]
    depths: Float[Tensor, "views primitives"]
    compensations: Float[Tensor, "views primitives"]


class Surfels(NamedTuple):
    """N images of Gaussian surfels (row 0 is the top).

    Attributes:
        image: [N, H, W, C], the features blended with the background.
        alpha: [N, H, W], how much of it is not background, in [0, 1].
        depth: [N, H, W], the depths along the viewing direction at which the pixel's ray cuts the surfels, weighted
            like their features, with 0 for the background. Divided by alpha it is the expected depth.
        normals: [N, H, W, 3], unit normals in the world, facing the camera, weighted like the features.
        distortion: [N, H, W], the sum over pairs of contributors of w_i w_j (m_i - m_j)^2, m the depth or a function
            of it.
        median_depth: [N, H, W], the depth at which transmittance falls below one half, 0 where it does not.
        median: int32 [N, H, W], the surfel at which it does, -1 where none does.
        ids: int32 [N, H, W, K] or None: the first K contributors, front to back; -1 where there are fewer.
        weights: [N, H, W, K] or None: how much of the features of each is in the image. No gradients.
    """

    image: Float[Tensor, "views height width channels"]
    alpha: Float[Tensor, "views height width"]
    depth: Float[Tensor, "views height width"]
    normals: Float[Tensor, "views height width 3"]
    distortion: Float[Tensor, "views height width"]
    median_depth: Float[Tensor, "views height width"]
    median: Int32[Tensor, "views height width"]
    ids: Int32[Tensor, "views height width listed"] | None = None
    weights: Float[Tensor, "views height width listed"] | None = None
