"""A linear layer of which a part of the inputs is the same for many rows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LinearWithRepeat(nn.Linear):
    """`nn.Linear` of inputs that are joined: [..., M, A], and [..., B] for all M rows."""

    def forward(self, input: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        """[..., M, out_features]; the first columns of the weights belong to the first input."""
        rows, common = input
        first = rows.shape[-1]
        own = F.linear(rows, self.weight[:, :first], self.bias)
        return own + F.linear(common, self.weight[:, first:])[..., None, :]
