"""3D Gaussians: projected, coloured and composited in one call."""

from __future__ import annotations

from torch import Tensor

from lumigrad.ops.splat._project_gaussians import PROJECTIONS, project_gaussians
from lumigrad.ops.splat._spherical_harmonics import colors_seen
from lumigrad.ops.splat._splat import splat
from lumigrad.ops.splat._view import check_view
from lumigrad.reference.splat._finite import finite_or_zero
from lumigrad.types import validation as check
from lumigrad.types.shapes import Float
from lumigrad.types.splats import Splats
from lumigrad.types.view import View


def gaussians(
    means: Float[Tensor, "primitives 3"],
    quats: Float[Tensor, "primitives 4"],
    scales: Float[Tensor, "primitives 3"],
    opacities: Float[Tensor, " primitives"],
    features: Float[Tensor, "primitives coefficients channels"]
    | Float[Tensor, "views primitives channels"]
    | Float[Tensor, "primitives channels"],
    view: View,
    background: Float[Tensor, "views channels"] | Float[Tensor, " channels"] | None = None,
    *,
    harmonics: bool = False,
    antialiased: bool = False,
    blur: float = 0.3,
    contributors: int = 0,
) -> Splats:
    """Render 3D Gaussians front to back.

    The composition of :func:`~lumigrad.project_gaussians`, :func:`~lumigrad.spherical_harmonics` and
    :func:`~lumigrad.splat` that 3D Gaussian splatting has made usual: opacities are capped at 0.99, less than 1/255 is
    not drawn, and a pixel is done where the transmittance would fall to 1e-4.

    Args:
        means, quats, scales, view, blur: as for `project_gaussians`.
        opacities: [V], in [0, 1].
        features: colours or any others [V, C] or [N, V, C]; with `harmonics` coefficients [V, K, C], K = 1, 4, 9, 16 or
            25, whose sum in the direction from the camera, plus 0.5 and not below 0, is the colour.
        background: [C] or [N, C]; 0 by default.
        antialiased: lower the opacity of what `blur` has widened, so that small Gaussians keep their weight.
        contributors: how many of the first contributors of each pixel to list.

    Returns:
        :class:`~lumigrad.Splats`. Gradients reach all tensors, those of the view too.

    Raises:
        TypeError, ValueError: for wrong types, shapes, devices or ranges.

    Source: Kerbl et al. 2023, "3D Gaussian Splatting"; antialiasing: Yu et al. 2024, "Mip-Splatting", the 2D filter.

    >>> import torch
    >>> import lumigrad as lg
    >>> from lumigrad.scene import PerspectiveCamera
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=2.0, fov_y=90.0, size=(32, 32))
    >>> quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> means = torch.zeros(1, 3, requires_grad=True)
    >>> blue = torch.tensor([[0.0, 0.0, 1.0]])
    >>> out = lg.gaussians(means, quats, torch.full((1, 3), 0.5), torch.tensor([0.5]), blue, camera.view())
    >>> out.image.shape, round(out.alpha.max().item(), 2)
    (torch.Size([1, 32, 32, 3]), 0.49)
    >>> out.image[..., :16, 2].sum().backward()  # the left half gets bluer when the Gaussian moves to the left
    >>> (means.grad[0, 0] < 0).item()
    True
    """
    means = check.floating("means", means)
    projected = project_gaussians(means, quats, scales, view, blur=blur)
    count = projected.depths.shape[1]
    opacities = check.floating("opacities", opacities, means, "means")
    check.shape("opacities", opacities, (count,))
    if antialiased:
        opacities = finite_or_zero(opacities) * projected.compensations
    if harmonics:
        checked, _ = check_view(view, means, "means", PROJECTIONS)
        features = colors_seen(features, means, checked.matrix)
    return splat(
        projected.xy, projected.conics, projected.depths, features, view.size, opacities, background,
        max_alpha=0.99, min_alpha=1 / 255, stop=1e-4, contributors=contributors,
    )  # fmt: skip
