"""3D Gaussians as data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GaussianCloud:
    """3D Gaussians as `lumigrad.gaussians` takes them.

    Attributes:
        means: [V, 3].
        quats: rotations (w, x, y, z), [V, 4].
        scales: standard deviations along the rotated axes, [V, 3].
        opacities: in [0, 1], [V].
        harmonics: coefficients of colour, [V, K, 3], K = 1, 4, 9, 16 or 25; see `lumigrad.spherical_harmonics`.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    harmonics: Tensor

    def __post_init__(self) -> None:
        count = len(self.means) if self.means.ndim else 0
        for name, last in (("means", [3]), ("quats", [4]), ("scales", [3]), ("opacities", [])):
            got = list(getattr(self, name).shape)
            if got != [count, *last]:
                raise ValueError(f"{name}: expected shape {[count, *last]}, got {got}")
        shape = tuple(self.harmonics.shape)
        if len(shape) != 3 or shape[0] != count or shape[1] not in (1, 4, 9, 16, 25) or shape[2] != 3:
            raise ValueError(f"harmonics: expected shape [{count}, 1, 4, 9, 16 or 25, 3], got {list(shape)}")

    def __len__(self) -> int:
        return len(self.means)
