"""The common base of clouds of Gaussians and surfels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from lumigrad.scene.shapes._cloud import Cloud
from lumigrad.types.shapes import Float
from lumigrad.types.validation import fractional

# The constant function among the real spherical harmonics, 1 / (2 sqrt(pi)).
CONSTANT = 0.28209479177387814
COUNTS = (1, 4, 9, 16, 25)

S = TypeVar("S", bound="SplatCloud")


class SplatCloud(Cloud):
    """Base of `GaussianCloud` and `SurfelCloud`, which differ in the number of their axes."""

    means: Float[Tensor, "primitives 3"]
    quats: Float[Tensor, "primitives 4"]
    scales: Float[Tensor, "primitives axes"]
    opacities: Float[Tensor, " primitives"]
    harmonics: Float[Tensor, "primitives coefficients 3"]

    @classmethod
    def join(cls: type[S], clouds: Sequence[S]) -> S:
        """As `Cloud.join`; harmonics of a lower degree are filled up with zeros."""
        max_count = max((cloud.harmonics.shape[1] for cloud in clouds if isinstance(cloud, cls)), default=0)
        return super().join([cloud._filled_up(max_count) if isinstance(cloud, cls) else cloud for cloud in clouds])

    def _filled_up(self: S, count: int) -> S:
        missing = count - self.harmonics.shape[1]
        if not missing:
            return self
        zeros = self.harmonics.new_zeros(len(self), missing, self.harmonics.shape[2])
        return replace(self, harmonics=torch.cat([self.harmonics, zeros], dim=1))  # type: ignore[type-var]

    def _check(self, axes: int) -> None:
        for name in ("means", "quats", "scales", "opacities", "harmonics"):
            fractional(name, getattr(self, name))
        count = len(self.means) if self.means.ndim else 0
        for name, last in (("means", [3]), ("quats", [4]), ("scales", [axes]), ("opacities", [])):
            got = list(getattr(self, name).shape)
            if got != [count, *last]:
                raise ValueError(f"{name}: expected shape {[count, *last]}, got {got}")
        shape = tuple(self.harmonics.shape)
        if len(shape) != 3 or shape[0] != count or shape[1] not in COUNTS or shape[2] != 3:
            raise ValueError(f"harmonics: expected shape [{count}, 1, 4, 9, 16 or 25, 3], got {list(shape)}")


def constant_harmonics(colors: Float[Tensor, "primitives channels"]) -> Float[Tensor, "primitives 1 channels"]:
    """Coefficients [V, 1, C] of primitives that have the same colours [V, C] from wherever they are seen.

    >>> import torch
    >>> from lumigrad.scene import constant_harmonics
    >>> constant_harmonics(torch.tensor([[0.5, 0.5, 0.5]])).tolist()
    [[[0.0, 0.0, 0.0]]]

    Raises:
        ValueError: colours not [V, C].
    """
    if colors.ndim != 2:
        raise ValueError(f"colors: expected [V, C], got {list(colors.shape)}")
    return ((colors - 0.5) / CONSTANT)[:, None]
