"""Positions as sines and cosines of growing frequencies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class HarmonicEmbedding(nn.Module):
    """sin(f x) for all coordinates and frequencies f, then cos(f x), then, it may be, x itself.

    Args:
        n_harmonic_functions: how many frequencies there are.
        omega_0: the lowest frequency.
        logspace: frequencies are omega_0 times 1, 2, 4, ...; otherwise they grow evenly to the same highest one.
        append_input: append x.
    """

    _frequencies: Tensor

    def __init__(
        self, n_harmonic_functions: int = 6, omega_0: float = 1.0, logspace: bool = True, append_input: bool = True
    ) -> None:
        super().__init__()
        if logspace:
            frequencies = 2.0 ** torch.arange(n_harmonic_functions, dtype=torch.float32)
        else:
            frequencies = torch.linspace(1.0, 2.0 ** (n_harmonic_functions - 1), n_harmonic_functions)
        self.register_buffer("_frequencies", frequencies * omega_0, persistent=False)
        self.append_input = append_input

    def forward(self, x: Tensor, diag_cov: Tensor | None = None, **kwargs: Any) -> Tensor:
        """The embedding [..., `get_output_dim(D)`] of positions [..., D].

        Args:
            x: positions.
            diag_cov: variances [..., D] of normal distributions about the positions. The result is then the expected
                value (mip-NeRF, equations 11 to 14).
            kwargs: not looked at.
        """
        frequencies = self._frequencies.to(x.dtype) if x.is_floating_point() else self._frequencies
        angles = (x[..., None] * frequencies).flatten(-2)
        waves = torch.cat((angles.sin(), angles.cos()), -1)
        if diag_cov is not None:
            damping = torch.exp(-0.5 * diag_cov[..., None] * frequencies.square()).flatten(-2)
            waves = waves * torch.cat((damping, damping), -1)
        return torch.cat((waves, x.to(waves.dtype)), -1) if self.append_input else waves

    @staticmethod
    def get_output_dim_static(input_dims: int, n_harmonic_functions: int, append_input: bool) -> int:
        """How many numbers the embedding of `input_dims` coordinates has."""
        return input_dims * (2 * n_harmonic_functions + int(append_input))

    def get_output_dim(self, input_dims: int = 3) -> int:
        """How many numbers the embedding of `input_dims` coordinates has."""
        return self.get_output_dim_static(input_dims, len(self._frequencies), self.append_input)
